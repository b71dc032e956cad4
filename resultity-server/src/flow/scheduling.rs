//! The scheduler at work: what the flow tells it, and what becomes of its answers.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::id::{JobId, NamespaceId, NodeId, SubcloudId};
use resultity_core::job::Priority;
use resultity_core::model::ModelSpec;

use crate::bus::JobMessage;
use crate::flow::Flow;
use crate::flow::schedule::{Assignment, Ended, Explained, Loads, Offer, Scheduler, Wanted};

/// How often it is looked whether a node that was left out gets work again.
const LOOK: Duration = Duration::from_millis(500);

/// When an asker may come back: not sooner, and not later.
const COME_BACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));

/// What a request or a waiting job may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Whether a node that is online serves the model.
    pub can_be_served: bool,
    /// How many jobs are served before it.
    pub place: u64,
    /// How long it may wait for a node: a guess.
    pub wait: Duration,
}

/// A request of which is asked how long it would wait.
#[derive(Debug, Clone)]
pub struct Asking<'a> {
    /// The model's name in the snapshot.
    pub model: &'a str,
    /// Who pays.
    pub namespace: NamespaceId,
    /// The share of its namespace against that of others.
    pub weight: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// Which nodes may answer it.
    pub wanted: Wanted,
}

impl Flow {
    /// The models that a node in rotation answers for, in jobs that are addressed there or to nobody, as the snapshot has
    /// them.
    pub fn served_models(&self, subcloud: Option<SubcloudId>) -> Vec<ModelSpec> {
        let served: HashSet<String> = self.scheduler().served_models(subcloud).map(str::to_owned).collect();
        let current = self.current.load();
        current
            .snapshot
            .models
            .iter()
            .filter(|model| served.contains(&model.name))
            .cloned()
            .collect()
    }

    /// Waits until a node in rotation answers for this model.
    pub async fn until_served(&self, model: &str) {
        let mut changes = self.rotation.subscribe();
        let is_served = || self.scheduler().served_models(None).any(|served| served == model);
        // Fails only when this flow is gone, and with it the question.
        let _ = changes.wait_for(|_| is_served()).await;
    }

    /// How busy everything is.
    pub fn loads(&self) -> Loads {
        self.scheduler().loads()
    }

    /// How many jobs wait for a node.
    pub fn waiting(&self) -> usize {
        self.scheduler().waiting()
    }

    /// Where a request would stand in the queue of its model, without being put there.
    pub fn outlook(&self, asking: &Asking<'_>) -> Outlook {
        let scheduler = self.scheduler();
        if scheduler.has_free_slot(asking.model, &asking.wanted) {
            return Outlook {
                can_be_served: true,
                place: 0,
                wait: Duration::ZERO,
            };
        }
        let slots = scheduler.slots(asking.model, &asking.wanted);
        let place = scheduler.ahead(asking.model, asking.namespace, asking.weight, asking.priority);
        Outlook {
            can_be_served: slots > 0,
            place,
            wait: self.estimates.wait(asking.model, place, slots),
        }
    }

    /// When a request that found no free node may come back: as long as it would have to wait, within bounds.
    pub(super) fn retry_after(&self, asking: &Asking<'_>) -> Duration {
        let (least, most) = COME_BACK;
        self.outlook(asking).wait.clamp(least, most)
    }

    /// Where a waiting job stands in the queue of its model.
    pub fn place(&self, model: &str, namespace: NamespaceId, job: JobId) -> Option<Outlook> {
        let scheduler = self.scheduler();
        let (place, wanted) = scheduler.place(model, namespace, job)?;
        let slots = scheduler.slots(model, &wanted);
        Some(Outlook {
            can_be_served: slots > 0,
            place,
            wait: self.estimates.wait(model, place, slots),
        })
    }

    /// Why a job is where it is: for administrators alone, since it names nodes.
    pub fn explain(&self, job: JobId) -> Explained {
        self.scheduler().explain(job)
    }

    /// A node is in rotation with this offer.
    pub fn node_ready(&self, node: NodeId, offer: Offer) {
        let stranded = {
            let mut scheduler = self.scheduler();
            let readied = scheduler.node_ready(node, offer, self.clock.now());
            self.announce(&mut scheduler, readied.assigned);
            readied.stranded
        };
        self.tell_stranded(stranded);
        self.rotation.send_modify(|changes| *changes += 1);
    }

    /// A node is out of rotation. What it works on is not touched.
    pub fn node_gone(&self, node: NodeId) {
        let stranded = self.scheduler().node_gone(node);
        self.tell_stranded(stranded);
    }

    fn tell_stranded(&self, jobs: Vec<JobId>) {
        for job in jobs {
            self.bus.tell_job(job, JobMessage::Stranded);
        }
    }

    /// A Subcloud was deleted: what waits for its nodes ends.
    pub fn subcloud_gone(&self, subcloud: SubcloudId) {
        let waiting = self.scheduler().withdraw_subcloud(subcloud);
        for job in waiting {
            self.bus.tell_job(job, JobMessage::SubcloudGone);
        }
    }

    /// Lets nodes in again that were left out for long enough, for as long as the links of nodes are there.
    pub async fn keep_waking(&self) {
        loop {
            tokio::select! {
                () = self.cut.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let mut scheduler = self.scheduler();
            if scheduler.has_nodes_out() {
                let assignments = scheduler.wake(self.clock.now());
                self.announce(&mut scheduler, assignments);
            }
        }
    }

    pub(super) fn slot_freed(&self, node: NodeId, job: JobId, ended: Ended) {
        let mut scheduler = self.scheduler();
        let assignments = scheduler.slot_freed(node, job, ended, self.clock.now());
        self.announce(&mut scheduler, assignments);
    }

    /// Tells jobs their nodes, under the scheduler's lock: a job that has just given up cannot be told, and its slot goes
    /// to the next one instead of being lost.
    fn announce(&self, scheduler: &mut Scheduler, mut assignments: Vec<Assignment>) {
        while let Some(Assignment { job, node }) = assignments.pop() {
            if !self.bus.tell_job(job, JobMessage::Assigned(node)) {
                assignments.extend(scheduler.slot_freed(node, job, Ended::unused(), self.clock.now()));
            }
        }
    }

    pub(super) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Jobs on their way through containers: the answer of one is the input of the next.

use std::sync::Arc;

use bytes::Bytes;
use resultity_core::infernet::{ContainerResult, JobStatus};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::infernet::config::settings::{CallSettings, QueueSettings};
use crate::infernet::containers::{Answer, CallError, Container, Containers};
use crate::infernet::ended::Ended;
use crate::infernet::memory::Share;

mod queue;
mod slots;
#[cfg(test)]
mod tests;

pub use crate::infernet::containers::{Hop, Location};

use slots::{Slot, Slots};

/// Runs jobs, as many calls at once as the node and each container take. Cheap to clone.
///
/// A slot is held for one call, not for a whole job: a job between two containers holds none, and nobody waits for a
/// container that somebody else waits for.
#[derive(Debug, Clone)]
pub struct Pipeline {
    containers: Arc<Containers>,
    slots: Slots,
    queue: QueueSettings,
    calls: CallSettings,
}

/// A job for containers.
#[derive(Debug, Clone)]
pub struct Work {
    /// Their ids, in the order in which they run; at least one.
    pub containers: Vec<String>,
    /// What the first one gets.
    pub data: Box<RawValue>,
    /// Whether they have to prove what they computed.
    pub requires_proof: bool,
    /// Where the data comes from.
    pub source: Location,
    /// Where the answer of the last one goes.
    pub destination: Location,
    /// Who goes first.
    pub lane: Lane,
}

impl Work {
    /// A job of a caller of the REST API, without a proof.
    pub fn new(containers: Vec<String>, data: Box<RawValue>) -> Self {
        Self {
            containers,
            data,
            requires_proof: false,
            source: Location::OffChain,
            destination: Location::OffChain,
            lane: Lane::Local,
        }
    }

    /// The next call, after these.
    fn hop<'a>(&'a self, results: &'a [ContainerResult]) -> Hop<'a> {
        let is_last = results.len() + 1 >= self.containers.len();
        let (source, data) = match results.last() {
            Some(ContainerResult::Output(before)) => (Location::OffChain, &before.output),
            _ => (self.source, &self.data),
        };
        Hop {
            source,
            destination: if is_last { self.destination } else { Location::OffChain },
            data,
            requires_proof: self.requires_proof,
        }
    }
}

/// Who gets a free slot first. Within a lane it is who came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Jobs of the network: they have deadlines, and are paid.
    Network,
    /// Jobs of this node's own callers.
    Local,
}

impl Lane {
    const COUNT: usize = 2;
}

/// What a stream leaves behind.
#[derive(Serialize)]
struct Kept<'a> {
    output: &'a str,
    /// Some bytes were no text; the caller had them as they were.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossy: bool,
}

impl Pipeline {
    /// A pipeline with nothing in it.
    pub fn new(containers: Arc<Containers>, queue: QueueSettings, calls: CallSettings) -> Self {
        // One that hangs must not hold all slots of the node.
        let most = if containers.all().len() > 1 {
            queue.max_running - queue.max_running / 4
        } else {
            queue.max_running
        };
        let limit = |container: &Container| container.settings().max_concurrency.unwrap_or(most.max(1));
        let slots = Slots::new(queue.max_running, containers.all().iter().map(limit));
        Self {
            containers,
            slots,
            queue,
            calls,
        }
    }

    /// The containers.
    pub const fn containers(&self) -> &Arc<Containers> {
        &self.containers
    }

    /// How many calls at once, over all containers.
    pub(crate) const fn max_running(&self) -> usize {
        self.queue.max_running
    }

    /// Runs a job to its end. Cancelled, it is failed with the error `cancelled`, and the call ends at once.
    pub async fn run(&self, work: Work, cancel: &CancellationToken) -> Ended {
        let mut results = Vec::with_capacity(work.containers.len());
        let mut share = Share::default();
        let done = cancel.run_until_cancelled(self.each(&work, &work.containers, &mut results, &mut share));
        let done = done.await.unwrap_or(Err(CallError::Cancelled));
        ended(&work, results, done, share)
    }

    /// Runs a job whose last container streams: its bytes go to `to` as they come, and are kept as `{"output": text}`, with
    /// `"lossy": true` where they are no UTF-8. The containers before it run whole.
    ///
    /// No more is read of a container than the other end takes. When that is dropped, the call ends at once and the job is
    /// failed with the error `cancelled`. Keep a clone of `to` to let the reader see the end only once the result is stored.
    pub async fn stream(&self, work: Work, to: mpsc::Sender<Bytes>, cancel: &CancellationToken) -> Ended {
        let mut results = Vec::with_capacity(work.containers.len());
        let mut share = Share::default();
        let all = async {
            let Some((last, before)) = work.containers.split_last() else {
                return Ok(());
            };
            self.each(&work, before, &mut results, &mut share).await?;
            let (said, mine) = self
                .pass_on(last, work.hop(&results), work.lane, &to, share.bytes())
                .await?;
            share.join(mine);
            results.push(ContainerResult::output(last, kept(&said)));
            Ok(())
        };
        let done = tokio::select! {
            biased;
            done = all => done,
            () = cancel.cancelled() => Err(CallError::Cancelled),
            () = to.closed() => Err(CallError::Cancelled),
        };
        ended(&work, results, done, share)
    }

    async fn each(
        &self,
        work: &Work,
        containers: &[String],
        results: &mut Vec<ContainerResult>,
        share: &mut Share,
    ) -> Result<(), CallError> {
        for id in containers {
            let (output, mine) = self.ask(id, work.hop(results), work.lane, share.bytes()).await?;
            share.join(mine);
            results.push(ContainerResult::output(id, output));
        }
        Ok(())
    }

    /// Asks one container for its whole answer, when there is a slot.
    pub(crate) async fn ask(
        &self,
        id: &str,
        hop: Hop<'_>,
        lane: Lane,
        before: usize,
    ) -> Result<(Box<RawValue>, Share), CallError> {
        let (place, _slot) = self.slot(id, lane).await?;
        // On the heap once it begins: those that wait for a slot are many, and should be small.
        Box::pin(self.containers.call(place, hop, &self.calls, before)).await
    }

    /// Asks one container for an answer that is read along, when there is a slot.
    pub(crate) async fn open(&self, id: &str, hop: Hop<'_>, lane: Lane, before: usize) -> Result<Open, CallError> {
        let (place, slot) = self.slot(id, lane).await?;
        let answer = Box::pin(self.containers.open(place, hop, &self.calls, before)).await?;
        Ok(Open { answer, _slot: slot })
    }

    async fn slot(&self, id: &str, lane: Lane) -> Result<(usize, Slot), CallError> {
        let unknown = || CallError::Unknown(id.to_owned());
        let place = self.containers.place(id).ok_or_else(unknown)?;
        Ok((place, self.slots.take(lane, place).await))
    }

    async fn pass_on(
        &self,
        id: &str,
        hop: Hop<'_>,
        lane: Lane,
        to: &mpsc::Sender<Bytes>,
        before: usize,
    ) -> Result<(Vec<u8>, Share), CallError> {
        let Open { mut answer, _slot } = self.open(id, hop, lane, before).await?;
        let mut said = Vec::new();
        while let Some(bytes) = answer.chunk().await? {
            said.extend_from_slice(&bytes);
            match to.try_send(bytes) {
                Ok(()) => {}
                // A reader who is slow uses up the time of the call: a slot is not held for him for ever.
                Err(mpsc::error::TrySendError::Full(bytes)) => {
                    let sent = tokio::time::timeout_at(answer.deadline(), to.send(bytes)).await;
                    sent.map_err(|_| answer.timeout())?.map_err(|_| CallError::Cancelled)?;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(CallError::Cancelled),
            }
        }
        Ok((said, answer.into_share()))
    }
}

/// An answer that is read along, with the slot of its call.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) answer: Answer,
    _slot: Slot,
}

impl Open {
    /// The whole of it, which has to be JSON.
    pub(crate) async fn json(mut self) -> Result<Box<RawValue>, CallError> {
        self.answer.json().await
    }
}

fn kept(said: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(said);
    let lossy = std::str::from_utf8(said).is_err();
    to_raw_value(&Kept { output: &text, lossy }).expect("a text and a flag can be written as JSON")
}

fn ended(work: &Work, mut results: Vec<ContainerResult>, done: Result<(), CallError>, share: Share) -> Ended {
    let status = match done {
        Ok(()) if !results.is_empty() => JobStatus::Success,
        Ok(()) => JobStatus::Failed,
        Err(error) => {
            // Who failed is the one after those that answered.
            let container = work.containers.get(results.len()).map_or("", String::as_str);
            // Its own words may hold what was asked: they are for the asker, not for the log.
            tracing::debug!(container, reason = error.kind(), "a container did not answer");
            results.push(ContainerResult::error(container, error.to_string()));
            JobStatus::Failed
        }
    };
    let mut ended = Ended::new(status, results);
    ended.hold(share);
    ended
}

//! One actor a node: reads its frames, writes what is sent to it, keeps it in or out of rotation.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures::StreamExt;
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::{Attempt, JobState};
use resultity_core::model::ModelState;
use resultity_core::signing::{HeartbeatData, PublicKey, ReplayWindow, TypedData};
use resultity_core::wire::{
    Ack, AckOutcome, ErrorFrame, FrameError, Heartbeat, HeartbeatAck, Hello, MISSED_HEARTBEATS, NodeFrame, NodeModel,
    Renewal, ServerFrame, Welcome, body_hash,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::{Delivery, JobMessage, NODE_QUEUE, NodeTopic};
use crate::flow::attempt_lease_ref;
use crate::flow::{Flow, readiness};
use crate::link::socket::{CLOSE, WRITE_TIMEOUT, close, next_text, write};

/// How long until a model that failed its readiness job is tried again.
const READINESS_PAUSE: Duration = Duration::from_secs(30);

/// The most bytes of a chunk's `delta`.
const MAX_CHUNK_BYTES: usize = 1024 * 1024;

/// The most bytes of a frame that is hashed in its canonical form before its signature is known to be good.
pub(super) const MAX_SIGNED_BODY: usize = 1024 * 1024;

/// The most slots that a node is believed to have.
const MAX_SLOTS: u32 = 4096;

pub(super) struct Actor {
    flow: Arc<Flow>,
    node: NodeId,
    key: PublicKey,
    session: SessionId,
    frames: mpsc::WeakSender<String>,
    replay: ReplayWindow,
    slots: u32,
    is_bound: bool,
    in_rotation: bool,
    models: Vec<NodeModel>,
    /// Passed their readiness job.
    ready: HashSet<String>,
    /// Being tested, or to be tested again later.
    testing: HashSet<String>,
    tested: mpsc::Sender<(String, bool)>,
    tested_inbox: mpsc::Receiver<(String, bool)>,
}

impl Actor {
    /// Attaches the node to the bus and says welcome. What it held before goes on, if it still has it.
    pub(super) fn attach(
        flow: Arc<Flow>,
        hello: Hello,
        key: PublicKey,
        session: SessionId,
        is_bound: bool,
    ) -> (Self, mpsc::Receiver<String>) {
        let (frames, outbox) = mpsc::channel(NODE_QUEUE);
        let (tested, tested_inbox) = mpsc::channel(64);
        let node = hello.node_id;
        let journal: HashSet<(JobId, Attempt)> = hello.resume.into_iter().flat_map(|resume| resume.journal).collect();
        let leases = flow.bus.leases_of(node);
        let current = flow.current();
        let welcome = Welcome {
            heartbeat_interval_ms: current.snapshot.heartbeat_interval_ms,
            config_digest: current.digest,
            bound: is_bound,
            state: if is_bound { "active" } else { "idle" }.into(),
            leases: leases.clone(),
        };
        // The queue is new and empty: there is room for the first frame.
        let _ = frames.try_send(ServerFrame::from(welcome).encode());
        let weak = frames.downgrade();
        let topic = NodeTopic {
            session,
            public_key: key,
            frames,
        };
        if flow.bus.attach_node(node, topic).is_some() {
            // What the replaced link served is not served by this one yet.
            flow.node_gone(node);
        }
        for lease in leases {
            let has_it = journal.contains(&(lease.job_id, lease.attempt));
            flow.bus
                .node_says(node, lease.job_id, lease.attempt, JobMessage::LinkResumed(has_it));
        }
        tracing::info!(node.id = %node, bound = is_bound, models = hello.models.len(), "node connected");
        metrics::gauge!("resultity_nodes_connected").increment(1.0);
        let actor = Self {
            replay: ReplayWindow::default(),
            slots: hello.max_concurrency.clamp(1, MAX_SLOTS),
            models: hello.models,
            flow,
            node,
            key,
            session,
            frames: weak,
            is_bound,
            in_rotation: true,
            ready: HashSet::new(),
            testing: HashSet::new(),
            tested,
            tested_inbox,
        };
        (actor, outbox)
    }

    pub(super) async fn run(mut self, socket: WebSocket, frames: mpsc::Receiver<String>, stop: CancellationToken) {
        let (sink, mut stream) = socket.split();
        let ended = CancellationToken::new();
        let mut writer = tokio::spawn(write(sink, frames, ended.clone()));
        self.test_models();
        let silence = self.silence();
        let mut next_heartbeat_due = Instant::now() + silence;
        let reason = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Some((close::GOING_AWAY, "the server stops".to_owned())),
                _ = &mut writer => break None,
                frame = next_text(&mut stream) => match frame {
                    Some(text) => match self.frame(&text, &mut next_heartbeat_due).await {
                        ControlFlow::Continue(()) => {}
                        ControlFlow::Break(reason) => break Some(reason),
                    },
                    None => break None,
                },
                Some((model, passed)) = self.tested_inbox.recv() => self.tested(model, passed),
                () = sleep_until(next_heartbeat_due) => {
                    if !std::mem::replace(&mut self.in_rotation, false) {
                        break Some((close::POLICY, "no heartbeats".to_owned()));
                    }
                    tracing::warn!(node.id = %self.node, "heartbeats are missing: out of rotation");
                    next_heartbeat_due += silence;
                    if self.is_current() {
                        self.flow.node_gone(self.node);
                    }
                }
            }
        };
        // Before the bus lets go of the queue: after that, nothing more can be written.
        if let (Some((code, reason)), Some(frames)) = (reason, self.frames.upgrade()) {
            let _ = frames.try_send(format!("{CLOSE}{code} {reason}"));
        }
        self.detach();
        ended.cancel();
        if !writer.is_finished() {
            let _ = timeout(WRITE_TIMEOUT, writer).await;
        }
    }

    /// Whether no later link of the same node has replaced this one.
    fn is_current(&self) -> bool {
        let topic = self.flow.bus.node(self.node);
        topic.is_some_and(|topic| topic.session == self.session)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.flow.snapshot().heartbeat_interval_ms) * MISSED_HEARTBEATS
    }

    /// Out of rotation, and its jobs are told; unless a later link of the same node has replaced this one.
    fn detach(&self) {
        metrics::gauge!("resultity_nodes_connected").decrement(1.0);
        if self.flow.bus.detach_node(self.node, self.session) {
            self.flow.node_gone(self.node);
            for lease in self.flow.bus.leases_of(self.node) {
                if self.flow.bus.node(self.node).is_some() {
                    // It is back already, and has said what it still has.
                    break;
                }
                self.flow
                    .bus
                    .node_says(self.node, lease.job_id, lease.attempt, JobMessage::LinkLost);
            }
            tracing::info!(node.id = %self.node, "node disconnected");
        }
    }

    async fn frame(&mut self, text: &str, heartbeat_due: &mut Instant) -> ControlFlow<(u16, String)> {
        let frame = match NodeFrame::parse(text) {
            Ok(frame) => frame,
            Err(error @ FrameError::UnknownType(_)) => {
                self.send(ErrorFrame {
                    code: "unknown_type".into(),
                    message: error.to_string(),
                    frame: None,
                });
                return ControlFlow::Continue(());
            }
            Err(error) => {
                tracing::warn!(node.id = %self.node, %error, "a malformed frame closes the link");
                return ControlFlow::Break((close::MALFORMED, error.to_string()));
            }
        };
        match frame {
            NodeFrame::Accept(accept) => {
                self.says(accept.job_id, accept.attempt, JobMessage::Accepted);
            }
            NodeFrame::Decline(decline) => {
                self.says(decline.job_id, decline.attempt, JobMessage::Declined(decline.code));
            }
            NodeFrame::Chunk(chunk) if chunk.delta.get().len() > MAX_CHUNK_BYTES => {
                return ControlFlow::Break((close::POLICY, "a chunk is too large".into()));
            }
            NodeFrame::Chunk(chunk) => {
                self.says(chunk.job_id, chunk.attempt, JobMessage::Chunk(chunk));
            }
            NodeFrame::Result(result) => {
                let (job, attempt) = (result.job_id, result.attempt);
                if self.says(job, attempt, JobMessage::Result(Box::new(result))) == Delivery::NoLease {
                    self.answer_late(job, attempt).await;
                }
            }
            NodeFrame::Failed(failed) => {
                let (job, attempt) = (failed.job_id, failed.attempt);
                if self.says(job, attempt, JobMessage::Failed(Box::new(failed))) == Delivery::NoLease {
                    self.answer_late(job, attempt).await;
                }
            }
            NodeFrame::Heartbeat(_) if text.len() > MAX_SIGNED_BODY => {
                return ControlFlow::Break((close::POLICY, "a heartbeat is too large".into()));
            }
            NodeFrame::Heartbeat(heartbeat) => {
                if let Err(why) = self.heartbeat(heartbeat, text).await {
                    tracing::warn!(node.id = %self.node, why, "a bad heartbeat closes the link");
                    return ControlFlow::Break((close::POLICY, why.into()));
                }
                *heartbeat_due = Instant::now() + self.silence();
            }
            NodeFrame::Hello(_) => return ControlFlow::Break((close::POLICY, "a second hello".into())),
            NodeFrame::Error(error) => {
                let message: String = error.message.chars().take(200).collect();
                tracing::warn!(node.id = %self.node, message, "the node could not use a frame");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn says(&self, job: JobId, attempt: Attempt, message: JobMessage) -> Delivery {
        self.flow.bus.node_says(self.node, job, attempt, message)
    }

    /// A result for a job that has ended, or is somebody else's: the same ack as the first time, if it counted.
    async fn answer_late(&self, job: JobId, attempt: Attempt) {
        let counted = match self.flow.store.job(job).await {
            Ok(Some(record)) => {
                record.state == JobState::Succeeded && record.node == Some(self.node) && record.attempt == Some(attempt)
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(job.id = %job, %error, "a late result could not be looked up; the node will send it again");
                return;
            }
        };
        let outcome = if counted {
            AckOutcome::Recorded
        } else {
            AckOutcome::Superseded
        };
        self.send(Ack {
            job_id: job,
            attempt,
            outcome,
        });
    }

    async fn heartbeat(&mut self, heartbeat: Heartbeat, text: &str) -> Result<(), &'static str> {
        let now = self.flow.clock.now();
        let signature = heartbeat.signature.ok_or("the heartbeat has no signature")?;
        let data = HeartbeatData {
            nodeId: self.node.address(),
            sessionId: self.session.to_string(),
            seq: heartbeat.seq,
            issuedAt: u64::try_from(heartbeat.issued_at.as_millis()).unwrap_or_default(),
            bodyHash: body_hash(text).map_err(|_| "the heartbeat has no canonical form")?,
        };
        self.key
            .verify(data.signing_hash(&self.flow.domain), &signature)
            .map_err(|_| "the heartbeat's signature does not match")?;
        self.replay
            .check(heartbeat.seq, heartbeat.issued_at, now)
            .map_err(|_| "the heartbeat is old or repeated")?;

        let renewed = self.renew(&heartbeat).await;
        self.models = heartbeat.models;
        // A node that is about to stop says that it has no slots any more.
        let slots = heartbeat.load.slots.min(MAX_SLOTS);
        let has_other_slots = std::mem::replace(&mut self.slots, slots) != slots;
        if has_other_slots || !std::mem::replace(&mut self.in_rotation, true) || self.has_lost_a_model() {
            self.enter_rotation();
        }
        self.see_whether_bound().await;
        self.test_models();
        self.send(HeartbeatAck {
            server_time: now,
            config_digest: self.flow.current().digest,
            renewed,
        });
        Ok(())
    }

    /// An idle node may have been bound meanwhile.
    async fn see_whether_bound(&mut self) {
        if self.is_bound {
            return;
        }
        match self
            .flow
            .store
            .register_node(self.node, self.flow.environment, self.flow.clock.now())
            .await
        {
            Ok(record) => self.is_bound = record.account.is_some(),
            Err(error) => tracing::warn!(node.id = %self.node, %error, "could not see whether the node is bound"),
        }
    }

    /// The leases that the heartbeat names go on.
    async fn renew(&self, heartbeat: &Heartbeat) -> Vec<Renewal> {
        let lease = Duration::from_millis(self.flow.snapshot().jobs.lease_ms);
        let until = self.flow.clock.now().after(lease);
        let mut renewals = Vec::new();
        let mut leases = Vec::new();
        let named: HashSet<(JobId, Attempt)> = heartbeat
            .running
            .iter()
            .map(|running| (running.job_id, running.attempt))
            .collect();
        for (job, attempt) in named.into_iter().take(MAX_SLOTS as usize) {
            if let Some(held) = self.flow.bus.renew(self.node, job, attempt, until) {
                leases.push((attempt_lease_ref(job, &held), until));
                renewals.push(Renewal {
                    job_id: job,
                    attempt,
                    deadline: until,
                });
            }
        }
        if !leases.is_empty()
            && let Err(error) = self.flow.store.renew(leases).await
        {
            tracing::warn!(node.id = %self.node, %error, "leases could not be renewed in the database");
        }
        renewals
    }

    /// Starts a readiness job for every active model that has none behind it.
    fn test_models(&mut self) {
        if !self.is_bound {
            return;
        }
        for model in active_models(&self.models) {
            if self.ready.contains(model) || self.testing.contains(model) {
                continue;
            }
            let Some(spec) = self
                .flow
                .snapshot()
                .model(model)
                .filter(|spec| spec.name == model)
                .cloned()
            else {
                continue;
            };
            self.testing.insert(model.to_owned());
            let (flow, node, tested) = (Arc::clone(&self.flow), self.node, self.tested.clone());
            self.flow.background.spawn(async move {
                let outcome = readiness::check(&flow, node, &spec).await;
                if let Err(error) = &outcome {
                    tracing::warn!(node.id = %node, model = spec.name, %error, "the node is not ready with this model");
                    tokio::select! {
                        () = tokio::time::sleep(READINESS_PAUSE) => {}
                        () = tested.closed() => {}
                    }
                }
                // The link may have ended meanwhile.
                let _ = tested.send((spec.name, outcome.is_ok())).await;
            });
        }
    }

    fn tested(&mut self, model: String, passed: bool) {
        self.testing.remove(&model);
        if passed {
            tracing::info!(node.id = %self.node, model, "node ready");
            self.ready.insert(model);
            self.enter_rotation();
        } else {
            self.test_models();
        }
    }

    fn has_lost_a_model(&self) -> bool {
        self.ready
            .iter()
            .any(|ready| !active_models(&self.models).any(|model| model == ready))
    }

    fn enter_rotation(&mut self) {
        let active: HashSet<String> = active_models(&self.models).map(str::to_owned).collect();
        self.ready.retain(|model| active.contains(model));
        if self.in_rotation && self.is_current() {
            self.flow.node_ready(self.node, self.ready.clone(), self.slots);
        }
    }

    fn send(&self, frame: impl Into<ServerFrame>) {
        if let Some(frames) = self.frames.upgrade() {
            // Full: the writer's timeout ends the link.
            let _ = frames.try_send(frame.into().encode());
        }
    }
}

fn active_models(models: &[NodeModel]) -> impl Iterator<Item = &str> {
    models
        .iter()
        .filter(|model| model.state == ModelState::Active)
        .map(|model| model.id.as_str())
}

//! One actor a node: reads its frames, writes what is sent to it, keeps it in or out of rotation.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures::StreamExt;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::model::ModelSpec;
use resultity_core::signing::{PublicKey, ReplayWindow, TypedData};
use resultity_core::wire::{
    Ack, ErrorFrame, FrameError, Heartbeat, HeartbeatAck, Hello, Load, MAX_CHUNK_BYTES, MISSED_HEARTBEATS, NodeFrame,
    NodeModel, ServerFrame,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::{JobMessage, NODE_QUEUE, NodeTopic};
use crate::flow::fleet::{NodeView, is_older, shown_state};
use crate::flow::{Flow, Snapshotted};
use crate::link::entrance::{Linked, STRANGERS_PAUSE};
use crate::link::fallback::Fallback;
use crate::link::logs::LogIntake;
use crate::link::models::Tested;
use crate::link::said;
use crate::link::socket::{CLOSE, WRITE_TIMEOUT, close, next_text, write};
use crate::link::standing::{clipped, clipped_heartbeat};
use crate::store::fleet::NodeStanding;

/// The most bytes of a frame that is hashed in its canonical form before its signature is known to be good.
pub(super) const MAX_SIGNED_BODY: usize = 1024 * 1024;

/// The most slots that a node is believed to have.
pub(super) const MAX_SLOTS: u32 = 4096;

/// A node that was let in.
pub(super) struct Arrival {
    pub(super) hello: Hello,
    pub(super) key: PublicKey,
    pub(super) session: SessionId,
    pub(super) standing: NodeStanding,
    pub(super) linked: Linked,
    /// Where it comes when it has no socket.
    pub(super) fallback: Arc<Fallback>,
}

pub(super) struct Actor {
    pub(super) flow: Arc<Flow>,
    pub(super) node: NodeId,
    key: PublicKey,
    session: SessionId,
    /// Its place, for as long as the link lasts.
    pub(super) linked: Linked,
    fallback: Arc<Fallback>,
    frames: mpsc::WeakSender<String>,
    replay: ReplayWindow,
    pub(super) logs: LogIntake,
    /// What it held before and has not said yet that it still has.
    unnamed: HashSet<(JobId, Attempt)>,
    pub(super) slots: u32,
    /// What was decided about the node, when the store was last asked.
    pub(super) standing: NodeStanding,
    /// When something of that ends by itself.
    pub(super) next_change: Option<Timestamp>,
    /// Where the node was last told that it stands.
    pub(super) told: &'static str,
    /// Whether the node says that it was told to take no jobs.
    pub(super) is_paused_there: bool,
    pub(super) is_alive: bool,
    /// Whether the scheduler has it.
    pub(super) is_routed: bool,
    pub(super) models: Vec<NodeModel>,
    /// Passed their readiness job.
    pub(super) ready: HashSet<String>,
    /// Being tested, or to be tested again later.
    pub(super) testing: HashMap<String, ModelSpec>,
    /// What was wrong when they were tested last.
    pub(super) failed: HashMap<String, String>,
    /// When those that are ready are tested again.
    pub(super) test_at: HashMap<String, Timestamp>,
    pub(super) tested: mpsc::Sender<(String, Tested)>,
    tested_inbox: mpsc::Receiver<(String, Tested)>,
    /// Something was decided about the node.
    wake: Arc<Notify>,
    /// Tells of new snapshots.
    configurations: watch::Receiver<B256>,
    /// The snapshot by which the models were looked at last.
    pub(super) snapshot: Snapshotted,
    /// How often the node reports.
    pub(super) interval: Duration,
    /// What others see of the node.
    pub(super) view: NodeView,
    /// When what it says of itself was last kept.
    pub(super) kept_at: Timestamp,
}

impl Actor {
    /// Attaches the node to the bus and says welcome. What it held before goes on, if it still has it.
    pub(super) fn attach(flow: Arc<Flow>, arrival: Arrival) -> (Self, mpsc::Receiver<String>) {
        let Arrival {
            hello,
            key,
            session,
            standing,
            linked,
            fallback,
        } = arrival;
        let (frames, outbox) = mpsc::channel(NODE_QUEUE);
        let (tested, tested_inbox) = mpsc::channel(64);
        let (hello, now) = (clipped(hello), flow.clock.now());
        let node = hello.node_id;
        let slots = hello.max_concurrency.clamp(1, MAX_SLOTS);
        let wake = Arc::new(Notify::new());
        let view = NodeView {
            session: Some(session),
            is_alive: true,
            agent_version: hello.agent_version,
            runtime: hello.runtime,
            hardware: hello.hardware,
            region: hello.region,
            load: Load {
                slots: if hello.paused { 0 } else { slots },
                ..Load::default()
            },
            max_concurrency: slots,
            config_digest: hello.config_digest,
            ..NodeView::unknown(standing.clone(), now)
        };
        let (more, journal) = hello
            .resume
            .map_or((false, Vec::new()), |resume| (resume.more, resume.journal));
        let journal: HashSet<(JobId, Attempt)> = journal.into_iter().collect();
        let leases = flow.bus.leases_of(node);
        let current = flow.current();
        let welcome = said::welcome(&flow, &standing, leases.clone());
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
        let mut unnamed = HashSet::new();
        for lease in leases {
            let key = (lease.job_id, lease.attempt);
            let has_it = journal.contains(&key);
            if more && !has_it {
                // It has yet to say so; if it does not, the job waits no longer than for a node that is away, also if the
                // link that was replaced was never lost.
                unnamed.insert(key);
                flow.bus.node_says(node, key.0, key.1, JobMessage::LinkLost);
                continue;
            }
            flow.bus.node_says(node, key.0, key.1, JobMessage::LinkResumed(has_it));
        }
        tracing::info!(node.id = %node, bound = standing.account.is_some(), models = hello.models.len(), "node connected");
        metrics::gauge!("resultity_nodes_connected").increment(1.0);
        flow.fleet.connected(view.clone(), Arc::clone(&wake));
        // What was decided since the standing was read woke nobody.
        wake.notify_one();
        // First of all, so that none is missed.
        let (configurations, snapshot) = (flow.configurations(), flow.snapshot());
        let mut actor = Self {
            replay: ReplayWindow::default(),
            logs: LogIntake::new(),
            unnamed,
            slots: view.load.slots,
            models: hello.models,
            flow,
            node,
            key,
            session,
            linked,
            fallback,
            frames: weak,
            is_paused_there: hello.paused,
            next_change: standing.next_change(now),
            told: shown_state(&standing, now),
            standing,
            is_alive: true,
            is_routed: false,
            ready: HashSet::new(),
            testing: HashMap::new(),
            interval: Duration::from_millis(current.snapshot.heartbeat_interval_ms),
            configurations,
            snapshot,
            failed: HashMap::new(),
            test_at: HashMap::new(),
            tested,
            tested_inbox,
            wake,
            view,
            kept_at: now,
        };
        actor.keep_facts();
        actor.agree_on_pause();
        (actor, outbox)
    }

    pub(super) async fn run(mut self, socket: WebSocket, frames: mpsc::Receiver<String>, stop: CancellationToken) {
        let (sink, mut stream) = socket.split();
        let ended = CancellationToken::new();
        let mut writer = tokio::spawn(write(sink, frames, ended.clone()));
        self.test_models();
        self.publish();
        let mut next_heartbeat_due = Instant::now() + self.silence();
        let mut next_allowance = Instant::now() + STRANGERS_PAUSE;
        let reason = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Some((close::GOING_AWAY, "the server stops".to_owned())),
                _ = &mut writer => break None,
                frame = next_text(&mut stream) => match frame {
                    Some(text) => match self.frame(&text, &mut next_heartbeat_due).await {
                        ControlFlow::Continue(()) => {}
                        ControlFlow::Break(reason) => {
                            self.linked.failed();
                            break Some(reason);
                        }
                    },
                    None => {
                        if self.linked.is_used_up() {
                            self.linked.failed();
                        }
                        break None;
                    }
                },
                Some((model, outcome)) = self.tested_inbox.recv() => self.tested(model, outcome),
                Ok(()) = self.configurations.changed() => self.configured(),
                () = self.wake.notified() => {
                    if let ControlFlow::Break(reason) = self.look_at_standing().await {
                        break Some(reason);
                    }
                }
                () = sleep_until(next_allowance), if self.linked.is_stranger() => {
                    next_allowance = Instant::now() + STRANGERS_PAUSE;
                    self.linked.allow_more();
                }
                () = sleep_until(next_heartbeat_due) => {
                    if !std::mem::replace(&mut self.is_alive, false) {
                        break Some((close::POLICY, "no heartbeats".to_owned()));
                    }
                    tracing::warn!(node.id = %self.node, "heartbeats are missing: out of rotation");
                    next_heartbeat_due += self.silence();
                    self.route();
                    self.publish();
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
    pub(super) fn is_current(&self) -> bool {
        let topic = self.flow.bus.node(self.node);
        topic.is_some_and(|topic| topic.session == self.session)
    }

    fn silence(&self) -> Duration {
        self.interval * MISSED_HEARTBEATS
    }

    /// Out of rotation, and its jobs are told; unless a later link of the same node has replaced this one.
    fn detach(&self) {
        metrics::gauge!("resultity_nodes_connected").decrement(1.0);
        self.flow
            .fleet
            .disconnected(self.node, self.session, self.flow.clock.now());
        if self.flow.bus.detach_node(self.node, self.session) {
            self.flow.node_gone(self.node);
            let kept = self.fallback.keeps(self.flow.environment, self.node);
            said::lost(&self.flow, self.node, &kept);
            tracing::info!(node.id = %self.node, "node disconnected");
        }
    }

    async fn frame(&mut self, text: &str, heartbeat_due: &mut Instant) -> ControlFlow<(u16, String)> {
        let is_stranger = self.linked.is_stranger();
        let frame = match NodeFrame::parse(text) {
            Ok(NodeFrame::Heartbeat(heartbeat)) => NodeFrame::Heartbeat(heartbeat),
            // One that nobody has bound has no jobs: whatever it says of them is not worth an answer.
            Ok(_) | Err(FrameError::UnknownType(_)) if is_stranger => return ControlFlow::Continue(()),
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
                self.still_has(accept.job_id, accept.attempt);
                if self.testing.is_empty() {
                    self.view.last_job = Some(self.flow.clock.now());
                }
                self.says(accept.job_id, accept.attempt, JobMessage::Accepted);
            }
            NodeFrame::Decline(decline) => {
                self.says(decline.job_id, decline.attempt, JobMessage::Declined(decline.code));
            }
            NodeFrame::Chunk(chunk) if chunk.delta.get().len() > MAX_CHUNK_BYTES => {
                // One request may make such an answer: it costs this job, and not the link with all others.
                self.says(chunk.job_id, chunk.attempt, JobMessage::ChunkTooLarge);
            }
            NodeFrame::Chunk(chunk) => {
                self.still_has(chunk.job_id, chunk.attempt);
                self.says(chunk.job_id, chunk.attempt, JobMessage::Chunk(chunk));
            }
            NodeFrame::Result(result) => {
                let key = (result.job_id, result.attempt);
                return self.ended(key, JobMessage::Result(Box::new(result))).await;
            }
            NodeFrame::Failed(failed) => {
                let key = (failed.job_id, failed.attempt);
                return self.ended(key, JobMessage::Failed(Box::new(failed))).await;
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
                if is_older(&self.view.agent_version, &self.flow.snapshot().min_agent_version) {
                    // When it comes back it is told which version it takes.
                    return ControlFlow::Break((close::POLICY, "this network needs a newer Agent".into()));
                }
                if self.standing_is_over() {
                    return self.look_at_standing().await;
                }
            }
            NodeFrame::Log(_) if text.len() > MAX_SIGNED_BODY => {
                return ControlFlow::Break((close::POLICY, "a log is too large".into()));
            }
            NodeFrame::Log(batch) => {
                if let Err(why) = self.log(batch, text) {
                    tracing::warn!(node.id = %self.node, why, "a bad log closes the link");
                    return ControlFlow::Break((close::POLICY, why.into()));
                }
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

    fn says(&self, job: JobId, attempt: Attempt, message: JobMessage) {
        self.flow.bus.node_says(self.node, job, attempt, message);
    }

    /// It says something of an attempt that it did not name when it came.
    fn still_has(&mut self, job: JobId, attempt: Attempt) {
        if !self.unnamed.is_empty() && self.unnamed.remove(&(job, attempt)) {
            self.says(job, attempt, JobMessage::LinkResumed(true));
        }
    }

    /// The end of an attempt. If its job has ended, or is somebody else's, it is looked up what became of it; not of what the
    /// node has not signed.
    async fn ended(&mut self, (job_id, attempt): (JobId, Attempt), end: JobMessage) -> ControlFlow<(u16, String)> {
        let Err(end) = self.flow.bus.hand_over(self.node, job_id, attempt, end) else {
            return ControlFlow::Continue(());
        };
        let domain = &self.flow.domain;
        let (node, hash, signature) = match &end {
            JobMessage::Result(result) => (
                result.node_id,
                result.signed_data().signing_hash(domain),
                &result.signature,
            ),
            JobMessage::Failed(failed) => (
                failed.node_id,
                failed.signed_data().signing_hash(domain),
                &failed.signature,
            ),
            _ => return ControlFlow::Continue(()),
        };
        if node != self.node || self.key.verify(hash, signature).is_err() {
            return ControlFlow::Break((close::POLICY, "a result that the node has not signed".into()));
        }
        if let Some(outcome) = said::late(&self.flow, self.node, job_id, attempt).await {
            self.send(Ack {
                job_id,
                attempt,
                outcome,
            });
        }
        ControlFlow::Continue(())
    }

    async fn heartbeat(&mut self, heartbeat: Heartbeat, text: &str) -> Result<(), &'static str> {
        let now = self.flow.clock.now();
        self.says_so(&heartbeat, text)?;
        self.replay
            .check(heartbeat.seq, heartbeat.issued_at, now)
            .map_err(|_| "the heartbeat is old or repeated")?;

        let renewed = if self.linked.is_stranger() {
            Vec::new()
        } else {
            said::renew(&self.flow, self.node, &heartbeat.running).await
        };
        for renewal in &renewed {
            self.still_has(renewal.job_id, renewal.attempt);
        }
        let heartbeat = clipped_heartbeat(heartbeat);
        self.models = heartbeat.models;
        // A node that is about to stop says that it has no slots any more.
        let slots = heartbeat.load.slots.min(MAX_SLOTS);
        let has_other_slots = std::mem::replace(&mut self.slots, slots) != slots;
        if has_other_slots || !std::mem::replace(&mut self.is_alive, true) || self.has_lost_a_model() {
            self.route();
        }
        self.view.last_heartbeat = now;
        self.view.load = Load {
            slots,
            ..heartbeat.load
        };
        self.view.runtime = heartbeat.runtime;
        self.view.hardware = heartbeat.hardware;
        self.view.config_digest = heartbeat.config_digest;
        self.adopt_interval();
        self.test_models();
        self.publish();
        self.keep_facts_now_and_then();
        self.send(HeartbeatAck {
            server_time: now,
            config_digest: self.flow.current().digest,
            renewed,
            acks: Vec::new(),
        });
        Ok(())
    }

    /// Whether this node signed the frame in this session.
    pub(super) fn says_so<T: said::Signed>(&self, frame: &T, text: &str) -> Result<(), &'static str> {
        said::check(frame, text, self.node, self.session, &self.key, &self.flow.domain)
    }

    pub(super) fn send(&self, frame: impl Into<ServerFrame>) {
        if let Some(frames) = self.frames.upgrade() {
            // Full: the writer's timeout ends the link.
            let _ = frames.try_send(frame.into().encode());
        }
    }
}

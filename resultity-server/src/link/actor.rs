//! One actor a node: reads its frames, writes what is sent to it, keeps it in or out of rotation.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use resultity_core::B256;
use resultity_core::id::{AccountId, JobId, NodeId, SessionId};
use resultity_core::job::{Attempt, JobState};
use resultity_core::model::ModelState;
use resultity_core::signing::{HeartbeatData, PublicKey, ReplayWindow, TypedData};
use resultity_core::wire::{
    Ack, AckOutcome, Challenge, ErrorFrame, FrameError, Heartbeat, HeartbeatAck, Hello, MISSED_HEARTBEATS, NodeFrame,
    NodeModel, Reject, RejectCode, Renewal, ServerFrame, Welcome, body_hash,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::{Delivery, JobMessage, NODE_QUEUE, NodeTopic};
use crate::flow::attempt_lease_ref;
use crate::flow::{Flow, readiness};
use crate::link::check_hello;

/// How long a node has to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a write to a node may take before it counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long until a model that failed its readiness job is tried again.
const READINESS_PAUSE: Duration = Duration::from_secs(30);

/// The most slots that a node is believed to have.
const MAX_SLOTS: u32 = 4096;

/// WebSocket close codes that are used here (RFC 6455, and one of our own).
mod close {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const MALFORMED: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const REPLACED: u16 = 4000;
}

/// Rules of this server for nodes.
#[derive(Debug, Clone, Default)]
pub struct LinkPolicy {
    /// Whom nodes that dial in from this machine are bound to (`dev`); others stay idle until an account binds them.
    pub bind_loopback_to: Option<AccountId>,
}

/// Serves one node until its link ends.
pub async fn serve(
    flow: Arc<Flow>,
    policy: LinkPolicy,
    mut socket: WebSocket,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let mut nonce = B256::ZERO;
    flow.entropy.fill(nonce.as_mut_slice());
    let challenge = Challenge {
        session_id: SessionId::new(&*flow.clock, &*flow.entropy),
        nonce,
        server_time: flow.clock.now(),
        environment: flow.environment,
        network_key: flow.network_key.address(),
        genesis: flow.genesis,
        min_agent_version: flow.snapshot().min_agent_version.clone(),
    };
    let hello = match handshake(&flow, &challenge, &mut socket).await {
        Ok(hello) => hello,
        Err(refusal) => {
            tracing::info!(%peer, reason = %refusal.message, "a node was not let in");
            refuse(&mut socket, refusal).await;
            return;
        }
    };
    let (hello, key) = hello;
    let node = hello.node_id;
    match admit(&flow, &policy, node, peer).await {
        Ok(is_bound) => {
            let (actor, frames) = Actor::attach(flow, hello, key, challenge.session_id, is_bound);
            actor.run(socket, frames, stop).await;
        }
        Err(refusal) => refuse(&mut socket, refusal).await,
    }
}

async fn handshake(flow: &Flow, challenge: &Challenge, socket: &mut WebSocket) -> Result<(Hello, PublicKey), Reject> {
    let refuse = |message: &str| Reject {
        code: RejectCode::Other,
        message: message.into(),
        retry_after_ms: Some(1000),
    };
    let text = ServerFrame::from(challenge.clone()).encode();
    socket
        .send(Message::Text(text.into()))
        .await
        .map_err(|_| refuse("the link dropped"))?;
    let text = timeout(HELLO_TIMEOUT, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => return Some(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    });
    let text = text.await.ok().flatten().ok_or_else(|| refuse("there was no hello"))?;
    match NodeFrame::parse(&text) {
        Ok(NodeFrame::Hello(hello)) => {
            let key = check_hello(challenge, &hello, &text, &flow.domain, flow.clock.now())?;
            Ok((hello, key))
        }
        Ok(frame) => Err(refuse(&format!("a hello was due, but a {} came", frame.kind()))),
        Err(error) => Err(refuse(&error.to_string())),
    }
}

/// Registers the node; whether an account has bound it.
async fn admit(flow: &Flow, policy: &LinkPolicy, node: NodeId, peer: SocketAddr) -> Result<bool, Reject> {
    let later = |error: crate::store::StoreError| {
        tracing::error!(node.id = %node, %error, "a node could not be registered");
        Reject {
            code: RejectCode::Other,
            message: "the network is busy".into(),
            retry_after_ms: Some(5000),
        }
    };
    let now = flow.clock.now();
    let mut record = flow
        .store
        .register_node(node, flow.environment, now)
        .await
        .map_err(later)?;
    if record.banned {
        return Err(Reject {
            code: RejectCode::Banned,
            message: "this node is excluded".into(),
            retry_after_ms: None,
        });
    }
    if let (None, Some(account), true) = (record.account, policy.bind_loopback_to, peer.ip().is_loopback()) {
        if let Some(bound) = flow
            .store
            .bind_node(node, flow.environment, account, now)
            .await
            .map_err(later)?
        {
            record = bound;
        }
    }
    Ok(record.account.is_some())
}

async fn refuse(socket: &mut WebSocket, reject: Reject) {
    let reason: String = reject.message.chars().take(100).collect();
    let text = ServerFrame::from(reject).encode();
    let goodbye = async {
        socket.send(Message::Text(text.into())).await?;
        socket
            .send(Message::Close(Some(close_frame(close::POLICY, &reason))))
            .await
    };
    // Whether it still listens does not matter.
    let _ = timeout(HELLO_TIMEOUT, goodbye).await;
}

fn close_frame(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code,
        reason: Utf8Bytes::from(reason),
    }
}

struct Actor {
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
    fn attach(
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
        flow.bus.attach_node(
            node,
            NodeTopic {
                session,
                public_key: key,
                frames,
            },
        );
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

    async fn run(mut self, socket: WebSocket, frames: mpsc::Receiver<String>, stop: CancellationToken) {
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
                () = sleep_until(next_heartbeat_due), if self.in_rotation => {
                    tracing::warn!(node.id = %self.node, "heartbeats are missing: out of rotation");
                    self.in_rotation = false;
                    self.flow.node_gone(self.node);
                }
            }
        };
        // Before the bus lets go of the queue: after that, nothing more can be written.
        if let (Some((code, reason)), Some(frames)) = (reason, self.frames.upgrade()) {
            let _ = frames.try_send(format!("{CLOSE}{code} {reason}"));
        }
        self.detach();
        ended.cancel();
        let _ = timeout(WRITE_TIMEOUT, writer).await;
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
        if !std::mem::replace(&mut self.in_rotation, true) || self.has_lost_a_model() {
            self.enter_rotation();
        }
        self.test_models();
        self.send(HeartbeatAck {
            server_time: now,
            config_digest: self.flow.current().digest,
            renewed,
        });
        Ok(())
    }

    /// The leases that the heartbeat names go on.
    async fn renew(&self, heartbeat: &Heartbeat) -> Vec<Renewal> {
        let lease = Duration::from_millis(self.flow.snapshot().jobs.lease_ms);
        let until = self.flow.clock.now().after(lease);
        let mut renewals = Vec::new();
        let mut leases = Vec::new();
        for running in &heartbeat.running {
            if let Some(held) = self.flow.bus.renew(self.node, running.job_id, running.attempt, until) {
                leases.push((attempt_lease_ref(running.job_id, &held), until));
                renewals.push(Renewal {
                    job_id: running.job_id,
                    attempt: running.attempt,
                    deadline: until,
                });
            }
        }
        if !leases.is_empty() {
            if let Err(error) = self.flow.store.renew(leases).await {
                tracing::warn!(node.id = %self.node, %error, "leases could not be renewed in the database");
            }
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
        if self.in_rotation {
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

async fn next_text(stream: &mut SplitStream<WebSocket>) -> Option<Utf8Bytes> {
    loop {
        match stream.next().await? {
            Ok(Message::Text(text)) => return Some(text),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            // Binary frames are no part of the protocol; errors and closes end the link.
            Ok(Message::Binary(_) | Message::Close(_)) | Err(_) => return None,
        }
    }
}

/// Marks the text of a queue entry that is no frame but the goodbye.
const CLOSE: char = '\u{0}';

/// Writes what is queued, all that is there with one flush. Ends when the queue closes: the link was replaced.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut frames: mpsc::Receiver<String>, ended: CancellationToken) {
    const BATCH: usize = 256;
    let mut batch = Vec::with_capacity(BATCH);
    let mut goodbye = close_frame(close::REPLACED, "another link of this node replaced this one");
    loop {
        let count = tokio::select! {
            biased;
            count = frames.recv_many(&mut batch, BATCH) => count,
            () = ended.cancelled() => 0,
        };
        if count == 0 {
            break;
        }
        let mut is_last = false;
        let written = timeout(WRITE_TIMEOUT, async {
            for text in batch.drain(..) {
                if let Some(reason) = text.strip_prefix(CLOSE) {
                    let (code, reason) = reason.split_once(' ').unwrap_or((reason, ""));
                    let reason: String = reason.chars().take(100).collect();
                    goodbye = close_frame(code.parse().unwrap_or(close::GOING_AWAY), &reason);
                    is_last = true;
                } else {
                    sink.feed(Message::Text(text.into())).await?;
                }
            }
            sink.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
        if is_last {
            break;
        }
    }
    let _ = timeout(WRITE_TIMEOUT, sink.send(Message::Close(Some(goodbye)))).await;
}

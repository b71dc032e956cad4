//! Nodes that have no socket: the same frames over HTTP, with the same signatures and the same outcome.
//!
//! A session over HTTP keeps a node known and its leases alive, and lets it hand in results; it gets no new jobs. Nothing is
//! kept of a node that is nobody's, and challenges are authenticated rather than stored.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{NodeId, SessionId};
use resultity_core::signing::{Keypair, PublicKey, ReplayWindow, Signature, TypedData};
use resultity_core::wire::{
    Ack, Challenge, DeliverResults, DeliveredResults, HeartbeatAck, Hello, JobResult, KnockAnswer, MAX_CLOCK_SKEW_MS,
    MAX_HELLO_BYTES, NodeFrame, RegisterNode, Reject, RejectCode, ReportHeartbeat, delivery_request,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::bus::{Delivery, ExpectedAck, JobMessage};
use crate::flow::Flow;
use crate::link::LinkPolicy;
use crate::link::actor::MAX_CHUNK_BYTES;
use crate::link::entrance::Entering;
use crate::link::entry::{admit, remember};
use crate::link::handshake::{check_hello, is_signed};
use crate::link::{said, standing};
use crate::seal::Sealer;
use crate::store::fleet::NodeFacts;

/// The largest body of results: one frame of the largest size, and what is around it.
pub const MAX_DELIVERY_BYTES: usize = resultity_core::wire::MAX_FRAME_BYTES + 64 * 1024;

/// How many bodies of results are read at once.
const DELIVERIES: usize = 8;

/// The most ends of jobs in one body.
const MOST_ENDS: usize = 64;

/// How long a session lasts without a heartbeat.
const SILENCE: Duration = Duration::from_mins(5);

/// How long a session lasts in all: then the node is looked at anew.
const LONGEST_SESSION: Duration = Duration::from_mins(15);

/// How long a request waits for what becomes of its results.
const ACK_PATIENCE: Duration = Duration::from_secs(15);

/// How long a node has to answer a challenge.
const CHALLENGE_LIFETIME: Duration = Duration::from_millis(MAX_CLOCK_SKEW_MS);

/// How many sessions have to be known before those that are over are looked for.
const SWEEP_FROM: usize = 1024;

/// How often what a node says of itself is kept in the store.
const KEEP_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Session {
    id: SessionId,
    key: PublicKey,
    replay: ReplayWindow,
    /// What the node said in its hello.
    facts: NodeFacts,
    begun: Timestamp,
    heard: Timestamp,
    kept: Timestamp,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.heard) >= SILENCE || now.since(self.begun) >= LONGEST_SESSION
    }
}

#[derive(Debug, Default)]
struct Sessions {
    known: HashMap<(Environment, NodeId), Session>,
    sweep_at: usize,
}

/// Where nodes without a socket come.
#[derive(Debug)]
pub struct Fallback {
    /// Of this process alone: a challenge of another one is not known, and the node asks again.
    sealer: Sealer,
    sessions: Mutex<Sessions>,
    deliveries: Arc<Semaphore>,
}

impl Fallback {
    /// Nobody has come yet.
    pub fn new(entropy: &dyn Entropy) -> Arc<Self> {
        Arc::new(Self {
            sealer: Sealer::new(&Keypair::generate(entropy), "challenges of nodes"),
            sessions: Mutex::default(),
            deliveries: Arc::new(Semaphore::new(DELIVERIES)),
        })
    }

    /// `POST /io/v1/nodes`: a challenge, or the answer to one.
    pub async fn knock(
        &self,
        flow: &Arc<Flow>,
        policy: &LinkPolicy,
        request: RegisterNode,
        peer: SocketAddr,
        entering: Entering,
    ) -> Result<KnockAnswer, ApiError> {
        let (session_id, nonce, hello) = match (request.session_id, request.nonce, &request.hello) {
            (None, None, None) => return Ok(KnockAnswer::Challenge(self.challenge(flow))),
            (Some(session), Some(nonce), Some(hello)) => (session, nonce, hello.get()),
            _ => {
                let message = "a hello comes with the session_id and the nonce of its challenge";
                return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("hello"));
            }
        };
        let refused = |reject: &Reject| {
            entering.failed();
            refusal(reject)
        };
        let now = flow.clock.now();
        let at = challenged_at(nonce);
        if nonce != self.nonce(flow.environment, session_id, at)
            || now.since(at).max(at.since(now)) > CHALLENGE_LIFETIME
        {
            let stale = reject(
                RejectCode::StaleNonce,
                "ask for another challenge: this one is not known any more",
            );
            return Err(refused(&stale));
        }
        if hello.len() > MAX_HELLO_BYTES {
            return Err(too_large("the hello"));
        }
        let Ok(NodeFrame::Hello(said)) = NodeFrame::parse(hello) else {
            return Err(ApiError::new(ErrorCode::InvalidValue, "this is no hello").with_param("hello"));
        };
        let challenge = Challenge {
            session_id,
            nonce,
            ..self.challenge(flow)
        };
        let key = match check_hello(&challenge, &said, hello, &flow.domain, now) {
            Ok(key) => key,
            Err(reject) => {
                if is_signed(&challenge, &said, hello, &flow.domain).is_ok() {
                    remember(flow, &said, &reject).await;
                }
                return Err(refused(&reject));
            }
        };
        let node = admit(flow, policy, said.node_id, peer).await;
        let standing = node.map_err(|reject| refused(&reject))?;
        let leases = flow.bus.leases_of(said.node_id);
        let welcome = said::welcome(flow, &standing, leases.clone());
        if standing.account.is_some() {
            self.begin(flow, session_id, key, &said)?;
            let journal = said.resume.map(|resume| resume.journal).unwrap_or_default();
            for lease in leases {
                if journal.contains(&(lease.job_id, lease.attempt)) {
                    let resumed = JobMessage::LinkResumed(true);
                    flow.bus.node_says(said.node_id, lease.job_id, lease.attempt, resumed);
                }
            }
        }
        Ok(KnockAnswer::Welcome(welcome))
    }

    fn challenge(&self, flow: &Flow) -> Challenge {
        let session_id = SessionId::new(&*flow.clock, &*flow.entropy);
        let now = flow.clock.now();
        Challenge {
            session_id,
            nonce: self.nonce(flow.environment, session_id, now),
            server_time: now,
            environment: flow.environment,
            network_key: flow.network_key().address(),
            genesis: flow.genesis,
            min_agent_version: flow.snapshot().min_agent_version.clone(),
        }
    }

    /// What this process alone can make of a session and a time: the time, and its seal.
    fn nonce(&self, environment: Environment, session: SessionId, at: Timestamp) -> B256 {
        let time = at.as_millis().to_be_bytes();
        let parts = [environment.as_str().as_bytes(), session.to_string().as_bytes(), &time].map(<[u8]>::to_vec);
        let seal = self.sealer.authenticate(&[&parts[0], &parts[1], &parts[2]]);
        let mut nonce = B256::from(seal);
        nonce[..8].copy_from_slice(&time);
        nonce
    }

    /// The session counts from now on; every hello counts once.
    fn begin(&self, flow: &Arc<Flow>, id: SessionId, key: PublicKey, hello: &Hello) -> Result<(), ApiError> {
        let now = flow.clock.now();
        let hello = standing::clipped(hello.clone());
        let facts = NodeFacts {
            agent_version: hello.agent_version,
            runtime: hello.runtime,
            hardware: hello.hardware,
            models: hello.models,
            region: hello.region,
            slots: hello.max_concurrency,
            config_digest: hello.config_digest,
        };
        let mut sessions = self.sessions();
        let place = (flow.environment, hello.node_id);
        if sessions.known.get(&place).is_some_and(|known| known.id >= id) {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                "this hello was used, or a later one was",
            ));
        }
        let session = Session {
            id,
            key,
            replay: ReplayWindow::default(),
            facts: facts.clone(),
            begun: now,
            heard: now,
            kept: now,
        };
        sessions.known.insert(place, session);
        if sessions.known.len() >= sessions.sweep_at.max(SWEEP_FROM) {
            // A challenge lives for less than a session, so a hello that is forgotten here is too old to come again.
            sessions.known.retain(|_, session| !session.is_over(now));
            sessions.sweep_at = sessions.known.len() * 2;
        }
        drop(sessions);
        keep_facts(flow, hello.node_id, facts);
        Ok(())
    }

    /// `POST /io/v1/heartbeat`: the leases that it names go on, and their jobs wait for the node.
    pub async fn heartbeat(&self, flow: &Arc<Flow>, report: &ReportHeartbeat) -> Result<HeartbeatAck, ApiError> {
        let (node, text, now) = (report.node_id, report.heartbeat.get(), flow.clock.now());
        let place = (flow.environment, node);
        let unknown = || {
            let message = "there is no such session: say hello at POST /io/v1/nodes";
            ApiError::new(ErrorCode::NotFound, message)
        };
        let Ok(NodeFrame::Heartbeat(heartbeat)) = NodeFrame::parse(text) else {
            return Err(ApiError::new(ErrorCode::InvalidValue, "this is no heartbeat").with_param("heartbeat"));
        };
        let is_this = |session: &&mut Session| session.id == report.session_id && !session.is_over(now);
        let key = self
            .sessions()
            .known
            .get_mut(&place)
            .filter(is_this)
            .map(|session| session.key);
        let denied = |why: &str| ApiError::new(ErrorCode::PermissionDenied, why);
        said::check(
            &heartbeat,
            text,
            node,
            report.session_id,
            &key.ok_or_else(unknown)?,
            &flow.domain,
        )
        .map_err(denied)?;
        let facts = {
            let mut sessions = self.sessions();
            let session = sessions.known.get_mut(&place).filter(is_this).ok_or_else(unknown)?;
            session
                .replay
                .check(heartbeat.seq, heartbeat.issued_at, now)
                .map_err(|error| denied(&error.to_string()))?;
            session.heard = now;
            let is_due = now.since(session.kept) >= KEEP_EVERY;
            is_due.then(|| {
                session.kept = now;
                session.facts.clone()
            })
        };
        let renewed = said::renew(flow, node, &heartbeat.running).await;
        for renewal in &renewed {
            let resumed = JobMessage::LinkResumed(true);
            flow.bus.node_says(node, renewal.job_id, renewal.attempt, resumed);
        }
        if let Some(facts) = facts {
            let heartbeat = standing::clipped_heartbeat(heartbeat);
            let facts = NodeFacts {
                runtime: heartbeat.runtime,
                hardware: heartbeat.hardware,
                models: heartbeat.models,
                config_digest: heartbeat.config_digest,
                ..facts
            };
            keep_facts(flow, node, facts);
        }
        Ok(HeartbeatAck {
            server_time: now,
            config_digest: flow.current().digest,
            renewed,
        })
    }

    /// Whether a body of results may be read: the node has signed its hash, somebody has the node, and there is room.
    pub async fn may_deliver(
        &self,
        flow: &Flow,
        node: NodeId,
        issued_at: Timestamp,
        body_hash: B256,
        signature: &Signature,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let denied = |message: &str| ApiError::new(ErrorCode::PermissionDenied, message);
        let now = flow.clock.now();
        let skew = now.since(issued_at).max(issued_at.since(now));
        if skew > CHALLENGE_LIFETIME {
            return Err(denied("the request was signed too long ago, or a clock is off"));
        }
        delivery_request(node, flow.environment, issued_at, body_hash)
            .verify(&flow.domain, signature, node.address())
            .map_err(|_| denied("the request is not signed by the key of the node that it names"))?;
        let standing = flow.store.node_standing(node, flow.environment, now).await;
        let standing = standing.map_err(|error| {
            tracing::error!(node.id = %node, %error, "could not see how a node stands");
            busy()
        })?;
        if standing.is_none_or(|standing| standing.account.is_none() || standing.banned) {
            return Err(denied("no account has bound this node, or it is excluded"));
        }
        Arc::clone(&self.deliveries).try_acquire_owned().map_err(|_| busy())
    }

    /// `POST /io/v1/results`: what the node could not send over its socket. It counts as if it had; what it says twice gets
    /// the same ack.
    pub async fn deliver(
        &self,
        flow: &Flow,
        node: NodeId,
        request: DeliverResults,
    ) -> Result<DeliveredResults, ApiError> {
        let frames = parsed(flow, node, &request)?;
        let mut waiting: Vec<ExpectedAck> = Vec::new();
        let mut acks = Vec::new();
        for frame in frames {
            let (job_id, attempt, message) = match frame {
                NodeFrame::Chunk(chunk) => {
                    // If nobody wants it, that shows with the result.
                    let (job, attempt) = (chunk.job_id, chunk.attempt);
                    flow.bus.node_says(node, job, attempt, JobMessage::Chunk(chunk));
                    continue;
                }
                NodeFrame::Result(result) => (result.job_id, result.attempt, JobMessage::Result(Box::new(result))),
                NodeFrame::Failed(failed) => (failed.job_id, failed.attempt, JobMessage::Failed(Box::new(failed))),
                _ => continue,
            };
            let expected = flow.bus.expect_ack(node, job_id, attempt);
            if flow.bus.node_says(node, job_id, attempt, message) == Delivery::Delivered {
                waiting.push(expected);
            } else if let Some(outcome) = said::late(flow, node, job_id, attempt).await {
                acks.push(Ack {
                    job_id,
                    attempt,
                    outcome,
                });
            }
        }
        let until = Instant::now() + ACK_PATIENCE;
        for mut expected in waiting {
            if let Ok(Some(ack)) = timeout_at(until, expected.ack()).await {
                acks.push(ack);
            }
        }
        Ok(DeliveredResults { acks })
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames, each of the node itself.
fn parsed(flow: &Flow, node: NodeId, request: &DeliverResults) -> Result<Vec<NodeFrame>, ApiError> {
    let mut ends = 0;
    let mut frames = Vec::with_capacity(request.frames.len());
    for (index, raw) in request.frames.iter().enumerate() {
        let invalid = |message: &str| {
            ApiError::new(ErrorCode::InvalidValue, message.to_owned()).with_param(format!("frames[{index}]"))
        };
        let frame = NodeFrame::parse(raw.get()).map_err(|error| invalid(&error.to_string()))?;
        let is_its_own = match &frame {
            NodeFrame::Chunk(chunk) => chunk.delta.get().len() <= MAX_CHUNK_BYTES,
            NodeFrame::Result(result) => is_signed_result(flow, node, result),
            NodeFrame::Failed(failed) => {
                let signed = failed.signed_data();
                failed.node_id == node && signed.verify(&flow.domain, &failed.signature, node.address()).is_ok()
            }
            other => return Err(invalid(&format!("a {} is no end of a job", other.kind()))),
        };
        if !is_its_own {
            return Err(invalid("it is too large, or not signed by the node"));
        }
        ends += usize::from(!matches!(frame, NodeFrame::Chunk(_)));
        if ends > MOST_ENDS {
            return Err(invalid(&format!("at most {MOST_ENDS} results are taken at once")));
        }
        frames.push(frame);
    }
    Ok(frames)
}

fn is_signed_result(flow: &Flow, node: NodeId, result: &JobResult) -> bool {
    let signed = result.signed_data();
    result.node_id == node && signed.verify(&flow.domain, &result.signature, node.address()).is_ok()
}

fn challenged_at(nonce: B256) -> Timestamp {
    let mut time = [0; 8];
    time.copy_from_slice(&nonce[..8]);
    Timestamp::from_millis(i64::from_be_bytes(time))
}

fn keep_facts(flow: &Arc<Flow>, node: NodeId, facts: NodeFacts) {
    let (flow, now) = (Arc::clone(flow), flow.clock.now());
    let background = flow.background.clone();
    background.spawn(async move {
        if let Err(error) = flow.store.saw_node(node, flow.environment, facts, now).await {
            tracing::warn!(node.id = %node, %error, "what the node says of itself could not be kept");
        }
    });
}

fn reject(code: RejectCode, message: &str) -> Reject {
    Reject {
        code,
        message: message.into(),
        retry_after_ms: Some(1000),
    }
}

/// The same no as over the socket, as HTTP has it.
fn refusal(reject: &Reject) -> ApiError {
    let error = ApiError::new(ErrorCode::PermissionDenied, reject.message.clone());
    match reject.retry_after_ms {
        Some(after) => error.with_retry_after(Duration::from_millis(after)),
        None => error,
    }
}

fn busy() -> ApiError {
    ApiError::new(ErrorCode::NoCapacity, "the network is busy: try again soon").with_retry_after(Duration::from_secs(5))
}

fn too_large(what: &str) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("{what} is too large"))
}

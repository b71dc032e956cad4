//! Nodes that have no socket: the same frames over HTTP, with the same signatures and the same outcome.
//!
//! A session over HTTP keeps a node known and its leases alive, and lets it hand in results; it gets no new jobs. Nothing is
//! kept of a node that is nobody's, and challenges are authenticated rather than stored.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{NodeId, SessionId};
use resultity_core::signing::{Keypair, PublicKey};
use resultity_core::wire::{
    Ack, Challenge, Heartbeat, HeartbeatAck, Hello, KnockAnswer, LeaseView, MAX_CLOCK_SKEW_MS, MAX_HELLO_BYTES,
    NodeFrame, RegisterNode, Reject, RejectCode, Renewal, ReportHeartbeat, Welcome,
};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::bus::JobMessage;
use crate::flow::Flow;
use crate::link::LinkPolicy;
use crate::link::entrance::Entering;
use crate::link::entry::{admit, remember};
use crate::link::handshake::{check_hello, is_signed};
use crate::link::{said, standing};
use crate::seal::Sealer;
use crate::store::fleet::{NodeFacts, NodeStanding};

mod deliveries;
mod sessions;

use deliveries::Deliveries;
pub use deliveries::{Delivering, MAX_DELIVERY_BYTES};
use sessions::{Held, Session, Sessions, Whose};

/// How long a node has to answer a challenge; and how far a signed time may be from now.
const CHALLENGE_LIFETIME: Duration = Duration::from_millis(MAX_CLOCK_SKEW_MS);

/// Of how many attempts that a heartbeat names without having their lease it is looked up what became of them.
const MOST_LOOKED_UP: usize = 64;

/// Where nodes without a socket come.
#[derive(Debug)]
pub struct Fallback {
    /// Of this process alone: a challenge of another one is not known, and the node asks again.
    sealer: Sealer,
    sessions: Mutex<Sessions>,
    deliveries: Arc<Deliveries>,
}

impl Fallback {
    /// Nobody has come yet.
    pub fn new(entropy: &dyn Entropy) -> Arc<Self> {
        Arc::new(Self {
            sealer: Sealer::new(&Keypair::generate(entropy), "challenges of nodes"),
            sessions: Mutex::default(),
            deliveries: Deliveries::new(),
        })
    }

    /// `POST /io/v1/nodes`: a challenge, or the answer to one. A session that begins is watched until it ends, or until `stop`.
    pub async fn knock(
        self: &Arc<Self>,
        flow: &Arc<Flow>,
        policy: &LinkPolicy,
        request: RegisterNode,
        (peer, entering): (SocketAddr, Entering),
        stop: &CancellationToken,
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
        if self.sessions().is_used((flow.environment, said.node_id), session_id) {
            return Err(used());
        }
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
        let welcome = said::welcome(flow, &standing, leases);
        if standing.account.is_some() {
            self.begin(flow, (session_id, key), said, &welcome, stop)?;
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

    /// The session counts from now on; every hello counts once. The jobs that the node still has go on.
    fn begin(
        self: &Arc<Self>,
        flow: &Arc<Flow>,
        (id, key): (SessionId, PublicKey),
        hello: Hello,
        welcome: &Welcome,
        stop: &CancellationToken,
    ) -> Result<(), ApiError> {
        let hello = standing::clipped(hello);
        let whose = (flow.environment, hello.node_id);
        let facts = NodeFacts {
            agent_version: hello.agent_version,
            runtime: hello.runtime,
            hardware: hello.hardware,
            models: hello.models,
            region: hello.region,
            slots: hello.max_concurrency,
            config_digest: hello.config_digest,
        };
        let journal = hello.resume.map(|resume| resume.journal).unwrap_or_default();
        let journal: HashSet<Held> = journal.into_iter().collect();
        let leases = welcome
            .leases
            .iter()
            .map(|lease: &LeaseView| (lease.job_id, lease.attempt));
        let named: HashSet<Held> = leases.filter(|held| journal.contains(held)).collect();
        let interval = Duration::from_millis(welcome.heartbeat_interval_ms);
        let mut session = Session::new(id, key, facts.clone(), interval);
        session.named.clone_from(&named);
        if !self.sessions().begin(whose, session) {
            return Err(used());
        }
        for (job, attempt) in named {
            flow.bus.node_says(whose.1, job, attempt, JobMessage::LinkResumed(true));
        }
        keep_facts(flow, whose.1, facts);
        let watch = Arc::clone(self).watch(Arc::clone(flow), whose, id, stop.clone());
        flow.background.spawn(watch);
        Ok(())
    }

    /// When nothing is heard in a session any more, its jobs wait no longer than for a node whose socket has gone.
    async fn watch(self: Arc<Self>, flow: Arc<Flow>, whose: Whose, id: SessionId, stop: CancellationToken) {
        loop {
            let Some(until) = self.sessions().until(whose, id) else {
                return;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(until) => {}
            }
            let is_delivering = self.deliveries.is_under_way(whose);
            let mut sessions = self.sessions();
            if sessions.until(whose, id) != Some(until) {
                // Something was heard, or another session has begun.
                continue;
            }
            if !is_delivering {
                sessions.end(whose);
                break;
            }
            sessions.hear(whose);
        }
        said::lost(&flow, whose.1, &HashSet::new());
    }

    /// Whether a node has a session over HTTP.
    pub fn has(&self, environment: Environment, node: NodeId) -> bool {
        self.sessions().current((environment, node)).is_some()
    }

    /// What a node without a socket said last that it still has. Whoever ends its socket leaves that alone.
    pub(super) fn keeps(&self, environment: Environment, node: NodeId) -> HashSet<Held> {
        let mut sessions = self.sessions();
        let session = sessions.current((environment, node));
        session.map(|session| session.named.clone()).unwrap_or_default()
    }

    /// `POST /io/v1/heartbeat`: the leases that it names go on, and their jobs wait for the node.
    pub async fn heartbeat(
        &self,
        flow: &Arc<Flow>,
        report: &ReportHeartbeat,
        entering: Entering,
    ) -> Result<HeartbeatAck, ApiError> {
        let (node, text, now) = (report.node_id, report.heartbeat.get(), flow.clock.now());
        let (whose, id) = ((flow.environment, node), report.session_id);
        let Ok(NodeFrame::Heartbeat(heartbeat)) = NodeFrame::parse(text) else {
            return Err(ApiError::new(ErrorCode::InvalidValue, "this is no heartbeat").with_param("heartbeat"));
        };
        let refused = |why: &str| {
            entering.failed();
            denied(why)
        };
        let (key, last) = {
            let mut sessions = self.sessions();
            let session = sessions.get(whose, id).ok_or_else(unknown)?;
            (session.key, session.replay.last())
        };
        // What came before is not worth the work of checking who said it.
        if heartbeat.seq <= last {
            return Err(refused("the heartbeat is old or repeated"));
        }
        said::check(&heartbeat, text, node, id, &key, &flow.domain).map_err(refused)?;
        let facts = {
            let mut sessions = self.sessions();
            let session = sessions.get(whose, id).ok_or_else(unknown)?;
            let checked = session.replay.check(heartbeat.seq, heartbeat.issued_at, now);
            checked.map_err(|error| refused(&error.to_string()))?;
            session.hear();
            let is_due = session.is_to_be_kept();
            is_due.then(|| session.facts.clone())
        };
        let standing = standing_of(flow, node).await?;
        let Some(standing) = standing.filter(|standing| standing.account.is_some() && !standing.banned) else {
            self.sessions().end(whose);
            said::lost(flow, node, &HashSet::new());
            return Err(denied("no account has bound this node, or it is excluded"));
        };
        let (renewed, acks) = if standing::keeps_jobs(&standing, now) {
            self.renew(flow, whose, id, &heartbeat).await
        } else {
            self.drop_jobs(flow, whose, id);
            (Vec::new(), Vec::new())
        };
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
            acks,
        })
    }

    /// The leases that a heartbeat names go on; what became of the other attempts that it names, as far as that is known.
    async fn renew(
        &self,
        flow: &Flow,
        whose @ (_, node): Whose,
        id: SessionId,
        heartbeat: &Heartbeat,
    ) -> (Vec<Renewal>, Vec<Ack>) {
        let renewed = said::renew(flow, node, &heartbeat.running).await;
        let named: HashSet<Held> = renewed
            .iter()
            .map(|renewal| (renewal.job_id, renewal.attempt))
            .collect();
        for (job, attempt) in &named {
            flow.bus.node_says(node, *job, *attempt, JobMessage::LinkResumed(true));
        }
        let others = heartbeat
            .running
            .iter()
            .map(|running| (running.job_id, running.attempt));
        let mut acks = Vec::new();
        for (job_id, attempt) in others.filter(|held| !named.contains(held)).take(MOST_LOOKED_UP) {
            if let Some(outcome) = said::late(flow, node, job_id, attempt).await {
                acks.push(Ack {
                    job_id,
                    attempt,
                    outcome,
                });
            }
        }
        if let Some(session) = self.sessions().get(whose, id) {
            session.named = named;
        }
        (renewed, acks)
    }

    /// It may not go on with anything for now.
    fn drop_jobs(&self, flow: &Flow, whose: Whose, id: SessionId) {
        if let Some(session) = self.sessions().get(whose, id) {
            session.named.clear();
        }
        said::lost(flow, whose.1, &HashSet::new());
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn standing_of(flow: &Flow, node: NodeId) -> Result<Option<NodeStanding>, ApiError> {
    let standing = flow.store.node_standing(node, flow.environment, flow.clock.now()).await;
    standing.map_err(|error| {
        tracing::error!(node.id = %node, %error, "could not see how a node stands");
        busy()
    })
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
    let error = denied(&reject.message);
    match reject.retry_after_ms {
        Some(after) => error.with_retry_after(Duration::from_millis(after)),
        None => error,
    }
}

fn denied(why: &str) -> ApiError {
    ApiError::new(ErrorCode::PermissionDenied, why)
}

fn unknown() -> ApiError {
    let message = "there is no such session: say hello at POST /io/v1/nodes";
    ApiError::new(ErrorCode::NotFound, message)
}

fn used() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "this hello was used, or a later one was")
}

fn busy() -> ApiError {
    ApiError::new(ErrorCode::NoCapacity, "the network is busy: try again soon").with_retry_after(Duration::from_secs(5))
}

fn too_large(what: &str) -> ApiError {
    ApiError::new(ErrorCode::PayloadTooLarge, format!("{what} is too large"))
}

//! A node without a socket, whose every step the test decides.

use std::sync::atomic::{AtomicI64, Ordering};

use resultity_core::canonical::sha256;
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, TypedData};
use resultity_core::wire::{
    Ack, BODY_HASH_HEADER, Challenge, DeliveredResults, Hardware, Heartbeat, HeartbeatAck, Hello, ISSUED_AT_HEADER,
    KnockAnswer, Load, NODE_HEADER, NodeFrame, Resume, RunningJob, RuntimeInfo, SIGNATURE_HEADER, Welcome, body_hash,
    delivery_request,
};
use serde_json::Value;

use super::node::TestNode;
use super::{TestServer, soon};

/// A node without a socket.
pub struct HttpNode {
    http: reqwest::Client,
    base: String,
    pub key: Keypair,
    pub domain: Domain,
    pub session: SessionId,
    /// When the last request was signed: of several, those signed later count.
    signed_at: AtomicI64,
}

/// How a heartbeat names a job.
pub fn running((job_id, attempt): (JobId, Attempt)) -> RunningJob {
    RunningJob { job_id, attempt }
}

impl HttpNode {
    pub fn new(server: &TestServer, key: Keypair, domain: Domain) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("{}/io/v1", server.base_url()),
            key,
            domain,
            session: SessionId::new(&SystemClock, &SystemEntropy),
            signed_at: AtomicI64::new(0),
        }
    }

    /// The same node as this one.
    pub fn of(server: &TestServer, node: &TestNode) -> Self {
        Self::new(server, node.key.clone(), node.domain.clone())
    }

    /// Now, and later than ever before.
    pub fn now(&self) -> Timestamp {
        let now = SystemClock.now().as_millis();
        let next = |last: i64| Some(now.max(last + 1));
        let last = self
            .signed_at
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .unwrap();
        Timestamp::from_millis(now.max(last + 1))
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.post_with(path, body.to_owned(), Vec::new()).await
    }

    pub async fn post_with(&self, path: &str, body: String, headers: Vec<(&str, String)>) -> (u16, Value) {
        let mut request = self.http.post(format!("{}/{path}", self.base)).body(body);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub async fn challenge(&self) -> Challenge {
        let (status, answer) = self.post("nodes", "{}").await;
        assert_eq!(status, 200, "{answer}");
        match serde_json::from_value(answer).unwrap() {
            KnockAnswer::Challenge(challenge) => challenge,
            KnockAnswer::Welcome(_) => panic!("a welcome for nothing"),
        }
    }

    pub fn hello(&self, challenge: &Challenge, journal: Vec<(JobId, Attempt)>, issued_at: Timestamp) -> String {
        let mut hello = Hello {
            node_id: self.key.node_id(),
            agent_version: "0.1.0".into(),
            environment: Environment::Testnet,
            runtime: RuntimeInfo::default(),
            models: Vec::new(),
            hardware: Hardware::default(),
            region: None,
            max_concurrency: 1,
            paused: false,
            config_digest: None,
            resume: Some(Resume {
                session_id: challenge.session_id,
                journal,
                more: false,
            }),
            issued_at,
            signature: None,
        };
        let data = HelloData {
            nodeId: self.key.address(),
            nonce: challenge.nonce,
            sessionId: challenge.session_id.to_string(),
            issuedAt: issued_at.as_millis() as u64,
            bodyHash: body_hash(&NodeFrame::from(hello.clone()).encode()).unwrap(),
        };
        hello.signature = Some(data.sign(&self.domain, &self.key));
        let frame = NodeFrame::from(hello).encode();
        let (session, nonce) = (challenge.session_id, challenge.nonce);
        format!(r#"{{"session_id":"{session}","nonce":"{nonce}","hello":{frame}}}"#)
    }

    pub async fn knock(&mut self, journal: Vec<(JobId, Attempt)>) -> Welcome {
        let challenge = self.challenge().await;
        self.session = challenge.session_id;
        let (status, answer) = self
            .post("nodes", &self.hello(&challenge, journal, SystemClock.now()))
            .await;
        assert_eq!(status, 200, "{answer}");
        match serde_json::from_value(answer).unwrap() {
            KnockAnswer::Welcome(welcome) => welcome,
            KnockAnswer::Challenge(_) => panic!("another challenge"),
        }
    }

    pub fn heartbeat(&self, seq: u64, running: Vec<RunningJob>, issued_at: Timestamp) -> String {
        let mut heartbeat = Heartbeat {
            seq,
            issued_at,
            load: Load::default(),
            running,
            models: Vec::new(),
            runtime: RuntimeInfo::default(),
            hardware: Hardware::default(),
            config_digest: None,
            signature: None,
        };
        let data = HeartbeatData {
            nodeId: self.key.address(),
            sessionId: self.session.to_string(),
            seq,
            issuedAt: issued_at.as_millis() as u64,
            bodyHash: body_hash(&NodeFrame::from(heartbeat.clone()).encode()).unwrap(),
        };
        heartbeat.signature = Some(data.sign(&self.domain, &self.key));
        let frame = NodeFrame::from(heartbeat).encode();
        let (node, session) = (self.key.node_id(), self.session);
        format!(r#"{{"node_id":"{node}","session_id":"{session}","heartbeat":{frame}}}"#)
    }

    pub fn signed(&self, body: &str, issued_at: Timestamp) -> Vec<(&'static str, String)> {
        let (node, hash) = (self.key.node_id(), sha256(body));
        let data = delivery_request(node, Environment::Testnet, issued_at, hash);
        vec![
            (NODE_HEADER, node.to_string()),
            (ISSUED_AT_HEADER, issued_at.as_millis().to_string()),
            (BODY_HASH_HEADER, hash.to_string()),
            (SIGNATURE_HEADER, data.sign(&self.domain, &self.key).to_string()),
        ]
    }

    pub async fn try_deliver(&self, frames: &[NodeFrame]) -> (u16, Value) {
        let frames: Vec<String> = frames.iter().map(NodeFrame::encode).collect();
        let body = format!(r#"{{"frames":[{}]}}"#, frames.join(","));
        let headers = self.signed(&body, self.now());
        self.post_with("results", body, headers).await
    }

    pub async fn deliver(&self, frames: &[NodeFrame]) -> Vec<Ack> {
        let (status, answer) = self.try_deliver(frames).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value::<DeliveredResults>(answer).unwrap().acks
    }

    /// Reports these as its own; what the server says to that.
    pub async fn report(&self, seq: u64, held: &[(JobId, Attempt)]) -> HeartbeatAck {
        let held = held.iter().copied().map(running).collect();
        let (status, answer) = self
            .post("heartbeat", &self.heartbeat(seq, held, SystemClock.now()))
            .await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer).unwrap()
    }
}

//! A node on a real WebSocket with real signatures, whose every step the test decides.

use std::collections::VecDeque;

use futures::{SinkExt, StreamExt};
use resultity_core::canonical::sha256;
use resultity_core::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::model::ModelState;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, LogBatchData, Outcome, TypedData};
use resultity_core::wire::{
    Accept, Ack, Chunk, Failed, FailureCode, Heartbeat, Hello, Job, JobResult, LogBatch, LogLine, NodeFrame, NodeModel,
    OutputHasher, Reject, Renewal, Resume, RunningJob, RuntimeInfo, ServerFrame, Timings, Transcript, Welcome,
    body_hash, output_hash,
};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::soon;

/// A node in the hands of a test.
pub struct TestNode {
    pub key: Keypair,
    pub domain: Domain,
    pub session: SessionId,
    pub welcome: Welcome,
    pub models: Vec<NodeModel>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Jobs that came while something else was waited for.
    early: VecDeque<Job>,
}

/// The version that the snapshot in force pins, as an Agent has it from there; any other is not given jobs.
async fn version_of(io_url: &str, model: &str) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = io_url.replacen("ws", "http", 1).replacen("/ws", "/config", 1);
    let signed = soon("the configuration", http.get(url).send()).await.unwrap();
    let signed: serde_json::Value = signed.json().await.unwrap();
    let models = signed["snapshot"]["models"].as_array().unwrap();
    let known = models.iter().find(|known| known["name"] == model);
    known
        .and_then(|known| known["version"].as_str())
        .unwrap_or("1")
        .to_owned()
}

/// What it sends of a stream, for its hashes.
#[derive(Default)]
pub struct Sent {
    pub transcript: Transcript,
    pub output: OutputHasher,
    pub count: u64,
}

impl TestNode {
    /// A new node that is in rotation with this model.
    pub async fn ready(io_url: &str, model: &str, slots: u32) -> Self {
        let mut node = Self::connect(io_url, Keypair::generate(&SystemEntropy), model, slots, None).await;
        node.pass_readiness().await;
        node
    }

    /// The same with a container.
    pub async fn ready_to_compute(io_url: &str, model: &str, slots: u32) -> Self {
        let mut node = Self::connect(io_url, Keypair::generate(&SystemEntropy), model, slots, None).await;
        let job = node.next_job().await;
        node.accept(&job).await;
        let result = node.computed(&job, "{}");
        node.send(result).await;
        node.until_acknowledged(&job).await;
        node
    }

    /// Dials in and says hello; the readiness job comes next.
    pub async fn connect(io_url: &str, key: Keypair, model: &str, slots: u32, resume: Option<Resume>) -> Self {
        Self::connect_as(io_url, key, model, slots, |hello| hello.resume = resume).await
    }

    /// The same with a hello that the test changes before it is signed.
    pub async fn connect_as(
        io_url: &str,
        key: Keypair,
        model: &str,
        slots: u32,
        change: impl FnOnce(&mut Hello),
    ) -> Self {
        let version = version_of(io_url, model).await;
        Self::connect_with(io_url, key, (model, version), slots, change).await
    }

    /// One of many: it knows without asking that the model is of version 1.
    pub async fn connect_light(io_url: &str, key: Keypair, model: &str, slots: u32) -> Self {
        Self::connect_with(io_url, key, (model, "1".to_owned()), slots, |_| ()).await
    }

    async fn connect_with(
        io_url: &str,
        key: Keypair,
        (model, version): (&str, String),
        slots: u32,
        change: impl FnOnce(&mut Hello),
    ) -> Self {
        let connected = Self::try_connect(io_url, key, (model, version), slots, change).await;
        connected.unwrap_or_else(|reject| panic!("no welcome, but {reject:?}"))
    }

    /// The same; the network may say no.
    pub async fn try_connect(
        io_url: &str,
        key: Keypair,
        (model, version): (&str, String),
        slots: u32,
        change: impl FnOnce(&mut Hello),
    ) -> Result<Self, Reject> {
        let mut request = io_url.into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", "resultity.io.v1".parse().unwrap());
        let (mut socket, _) = soon("the link", connect_async(request)).await.unwrap();
        let ServerFrame::Challenge(challenge) = receive(&mut socket).await else {
            panic!("no challenge")
        };
        let domain = Domain::new(challenge.environment, challenge.genesis);
        let models = vec![NodeModel {
            id: model.into(),
            version,
            digest: None,
            state: ModelState::Active,
            engine: None,
        }];
        let mut hello = Hello {
            node_id: key.node_id(),
            agent_version: "0.1.0".into(),
            environment: challenge.environment,
            runtime: healthy(),
            models: models.clone(),
            hardware: resultity_core::wire::Hardware::default(),
            region: None,
            max_concurrency: slots,
            paused: false,
            config_digest: None,
            resume: None,
            issued_at: SystemClock.now(),
            signature: None,
        };
        change(&mut hello);
        let data = HelloData {
            nodeId: key.address(),
            nonce: challenge.nonce,
            sessionId: challenge.session_id.to_string(),
            issuedAt: hello.issued_at.as_millis() as u64,
            bodyHash: body_hash(&NodeFrame::from(hello.clone()).encode()).unwrap(),
        };
        hello.signature = Some(data.sign(&domain, &key));
        socket
            .send(Message::text(NodeFrame::from(hello).encode()))
            .await
            .unwrap();
        let welcome = match receive(&mut socket).await {
            ServerFrame::Welcome(welcome) => welcome,
            ServerFrame::Reject(reject) => return Err(reject),
            other => panic!("no welcome, but {other:?}"),
        };
        Ok(Self {
            key,
            domain,
            session: challenge.session_id,
            welcome,
            models,
            socket,
            early: VecDeque::new(),
        })
    }

    /// Says that it is alive, still with its model and one slot.
    pub async fn heartbeat(&mut self, seq: u64) {
        let heartbeat = self.signed_heartbeat(seq, 1, &[], SystemClock.now());
        self.send_text(heartbeat).await;
    }

    /// The same, with so many slots, and names these jobs as its own.
    pub fn signed_heartbeat(&self, seq: u64, slots: u32, held: &[(JobId, Attempt)], issued_at: Timestamp) -> String {
        let running = held.iter().map(|(job_id, attempt)| RunningJob {
            job_id: *job_id,
            attempt: *attempt,
        });
        let mut heartbeat = Heartbeat {
            seq,
            issued_at,
            load: resultity_core::wire::Load {
                slots,
                ..resultity_core::wire::Load::default()
            },
            running: running.collect(),
            models: self.models.clone(),
            runtime: healthy(),
            hardware: resultity_core::wire::Hardware::default(),
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
        NodeFrame::from(heartbeat).encode()
    }

    /// Reports these jobs as its own; which leases go on.
    pub async fn renewed(&mut self, seq: u64, held: &[(JobId, Attempt)]) -> Vec<Renewal> {
        let heartbeat = self.signed_heartbeat(seq, 1, held, SystemClock.now());
        self.send_text(heartbeat).await;
        loop {
            if let ServerFrame::HeartbeatAck(ack) = self.next().await {
                return ack.renewed;
            }
        }
    }

    /// Lines of its log.
    pub fn signed_log(&self, seq: u64, lines: Vec<LogLine>) -> String {
        let mut batch = LogBatch {
            seq,
            issued_at: SystemClock.now(),
            lines,
            signature: None,
        };
        let data = LogBatchData {
            nodeId: self.key.address(),
            sessionId: self.session.to_string(),
            seq,
            bodyHash: body_hash(&NodeFrame::from(batch.clone()).encode()).unwrap(),
        };
        batch.signature = Some(data.sign(&self.domain, &self.key));
        NodeFrame::from(batch).encode()
    }

    /// Under the socket's frames: what is written here is sent as it is.
    pub fn raw(&mut self) -> &mut MaybeTlsStream<TcpStream> {
        self.socket.get_mut()
    }

    /// Answers the readiness job.
    pub async fn pass_readiness(&mut self) {
        let job = self.next_job().await;
        self.answer(&job, "yes").await;
        self.until_acknowledged(&job).await;
    }

    async fn until_acknowledged(&mut self, job: &Job) {
        // A job that waits for the node may be on its way before the ack is.
        loop {
            match self.next().await {
                ServerFrame::Ack(ack) if ack.job_id == job.job_id => return,
                ServerFrame::Job(job) => self.early.push_back(job),
                other => panic!("no ack, but {other:?}"),
            }
        }
    }

    pub fn id(&self) -> NodeId {
        self.key.node_id()
    }

    pub async fn send(&mut self, frame: impl Into<NodeFrame>) {
        self.send_text(frame.into().encode()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The same; the network may have closed the link by now.
    pub async fn try_send_text(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }

    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> ServerFrame {
        receive(&mut self.socket).await
    }

    /// The next frame; nothing if the link has ended.
    pub async fn next_or_end(&mut self) -> Option<ServerFrame> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(ServerFrame::parse(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }

    /// The code with which the server closes the link.
    pub async fn close_code(&mut self) -> u16 {
        soon("a close", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                    Some(Ok(_)) => {}
                    other => panic!("no close frame, but {other:?}"),
                }
            }
        })
        .await
    }

    pub async fn next_job(&mut self) -> Job {
        if let Some(job) = self.early.pop_front() {
            return job;
        }
        loop {
            match self.next().await {
                ServerFrame::Job(job) => return job,
                ServerFrame::Ack(_)
                | ServerFrame::HeartbeatAck(_)
                | ServerFrame::Cancel(_)
                | ServerFrame::Control(_)
                | ServerFrame::Notice(_) => {}
                other => panic!("no job, but {other:?}"),
            }
        }
    }

    /// Which of two nodes is given the next job: that one, the job, and the other.
    pub async fn whoever_is_given(mut one: Self, mut other: Self) -> (Self, Job, Self) {
        let (is_the_first, job) = tokio::select! {
            job = one.next_job() => (true, job),
            job = other.next_job() => (false, job),
        };
        if is_the_first {
            (one, job, other)
        } else {
            (other, job, one)
        }
    }

    pub async fn ack_of(&mut self, job: JobId) -> Ack {
        loop {
            match self.next().await {
                ServerFrame::Ack(ack) if ack.job_id == job => return ack,
                // A node that has just come back is asked its readiness job again.
                ServerFrame::Job(_) | ServerFrame::Ack(_) | ServerFrame::HeartbeatAck(_) | ServerFrame::Cancel(_) => {}
                other => panic!("no ack, but {other:?}"),
            }
        }
    }

    /// Waits until it is told to stop working on the job.
    pub async fn cancel_of(&mut self, job: JobId) {
        loop {
            match self.next().await {
                ServerFrame::Cancel(cancel) if cancel.job_id == job => return,
                ServerFrame::Ack(_) | ServerFrame::HeartbeatAck(_) => {}
                other => panic!("no cancel, but {other:?}"),
            }
        }
    }

    pub async fn accept(&mut self, job: &Job) {
        let accept = Accept {
            job_id: job.job_id,
            attempt: job.attempt,
            lease_token: job.lease_token,
        };
        self.send(accept).await;
    }

    /// Accepts and answers in one piece: three prompt tokens, two made.
    pub async fn answer(&mut self, job: &Job, text: &str) {
        self.accept(job).await;
        let result = self.result(job, text);
        self.send(result).await;
    }

    /// A good answer in one piece.
    pub fn result(&self, job: &Job, text: &str) -> JobResult {
        let output = serde_json::json!([
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ]);
        let output: Box<RawValue> = serde_json::value::to_raw_value(&output).unwrap();
        let mut sent = Sent::default();
        sent.transcript.add(output.get());
        sent.output.add(&[ChunkChoice::text(0, text)]);
        self.signed(job, &sent, Outcome::Complete, Some(output))
    }

    /// What a container gave.
    pub fn computed(&self, job: &Job, json: &str) -> JobResult {
        self.computed_as(job, &format!("[{json}]"), json)
    }

    /// This output, hashed as if `json` were what the container gave.
    pub fn computed_as(&self, job: &Job, output: &str, json: &str) -> JobResult {
        let mut result = self.result(job, "");
        let mut transcript = Transcript::default();
        transcript.add(output);
        result.transcript_hash = transcript.finish();
        result.output_hash = output_hash([(0, json)]);
        (result.prompt_tokens, result.completion_tokens) = (0, 0);
        result.output = Some(RawValue::from_string(output.to_owned()).unwrap());
        self.sign(&mut result);
        result
    }

    /// Sends a piece of a stream.
    pub async fn chunk(&mut self, job: &Job, sent: &mut Sent, choices: &[ChunkChoice]) {
        let delta = serde_json::value::to_raw_value(choices).unwrap();
        sent.transcript.add(delta.get());
        sent.output.add(choices);
        let chunk = Chunk {
            job_id: job.job_id,
            attempt: job.attempt,
            index: sent.count,
            delta,
        };
        sent.count += 1;
        self.send(chunk).await;
    }

    /// The end of a stream.
    pub fn stream_result(&self, job: &Job, sent: &Sent, outcome: Outcome) -> JobResult {
        self.signed(job, sent, outcome, None)
    }

    fn signed(&self, job: &Job, sent: &Sent, outcome: Outcome, output: Option<Box<RawValue>>) -> JobResult {
        let mut result = JobResult {
            node_id: self.id(),
            job_id: job.job_id,
            attempt: job.attempt,
            lease_token: job.lease_token,
            request_hash: sha256(job.body.get()),
            transcript_hash: sent.transcript.finish(),
            output_hash: sent.output.finish(),
            prompt_tokens: 3,
            completion_tokens: 2,
            finish_reason: "stop".into(),
            outcome,
            output,
            timings: Timings::default(),
            signature: self.key.sign(resultity_core::B256::ZERO),
        };
        self.sign(&mut result);
        result
    }

    /// Signs a result anew, after a change.
    pub fn sign(&self, result: &mut JobResult) {
        result.signature = result.signed_data().sign(&self.domain, &self.key);
    }

    pub fn failure(&self, job: &Job, code: FailureCode) -> Failed {
        let mut failed = Failed {
            node_id: self.id(),
            job_id: job.job_id,
            attempt: job.attempt,
            lease_token: job.lease_token,
            code,
            message: "made by a test".into(),
            param: None,
            retryable: true,
            signature: self.key.sign(resultity_core::B256::ZERO),
        };
        failed.signature = failed.signed_data().sign(&self.domain, &self.key);
        failed
    }

    /// What this session leaves to the next one.
    pub fn resume(&self, journal: Vec<(JobId, Attempt)>) -> Resume {
        Resume {
            session_id: self.session,
            journal,
            more: false,
        }
    }
}

fn healthy() -> RuntimeInfo {
    RuntimeInfo {
        healthy: true,
        ..RuntimeInfo::default()
    }
}

async fn receive(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> ServerFrame {
    soon("a frame", async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return ServerFrame::parse(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the link ended: {other:?}"),
            }
        }
    })
    .await
}

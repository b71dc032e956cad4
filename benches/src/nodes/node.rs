//! A node that is as light as one can be: a key, a socket, and answers that are known beforehand.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::model::ModelState;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, Outcome, TypedData as _};
use resultity_core::wire::{
    Accept, Hardware, Heartbeat, Hello, Job, JobResult, Load, NodeFrame, NodeModel, OutputHasher, RuntimeInfo,
    SUBPROTOCOL, ServerFrame, Timings, Transcript, body_hash,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::prompt::{self, ANSWER_TOKENS, Asked};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Jobs that it takes at once.
const SLOTS: u32 = 4;

/// The smallest buffer: the driver holds thousands of them.
const READ_BUFFER: usize = 4096;

/// What all nodes know.
#[derive(Debug)]
pub(super) struct Network {
    /// Where they dial in.
    pub uri: Uri,
    /// What they offer, in the version that the network pins.
    pub models: Vec<NodeModel>,
    /// Who counts what they do.
    pub done: mpsc::UnboundedSender<Done>,
}

impl Network {
    pub(super) fn new(uri: Uri, model: &str, version: String, done: mpsc::UnboundedSender<Done>) -> Self {
        let model = NodeModel {
            id: model.into(),
            version,
            digest: None,
            state: ModelState::Active,
            engine: None,
        };
        Self {
            uri,
            models: vec![model],
            done,
        }
    }
}

/// What a node did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// A job of its was acknowledged.
    Job,
    /// A heartbeat of its was.
    Heartbeat,
    /// Its link ended, or something came that must not.
    Broken(String),
}

/// A node whose hello was accepted.
pub(super) struct Node {
    key: Keypair,
    domain: Domain,
    session: String,
    interval: Duration,
    network: Arc<Network>,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
}

impl Node {
    /// Dials in and says hello.
    pub(super) async fn connect(network: Arc<Network>, key: Keypair) -> Result<Self, String> {
        let request = ClientRequestBuilder::new(network.uri.clone()).with_sub_protocol(SUBPROTOCOL);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let connected = connect_async_with_config(request, Some(config), true).await;
        let (mut sink, mut stream) = connected.map_err(|error| error.to_string())?.0.split();
        let ServerFrame::Challenge(challenge) = next(&mut stream).await? else {
            return Err("no challenge".into());
        };
        let domain = Domain::new(challenge.environment, challenge.genesis);
        let mut hello = Hello {
            node_id: key.node_id(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            environment: challenge.environment,
            runtime: healthy(),
            models: network.models.clone(),
            hardware: Hardware::default(),
            region: None,
            max_concurrency: SLOTS,
            paused: false,
            config_digest: None,
            resume: None,
            issued_at: SystemClock.now(),
            signature: None,
        };
        let data = HelloData {
            nodeId: key.address(),
            nonce: challenge.nonce,
            sessionId: challenge.session_id.to_string(),
            issuedAt: hello.issued_at.as_millis() as u64,
            bodyHash: hash(&hello.clone().into())?,
        };
        hello.signature = Some(data.sign(&domain, &key));
        send(&mut sink, hello).await?;
        match next(&mut stream).await? {
            ServerFrame::Welcome(welcome) => Ok(Self {
                interval: Duration::from_millis(welcome.heartbeat_interval_ms.max(1)),
                session: challenge.session_id.to_string(),
                key,
                domain,
                network,
                sink,
                stream,
            }),
            other => Err(format!("no welcome, but {other:?}")),
        }
    }

    /// How often the network wants to hear of it.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Answers and reports until its link ends. The first heartbeat comes after `first`.
    pub(super) async fn run(mut self, first: Duration) {
        let mut due = Instant::now() + first;
        let mut seq = 0;
        loop {
            let step = tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    seq += 1;
                    due += self.interval;
                    self.heartbeat(seq).await
                }
                frame = next(&mut self.stream) => match frame {
                    Ok(frame) => self.take(frame).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = step {
                let _ = self.network.done.send(Done::Broken(error));
                return;
            }
        }
    }

    async fn take(&mut self, frame: ServerFrame) -> Result<(), String> {
        let done = match frame {
            ServerFrame::Job(job) => return self.answer(&job).await,
            ServerFrame::Ack(_) => Done::Job,
            ServerFrame::HeartbeatAck(_) => Done::Heartbeat,
            ServerFrame::Reject(reject) => return Err(reject.message),
            _ => return Ok(()),
        };
        self.network.done.send(done).map_err(|error| error.to_string())
    }

    async fn heartbeat(&mut self, seq: u64) -> Result<(), String> {
        let mut heartbeat = Heartbeat {
            seq,
            issued_at: SystemClock.now(),
            load: Load {
                slots: SLOTS,
                ..Load::default()
            },
            running: Vec::new(),
            models: self.network.models.clone(),
            runtime: healthy(),
            hardware: Hardware::default(),
            config_digest: None,
            signature: None,
        };
        let data = HeartbeatData {
            nodeId: self.key.address(),
            sessionId: self.session.clone(),
            seq,
            issuedAt: heartbeat.issued_at.as_millis() as u64,
            bodyHash: hash(&heartbeat.clone().into())?,
        };
        heartbeat.signature = Some(data.sign(&self.domain, &self.key));
        send(&mut self.sink, heartbeat).await
    }

    async fn answer(&mut self, job: &Job) -> Result<(), String> {
        let accept = Accept {
            job_id: job.job_id,
            attempt: job.attempt,
            lease_token: job.lease_token,
        };
        send(&mut self.sink, accept).await?;
        let body = job.body.get();
        let text = prompt::answer(Asked::parse(body).nonce);
        let output = serde_json::json!([
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ]);
        let output = serde_json::value::to_raw_value(&output).map_err(|error| error.to_string())?;
        let (mut transcript, mut hasher) = (Transcript::default(), OutputHasher::default());
        transcript.add(output.get());
        hasher.add(&[ChunkChoice::text(0, &text)]);
        let mut result = JobResult {
            node_id: self.key.node_id(),
            job_id: job.job_id,
            attempt: job.attempt,
            lease_token: job.lease_token,
            request_hash: sha256(body),
            transcript_hash: transcript.finish(),
            output_hash: hasher.finish(),
            prompt_tokens: (body.len() as u64 / 16).max(1),
            completion_tokens: ANSWER_TOKENS,
            finish_reason: "stop".into(),
            outcome: Outcome::Complete,
            output: Some(output),
            timings: Timings::default(),
            signature: self.key.sign(B256::ZERO),
        };
        result.signature = result.signed_data().sign(&self.domain, &self.key);
        send(&mut self.sink, result).await
    }
}

fn healthy() -> RuntimeInfo {
    RuntimeInfo {
        healthy: true,
        ..RuntimeInfo::default()
    }
}

fn hash(frame: &NodeFrame) -> Result<B256, String> {
    body_hash(&frame.encode()).map_err(|error| error.to_string())
}

async fn send(sink: &mut SplitSink<Socket, Message>, frame: impl Into<NodeFrame>) -> Result<(), String> {
    let sent = sink.send(Message::text(frame.into().encode())).await;
    sent.map_err(|error| error.to_string())
}

/// The next frame. Loses nothing if it is dropped.
async fn next(stream: &mut SplitStream<Socket>) -> Result<ServerFrame, String> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => return ServerFrame::parse(&text).map_err(|error| error.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => return Err(format!("the server sent {other:?}")),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the link ended".into()),
        }
    }
}

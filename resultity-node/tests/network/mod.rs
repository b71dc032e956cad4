//! A small network for tests of the Agent: a real WebSocket server with real signatures, played by the test; and a
//! Runtime that does what the prompt says.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use resultity_core::clock::{Clock, SeededEntropy, SystemClock, SystemEntropy, Timestamp};
use resultity_core::credits::Price;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, LeaseToken, SessionId};
use resultity_core::job::{Attempt, JobKind};
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Usage};
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::signing::{Domain, HeartbeatData, HelloData, Keypair, TypedData};
use resultity_core::snapshot::{JobParameters, SignedSnapshot, Snapshot};
use resultity_core::wire::{
    Challenge, Heartbeat, HeartbeatAck, Hello, Job, LeaseView, NodeFrame, SUBPROTOCOL, ServerFrame, Welcome, body_hash,
};
use resultity_core::{Address, B256};
use resultity_node::runtime::{
    ContainerRequest, Embeddings, EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream,
};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The network's side.
pub(crate) struct Network {
    pub(crate) io_url: String,
    pub(crate) key: Keypair,
    pub(crate) domain: Domain,
    signed: SignedSnapshot,
    served: Arc<Mutex<Served>>,
    sockets: mpsc::Receiver<WebSocketStream<TcpStream>>,
}

/// What is said to those who ask for the snapshot.
#[derive(Debug, Clone)]
struct Served {
    status: u16,
    body: Vec<u8>,
    asked: u64,
}

impl Network {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let domain = Domain::new(Environment::Testnet, key.address());
        let signed = SignedSnapshot::publish(&snapshot(), &domain, &key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let io_url = format!("ws://{}/io/v1/ws", listener.local_addr().unwrap());
        let (sender, sockets) = mpsc::channel(8);
        let served = Arc::new(Mutex::new(Served {
            status: 200,
            body: serde_json::to_vec(&signed).unwrap(),
            asked: 0,
        }));
        let config = Arc::clone(&served);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&config), sender.clone()));
            }
        });
        Self {
            io_url,
            key,
            domain,
            signed,
            served,
            sockets,
        }
    }

    /// From now on whoever asks for the snapshot gets this.
    pub(crate) fn serve_config(&self, status: u16, body: impl Into<Vec<u8>>) {
        let mut served = self.served.lock().unwrap();
        (served.status, served.body) = (status, body.into());
    }

    /// How often it was asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.served.lock().unwrap().asked
    }

    /// Signs a snapshot and has it in force; links that are made from now on know of it.
    pub(crate) fn publish(&mut self, snapshot: &Snapshot) -> B256 {
        self.signed = SignedSnapshot::publish(snapshot, &self.domain, &self.key).unwrap();
        self.serve_config(200, serde_json::to_vec(&self.signed).unwrap());
        self.signed.digest
    }

    /// The next link, before its handshake.
    pub(crate) async fn link(&mut self) -> NodeLink {
        let socket = tokio::time::timeout(PATIENCE, self.sockets.recv())
            .await
            .unwrap()
            .unwrap();
        NodeLink {
            socket,
            domain: self.domain.clone(),
            network_key: self.key.address(),
            digest: self.signed.digest,
            node: Address::ZERO,
            session: session_id(),
        }
    }

    /// The next link, with the handshake done and the model announced.
    pub(crate) async fn ready_link(&mut self) -> NodeLink {
        let mut link = self.link().await;
        link.handshake(&[]).await;
        link.until_model().await;
        link
    }
}

async fn serve(mut socket: TcpStream, config: Arc<Mutex<Served>>, sockets: mpsc::Sender<WebSocketStream<TcpStream>>) {
    socket.set_nodelay(true).unwrap();
    let mut start = [0; 17];
    loop {
        match socket.peek(&mut start).await {
            Ok(length) if length >= start.len() => break,
            // More is on the way.
            Ok(length) if length > 0 => tokio::task::yield_now().await,
            // A node that is killed says no more.
            _ => return,
        }
    }
    if start == *b"GET /io/v1/config" || start.starts_with(b"GET /io/v1/keys") {
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.unwrap();
        let (status, body) = if start == *b"GET /io/v1/config" {
            let mut served = config.lock().unwrap();
            served.asked += 1;
            (served.status, served.body.clone())
        } else {
            (404, Vec::new())
        };
        let head = format!(
            "HTTP/1.1 {status} Well\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // A node that is killed does not read it.
        let _ = socket.write_all(&[head.as_bytes(), &body].concat()).await;
        return;
    }
    if start == *b"POST /io/v1/nodes" {
        // It has nothing to say without a socket.
        let refused = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _ = socket.write_all(refused.as_bytes()).await;
        return;
    }
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let subprotocol = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        response
            .headers_mut()
            .insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(socket, subprotocol).await.unwrap();
    // The test may be over.
    let _ = sockets.send(socket).await;
}

/// A link to a node, seen from the network.
pub(crate) struct NodeLink {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) session: SessionId,
    pub(crate) node: Address,
    domain: Domain,
    network_key: Address,
    digest: B256,
}

impl NodeLink {
    pub(crate) async fn send(&mut self, frame: impl Into<ServerFrame>) {
        self.socket.send(Message::text(frame.into().encode())).await.unwrap();
    }

    /// The next message as it comes.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        tokio::time::timeout(PATIENCE, self.socket.next())
            .await
            .expect("the node says nothing")
            .and_then(Result::ok)
    }

    /// The next frame. Heartbeats are checked and answered on the way, lines of a log passed over.
    pub(crate) async fn next(&mut self) -> NodeFrame {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => match NodeFrame::parse(&text).unwrap() {
                    NodeFrame::Heartbeat(heartbeat) => self.heartbeat(&heartbeat, &text).await,
                    NodeFrame::Log(_) => {}
                    frame => return frame,
                },
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The next heartbeat, answered; jobs' frames are passed over.
    pub(crate) async fn next_heartbeat(&mut self) -> Heartbeat {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => {
                    if let NodeFrame::Heartbeat(heartbeat) = NodeFrame::parse(&text).unwrap() {
                        self.heartbeat(&heartbeat, &text).await;
                        return heartbeat;
                    }
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no heartbeat: {other:?}"),
            }
        }
    }

    async fn heartbeat(&mut self, heartbeat: &Heartbeat, text: &str) {
        let data = HeartbeatData {
            nodeId: self.node,
            sessionId: self.session.to_string(),
            seq: heartbeat.seq,
            issuedAt: heartbeat.issued_at.as_millis() as u64,
            bodyHash: body_hash(text).unwrap(),
        };
        data.verify(&self.domain, heartbeat.signature.as_ref().unwrap(), self.node)
            .unwrap();
        self.send(HeartbeatAck {
            server_time: SystemClock.now(),
            config_digest: self.digest,
            renewed: vec![],
            acks: vec![],
        })
        .await;
    }

    /// Sends the challenge and gives the verified hello.
    pub(crate) async fn challenge(&mut self) -> Hello {
        let challenge = Challenge {
            session_id: self.session,
            nonce: B256::repeat_byte(7),
            server_time: SystemClock.now(),
            environment: Environment::Testnet,
            network_key: self.network_key,
            genesis: self.network_key,
            min_agent_version: "0.1.0".into(),
        };
        self.send(challenge.clone()).await;
        let text = match self.message().await {
            Some(Message::Text(text)) => text,
            other => panic!("no hello: {other:?}"),
        };
        let NodeFrame::Hello(hello) = NodeFrame::parse(&text).unwrap() else {
            panic!("{text}")
        };
        let data = HelloData {
            nodeId: hello.node_id.address(),
            nonce: challenge.nonce,
            sessionId: challenge.session_id.to_string(),
            issuedAt: hello.issued_at.as_millis() as u64,
            bodyHash: body_hash(&text).unwrap(),
        };
        data.verify(&self.domain, hello.signature.as_ref().unwrap(), hello.node_id.address())
            .unwrap();
        self.node = hello.node_id.address();
        hello
    }

    /// The whole handshake.
    pub(crate) async fn handshake(&mut self, leases: &[(JobId, Attempt)]) -> Hello {
        let hello = self.challenge().await;
        let view = |(job_id, attempt): &(JobId, Attempt)| LeaseView {
            job_id: *job_id,
            attempt: *attempt,
            deadline: in_a_minute(),
        };
        self.send(Welcome {
            heartbeat_interval_ms: 500,
            config_digest: self.digest,
            bound: true,
            state: "active".into(),
            leases: leases.iter().map(view).collect(),
        })
        .await;
        hello
    }

    /// Waits for the heartbeat that announces the model of the snapshot.
    pub(crate) async fn until_model(&mut self) {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => match NodeFrame::parse(&text).unwrap() {
                    NodeFrame::Heartbeat(heartbeat) => {
                        self.heartbeat(&heartbeat, &text).await;
                        if heartbeat.models.iter().any(|model| model.id == "demo") {
                            return;
                        }
                    }
                    NodeFrame::Log(_) => {}
                    other => panic!("{other:?}"),
                },
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code with which the node closes the link.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

pub(crate) fn in_a_minute() -> Timestamp {
    SystemClock.now().after(Duration::from_mins(1))
}

pub(crate) fn session_id() -> SessionId {
    SessionId::new(&SystemClock, &SystemEntropy)
}

/// A job whose prompt is this.
pub(crate) fn job(prompt: &str, stream: bool) -> Job {
    let body = serde_json::json!({"model": "an-alias", "messages": [{"role": "user", "content": prompt}], "x": 1.0});
    Job {
        job_id: JobId::new(&SystemClock, &SystemEntropy),
        attempt: Attempt::FIRST,
        lease_token: LeaseToken::new(&SystemClock, &SystemEntropy),
        deadline: in_a_minute(),
        kind: JobKind::ChatCompletion,
        model: "demo".into(),
        model_digest: None,
        stream,
        body: RawValue::from_string(body.to_string()).unwrap(),
    }
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        environment: Environment::Testnet,
        version: 1,
        issued_at: Timestamp::from_millis(1_700_000_000_000),
        rolls_back: None,
        models: vec![ModelSpec {
            name: "demo".into(),
            version: "1".into(),
            kind: ModelKind::External,
            aliases: vec!["an-alias".into()],
            files: vec![],
            context_length: 4096,
            default_max_tokens: 64,
            capabilities: resultity_core::capability::Capability::of_text_engine(),
            price: Price::default(),
            test_prompt: "words 1".into(),
        }],
        jobs: JobParameters::default(),
        heartbeat_interval_ms: 500,
        min_agent_version: "0.1.0".into(),
        min_runtime_versions: BTreeMap::new(),
        retiring: BTreeMap::new(),
        next_network_key: None,
    }
}

/// Does what the prompt says: `words N`; `hang N` (N words, then nothing more); `gate N` (N words, then waits until
/// [`Scripted::open`], then one more); `refuse`; `break`; `panic`.
#[derive(Clone)]
pub(crate) struct Scripted {
    gate: watch::Sender<bool>,
    /// How many streams were dropped.
    pub(crate) dropped: Arc<AtomicU64>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            gate: watch::Sender::new(false),
            dropped: Arc::default(),
        }
    }
}

impl Scripted {
    /// Lets `gate` go on.
    pub(crate) fn open(&self) {
        self.gate.send_replace(true);
    }
}

struct CountDrop(Arc<AtomicU64>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Runtime for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new("demo"), EngineModel::new("unlisted")])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        assert_eq!(request.model, "demo", "the alias is resolved");
        let prompt = request.messages[0].content.as_ref().unwrap().text().into_owned();
        let (verb, count) = prompt.split_once(' ').unwrap_or((&prompt, "0"));
        let count: u64 = count.parse().unwrap();
        match verb {
            "refuse" => return Err(RuntimeError::invalid_field("top_k", "no")),
            "panic" => panic!("as the prompt says"),
            _ => {}
        }
        let guard = CountDrop(Arc::clone(&self.dropped));
        let words = (0..count).map(|n| Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(0, format!("w{n} "))])));
        let head = futures::stream::iter(
            std::iter::once(Ok(RuntimeEvent::Prompt { tokens: 11 }))
                .chain(words)
                .collect::<Vec<_>>(),
        );
        let finish = vec![
            Ok(RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")])),
            Ok(RuntimeEvent::Done(Usage::new(11, count))),
        ];
        let tail = match verb {
            "words" => futures::stream::iter(finish).boxed(),
            "hang" => futures::stream::pending().boxed(),
            "break" => futures::stream::iter([Err(RuntimeError::Failed("broke".into()))]).boxed(),
            "gate" => {
                let mut gate = self.gate.subscribe();
                let wait = async move {
                    gate.wait_for(|open| *open).await.unwrap();
                    Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(0, "last")]))
                };
                futures::stream::once(wait).chain(futures::stream::iter(finish)).boxed()
            }
            other => panic!("{other}"),
        };
        Ok(head
            .chain(tail)
            .map(move |event| {
                let _ = &guard;
                event
            })
            .boxed())
    }

    /// The same for each prompt, one after the other.
    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        let Prompt::Texts(prompts) = request.prompt else {
            return Err(RuntimeError::invalid_field("prompt", "no"));
        };
        let mut events = Vec::new();
        for (index, prompt) in (0..).zip(&prompts) {
            events.push(Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(index, prompt.as_str())])));
            events.push(Ok(RuntimeEvent::Delta(vec![ChunkChoice::finish(index, "stop")])));
        }
        events.push(Ok(RuntimeEvent::Done(Usage::new(7, prompts.len() as u64))));
        Ok(futures::stream::iter(events).boxed())
    }

    /// The length of each text; none for a text that is empty.
    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        let Prompt::Texts(texts) = request.input else {
            return Err(RuntimeError::invalid_field("input", "no"));
        };
        let texts = texts.iter().filter(|text| !text.is_empty());
        Ok(Embeddings {
            vectors: texts.map(|text| vec![text.len() as f32, 0.5]).collect(),
            prompt_tokens: 5,
        })
    }

    /// What it gets, read with all its white space; nothing good for a `bad` one.
    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        assert_eq!(request.model, "demo", "the alias is resolved");
        let data = request.data.get();
        if data.contains("bad") {
            return Err(RuntimeError::Failed("broke".into()));
        }
        if data.contains("deep") {
            return Ok(RawValue::from_string(format!("{}{}", "[".repeat(200), "]".repeat(200))).unwrap());
        }
        let proof = request.requires_proof;
        Ok(RawValue::from_string(format!("{{ \"proof\": {proof},\n \"data\": {data} }}")).unwrap())
    }
}

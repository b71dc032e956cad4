//! Nodes that have no socket: what they say over HTTP counts as if it had come over it, and no more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::http_node::HttpNode;
use harness::node::{Sent, TestNode};
use harness::{TestServer, soon, timeless};
use resultity_core::B256;
use resultity_core::api::cloud::{ChatApi, Reply};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::ApiError;
use resultity_core::id::SessionId;
use resultity_core::openai::chat::{ChatCompletion, ChatRequest, ChunkChoice, Message};
use resultity_core::signing::{Domain, Keypair, Outcome};
use resultity_core::wire::{Ack, AckOutcome, HeartbeatAck, MAX_FRAME_BYTES, NodeFrame, RunningJob};
use resultity_server::assemble::Offer;
use resultity_server::link::LinkPolicy;
use serde_json::json;
use tokio::task::JoinHandle;

/// Three prompt tokens, two made: what every answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

fn request() -> ChatRequest {
    ChatRequest::new("m", [Message::user("hello")]).max_tokens(10)
}

fn ask(server: &TestServer) -> JoinHandle<Result<Reply<ChatCompletion>, ApiError>> {
    let client = server.client();
    tokio::spawn(async move { client.chat(request()).await })
}

async fn server_and_node() -> (TestServer, TestNode, HttpNode) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let http = HttpNode::of(&server, &node);
    (server, node, http)
}

#[tokio::test]
async fn a_result_over_http_counts_once_however_often_it_comes() {
    let (server, mut node, mut http) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    node.accept(&job).await;
    let result = NodeFrame::from(node.result(&job, "hi there"));
    let key = (job.job_id, job.attempt);
    // Its job waits for it for seconds.
    let welcome = timeless(async {
        drop(node);
        http.knock(vec![key]).await
    })
    .await;
    assert!(welcome.bound);
    assert_eq!(
        welcome
            .leases
            .iter()
            .map(|lease| (lease.job_id, lease.attempt))
            .collect::<Vec<_>>(),
        [key]
    );
    let running = vec![RunningJob {
        job_id: job.job_id,
        attempt: job.attempt,
    }];
    let (status, answer) = http
        .post("heartbeat", &http.heartbeat(1, running, SystemClock.now()))
        .await;
    assert_eq!(status, 200, "{answer}");
    let ack: HeartbeatAck = serde_json::from_value(answer).unwrap();
    assert_eq!(ack.renewed.len(), 1);
    assert_eq!(ack.config_digest, welcome.config_digest);
    let recorded = Ack {
        job_id: job.job_id,
        attempt: job.attempt,
        outcome: AckOutcome::Recorded,
    };
    assert_eq!(
        http.deliver(std::slice::from_ref(&result)).await,
        std::slice::from_ref(&recorded)
    );
    let reply = soon("the answer", asked).await.unwrap().unwrap();
    assert_eq!(reply.text(), "hi there");
    for _ in 0..2 {
        assert_eq!(
            http.deliver(std::slice::from_ref(&result)).await,
            std::slice::from_ref(&recorded)
        );
    }
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_stream_is_finished_over_http_with_the_chunks_that_were_lost() {
    let (server, mut node, http) = server_and_node().await;
    let asked = tokio::spawn({
        let client = server.client();
        async move { client.chat_stream(request()).await }
    });
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut sent = Sent::default();
    let [first, second] = ["hi ", "there"].map(|text| [ChunkChoice::text(0, text)]);
    node.chunk(&job, &mut sent, &first).await;
    let stream = soon("the stream", asked).await.unwrap().unwrap();
    let mut frames = Vec::new();
    for (index, choices) in [&first, &second].into_iter().enumerate() {
        let delta = serde_json::value::to_raw_value(choices).unwrap();
        if index == 1 {
            sent.transcript.add(delta.get());
            sent.output.add(choices);
        }
        frames.push(NodeFrame::from(resultity_core::wire::Chunk {
            job_id: job.job_id,
            attempt: job.attempt,
            index: index as u64,
            delta,
        }));
    }
    frames.push(node.stream_result(&job, &sent, Outcome::Complete).into());
    let acks = timeless(async {
        drop(node);
        http.deliver(&frames).await
    })
    .await;
    assert_eq!(
        acks.iter().map(|ack| ack.outcome).collect::<Vec<_>>(),
        [AckOutcome::Recorded]
    );
    use futures::StreamExt as _;
    let pieces: Vec<_> = soon("the end of the stream", stream.collect::<Vec<_>>()).await;
    let text: String = pieces
        .into_iter()
        .map(|piece| piece.unwrap().text().to_owned())
        .collect();
    assert_eq!(text, "hi there");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn what_comes_too_late_or_is_not_the_nodes_own_changes_nothing() {
    let (server, mut node, http) = server_and_node().await;
    let asked = ask(&server);
    let job = node.next_job().await;
    let result = node.result(&job, "hi");
    asked.abort();
    node.cancel_of(job.job_id).await;
    server.until_idle().await;
    let acks = http.deliver(&[result.clone().into()]).await;
    assert_eq!(acks[0].outcome, AckOutcome::Superseded);

    // Another node's result, with its own signature of the request.
    let mut other = HttpNode::new(&server, Keypair::generate(&SystemEntropy), node.domain.clone());
    other.knock(Vec::new()).await;
    let (status, answer) = other.try_deliver(&[result.clone().into()]).await;
    assert_eq!(
        (status, &answer["error"]["param"]),
        (400, &json!("frames[0]")),
        "{answer}"
    );
    let mut forged = result.clone();
    forged.completion_tokens += 1;
    assert_eq!(http.try_deliver(&[forged.into()]).await.0, 400);
    let heartbeat: NodeFrame = NodeFrame::parse(r#"{"type":"error","code":"c","message":"m"}"#).unwrap();
    assert_eq!(http.try_deliver(&[heartbeat]).await.0, 400, "no end of a job");
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn who_sends_results_is_known_before_they_are_read() {
    let (server, node, http) = server_and_node().await;
    let body = r#"{"frames":[]}"#;
    let now = http.now();
    assert_eq!(http.post("results", body).await.0, 403, "no headers");
    let signed = http.signed(body, now);
    let (status, answer) = http.post_with("results", body.into(), signed.clone()).await;
    assert_eq!((status, answer), (200, json!({"acks": []})));
    assert_eq!(http.post_with("results", body.into(), signed).await.0, 403, "again");
    let (status, _) = http
        .post_with("results", body.into(), http.signed(body, http.now()))
        .await;
    assert_eq!(status, 200, "the same said again is no replay");
    for off in [-61_000, 120_000] {
        let at = Timestamp::from_millis(now.as_millis() + off);
        assert_eq!(
            http.post_with("results", body.into(), http.signed(body, at)).await.0,
            403
        );
    }
    let mut another = http.signed(body, http.now());
    another[2].1 = B256::repeat_byte(1).to_string();
    assert_eq!(
        http.post_with("results", body.into(), another).await.0,
        403,
        "not signed so"
    );
    let other_body = r#"{"frames": []}"#;
    let (status, _) = http
        .post_with("results", other_body.into(), http.signed(body, http.now()))
        .await;
    assert_eq!(status, 403, "not the body that was signed");
    // Nobody's node.
    let stranger = HttpNode::new(&server, Keypair::generate(&SystemEntropy), node.domain.clone());
    assert_eq!(
        stranger
            .post_with("results", body.into(), stranger.signed(body, now))
            .await
            .0,
        403
    );
    let large = " ".repeat(MAX_FRAME_BYTES + 128 * 1024);
    let signed = http.signed(&large, http.now());
    let (status, _) = http.post_with("results", large.clone(), signed).await;
    assert_eq!(status, 413);
    let cut = r#"{"frames":[{"type":"#;
    let (status, _) = http
        .post_with("results", cut.into(), http.signed(cut, http.now()))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_hello_and_a_heartbeat_count_once() {
    let (server, node, mut http) = server_and_node().await;
    drop(node);
    let challenge = http.challenge().await;
    let now = SystemClock.now();
    let hello = http.hello(&challenge, Vec::new(), now);
    http.session = challenge.session_id;
    assert_eq!(http.post("nodes", &hello).await.0, 200);
    assert_eq!(http.post("nodes", &hello).await.0, 409, "again");
    let late = http.hello(
        &http.challenge().await,
        Vec::new(),
        Timestamp::from_millis(now.as_millis() - 61_000),
    );
    assert_eq!(http.post("nodes", &late).await.0, 403, "its clock is off");
    let mut strange = http.challenge().await;
    strange.nonce = B256::repeat_byte(9);
    assert_eq!(http.post("nodes", &http.hello(&strange, Vec::new(), now)).await.0, 403);
    for body in [
        r#"{"hello":{}}"#,
        r#"{"session_id":"x"}"#,
        r#"{"more":1}"#,
        "[]",
        r#"{"hello":"#,
    ] {
        assert_eq!(http.post("nodes", body).await.0, 400, "{body}");
    }

    let beat = |http: &HttpNode, seq, off: i64| {
        http.heartbeat(
            seq,
            Vec::new(),
            Timestamp::from_millis(SystemClock.now().as_millis() + off),
        )
    };
    let first = beat(&http, 1, 0);
    assert_eq!(http.post("heartbeat", &first).await.0, 200);
    assert_eq!(http.post("heartbeat", &first).await.0, 403, "again");
    assert_eq!(http.post("heartbeat", &beat(&http, 2, -61_000)).await.0, 403);
    assert_eq!(http.post("heartbeat", &beat(&http, 2, 120_000)).await.0, 403);
    let changed = beat(&http, 2, 0).replace(r#""seq":2"#, r#""seq":3"#);
    assert_eq!(http.post("heartbeat", &changed).await.0, 403);
    assert_eq!(http.post("heartbeat", &beat(&http, 2, 0)).await.0, 200);
    http.session = SessionId::new(&SystemClock, &SystemEntropy);
    assert_eq!(http.post("heartbeat", &beat(&http, 3, 0)).await.0, 404);
    assert_eq!(http.post("heartbeat", &"x".repeat(300 * 1024)).await.0, 413);
    drop(server);
}

#[tokio::test]
async fn nothing_is_kept_of_a_node_that_nobody_has() {
    let offer = Offer::new(vec![harness::model("m")]);
    let server = TestServer::with_policy(offer, LinkPolicy::default()).await;
    let genesis = server.running.app().flow().genesis;
    let domain = Domain::new(Environment::Testnet, genesis);
    let mut http = HttpNode::new(&server, Keypair::generate(&SystemEntropy), domain);
    let welcome = http.knock(Vec::new()).await;
    assert!(!welcome.bound && welcome.leases.is_empty());
    let beat = http.heartbeat(1, Vec::new(), SystemClock.now());
    assert_eq!(http.post("heartbeat", &beat).await.0, 404);
    let now = SystemClock.now();
    let standing = server
        .store
        .node_standing(http.key.node_id(), Environment::Testnet, now)
        .await;
    assert_eq!(standing.unwrap(), None);
}

//! The whole way with nothing made up: a real model behind a real node, over a real WebSocket, HTTP and SQLite file. All
//! contract scenarios of the Cloud API run here twice: in this process, and over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "embedded")]

mod harness;

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use harness::{TestServer, soon};
use resultity_core::api::cloud::{ChatApi, CloudApi};
use resultity_core::credits::Credits;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::testing;
use resultity_node::agent::Agent;
use resultity_node::models::{self, Fetcher};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::several::Several;
use resultity_server::assemble::Offer;
use tokio_util::sync::CancellationToken;

/// How long the scenarios may take together: the model makes some tens of tokens a second, or far fewer on a busy machine.
const LONG: std::time::Duration = std::time::Duration::from_mins(10);

struct Network {
    server: TestServer,
    model: String,
    embedding_model: String,
    node_dir: tempfile::TempDir,
    stop_node: CancellationToken,
    node: tokio::task::JoinHandle<Result<(), resultity_node::agent::AgentError>>,
}

impl Network {
    async fn start() -> Self {
        let spec = models::demo_model();
        let fetcher = Fetcher::new().unwrap();
        let path = fetcher
            .fetch_model(&spec, &models::cache_dir())
            .await
            .unwrap()
            .remove(0);
        let name = spec.name.clone();
        let runtime = tokio::task::spawn_blocking(move || EmbeddedRuntime::load(path, name))
            .await
            .unwrap()
            .unwrap();
        let embeddings = resultity_node::config::embeddings().await.unwrap();
        let (model, embedding_model) = (spec.name.clone(), models::embedding_model());
        let embedding_name = embedding_model.name.clone();
        let server = TestServer::with(Offer::new(vec![spec, embedding_model])).await;
        let node_dir = tempfile::tempdir().unwrap();
        let agent = Agent::builder(server.io_url(), node_dir.path())
            .runtime(Arc::new(Several::new(vec![Arc::new(runtime), embeddings])))
            .build()
            .unwrap();
        let stop_node = CancellationToken::new();
        let node = tokio::spawn(agent.run(stop_node.clone()));
        server.until_served(&model).await;
        server.until_served(&embedding_name).await;
        Self {
            server,
            model,
            embedding_model: embedding_name,
            node_dir,
            stop_node,
            node,
        }
    }

    async fn stop(self) {
        self.stop_node.cancel();
        soon("the node's end", self.node).await.unwrap().unwrap();
        self.server.running.stop(harness::PATIENCE).await;
        drop(self.node_dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_model_answers_over_the_whole_way_and_the_books_are_right() {
    let network = Network::start().await;
    let client = network.server.client();
    let question = Message::user("What is the capital of France? Answer in one sentence.");
    let request = ChatRequest::new(&network.model, [question])
        .temperature(0.0)
        .max_tokens(24);

    let whole = client.chat(request.clone()).await.unwrap();
    assert!(whole.text().contains("Paris"), "{}", whole.text());
    let usage = whole.usage.unwrap();
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0);

    let stream = client.chat_stream(request.include_usage()).await.unwrap();
    let chunks: Vec<_> = stream.map(Result::unwrap).collect().await;
    let text: String = chunks
        .iter()
        .map(resultity_core::openai::chat::ChatChunk::text)
        .collect();
    assert_eq!(text, whole.text());
    assert_eq!(chunks.last().unwrap().usage, Some(usage));

    let cost = whole.meta.cost.unwrap();
    assert!(cost > Credits::ZERO);
    network
        .server
        .assert_charged(Credits::from_micros(2 * cost.micros()))
        .await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_process_and_over_http() {
    let network = Network::start().await;
    let (session, client) = (network.server.session(), network.server.client());
    let setting = testing::Setting {
        model: &network.model,
        embedding_model: Some(&network.embedding_model),
        container_model: None,
        network_key: network.server.running.app().flow().network_key().address(),
        pause: &|| tokio::time::sleep(std::time::Duration::from_millis(250)).boxed(),
    };
    let in_process = |options| -> Box<dyn CloudApi> { Box::new(session.clone().with_options(options)) };
    tokio::time::timeout(LONG, testing::cloud::all(&session, &in_process, &setting))
        .await
        .expect("in process");
    let over_http = |options| -> Box<dyn CloudApi> { Box::new(client.with_options(options)) };
    tokio::time::timeout(LONG, testing::cloud::all(&client, &over_http, &setting))
        .await
        .expect("over HTTP");
    network.server.until_idle().await;
    let report = network.server.store.audit().await.unwrap();
    assert_eq!((report.open_holds, report.problems), (0, Vec::new()));
    network.stop().await;
}

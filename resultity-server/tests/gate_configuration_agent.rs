//! A real node while the network's configuration and key change: it follows, whether it is linked meanwhile or not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::{TestServer, container, soon};
use resultity_core::compute::ComputeRequest;
use resultity_core::environment::Environment;
use resultity_core::openai::chat::ChatRequest;
use resultity_node::agent::{Agent, AgentError};
use resultity_node::identity::NetworkPin;
use resultity_node::runtime::{ContainerRequest, EngineModel, Runtime, RuntimeError, RuntimeStream};
use resultity_server::assemble::Offer;
use resultity_server::publish::{By, Outcome, PublishError};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NAME: &str = "echo";
const TESTNET: Environment = Environment::Testnet;

struct Echo;

#[async_trait]
impl Runtime for Echo {
    fn kind(&self) -> &'static str {
        "echo"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new(NAME), EngineModel::new("later")])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        Err(RuntimeError::no_such_work(&request.model, "chat"))
    }

    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        Ok(request.data)
    }
}

struct Node {
    stop: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Node {
    fn start(server: &TestServer, dir: &Path, network_key: Option<resultity_core::Address>) -> Self {
        let agent = Agent::builder(server.io_url(), dir)
            .runtime(Arc::new(Echo))
            .network_key(network_key)
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent.run(stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        soon("the node's end", self.task).await.unwrap().unwrap();
    }
}

async fn rotate(server: &TestServer) -> resultity_core::Address {
    let app = server.running.app();
    let current = app.flow().network_key().address();
    let rotated = app.publisher().rotate(current, By::operator("a test")).await.unwrap();
    app.flow().catch_up(app.publisher()).await.unwrap();
    rotated.current
}

async fn until_pinned(dir: &Path, key: resultity_core::Address) -> NetworkPin {
    soon("the new key to be trusted", async {
        loop {
            let pin = NetworkPin::load(&dir.join("testnet")).unwrap();
            if let Some(pin) = pin.filter(|pin| pin.network_key == key) {
                return pin;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn published(server: &TestServer, outcome: Result<Outcome, PublishError>) {
    outcome.unwrap();
    let app = server.running.app();
    app.flow().catch_up(app.publisher()).await.unwrap();
}

async fn ask(server: &TestServer, model: &str) {
    use resultity_core::api::compute::ComputeApi;
    let request = ComputeRequest::of(model, r#"{"n":1}"#.parse().unwrap());
    let answer = server.client().compute(request).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_the_networks_key_and_models() {
    let server = TestServer::with(Offer::new(vec![container(NAME)])).await;
    let dir = tempfile::tempdir().unwrap();
    let first = server.running.app().flow().network_key().address();
    let node = Node::start(&server, dir.path(), Some(first));
    server.until_served(NAME).await;

    // While it is linked.
    let second = rotate(&server).await;
    let pin = until_pinned(dir.path(), second).await;
    assert_eq!((pin.genesis, pin.former), (first, vec![first]));
    let publisher = server.running.app().publisher();
    let approved = publisher
        .approve(TESTNET, container("later"), By::operator("more"))
        .await;
    published(&server, approved).await;
    server.until_served("later").await;
    ask(&server, "later").await;
    node.stop().await;

    // While it is away, twice; it is started with the key that it was told in the beginning.
    rotate(&server).await;
    let fourth = rotate(&server).await;
    let node = Node::start(&server, dir.path(), Some(first));
    until_pinned(dir.path(), fourth).await;
    server.until_served(NAME).await;
    ask(&server, NAME).await;
    node.stop().await;

    // A new node that was told any of the keys.
    let fresh = tempfile::tempdir().unwrap();
    let node = Node::start(&server, fresh.path(), Some(second));
    until_pinned(fresh.path(), fourth).await;
    server.until_served(NAME).await;
    node.stop().await;

    // A node that was told a key of somebody else is not fooled.
    let stray = tempfile::tempdir().unwrap();
    let stranger = resultity_core::Address::repeat_byte(7);
    let node = Node::start(&server, stray.path(), Some(stranger));
    let error = soon("a refusal", node.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("trusts the network"), "{error}");
    assert_eq!(NetworkPin::load(&stray.path().join("testnet")).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_interval_of_heartbeats_throws_no_node_out() {
    let server = TestServer::with(Offer::new(vec![container(NAME)])).await;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&server, dir.path(), None);
    server.until_served(NAME).await;
    let publisher = server.running.app().publisher();
    let newest = publisher.newest(TESTNET).await.unwrap().snapshot;
    let mut offer = newest.offer();
    offer.heartbeat_interval_ms = 2_000;
    let outcome = publisher
        .publish(TESTNET, newest.version, offer, By::operator("often"))
        .await;
    published(&server, outcome).await;
    let flow = server.running.app().flow();
    let digest = flow.current().digest;
    let linked = || flow.fleet.all();
    soon("five heartbeats by the new interval", async {
        let (mut seen, mut last) = (0, None);
        while seen < 5 {
            let views = linked();
            let view = views.first().unwrap();
            assert!(view.is_alive);
            if view.config_digest == Some(digest) && last != Some(view.last_heartbeat) {
                last = Some(view.last_heartbeat);
                seen += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    node.stop().await;
}

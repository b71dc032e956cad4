//! The Status API: what the public may see, in-process and over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::time::Duration;

use futures::StreamExt;
use harness::node::TestNode;
use harness::{TestServer, model, soon};
use resultity_client::StatusClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{CreateSubcloud, InEnvironment, JoinSubcloud, SubcloudsApi};
use resultity_core::api::status::{StatusApi, StatusEvent};
use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::testing::status;
use resultity_server::store::epochs::epoch_of;
use serde_json::Value;

fn client(server: &TestServer) -> StatusClient {
    let url = format!("http://{}/status/v1", server.running.address());
    StatusClient::builder().base_url(url).build().unwrap()
}

/// Waits until the picture shows this.
async fn seen(client: &StatusClient, what: &str, is: impl Fn(&resultity_core::api::status::NetworkStatus) -> bool) {
    let until = async {
        let mut events = client.events(InEnvironment::default()).await.unwrap();
        while let Some(event) = events.next().await {
            if let StatusEvent::Network(network) = event.unwrap()
                && is(&network.body)
            {
                return;
            }
        }
        panic!("the events ended before: {what}");
    };
    soon(what, until).await;
}

/// A node that answers everything; its id.
async fn answering(server: &TestServer) -> NodeId {
    let mut node = TestNode::ready(&server.io_url(), "m", 4).await;
    let id = node.id();
    tokio::spawn(async move {
        loop {
            let job = node.next_job().await;
            node.accept(&job).await;
            node.answer(&job, "Yes, it is.").await;
        }
    });
    server.until_served("m").await;
    id
}

async fn with_node() -> (TestServer, NodeId) {
    let server = TestServer::start().await;
    let node = answering(&server).await;
    (server, node)
}

async fn chat(server: &TestServer) {
    let request = ChatRequest::new("m", [Message::user("Is it?")]);
    soon("an answer", server.client().chat(request)).await.unwrap();
}

#[tokio::test]
async fn the_contract_holds_in_process_and_over_http() {
    let (server, _node) = with_node().await;
    let client = client(&server);
    seen(&client, "a node in rotation", |network| {
        network.nodes.in_rotation == 1 && network.models == 1
    })
    .await;
    let absent = Some(Environment::Mainnet);
    let board = server.running.app().status.clone();
    soon("in-process", status::all(&board, Environment::Testnet, "m", absent)).await;
    soon("over HTTP", status::all(&client, Environment::Testnet, "m", absent)).await;
}

#[tokio::test]
async fn an_answer_that_says_the_same_is_not_sent_again() {
    let (server, _node) = with_node().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/status/v1/pricing", server.running.address());
    let first = soon("an answer", http.get(&url).send()).await.unwrap();
    assert_eq!(
        first.headers()["cache-control"],
        "public, max-age=1, stale-while-revalidate=10"
    );
    let tag = first.headers()["etag"].clone();
    let body: Value = first.json().await.unwrap();
    assert!(body["age_ms"].is_u64() && body["prices"].is_array(), "{body}");
    let again = http.get(&url).header("if-none-match", &tag).send();
    let again = soon("an answer", again).await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["etag"].clone()), (304, tag));
    assert!(again.bytes().await.unwrap().is_empty());
    let other = http.get(&url).header("if-none-match", "W/\"other\"").send();
    assert_eq!(soon("an answer", other).await.unwrap().status().as_u16(), 200);
    for (query, status) in [("environment=mainnet", 404), ("environment=moon", 400)] {
        let answer = soon("an answer", http.get(format!("{url}?{query}")).send())
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn nothing_tells_who_asks_who_answers_or_who_owns() {
    let (server, node) = with_node().await;
    seen(&client(&server), "a node in rotation", |network| {
        network.nodes.in_rotation == 1
    })
    .await;
    chat(&server).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ids = [
        node.to_string(),
        server.principal.account.to_string(),
        server.principal.namespace.to_string(),
        server.principal.key.to_string(),
    ];
    for part in [
        "network", "models", "regions", "versions", "pricing", "config", "epochs",
    ] {
        let url = format!("http://{}/status/v1/{part}", server.running.address());
        let text = soon("an answer", http.get(url).send())
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        for id in &ids {
            assert!(!text.to_lowercase().contains(&id.to_lowercase()), "{part}: {text}");
        }
    }
}

#[tokio::test]
async fn jobs_are_counted_and_points_are_those_of_the_open_week() {
    let week = || epoch_of(SystemClock.now());
    let begun = week();
    let (server, _node) = with_node().await;
    let client = client(&server);
    chat(&server).await;
    seen(&client, "a job that was answered", |network| {
        network.jobs.last_hour == 1
    })
    .await;
    let network = client.network(InEnvironment::default()).await.unwrap().body;
    assert!(
        network.latency.p50_ms > 0.0 && network.jobs.tokens_per_second > 0.0,
        "{network:?}"
    );
    let epochs = server.store.epochs(Environment::Testnet, 5).await.unwrap();
    // Else a week has ended meanwhile, and what follows would be about two of them.
    if week() != begun {
        return;
    }
    assert_eq!(epochs.len(), 1);
    assert!(
        epochs[0].points > 0 && epochs[0].nodes == 1 && epochs[0].root.is_none(),
        "{epochs:?}"
    );
    // A week later it is closed, and what is earned then counts for the next one.
    let now = resultity_core::clock::Timestamp::from_millis(0).after(Duration::from_hours(24 * 7 * 4000));
    let next = epochs[0].number + 1;
    assert_eq!(
        server
            .store
            .close_epochs(Environment::Testnet, next, now)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        server
            .store
            .close_epochs(Environment::Testnet, next, now)
            .await
            .unwrap(),
        0
    );
    chat(&server).await;
    let epochs = server.store.epochs(Environment::Testnet, 5).await.unwrap();
    assert_eq!((epochs[0].number, epochs[1].number), (next, next - 1));
    assert!(epochs[0].root.is_none() && epochs[1].root.is_some(), "{epochs:?}");
    assert!(server.store.audit().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_server_of_both_environments_keeps_them_apart() {
    let offer = resultity_server::assemble::Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer.clone(), |options| {
        options.networks.push((Environment::Mainnet, offer.clone()));
    })
    .await;
    answering(&server).await;
    let client = client(&server);
    seen(&client, "a node in rotation", |network| network.nodes.in_rotation == 1).await;
    let mainnet = client.network(Environment::Mainnet.into()).await.unwrap();
    assert_eq!(
        (mainnet.environment, mainnet.body.nodes.connected),
        (Environment::Mainnet, 0)
    );
}

#[tokio::test]
async fn a_node_that_works_for_its_subcloud_alone_is_no_capacity_of_the_network() {
    let (server, isolated) = with_node().await;
    let client = client(&server);
    seen(&client, "a node", |network| {
        network.nodes.in_rotation == 1 && network.load.slots == 4
    })
    .await;
    let token = harness::gate::sign_in(&server, server.principal.account).await;
    let owner = harness::gate::client_with(&server, &token);
    let mut farm = CreateSubcloud::new("farm");
    farm.isolated = true;
    owner.create_subcloud(farm).await.unwrap();
    let joined = owner.join_subcloud(isolated, InEnvironment::default(), JoinSubcloud::new("farm"));
    joined.await.unwrap();
    seen(&client, "nothing for anybody", |network| {
        network.nodes.connected == 0 && network.nodes.in_rotation == 0 && network.load.slots == 0 && network.models == 0
    })
    .await;
    let models = client.models(InEnvironment::default()).await.unwrap().body.models;
    assert_eq!((models[0].nodes, models[0].slots, models[0].available), (0, 0, false));
    let regions = client.regions(InEnvironment::default()).await.unwrap().body.regions;
    assert!(regions.is_empty(), "{regions:?}");
    let _public = TestNode::ready(&server.io_url(), "m", 3).await;
    seen(&client, "the other node alone", |network| {
        network.nodes.connected == 1 && network.nodes.in_rotation == 1 && network.load.slots == 3
    })
    .await;
}

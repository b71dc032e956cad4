//! One process that is an agent of the network and serves the Infernet REST API, on the same container.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]
#![cfg(feature = "infernet")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod network;

use std::path::Path;
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use network::{Network, NodeLink, PATIENCE, job};
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::wire::{Job, NodeFrame};
use resultity_node::config::{NodeConfig, RunError, run};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A container that repeats the first message, and says where its answer goes.
async fn container() -> String {
    async fn output(Json(input): Json<Value>) -> Json<Value> {
        let said = input["data"]["messages"][0]["content"].as_str().unwrap();
        Json(json!({"output": format!("{} said {said}", input["destination"])}))
    }
    let router = Router::new().route("/service_output", post(output));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// A port that nobody listens on, and not one of those that systems give to whoever asks for any.
fn free_port() -> u16 {
    let first = 21_000 + (std::process::id() % 5_000) as u16 * 2;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(is_free).unwrap()
}

fn node(network: &Network, dir: &Path, file: &Value) -> NodeConfig {
    let path = dir.join("config.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let mut config = NodeConfig::new(&network.io_url, dir.join("node"));
    config.infernet = Some(path);
    config
}

/// The text that came of a job of the network.
async fn asked(link: &mut NodeLink, job: Job) -> String {
    link.send(job).await;
    let mut text = String::new();
    loop {
        match link.next().await {
            NodeFrame::Chunk(chunk) => {
                let pieces: Vec<ChunkChoice> = serde_json::from_str(chunk.delta.get()).unwrap();
                text.extend(pieces.into_iter().filter_map(|piece| piece.delta.content));
            }
            NodeFrame::Result(result) => {
                let choices = result
                    .output
                    .map(|output| serde_json::from_str::<Vec<Choice>>(output.get()).unwrap());
                text.extend(
                    choices
                        .into_iter()
                        .flatten()
                        .filter_map(|choice| choice.message.content),
                );
                return text;
            }
            NodeFrame::Failed(failed) => panic!("{failed:?}"),
            _ => {}
        }
    }
}

/// The result of a job of the node's own callers.
async fn called(api: &str, request: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = request.to_string();
    let post = client.post(api).header("content-type", "application/json").body(body);
    let accepted: Value = post.send().await.unwrap().json().await.unwrap();
    let url = format!("{api}?id={}", accepted["id"].as_str().unwrap());
    loop {
        let results: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
        if results[0]["status"] != "running" {
            return results[0].clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_container_serves_the_network_and_callers_of_the_node() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let port = free_port();
    let config = node(
        &network,
        dir.path(),
        &json!({
            "manage_containers": false,
            "containers": [{"id": "chatty", "image": "", "url": container().await, "external": true}],
            "resultity": {
                "listen": format!("127.0.0.1:{port}"),
                "containers": {"chatty": {"model": "demo", "takes": "openai", "max_concurrency": 2}},
            },
        }),
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(config, stop.clone()));

    let mut link = tokio::time::timeout(PATIENCE, network.ready_link()).await.unwrap();
    assert_eq!(asked(&mut link, job("hello", false)).await, "1 said hello");
    assert_eq!(asked(&mut link, job("hello", true)).await, "2 said hello");

    let api = format!("http://127.0.0.1:{port}/api/jobs");
    let request = json!({"containers": ["chatty"], "data": {"messages": [{"content": "hi"}]}});
    let result = tokio::time::timeout(PATIENCE, called(&api, &request)).await.unwrap();
    assert_eq!(result["status"], "success", "{result}");
    assert_eq!(
        result["result"],
        json!({"container": "chatty", "output": {"output": "1 said hi"}})
    );
    assert!(
        dir.path().join("node/infernet.db").exists(),
        "results are with the node's files"
    );

    stop.cancel();
    let goodbye = async { while link.message().await.is_some() {} };
    let (ended, ()) = tokio::join!(tokio::time::timeout(PATIENCE, running), goodbye);
    ended.unwrap().unwrap().unwrap();
    let again = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
    assert!(again.is_ok(), "nobody listens any more");
}

#[tokio::test]
async fn a_file_that_is_wrong_ends_the_node_at_once() {
    let (network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let config = node(&network, dir.path(), &json!({"containers": [{"image": "x"}]}));
    let error = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, RunError::InfernetFile(_)), "{error}");
    assert!(
        error.to_string().contains("config.json") && error.to_string().contains("containers[0]"),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let (network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let file = json!({"manage_containers": false, "containers": [], "resultity": {"listen": listen}});
    let error = run(node(&network, dir.path(), &file), CancellationToken::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RunError::Infernet(_)) && error.to_string().contains(&listen),
        "{error}"
    );
}

//! A real container over the whole way: HTTP to the Cloud, the store, the link, a real node, HTTP to the container and back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use harness::{TestServer, container, model, soon};
use resultity_core::api::cloud::CloudApi;
use resultity_core::api::compute::ComputeApi;
use resultity_core::api::usage::{UsageApi, UsageQuery};
use resultity_core::capability::Capability;
use resultity_core::compute::ComputeRequest;
use resultity_core::credits::Credits;
use resultity_core::testing::{Setting, compute};
use resultity_node::agent::Agent;
use resultity_node::infernet::config::settings::{ContainerModel, ContainerSettings, Settings, Takes};
use resultity_node::infernet::containers::Containers;
use resultity_node::infernet::pipeline::Pipeline;
use resultity_node::infernet::runtime::ContainerRuntime;
use resultity_server::assemble::Offer;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

const NAME: &str = "echo";

/// What the container costs.
const PRICE: Credits = Credits::from_micros(25);

/// What a container gets.
#[derive(Deserialize)]
struct Input {
    source: u8,
    destination: u8,
    data: Box<RawValue>,
    requires_proof: bool,
}

/// Gives what it gets, with white space of its own; or fails, and tells the world where it is.
async fn output(body: String) -> Response {
    let input: Input = serde_json::from_str(&body).unwrap();
    assert_eq!((input.source, input.destination), (1, 1));
    let data = input.data.get();
    let status = |status: StatusCode| (status, json!({"error": "no memory on gpu-7"}).to_string()).into_response();
    match data {
        r#"{"do":"fail"}"# => status(StatusCode::INTERNAL_SERVER_ERROR),
        r#"{"do":"refuse"}"# => status(StatusCode::BAD_REQUEST),
        r#"{"do":"talk"}"# => "this is no JSON, says gpu-7".into_response(),
        _ if input.requires_proof => format!("{{ \"output\": {data},\n \"proof\": \"0x01\" }}").into_response(),
        _ => format!("\n{data} ").into_response(),
    }
}

/// A Runtime whose one container is an HTTP server of its own.
async fn runtime() -> ContainerRuntime {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().route("/service_output", post(output));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut container = ContainerSettings::new("the-echo-container", url);
    container.generates_proofs = true;
    container.model = Some(ContainerModel {
        name: NAME.to_owned(),
        takes: Takes::Anything,
    });
    let settings = Settings::new("unused", vec![container]);
    let containers = Arc::new(Containers::new(&settings).unwrap());
    ContainerRuntime::new(Pipeline::new(containers, settings.queue, settings.calls)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_is_paid_by_the_request_and_its_faults_cost_nothing() {
    let mut spec = container(NAME);
    spec.capabilities = Capability::names([Capability::Container, Capability::Proofs]);
    let server = TestServer::with(Offer::new(vec![model("m"), spec])).await;
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::builder(server.io_url(), dir.path())
        .runtime(Arc::new(runtime().await))
        .build();
    let stop = CancellationToken::new();
    let node = tokio::spawn(agent.unwrap().run(stop.clone()));
    server.until_served(NAME).await;

    let client = server.client();
    let setting = Setting {
        model: "m",
        embedding_model: None,
        container_model: Some(NAME),
        network_key: server.running.app().flow().network_key().address(),
        pause: &|| tokio::time::sleep(Duration::from_millis(5)).boxed(),
    };
    let api: &dyn CloudApi = &client;
    soon("the contract", compute::all(api, NAME, &setting)).await;
    let proven = ComputeRequest::of(NAME, r#"{"n":18446744073709551616}"#.parse().unwrap()).with_proof();
    let proven = client.compute(proven).await.unwrap();
    assert_eq!(
        proven.output.get(),
        r#"{"output":{"n":18446744073709551616},"proof":"0x01"}"#
    );
    let answered = client.usage(UsageQuery::default()).await.unwrap().total.requests;
    assert!(answered >= 4, "{answered}");

    for what in ["fail", "refuse", "talk"] {
        let request = ComputeRequest::new(NAME, &json!({"do": what})).unwrap();
        let error = client.compute(request).await.expect_err(what);
        assert!(
            error.code.http_status().is_some_and(|status| status >= 400),
            "{what}: {error}"
        );
        assert!(!error.to_string().contains("gpu-7"), "{what}: {error}");
    }
    let charged = PRICE.micros() * i64::try_from(answered).unwrap();
    server.assert_charged(Credits::from_micros(charged)).await;
    stop.cancel();
    soon("the node's end", node).await.unwrap().unwrap();
}

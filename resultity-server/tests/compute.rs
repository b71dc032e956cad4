//! Containers over the whole way: HTTP, the store, the link and a real node whose Runtime computes. Every digit comes back,
//! each request costs its price, and what fails costs nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use harness::api::Api;
use harness::{TestServer, batches, container, model, soon};
use reqwest::Method;
use resultity_core::api::cloud::{CallOptions, CloudApi, ModelsApi};
use resultity_core::api::compute::ComputeApi;
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::api::usage::{UsageApi, UsageQuery};
use resultity_core::compute::ComputeRequest;
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::job::JobState;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::raw_json::RawJson;
use resultity_core::testing::{Setting, compute};
use resultity_node::agent::{Agent, AgentError};
use resultity_node::runtime::{self, ContainerRequest, EngineModel, Runtime, RuntimeError, RuntimeStream};
use resultity_server::assemble::Offer;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const NAME: &str = "echo";

/// What the container costs.
const PRICE: Credits = Credits::from_micros(25);

const DATA: &str = r#"{"n":[123456789012345678901234567890,0.10]}"#;

/// Gives what it gets, or does what the data says.
#[derive(Default)]
struct Echo(AtomicU64);

#[async_trait]
impl Runtime for Echo {
    fn kind(&self) -> &'static str {
        "echo"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new(NAME)])
    }

    fn slots(&self) -> u32 {
        4
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        Err(RuntimeError::no_such_work(&request.model, "chat"))
    }

    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        if request.model != NAME {
            return Err(RuntimeError::ModelMissing(request.model));
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        let data: Value = serde_json::from_str(request.data.get()).unwrap();
        match data["do"].as_str() {
            Some("fail") => Err(RuntimeError::Failed("out of memory on gpu-7".into())),
            Some("refuse") => Err(RuntimeError::invalid_field("data", "it has no text on gpu-7")),
            Some("null") => Ok(RawValue::NULL.to_owned()),
            Some("pretty") => Ok(RawValue::from_string(serde_json::to_string_pretty(&data).unwrap()).unwrap()),
            Some("deep") => {
                let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
                Ok(RawValue::from_string(deep).unwrap())
            }
            Some("hang") => std::future::pending().await,
            _ => Ok(request.data),
        }
    }
}

fn offer() -> Offer {
    // The other model is there to be asked for what it can't do.
    Offer::new(vec![model("m"), container(NAME)])
}

/// A real node that serves the container.
struct Node {
    echo: Arc<Echo>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), AgentError>>,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start(server: &TestServer) -> Self {
        let (dir, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
        let runtime: Arc<dyn Runtime> = Arc::clone(&echo) as _;
        let agent = Agent::builder(server.io_url(), dir.path()).runtime(runtime).build();
        let stop = CancellationToken::new();
        let task = tokio::spawn(agent.unwrap().run(stop.clone()));
        server.until_served(NAME).await;
        Self {
            echo,
            stop,
            task,
            _dir: dir,
        }
    }

    /// How often the container ran, its test prompt apart.
    fn runs(&self) -> u64 {
        self.echo.0.load(Ordering::SeqCst) - 1
    }

    async fn stop(self) {
        self.stop.cancel();
        soon("the node's end", self.task).await.unwrap().unwrap();
    }
}

fn times(price: Credits, count: u64) -> Credits {
    Credits::from_micros(price.micros() * i64::try_from(count).unwrap())
}

fn asking(data: &str) -> ComputeRequest {
    ComputeRequest::of(NAME, data.parse().unwrap())
}

#[tokio::test]
async fn the_runtime_keeps_the_contract_of_containers() {
    runtime::testing::compute(&Echo::default(), NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_in_process_and_over_http() {
    let server = TestServer::with(offer()).await;
    let node = Node::start(&server).await;
    let setting = Setting {
        model: "m",
        embedding_model: None,
        container_model: Some(NAME),
        network_key: server.running.app().flow().network_key().address(),
        pause: &|| tokio::time::sleep(Duration::from_millis(5)).boxed(),
    };
    let (session, client) = (server.session(), server.client());
    let surfaces: [&dyn CloudApi; 2] = [&session, &client];
    for api in surfaces {
        soon("the contract", compute::all(api, NAME, &setting)).await;
    }
    assert!(node.runs() >= 6, "{}", node.runs());
    server.assert_charged(times(PRICE, node.runs())).await;

    let usage = client.usage(UsageQuery::default()).await.unwrap();
    let total = &usage.total;
    assert_eq!((total.requests, total.cost), (node.runs(), times(PRICE, node.runs())));
    assert_eq!((total.prompt_tokens, total.completion_tokens), (0, 0));
    let listed = client.model(NAME).await.unwrap();
    assert_eq!(listed.extra["capabilities"], json!(["container"]));
    assert_eq!(listed.extra["price"]["per_request"], PRICE.to_string());
    assert!(!listed.extra.contains_key("context_length"), "{listed:?}");
    node.stop().await;
}

#[tokio::test]
async fn what_is_said_beside_an_answer_is_as_everywhere() {
    let server = TestServer::with(offer()).await;
    let node = Node::start(&server).await;
    let api = Api::new(&server);
    let body = json!({"model": NAME, "data": {"do": "null"}});
    let said = api.post("/v1/compute", body.clone()).await;
    assert_eq!(said.status, 200, "{}", said.body);
    assert_eq!(said.json()["output"], Value::Null);
    assert!(said.body.ends_with(r#""output":null}"#), "{}", said.body);
    assert_eq!(said.header("x-resultity-cost"), Some(PRICE.to_string().as_str()));
    let job = said.header("x-resultity-job-id").unwrap();
    assert_eq!(api.get(&format!("/v1/jobs/{job}")).await["kind"], "container");
    let named = said.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/v1/jobs/{named}")).await["id"], job);

    let dry = api.call(
        Method::POST,
        "/v1/compute",
        &[("x-resultity-dry-run", "true")],
        Some(body.clone()),
    );
    let dry = dry.await;
    assert_eq!(
        (dry.status, &dry.json()["price_ceiling"]),
        (reqwest::StatusCode::OK, &json!(PRICE.to_string()))
    );
    // Null is an answer that is kept like any other.
    let submitted = api
        .post("/v1/jobs", json!({"endpoint": "/v1/compute", "body": body}))
        .await;
    assert_eq!(submitted.status, 202, "{}", submitted.body);
    let done = api.until(submitted.json()["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!(done["result"]["output"], Value::Null, "{done}");
    assert_eq!(node.runs(), 2);
    server.assert_charged(times(PRICE, 2)).await;
}

#[tokio::test]
async fn a_container_that_fails_costs_nothing_and_says_nothing_of_its_host() {
    let server = TestServer::with(offer()).await;
    let node = Node::start(&server).await;
    let client = server.client();
    let refused = client.compute(asking(r#"{"do":"refuse"}"#)).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.param.as_deref()),
        (ErrorCode::InvalidValue, Some("data"))
    );
    for data in [r#"{"do":"fail"}"#, r#"{"do":"deep"}"#] {
        let error = client.compute(asking(data)).await.unwrap_err();
        assert!(error.code.http_status().is_some_and(|status| status >= 500), "{error}");
        assert!(!error.to_string().contains("gpu-7"), "{error}");
    }
    let hurried = client.with_options(CallOptions::default().ttl(Duration::from_secs(5)));
    let error = hurried.compute(asking(r#"{"do":"hang"}"#)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded, "{error}");
    assert_eq!(node.runs(), 4);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_container_may_be_free() {
    let mut free = container(NAME);
    free.price.per_request = Credits::ZERO;
    let server = TestServer::with(Offer::new(vec![free])).await;
    let _node = Node::start(&server).await;
    let client = server.client();
    let answer = client.compute(asking(DATA)).await.unwrap();
    assert_eq!((answer.output.get(), answer.meta.cost), (DATA, Some(Credits::ZERO)));
    let job = answer.meta.job_id.unwrap();
    assert_eq!(client.receipt(job).await.unwrap().receipt.cost, Credits::ZERO);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_repeat_gives_the_first_answer_with_every_digit() {
    let server = TestServer::with(offer()).await;
    let node = Node::start(&server).await;
    let client = server.client().with_options(CallOptions::idempotent("once"));
    let first = client.compute(asking(DATA)).await.unwrap();
    let again = client.compute(asking(DATA)).await.unwrap();
    assert!(again.meta.replayed && !first.meta.replayed);
    assert_eq!(again.body, first.body);
    assert_eq!(again.output.get(), DATA);
    // A digit that a float would lose makes another request.
    let other = asking(r#"{"n":[123456789012345678901234567891,0.10]}"#);
    assert_eq!(client.compute(other).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(node.runs(), 1);
    server.assert_charged(PRICE).await;
}

#[tokio::test]
async fn a_job_goes_on_after_a_restart_and_is_billed_once() {
    let server = TestServer::with(offer()).await;
    // No node is there yet: it waits.
    let named = CallOptions::idempotent("once");
    let request = JobRequest::compute(&asking(DATA)).unwrap();
    let api = server.client().with_options(named.clone());
    let job = api.create_job(request.clone()).await.unwrap().body;
    assert_eq!((job.status, job.held), (JobState::Queued, PRICE));
    let server = server.restarted(offer()).await;
    let node = Node::start(&server).await;
    let api = server.client().with_options(named);
    let done = soon("the answer", async {
        loop {
            let job = api.job(job.id).await.unwrap().body;
            if job.status.is_final() {
                return job;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((done.status, done.cost), (JobState::Succeeded, Some(PRICE)), "{done:?}");
    let output = |result: Option<RawJson>| {
        result
            .unwrap()
            .read::<resultity_core::compute::Compute>()
            .unwrap()
            .output
    };
    assert_eq!(output(done.result).get(), DATA);
    let again = api.create_job(request).await.unwrap();
    assert!(again.meta.replayed && again.id == job.id, "{again:?}");
    assert_eq!(node.runs(), 1);
    server.assert_charged(PRICE).await;
}

#[tokio::test]
async fn lines_of_a_batch_are_answered_in_one_line_each() {
    let server = TestServer::with(offer()).await;
    let node = Node::start(&server).await;
    let api = batches::Api::new(&server);
    let line = |id: &str, data: &str| {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/compute\",\"body\":{{\"model\":\"{NAME}\",\"data\":{data}}}}}\n"
        )
    };
    let lines = [
        line("a", DATA),
        line("b", r#"{"do":"pretty","x":[1]}"#),
        line("c", "[]"),
    ]
    .concat();
    let file = api.upload(&lines).await;
    let batch = api.create(&file, "/v1/compute").await;
    let batch = api.until_status(batch["id"].as_str().unwrap(), "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({"total": 3, "completed": 2, "failed": 1})
    );
    let content = async |field: &str| {
        let (_, _, content) = api.content(batch[field].as_str().unwrap()).await;
        String::from_utf8(content).unwrap()
    };
    let output = content("output_file_id").await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(
        lines.iter().any(|line| line.contains(&format!("\"output\":{DATA}"))),
        "{output}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains(r#""output":{"do":"pretty","x":[1]}"#)),
        "{output}"
    );
    let errors = content("error_file_id").await;
    assert!(errors.contains(r#""param":"data""#), "{errors}");
    assert_eq!(node.runs(), 2);
    server.assert_charged(times(PRICE, 2)).await;
}

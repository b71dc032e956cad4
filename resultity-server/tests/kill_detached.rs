//! `kill -9` of the server at every step of a job in the background. After the next start it goes on, is answered once and
//! billed once, and its idempotency key still stands for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::path::Path;
use std::sync::Arc;

use harness::node::TestNode;
use harness::process::Process;
use harness::soon;
use resultity_core::credits::Credits;
use resultity_core::job::JobState;
use resultity_core::wire::{Job, JobResult};
use resultity_server::assemble::open_store;
use resultity_server::session::hash_key;
use resultity_server::store::{Balance, Store};
use rstest::rstest;
use serde_json::{Value, json};

/// What `dev` gives its key.
const CREDITS: Credits = Credits::from_whole(1_000_000);

/// When the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Accepted,
    Leased,
    Running,
    ResultSent,
    Acknowledged,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Chat,
    Container,
}

impl Asked {
    async fn server(self, data_dir: &Path) -> Process {
        match self {
            Self::Chat => Process::start(data_dir).await,
            Self::Container => Process::start_with(data_dir, &["--container-model", "c"]).await,
        }
    }

    async fn node(self, server: &Process) -> TestNode {
        match self {
            Self::Chat => server.node(1).await,
            Self::Container => TestNode::ready_to_compute(&server.description.io, &server.description.model, 1).await,
        }
    }

    fn body(self, model: &str) -> Value {
        match self {
            Self::Chat => json!({
                "endpoint": "/v1/chat/completions",
                "body": {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10},
            }),
            Self::Container => json!({"endpoint": "/v1/compute", "body": {"model": model, "data": {"a": "hello"}}}),
        }
    }

    fn result(self, node: &TestNode, job: &Job) -> JobResult {
        match self {
            Self::Chat => node.result(job, "answer"),
            Self::Container => node.computed(job, "\"answer\""),
        }
    }

    /// The text of an answer.
    fn text(self, result: &Value) -> &Value {
        match self {
            Self::Chat => &result["choices"][0]["message"]["content"],
            Self::Container => &result["output"],
        }
    }

    fn cost(self) -> Credits {
        match self {
            // Three prompt tokens and two made, at the demo model's price.
            Self::Chat => Credits::from_micros(10 + 3 + 4),
            Self::Container => Credits::from_micros(500),
        }
    }
}

struct Api(reqwest::Client);

impl Api {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self(reqwest::Client::new())
    }

    /// Submits the job, or finds it by its key.
    async fn submit(&self, server: &Process, asked: Asked) -> Value {
        let body = asked.body(&server.description.model);
        let response = self
            .0
            .post(format!("{}/jobs", server.description.cloud))
            .bearer_auth(&server.description.api_key)
            .header("idempotency-key", "once")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
        response.json().await.unwrap()
    }

    async fn until_done(&self, server: &Process, id: &str) -> Value {
        soon("the answer", async {
            loop {
                let request = self.0.get(format!("{}/jobs/{id}", server.description.cloud));
                let response = request.bearer_auth(&server.description.api_key).send().await.unwrap();
                let job: Value = response.json().await.unwrap();
                if job["status"] == "succeeded" {
                    return job;
                }
                assert_ne!(job["status"], "failed", "{job}");
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

#[rstest]
#[case(Moment::Accepted)]
#[case(Moment::Leased)]
#[case(Moment::Running)]
#[case(Moment::ResultSent)]
#[case(Moment::Acknowledged)]
#[tokio::test]
async fn it_goes_on_and_is_billed_once(#[case] moment: Moment, #[values(Asked::Chat, Asked::Container)] asked: Asked) {
    let data_dir = tempfile::tempdir().unwrap();
    let api = Api::new();
    let server = asked.server(data_dir.path()).await;
    let submitted = api.submit(&server, asked).await;
    let id = submitted["id"].as_str().unwrap();
    let store: Arc<dyn Store> = Arc::new(open_store(data_dir.path(), None).unwrap());
    if moment != Moment::Accepted {
        let mut node = asked.node(&server).await;
        let job = node.next_job().await;
        match moment {
            Moment::Accepted | Moment::Leased => {}
            Moment::Running => {
                node.accept(&job).await;
                soon("the job to run", async {
                    while store.job(job.job_id).await.unwrap().unwrap().state != JobState::Running {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
            Moment::ResultSent | Moment::Acknowledged => {
                node.accept(&job).await;
                node.send(asked.result(&node, &job)).await;
                if moment == Moment::Acknowledged {
                    node.ack_of(job.job_id).await;
                }
            }
        }
    }
    server.kill().await;

    let server = asked.server(data_dir.path()).await;
    let mut node = asked.node(&server).await;
    let answered = async {
        // There is none if the first result was settled.
        let job = node.next_job().await;
        node.accept(&job).await;
        node.send(asked.result(&node, &job)).await;
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = api.until_done(&server, id) => done,
        () = answered => unreachable!("it goes on for ever"),
    };
    assert_eq!(asked.text(&done["result"]), "answer");
    assert_eq!(done["cost"], asked.cost().to_string());
    let again = api.submit(&server, asked).await;
    assert_eq!((&again["id"], &again["status"]), (&json!(id), &json!("succeeded")));
    let key = hash_key(&server.description.api_key.clone().into());
    let record = store.key(key).await.unwrap().unwrap();
    let left = Balance {
        available: Credits::from_micros(CREDITS.micros() - asked.cost().micros()),
        held: Credits::ZERO,
    };
    assert_eq!(store.balance(record.namespace).await.unwrap().unwrap(), left);
    let report = store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::new(), 0));
}

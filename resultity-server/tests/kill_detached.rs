//! `kill -9` of the server at every step of a job in the background. After the next start it goes on, is answered once and
//! billed once, and its idempotency key still stands for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::sync::Arc;

use harness::process::Process;
use harness::soon;
use resultity_core::credits::Credits;
use resultity_core::job::JobState;
use resultity_server::assemble::open_store;
use resultity_server::session::hash_key;
use resultity_server::store::{Balance, Store};
use rstest::rstest;
use serde_json::{Value, json};

/// What `dev` gives its key.
const CREDITS: Credits = Credits::from_whole(1_000_000);

/// Three prompt tokens and two made, at the demo model's price.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

/// When the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Accepted,
    Leased,
    Running,
    ResultSent,
    Acknowledged,
}

struct Api(reqwest::Client);

impl Api {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self(reqwest::Client::new())
    }

    /// Submits the job, or finds it by its key.
    async fn submit(&self, server: &Process) -> Value {
        let model = &server.description.model;
        let body = json!({
            "endpoint": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10},
        });
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
async fn it_goes_on_and_is_billed_once(#[case] moment: Moment) {
    let data_dir = tempfile::tempdir().unwrap();
    let api = Api::new();
    let server = Process::start(data_dir.path()).await;
    let submitted = api.submit(&server).await;
    let id = submitted["id"].as_str().unwrap();
    let store: Arc<dyn Store> = Arc::new(open_store(data_dir.path(), None).unwrap());
    if moment != Moment::Accepted {
        let mut node = server.node(1).await;
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
            Moment::ResultSent => node.answer(&job, "answer").await,
            Moment::Acknowledged => {
                node.answer(&job, "answer").await;
                node.ack_of(job.job_id).await;
            }
        }
    }
    server.kill().await;

    let server = Process::start(data_dir.path()).await;
    let mut node = server.node(1).await;
    let answered = async {
        // There is none if the first result was settled.
        let job = node.next_job().await;
        node.answer(&job, "answer").await;
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = api.until_done(&server, id) => done,
        () = answered => unreachable!("it goes on for ever"),
    };
    assert_eq!(done["result"]["choices"][0]["message"]["content"], "answer");
    assert_eq!(done["cost"], COST.to_string());
    let again = api.submit(&server).await;
    assert_eq!((&again["id"], &again["status"]), (&json!(id), &json!("succeeded")));
    let key = hash_key(&server.description.api_key.clone().into());
    let record = store.key(key).await.unwrap().unwrap();
    let left = Balance {
        available: Credits::from_micros(CREDITS.micros() - COST.micros()),
        held: Credits::ZERO,
    };
    assert_eq!(store.balance(record.namespace).await.unwrap().unwrap(), left);
    let report = store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::new(), 0));
}

//! A node that is killed, or stopped, with jobs under way: nothing is lost, and what had ended stays as it was.

use std::path::Path;

use reqwest::Method;
use resultity_core::testing::node::{ECHO, FAIL, SLOW, UPPER};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Asker, Containers, PUPPET, Process, free_port, soon, until};

struct Setup {
    containers: Containers,
    dir: TempDir,
    config: Value,
}

impl Setup {
    async fn new(ours: Value) -> Option<Self> {
        let containers = Containers::start().await?;
        let dir = tempfile::tempdir().unwrap();
        let mut config = containers.config(&dir.path().join("data"), free_port().await);
        let settings = config["resultity"].as_object_mut().unwrap();
        settings.extend(ours.as_object().unwrap().clone());
        Some(Self {
            containers,
            dir,
            config,
        })
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    async fn start(&self) -> (Process, Asker) {
        let process = Process::start(&self.config, self.dir()).await;
        let asker = Asker::of(&process);
        (process, asker)
    }
}

/// One running call at a time: what comes after it waits.
fn narrow(container: &str) -> Value {
    json!({"containers": {container: {"max_concurrency": 1}}})
}

#[tokio::test]
async fn jobs_in_flight_fail_as_interrupted_when_the_node_is_killed() {
    let Some(setup) = Setup::new(narrow(SLOW)).await else {
        return;
    };
    let (process, asker) = setup.start().await;
    let good = asker.begin(&[ECHO], json!({"n": 1})).await;
    let bad = asker.begin(&[FAIL], json!({"message": "out of paper"})).await;
    let ended = [asker.ended(&good).await, asker.ended(&bad).await];

    let (streamed, _response) = asker.begin_stream(&[SLOW], json!({"gate": "never"})).await;
    setup.containers.until_count(SLOW, "running", 1).await;
    // Behind the stream; one of them in the second hop of its pipeline.
    let queued = asker.begin(&[SLOW], json!({"gate": "never"})).await;
    let hop = asker
        .begin(&[PUPPET, SLOW], json!({"body": "{\"gate\": \"never\"}"}))
        .await;
    setup.containers.until_count(PUPPET, "answered", 1).await;
    let registered = json!({"id": "its own", "status": "running", "containers": [ECHO]});
    let request = asker.request(Method::PUT, "/api/status").json(&registered);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let in_flight = [&streamed, &queued, &hop];
    assert_eq!(asker.get("/info").await["pending"]["offchain"], 4);
    process.kill().await;

    let (process, asker) = setup.start().await;
    for (before, id) in ended.iter().zip([&good, &bad]) {
        assert_eq!(&asker.job(id).await, before, "what had ended stays as it was");
    }
    for id in in_flight {
        let job = asker.job(id).await;
        assert_eq!(job["status"], "failed", "{job}");
        assert_eq!(job["result"]["error"], "interrupted", "{job}");
    }
    assert_eq!(
        asker.job("its own").await["status"],
        "running",
        "a container may still finish it"
    );
    assert_eq!(asker.get("/info").await["pending"]["offchain"], 1);
    let all = asker.get("/api/jobs").await;
    assert_eq!(all.as_array().unwrap().len(), 6, "nothing is lost: {all}");
    // It works on.
    let id = asker.begin(&[UPPER], json!({"text": "on"})).await;
    assert_eq!(asker.output(&id).await, json!({"text": "ON"}));
    process.terminate().await;
    process.ended().await;
}

#[tokio::test]
async fn jobs_in_flight_begin_anew_where_the_configuration_says_so() {
    let mut ours = narrow(SLOW);
    ours["on_restart"] = json!("rerun");
    let Some(setup) = Setup::new(ours).await else { return };
    let (process, asker) = setup.start().await;
    let running = asker.begin(&[SLOW], json!({"gate": "later"})).await;
    setup.containers.until_count(SLOW, "running", 1).await;
    let queued = asker.begin(&[SLOW], json!({"gate": "later"})).await;
    let hop = asker
        .begin(&[PUPPET, SLOW], json!({"body": "{\"gate\": \"later\"}"}))
        .await;
    setup.containers.until_count(PUPPET, "answered", 1).await;
    let done = asker.begin(&[ECHO], json!({"n": 1})).await;
    let before = asker.ended(&done).await;
    process.kill().await;

    let (process, asker) = setup.start().await;
    setup.containers.until_count(PUPPET, "answered", 2).await;
    setup.containers.open("later").await;
    for id in [&running, &queued, &hop] {
        assert_eq!(asker.output(id).await, json!({"gate": "later"}));
    }
    assert_eq!(asker.ended(&done).await, before);
    assert_eq!(
        setup.containers.count(ECHO, "answered").await,
        1,
        "what had ended does not run again"
    );
    process.kill().await;

    // All of it was durable.
    let (_process, asker) = setup.start().await;
    for id in [&running, &queued, &hop] {
        assert_eq!(asker.output(id).await, json!({"gate": "later"}));
    }
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_kill() {
    let Some(setup) = Setup::new(json!({})).await else {
        return;
    };
    let (process, asker) = setup.start().await;
    let entry = |number: u32| json!({"containers": [ECHO], "data": {"number": number}});
    let mut ids: Vec<Value> = Vec::new();
    for round in 0..20 {
        let batch: Vec<Value> = (0..50).map(|number| entry(round * 50 + number)).collect();
        let request = asker.request(Method::POST, "/api/jobs/batch").json(&batch);
        let answers: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        ids.extend(answers.into_iter().map(|answer| answer["id"].clone()));
    }
    // Some have ended, some have not.
    process.kill().await;
    let (_process, asker) = setup.start().await;
    let query: Vec<String> = ids.iter().map(|id| format!("id={}", id.as_str().unwrap())).collect();
    let jobs = asker.get(&format!("/api/jobs?{}", query.join("&"))).await;
    let jobs = jobs.as_array().unwrap();
    assert_eq!(jobs.len(), ids.len());
    for (number, (job, id)) in jobs.iter().zip(&ids).enumerate() {
        assert_eq!(&job["id"], id);
        match job["status"].as_str() {
            Some("success") => assert_eq!(job["result"]["output"]["data"]["number"], number, "{job}"),
            _ => assert_eq!(job["result"]["error"], "interrupted", "{job}"),
        }
    }
}

#[tokio::test]
async fn a_stop_lets_running_jobs_end_and_takes_no_more() {
    let Some(setup) = Setup::new(json!({})).await else {
        return;
    };
    let (process, asker) = setup.start().await;
    let job = asker.begin(&[SLOW], json!({"gate": "drained"})).await;
    setup.containers.until_count(SLOW, "running", 1).await;
    process.terminate().await;
    // No new connection gets in, or it is told to come again.
    let body = json!({"containers": [ECHO], "data": {}});
    until("no more jobs", async || {
        let request = asker.request(Method::POST, "/api/jobs").json(&body);
        let is_open = request.send().await.is_ok_and(|answer| answer.status() == 200);
        (!is_open).then_some(())
    })
    .await;
    setup.containers.open("drained").await;
    soon("a graceful end", process.ended()).await;

    let (_process, asker) = setup.start().await;
    assert_eq!(asker.output(&job).await, json!({"gate": "drained"}));
}

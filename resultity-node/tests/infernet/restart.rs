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

/// Posts batches until the node is gone, and gives the ids of all jobs that were accepted.
async fn post_until_gone(asker: &Asker) -> Vec<String> {
    let mut ids = Vec::new();
    for round in 0.. {
        let entry = |number| json!({"containers": [ECHO], "data": {"number": round * 10 + number}});
        let batch: Vec<Value> = (0..10).map(entry).collect();
        let request = asker.request(Method::POST, "/api/jobs/batch").json(&batch);
        let Ok(response) = request.send().await else { break };
        let Ok(answers) = response.json::<Vec<Value>>().await else {
            break;
        };
        ids.extend(answers.iter().map(|answer| answer["id"].as_str().unwrap().to_owned()));
    }
    ids
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_kill_and_what_was_seen_is_unchanged() {
    let Some(setup) = Setup::new(json!({})).await else {
        return;
    };
    let (process, asker) = setup.start().await;
    let killed = async {
        // In the middle of it.
        let some = async || (setup.containers.calls().await.len() > 100).then_some(());
        until("some jobs", some).await;
        let ended: Vec<String> = serde_json::from_value(asker.get("/api/jobs?pending=false").await).unwrap();
        let query: Vec<String> = ended.iter().take(1000).map(|id| format!("id={id}")).collect();
        let seen = asker.get(&format!("/api/jobs?{}", query.join("&"))).await;
        process.kill().await;
        (query, seen)
    };
    let (ids, (query, seen)) = tokio::join!(post_until_gone(&asker), killed);

    let (_process, asker) = setup.start().await;
    assert_eq!(asker.get(&format!("/api/jobs?{}", query.join("&"))).await, seen);
    for (some, first) in ids.chunks(1000).zip((0..).step_by(1000)) {
        let query: Vec<String> = some.iter().map(|id| format!("id={id}")).collect();
        let jobs = asker.get(&format!("/api/jobs?{}", query.join("&"))).await;
        let jobs = jobs.as_array().unwrap();
        assert_eq!(jobs.len(), some.len(), "nothing is lost");
        for (number, (job, id)) in (first..).zip(jobs.iter().zip(some)) {
            assert_eq!(job["id"], *id);
            match job["status"].as_str() {
                Some("success") => assert_eq!(job["result"]["output"]["data"]["number"], number, "{job}"),
                _ => assert_eq!(job["result"]["error"], "interrupted", "{job}"),
            }
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

#[tokio::test]
async fn results_go_when_their_time_is_over() {
    let Some(setup) = Setup::new(json!({"keep_results_for": 5.0})).await else {
        return;
    };
    let (process, asker) = setup.start().await;
    let id = asker.begin(&[ECHO], json!({})).await;
    asker.output(&id).await;
    // Its time goes on while nobody counts it.
    process.kill().await;
    let (_process, asker) = setup.start().await;
    let running = asker.begin(&[SLOW], json!({"gate": "kept"})).await;
    until("the end of a result", async || {
        let jobs = asker.get(&format!("/api/jobs?id={id}")).await;
        (jobs == json!([])).then_some(())
    })
    .await;
    assert_eq!(asker.get("/api/jobs").await, json!([running]), "what runs is kept");
}

//! `kill -9` of the server again and again while a batch runs: each line is answered, and billed, once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::path::Path;

use harness::batches::{Api, chat_line, jsonl};
use harness::node::TestNode;
use harness::process::Process;
use resultity_core::credits::Credits;
use resultity_server::assemble::open_store;
use resultity_server::session::hash_key;
use resultity_server::store::{Balance, Store};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::{Value, json};

/// What `dev` gives its key.
const CREDITS: Credits = Credits::from_whole(1_000_000);

/// Three prompt tokens and two made, at the demo model's price: what an answer of a test node costs.
const COST: i64 = 10 + 3 + 4;

const LINES: usize = 12;

fn api(server: &Process) -> Api {
    Api::at(&server.description.cloud, &server.description.api_key)
}

/// Answers so many jobs.
async fn answer(node: &mut TestNode, count: usize) {
    for _ in 0..count {
        let job = node.next_job().await;
        node.answer(&job, "yes").await;
    }
}

/// When the server is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as the batch is there.
    Created,
    /// After so many results were sent.
    Answered(usize),
    /// After so many results were sent and settled.
    Settled(usize),
}

/// Answers whatever is asked until the batch is as it should be.
async fn answer_all(api: &Api, node: &mut TestNode, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        tokio::select! {
            job = node.next_job() => node.answer(&job, "yes").await,
            batch = api.until(id, &is_so) => return batch,
        }
    }
}

async fn books(data_dir: &Path, key: &str, answers: u64) {
    let store = open_store(data_dir, None).unwrap();
    let report = store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::<String>::new(), 0));
    let record = store.key(hash_key(&SecretString::from(key))).await.unwrap().unwrap();
    let balance = Balance {
        available: Credits::from_micros(CREDITS.micros() - COST * i64::try_from(answers).unwrap()),
        held: Credits::ZERO,
    };
    assert_eq!(store.balance(record.namespace).await.unwrap(), Some(balance));
}

#[rstest]
#[case(&[Moment::Created, Moment::Answered(0), Moment::Answered(1), Moment::Settled(2)])]
#[case(&[Moment::Settled(1), Moment::Answered(4), Moment::Answered(3), Moment::Created])]
#[case(&[Moment::Answered(12)])]
#[case(&[Moment::Settled(12)])]
#[tokio::test]
async fn a_batch_ends_however_often_the_server_is_killed(#[case] moments: &[Moment]) {
    let data_dir = tempfile::tempdir().unwrap();
    let mut server = Process::start(data_dir.path()).await;
    let model = server.description.model.clone();
    let ids: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    let lines: Vec<Value> = ids.iter().map(|id| chat_line(id, &model)).collect();
    let id = api(&server).batch(&lines, "/v1/chat/completions").await;
    for moment in moments {
        let _node = match *moment {
            Moment::Created => None,
            Moment::Answered(count) => {
                let mut node = server.node(4).await;
                answer(&mut node, count).await;
                Some(node)
            }
            Moment::Settled(count) => {
                let mut node = server.node(4).await;
                let settled = |batch: &Value| batch["request_counts"]["completed"].as_u64().unwrap() as usize;
                let before = settled(&api(&server).until(&id, |_| true).await);
                answer(&mut node, count).await;
                api(&server)
                    .until(&id, |batch| settled(batch) >= (before + count).min(LINES))
                    .await;
                Some(node)
            }
        };
        server.kill().await;
        server = Process::start(data_dir.path()).await;
    }
    let api = api(&server);
    let mut node = server.node(4).await;
    let batch = answer_all(&api, &mut node, &id, |batch| batch["status"] == "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({"total": LINES, "completed": LINES, "failed": 0})
    );
    let output = api.lines(&batch["output_file_id"]).await;
    let answered: Vec<&str> = output.iter().map(|line| line["custom_id"].as_str().unwrap()).collect();
    assert_eq!(answered, ids);
    let (_, files) = api.get("/files").await;
    assert_eq!(files["data"].as_array().unwrap().len(), 2, "its input and its output");
    let key = server.description.api_key.clone();
    server.kill().await;
    books(data_dir.path(), &key, LINES as u64).await;
}

#[tokio::test]
async fn a_batch_that_was_to_be_cancelled_is_cancelled_by_the_next_process() {
    let data_dir = tempfile::tempdir().unwrap();
    let server = Process::start(data_dir.path()).await;
    let lines: Vec<Value> = (0..4)
        .map(|n| chat_line(&format!("{n}"), &server.description.model))
        .collect();
    let file = api(&server).upload(&jsonl(&lines)).await;
    let batch = api(&server).create(&file, "/v1/chat/completions").await;
    let id = batch["id"].as_str().unwrap();
    let mut node = server.node(2).await;
    answer(&mut node, 1).await;
    api(&server)
        .until(id, |batch| batch["request_counts"]["completed"] == 1)
        .await;
    let job = node.next_job().await;
    node.accept(&job).await;
    let (status, _) = api(&server).post(&format!("/batches/{id}/cancel"), json!({})).await;
    assert_eq!(status, 200);
    server.kill().await;
    let server = Process::start(data_dir.path()).await;
    let batch = api(&server).until_status(id, "cancelled").await;
    assert_eq!(
        batch["request_counts"],
        json!({"total": 4, "completed": 1, "failed": 3})
    );
    let key = server.description.api_key.clone();
    server.kill().await;
    books(data_dir.path(), &key, 1).await;
}

//! A database that refuses: full, or locked by somebody else. That a full disk is one, and undoes all of a batch, is a test of the
//! store; here another process makes every write that has to do with money fail in the same way.

use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::job::JobState;
use resultity_server::assemble::database_path;
use rusqlite::Connection;
use serde_json::json;

use crate::harness::api::{Api, chat};
use crate::harness::invariants::invariants;
use crate::harness::node::TestNode;
use crate::harness::{TestServer, soon};
use crate::{COST, ask};

/// The database as another process has it.
fn beside(server: &TestServer) -> Connection {
    let connection = Connection::open(database_path(server.data_dir.path())).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection
}

/// No money is moved from now on, as if the disk were full.
fn fill(server: &TestServer) {
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON ledger_transactions
                  BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    beside(server).execute_batch(refuse).unwrap();
}

fn make_room(server: &TestServer) {
    beside(server).execute_batch("DROP TRIGGER full").unwrap();
}

#[tokio::test]
async fn nothing_is_taken_while_the_disk_is_full_and_all_goes_on_when_there_is_room() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 2).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    let job = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    fill(&server);
    for (path, body) in [("/v1/chat/completions", chat()), ("/v1/jobs", job.clone())] {
        let refused = api.post(path, body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("retry-after").is_some()),
            (503, true),
            "{}",
            refused.body
        );
        assert!(refused.body.contains("nothing was charged"), "{}", refused.body);
    }
    // With a key, too: the key stands for nothing yet.
    let key = [("idempotency-key", "once")];
    let refused = api
        .call(reqwest::Method::POST, "/v1/chat/completions", &key, Some(chat()))
        .await;
    assert_eq!(refused.status, 503, "{}", refused.body);

    make_room(&server);
    let asked = api.call(reqwest::Method::POST, "/v1/chat/completions", &key, Some(chat()));
    let (answer, ()) = tokio::join!(asked, async {
        let job = node.next_job().await;
        node.answer(&job, "there is room").await;
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn a_job_under_way_is_settled_when_there_is_room_again() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let job = node.next_job().await;
    fill(&server);
    node.answer(&job, "a little late").await;
    // It is settled by one of the next tries.
    let failed = server.store.release(release(job.job_id)).await;
    assert!(failed.is_err(), "{failed:?}");
    make_room(&server);
    assert_eq!(
        soon("the answer", asked).await.unwrap().unwrap().text(),
        "a little late"
    );
    server.assert_charged(COST).await;
    invariants(&server).await;
}

fn release(job: resultity_core::id::JobId) -> resultity_server::store::Release {
    use resultity_core::clock::{Clock, SystemClock};
    resultity_server::store::Release {
        job,
        state: JobState::Failed,
        error_code: "node_failed",
        error_message: String::new(),
        error_param: None,
        repeatable: true,
        now: SystemClock.now(),
    }
}

#[tokio::test]
async fn a_hold_is_released_when_there_is_room_again() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let asked = ask(&server, "hello");
    let job = node.next_job().await;
    fill(&server);
    let failure = node.failure(&job, resultity_core::wire::FailureCode::EngineFailed);
    node.send(failure).await;
    soon("the attempt's end", async {
        while server.store.job(job.job_id).await.unwrap().unwrap().state != JobState::Queued {
            tokio::task::yield_now().await;
        }
    })
    .await;
    make_room(&server);
    let error = soon("the error", asked).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCapacity);
    server.assert_charged(Credits::ZERO).await;
    invariants(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_a_lock_of_another_process_and_are_refused_if_it_lasts() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let running = ask(&server, "before");
    let job = node.next_job().await;
    let api = Api::new(&server);
    let other = beside(&server);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // For longer than the server waits for a lock: what comes meanwhile is refused, what was taken is not lost.
    node.answer(&job, "after the lock").await;
    let refused = soon("a refusal", api.post("/v1/chat/completions", chat())).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(
        soon("the answer", running).await.unwrap().unwrap().text(),
        "after the lock"
    );
    server.assert_charged(COST).await;
    invariants(&server).await;
}

#[tokio::test]
async fn an_attempt_is_leased_and_queued_again_over_a_moment_without_a_database() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    let job = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let submitted = api.post("/v1/jobs", job).await;
    assert_eq!(submitted.status, 202, "{}", submitted.body);
    let first = node.next_job().await;
    let mut second = TestNode::ready(&server.io_url(), "m", 1).await;
    // Neither may an attempt be written down now.
    let refuse = "CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    beside(&server).execute_batch(refuse).unwrap();
    let failure = node.failure(&first, resultity_core::wire::FailureCode::EngineFailed);
    node.send(failure).await;
    node.ack_of(first.job_id).await;
    make_room(&server);
    let again = second.next_job().await;
    assert_eq!((again.job_id, again.attempt.get()), (first.job_id, 2));
    second.answer(&again, "at last").await;
    api.until(submitted.json()["id"].as_str().unwrap(), "succeeded").await;
    server.assert_charged(COST).await;
    invariants(&server).await;
}

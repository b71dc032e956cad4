//! `kill -9` of the server at every step of a job. After the next start each hold is settled or released exactly once; a
//! job whose asker was lost with the server is released and not run again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use harness::node::{Sent, TestNode};
use harness::process::Process;
use harness::soon;
use resultity_client::CloudClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::credits::Credits;
use resultity_core::id::JobId;
use resultity_core::job::JobState;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Message};
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{AckOutcome, Job};
use resultity_server::assemble::open_store;
use resultity_server::session::hash_key;
use resultity_server::store::{Balance, Store};

/// What `dev` gives its key.
const CREDITS: Credits = Credits::from_whole(1_000_000);

/// Three prompt tokens and two made, at the demo model's price: what an answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

/// When the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Queued,
    Leased,
    Running,
    MidStream,
    ResultSent,
    Acknowledged,
}

/// Somebody asks over HTTP and waits.
fn ask(server: &Process, stream: bool) -> tokio::task::JoinHandle<Option<String>> {
    let client = CloudClient::builder()
        .base_url(&server.description.cloud)
        .api_key(server.description.api_key.clone())
        .max_retries(0)
        .build()
        .unwrap();
    let request = ChatRequest::new(&server.description.model, [Message::user("hello")]).max_tokens(10);
    tokio::spawn(async move {
        if !stream {
            return client.chat(request).await.ok().map(|reply| reply.text().to_owned());
        }
        let mut stream = client.chat_stream(request).await.ok()?;
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text.push_str(chunk.ok()?.text());
        }
        Some(text)
    })
}

/// What is known of a job, read beside the running server.
async fn state(store: &dyn Store, job: JobId) -> JobState {
    store.job(job).await.unwrap().unwrap().state
}

async fn until_state(store: &dyn Store, job: JobId, wanted: JobState) {
    soon("a state of the job", async {
        while state(store, job).await != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Brings a job to the moment and kills the server there. Gives the job that the node had, with its result.
async fn run_until(moment: Moment, data_dir: &Path) -> (Keypair, Job, Option<Sent>) {
    let server = Process::start(data_dir).await;
    let mut node = server.node(1).await;
    let streamed = moment == Moment::MidStream;
    // The node is in rotation once the server says so; until then a request would be refused.
    let asked = loop {
        let asked = ask(&server, streamed);
        tokio::select! {
            job = node.next_job() => break (asked, job),
            refused = async { while !asked.is_finished() { tokio::task::yield_now().await } } => refused,
        }
    };
    let (_asked, job) = asked;
    let store: Arc<dyn Store> = Arc::new(open_store(data_dir, None).unwrap());
    let mut sent = None;
    match moment {
        Moment::Leased => {}
        Moment::Queued => {
            // The node is busy with the first; the second waits in the queue.
            let _second = ask(&server, false);
            soon("a second hold", async {
                while store.audit().await.unwrap().open_holds < 2 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        Moment::Running => {
            node.accept(&job).await;
            until_state(&*store, job.job_id, JobState::Running).await;
        }
        Moment::MidStream => {
            let mut so_far = Sent::default();
            node.accept(&job).await;
            node.chunk(&job, &mut so_far, &[ChunkChoice::text(0, "half")]).await;
            until_state(&*store, job.job_id, JobState::Running).await;
            sent = Some(so_far);
        }
        Moment::ResultSent => node.answer(&job, "answer").await,
        Moment::Acknowledged => {
            node.answer(&job, "answer").await;
            node.ack_of(job.job_id).await;
        }
    }
    server.kill().await;
    (node.key.clone(), job, sent)
}

async fn books_after(moment: Moment) {
    let data_dir = tempfile::tempdir().unwrap();
    let (key, job, sent) = run_until(moment, data_dir.path()).await;

    let server = Process::start(data_dir.path()).await;
    let store: Arc<dyn Store> = Arc::new(open_store(data_dir.path(), None).unwrap());
    let report = store.audit().await.unwrap();
    assert_eq!(
        (report.open_holds, report.problems.clone()),
        (0, Vec::new()),
        "{moment:?}"
    );
    let ended = state(&*store, job.job_id).await;
    let expected: &[JobState] = match moment {
        Moment::Acknowledged => &[JobState::Succeeded],
        // It depends on whether the settlement was committed before the kill; both are right, in between is not.
        Moment::ResultSent => &[JobState::Succeeded, JobState::Cancelled],
        _ => &[JobState::Cancelled],
    };
    assert!(expected.contains(&ended), "{moment:?}: {ended}");
    let charged = if ended == JobState::Succeeded {
        COST
    } else {
        Credits::ZERO
    };
    let record = store
        .key(hash_key(&server.description.api_key.clone().into()))
        .await
        .unwrap()
        .unwrap();
    let balance = store.balance(record.namespace).await.unwrap().unwrap();
    let left = Credits::from_micros(CREDITS.micros() - charged.micros());
    assert_eq!(
        balance,
        Balance {
            available: left,
            held: Credits::ZERO
        },
        "{moment:?}"
    );

    // The node comes back with what it made. It is told how it ended, and neither paid twice nor asked again.
    let mut node = TestNode::connect(&server.description.io, key, &server.description.model, 1, None).await;
    assert!(node.welcome.leases.is_empty(), "{moment:?}: {:?}", node.welcome.leases);
    let result = match sent {
        Some(sent) => node.stream_result(&job, &sent, Outcome::Complete),
        None => node.result(&job, "answer"),
    };
    node.send(result).await;
    let outcome = node.ack_of(job.job_id).await.outcome;
    let expected = if ended == JobState::Succeeded {
        AckOutcome::Recorded
    } else {
        AckOutcome::Superseded
    };
    assert_eq!(outcome, expected, "{moment:?}");
    assert_eq!(
        store.balance(record.namespace).await.unwrap().unwrap(),
        balance,
        "{moment:?}"
    );
    assert_eq!(store.audit().await.unwrap().jobs, report.jobs, "{moment:?}");
}

#[tokio::test]
async fn a_queued_job_is_released() {
    books_after(Moment::Queued).await;
}

#[tokio::test]
async fn a_leased_job_is_released() {
    books_after(Moment::Leased).await;
}

#[tokio::test]
async fn a_running_job_is_released() {
    books_after(Moment::Running).await;
}

#[tokio::test]
async fn a_stream_in_the_middle_is_released() {
    books_after(Moment::MidStream).await;
}

#[tokio::test]
async fn a_result_on_its_way_is_settled_or_released_but_never_both() {
    for _ in 0..3 {
        books_after(Moment::ResultSent).await;
    }
}

#[tokio::test]
async fn an_acknowledged_result_is_settled() {
    books_after(Moment::Acknowledged).await;
}

#[tokio::test]
async fn key_network_and_node_stay_the_same_over_a_restart() {
    let data_dir = tempfile::tempdir().unwrap();
    let first = Process::start(data_dir.path()).await;
    let before = first.description.clone();
    first.kill().await;
    let second = Process::start(data_dir.path()).await;
    assert_eq!(second.description.api_key, before.api_key);
    assert_eq!(second.description.network_key, before.network_key);
}

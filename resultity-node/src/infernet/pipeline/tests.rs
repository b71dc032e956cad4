use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use rstest::rstest;

use super::*;
use crate::infernet::config::settings::Settings;
use crate::infernet::containers::testing::{DIGITS, Server};

fn pipeline(settings: &Settings) -> Pipeline {
    let containers = Arc::new(Containers::new(settings).unwrap());
    Pipeline::new(containers, settings.queue, settings.calls)
}

fn work(containers: &[&str]) -> Work {
    let data = RawValue::from_string(DIGITS.to_owned()).unwrap();
    Work::new(containers.iter().map(|id| (*id).to_owned()).collect(), data)
}

async fn run(pipeline: &Pipeline, containers: &[&str]) -> Ended {
    pipeline.run(work(containers), &CancellationToken::new()).await
}

fn shown(ended: &Ended) -> String {
    serde_json::to_string(&ended.results).unwrap()
}

/// The error of the last container, with its name.
fn error(ended: &Ended) -> (&str, &str) {
    match ended.results.last() {
        Some(ContainerResult::Error(failed)) if ended.status == JobStatus::Failed => (&failed.container, &failed.error),
        other => panic!("{:?}: {other:?}", ended.status),
    }
}

#[tokio::test]
async fn the_answer_of_one_is_the_input_of_the_next() {
    let server = Server::start().await;
    let pipeline = pipeline(&server.settings(&["a", "b", "digits"]));
    let mut work = work(&["a", "digits", "b"]);
    (work.source, work.requires_proof) = (Location::OnChain, true);
    work.destination = Location::OnChain;
    let ended = pipeline.run(work, &CancellationToken::new()).await;
    assert_eq!(ended.status, JobStatus::Success);
    assert_eq!(
        shown(&ended),
        format!(
            r#"[{{"container":"a","output":{{"from":"a"}}}},{{"container":"digits","output":{DIGITS}}},{{"container":"b","output":{{"from":"b"}}}}]"#
        )
    );
    let expected = [
        (
            "a",
            format!(r#"{{"source":0,"destination":1,"data":{DIGITS},"requires_proof":true}}"#),
        ),
        (
            "digits",
            r#"{"source":1,"destination":1,"data":{"from":"a"},"requires_proof":true}"#.to_owned(),
        ),
        (
            "b",
            format!(r#"{{"source":1,"destination":0,"data":{DIGITS},"requires_proof":true}}"#),
        ),
    ];
    assert_eq!(server.bodies(), expected.map(|(id, body)| (id.to_owned(), body)));
}

#[tokio::test]
async fn any_json_is_an_answer() {
    let server = Server::start().await;
    let ended = run(&pipeline(&server.settings(&["null", "echo"])), &["null", "echo"]).await;
    assert_eq!(
        shown(&ended),
        r#"[{"container":"null","output":null},{"container":"echo","output":{"source":1,"destination":1,"data":null,"requires_proof":false}}]"#
    );
}

#[rstest]
#[case("error", "it broke")]
#[case("odd", r#"{"detail":["x"]}"#)]
#[case("text", "no JSON here")]
#[case("empty", "the answer of container \"empty\" is empty")]
#[case("elsewhere", "container \"elsewhere\" answered with status 302")]
#[case("huge", "the answer of container \"huge\" is larger than 1000 bytes")]
#[case("cut", "container \"cut\" closed the connection before its answer was complete")]
#[case("down", "container \"down\" cannot be reached")]
#[case("gate", "container \"gate\" gave no answer within 0.2 s")]
#[case("missing", "container \"missing\" is not on this node")]
#[tokio::test]
async fn a_container_that_fails_ends_the_job(#[case] failing: &str, #[case] says: &str) {
    let server = Server::start().await;
    let mut settings = server.settings(&["a", "b", failing]);
    settings.containers.retain(|container| container.id != "missing");
    (settings.calls.max_answer_bytes, settings.calls.timeout) = (1000, Duration::from_mins(1));
    if let Some(container) = settings.containers.get_mut(2).filter(|_| failing == "gate") {
        container.timeout = Some(Duration::from_millis(200));
    }
    let pipeline = pipeline(&settings);
    for (place, containers) in [[failing, "a", "b"], ["a", failing, "b"], ["a", "b", failing]]
        .iter()
        .enumerate()
    {
        let ended = run(&pipeline, containers).await;
        assert_eq!((ended.results.len(), error(&ended)), (place + 1, (failing, says)));
    }
    // A failure holds nothing.
    server.inside(0).await;
    assert_eq!(run(&pipeline, &["a"]).await.status, JobStatus::Success);
}

#[tokio::test]
async fn the_bearer_is_sent_to_whom_it_is_for() {
    let server = Server::start().await;
    let mut settings = server.settings(&["a", "b"]);
    settings.containers[1].bearer = Some("secret".into());
    run(&pipeline(&settings), &["a", "b"]).await;
    let calls = server.seen.calls.lock().unwrap();
    let bearers: Vec<_> = calls.iter().map(|(_, _, bearer)| bearer.as_deref()).collect();
    assert_eq!(bearers, [None, Some("Bearer secret")]);
}

#[rstest]
#[case(Some(2), 64, 2)]
#[case(None, 3, 3)]
#[tokio::test]
async fn no_more_calls_than_there_are_slots(#[case] own: Option<usize>, #[case] node: usize, #[case] peak: usize) {
    let server = Server::start().await;
    let mut settings = server.settings(&["gate", "a"]);
    settings.containers[0].max_concurrency = own;
    settings.queue.max_running = node;
    let pipeline = pipeline(&settings);
    let jobs = join_all((0..8).map(|_| run(&pipeline, &["gate", "a"])));
    let opener = async {
        server.inside(peak).await;
        if own.is_some() {
            let other = run(&pipeline, &["a"]).await;
            assert_eq!(other.status, JobStatus::Success, "another container is not held up");
        }
        server.seen.gate.add_permits(8);
    };
    let (ended, ()) = tokio::join!(jobs, opener);
    assert!(ended.iter().all(|ended| ended.status == JobStatus::Success));
    assert_eq!(server.seen.peak.load(Ordering::Relaxed), peak);
}

#[tokio::test]
async fn a_job_that_is_cancelled_ends_its_call_and_leaves_the_line() {
    let server = Server::start().await;
    let mut settings = server.settings(&["a", "gate"]);
    settings.containers[1].max_concurrency = Some(1);
    let pipeline = pipeline(&settings);
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let calling = pipeline.run(work(&["a", "gate"]), &first);
    let in_line = async {
        server.inside(1).await;
        let (ended, ()) = tokio::join!(pipeline.run(work(&["gate"]), &second), async { second.cancel() });
        assert_eq!(error(&ended), ("gate", "cancelled"));
        first.cancel();
    };
    let (ended, ()) = tokio::join!(calling, in_line);
    assert_eq!((ended.results.len(), error(&ended)), (2, ("gate", "cancelled")));
    server.inside(0).await;
    server.seen.gate.add_permits(1);
    assert_eq!(run(&pipeline, &["gate"]).await.status, JobStatus::Success);
}

#[tokio::test]
async fn the_last_container_of_a_stream_is_read_along() {
    let server = Server::start().await;
    let (pieces, source) = mpsc::channel(1);
    *server.seen.pieces.lock().unwrap() = Some(source);
    let pipeline = pipeline(&server.settings(&["a", "stream"]));
    let (to, mut from) = mpsc::channel(1);
    let mut work = work(&["a", "stream"]);
    work.destination = Location::Stream;
    let cancel = CancellationToken::new();
    let reader = async {
        for piece in [&b"one "[..], b"tw\xff", b"o"] {
            pieces.send(Bytes::from(piece)).await.unwrap();
            // The next is made once this one is here: nothing is held back.
            assert_eq!(from.recv().await.unwrap(), piece);
        }
        drop(pieces);
        assert_eq!(from.recv().await, None);
    };
    let (ended, ()) = tokio::join!(pipeline.stream(work, to, &cancel), reader);
    assert_eq!(
        shown(&ended),
        r#"[{"container":"a","output":{"from":"a"}},{"container":"stream","output":{"output":"tw�o","lossy":true}}]"#
            .replace("tw", "one tw")
    );
    assert_eq!(ended.status, JobStatus::Success);
    let bodies = server.bodies();
    assert!(bodies[0].1.contains(r#""source":1,"destination":1"#), "{bodies:?}");
    assert!(
        bodies[1]
            .1
            .contains(r#""source":1,"destination":2,"data":{"from":"a"}"#),
        "{bodies:?}"
    );
}

#[rstest]
#[case("error", 0, "it broke")]
#[case("down", 0, "container \"down\" cannot be reached")]
#[case("cut", 0, "container \"cut\" closed the connection before its answer was complete")]
#[case("endless", 1, "the answer of container \"endless\" is larger than 100000 bytes")]
#[tokio::test]
async fn a_stream_that_fails_is_a_failed_job(#[case] id: &str, #[case] at_least: usize, #[case] says: &str) {
    let server = Server::start().await;
    let mut settings = server.settings(&[id]);
    settings.calls.max_answer_bytes = 100_000;
    let pipeline = pipeline(&settings);
    let (to, mut from) = mpsc::channel::<Bytes>(2);
    let count = async {
        let mut bytes = 0;
        while let Some(piece) = from.recv().await {
            bytes += piece.len();
        }
        bytes
    };
    let cancel = CancellationToken::new();
    let (ended, bytes) = tokio::join!(pipeline.stream(work(&[id]), to, &cancel), count);
    assert_eq!((ended.results.len(), error(&ended)), (1, (id, says)));
    assert!(bytes >= at_least && bytes <= 100_000, "{bytes}");
    server.inside(0).await;
}

#[rstest]
#[case(true)]
#[case(false)]
#[tokio::test]
async fn a_reader_who_leaves_ends_the_call(#[case] by_leaving: bool) {
    let server = Server::start().await;
    let pipeline = pipeline(&server.settings(&["endless"]));
    let (to, mut from) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let leave = async {
        from.recv().await.unwrap();
        server.inside(1).await;
        if by_leaving {
            drop(from);
            None
        } else {
            cancel.cancel();
            Some(from)
        }
    };
    let (ended, _from) = tokio::join!(pipeline.stream(work(&["endless"]), to, &cancel), leave);
    assert_eq!(error(&ended), ("endless", "cancelled"));
    server.inside(0).await;
}

#[tokio::test]
async fn a_reader_who_is_too_slow_loses_the_stream() {
    let server = Server::start().await;
    let mut settings = server.settings(&["endless"]);
    settings.calls.stream_timeout = Duration::from_millis(200);
    let (to, from) = mpsc::channel(1);
    let ended = pipeline(&settings)
        .stream(work(&["endless"]), to, &CancellationToken::new())
        .await;
    assert_eq!(
        error(&ended),
        ("endless", "container \"endless\" gave no answer within 0.2 s")
    );
    server.inside(0).await;
    drop(from);
}

#[tokio::test]
async fn jobs_that_wait_are_small() {
    let server = Server::start().await;
    let pipeline = pipeline(&server.settings(&["a"]));
    let cancel = CancellationToken::new();
    let size = size_of_val(&pipeline.run(work(&["a"]), &cancel));
    assert!(size < 1024, "{size} bytes, ten thousand times");
}

#[tokio::test]
async fn the_answers_of_a_job_are_bounded_together() {
    let server = Server::start().await;
    let mut settings = server.settings(&["echo", "a"]);
    settings.calls.max_answer_bytes = 2_000;
    let pipeline = pipeline(&settings);
    // Each repeats what the one before it said, and adds to it.
    let ended = run(&pipeline, &["echo"; 20]).await;
    let (container, error) = error(&ended);
    assert_eq!(
        (container, error),
        (
            "echo",
            "the answers of the job's containers are larger than 2000 bytes together"
        )
    );
    assert!((5..20).contains(&ended.results.len()), "{}", ended.results.len());
    assert!(shown(&ended).len() < 3_000);
    assert_eq!(run(&pipeline, &["a", "a"]).await.status, JobStatus::Success);
}

/// A job whose answers are each about as large.
fn large(containers: &[&str], bytes: usize) -> Work {
    let data = RawValue::from_string(format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes))).unwrap();
    Work::new(containers.iter().map(|id| (*id).to_owned()).collect(), data)
}

#[tokio::test]
async fn large_answers_wait_until_others_are_kept() {
    let server = Server::start().await;
    let mut settings = server.settings(&["echo"]);
    settings.calls.max_answer_bytes = 150_000;
    settings.queue.max_pending_bytes = 150_000;
    let pipeline = pipeline(&settings);
    let cancel = CancellationToken::new();
    let first = pipeline.run(large(&["echo"], 100_000), &cancel).await;
    assert_eq!(first.status, JobStatus::Success);
    let mut second = Box::pin(pipeline.run(large(&["echo"], 100_000), &cancel));
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(waits.is_err(), "the first is still there");
    // What is small never waits.
    assert_eq!(run(&pipeline, &["echo"]).await.status, JobStatus::Success);
    drop(first);
    assert_eq!(second.await.status, JobStatus::Success);
}

#[tokio::test]
async fn jobs_with_large_answers_do_not_wait_for_one_another() {
    let server = Server::start().await;
    let mut settings = server.settings(&["echo"]);
    settings.calls.max_answer_bytes = 300_000;
    settings.queue.max_pending_bytes = 300_000;
    let pipeline = pipeline(&settings);
    let cancel = CancellationToken::new();
    let first = pipeline.run(large(&["echo"], 200_000), &cancel).await;
    let second = pipeline.run(large(&["echo", "echo"], 60_000), &cancel).await;
    assert_eq!(
        error(&second),
        ("echo", "the node holds too many large answers right now")
    );
    drop(first);
    let third = pipeline.run(large(&["echo", "echo"], 60_000), &cancel).await;
    assert_eq!(third.status, JobStatus::Success);
}

//! Jobs whose output comes as it is made.

use futures::StreamExt;
use serde_json::json;

use super::{
    ECHO, FAIL, SLOW, STREAM, Setting, UPPER, ended, failed, intermediate, job, request, scenarios, succeeded,
};
use crate::api::node::{JobStream, NodeApi};
use crate::infernet::{JobId, JobRequest, JobStatus};

scenarios! {
    "stream":
    the_bytes_of_the_container_come_and_are_kept
    pieces_come_as_they_are_made
    any_bytes_come_as_they_are
    a_container_that_fails_leaves_the_id_and_a_failed_job
    the_last_container_of_a_pipeline_streams
    a_stream_that_is_left_ends_its_job
}

async fn open<A: NodeApi + ?Sized>(api: &A, request: JobRequest) -> JobStream {
    let stream = api.stream_job(request).await.expect("a stream begins");
    assert!(uuid::Uuid::parse_str(stream.id.as_str()).is_ok(), "{}", stream.id);
    stream
}

/// All that comes, to the end.
async fn read<A: NodeApi + ?Sized>(api: &A, request: JobRequest) -> (JobId, Vec<u8>) {
    let mut stream = open(api, request).await;
    let mut all = Vec::new();
    while let Some(piece) = stream.bytes.next().await {
        all.extend_from_slice(&piece.expect("it ends well"));
    }
    (stream.id, all)
}

/// The whole output can be fetched later. Panics if not.
pub async fn the_bytes_of_the_container_come_and_are_kept<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    for text in ["one two three\n", "", "Grüße \u{1f642} und mehr"] {
        let (id, bytes) = read(api, request(&[STREAM], json!({"text": text}))).await;
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        let job = ended(api, setting, &id).await;
        assert_eq!(succeeded(&job), (STREAM, json!({"output": text})));
    }
}

/// The first piece is there while the container still works. Panics if not.
pub async fn pieces_come_as_they_are_made<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let mut stream = open(api, request(&[SLOW], json!({"gate": "a stream"}))).await;
    let mut all = Vec::new();
    while all.len() < b"first ".len() {
        let piece = stream.bytes.next().await.expect("there is more to come");
        all.extend_from_slice(&piece.expect("it goes well"));
    }
    assert_eq!(all, b"first ");
    let running = job(api, &stream.id).await;
    assert_eq!(running.status, JobStatus::Running);
    (setting.open)("a stream").await;
    while let Some(piece) = stream.bytes.next().await {
        all.extend_from_slice(&piece.expect("it ends well"));
    }
    assert_eq!(all, b"first second");
    let job = ended(api, setting, &stream.id).await;
    assert_eq!(succeeded(&job), (SLOW, json!({"output": "first second"})));
}

/// Bytes that are no text come unchanged; what is kept of them is marked as lossy. A character in two pieces is text. Panics
/// if not.
pub async fn any_bytes_come_as_they_are<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let (id, bytes) = read(api, request(&[STREAM], json!({"hex": ["41fffe", "00800a", "42"]}))).await;
    assert_eq!(bytes, b"A\xff\xfe\x00\x80\nB");
    let job = ended(api, setting, &id).await;
    let kept = json!({"output": "A\u{fffd}\u{fffd}\u{0}\u{fffd}\nB", "lossy": true});
    assert_eq!(succeeded(&job), (STREAM, kept));

    let (id, bytes) = read(api, request(&[STREAM], json!({"hex": ["f09f", "99", "82"]}))).await;
    assert_eq!(String::from_utf8_lossy(&bytes), "\u{1f642}");
    let job = ended(api, setting, &id).await;
    assert_eq!(succeeded(&job), (STREAM, json!({"output": "\u{1f642}"})));
}

/// Nothing of the container's error is in the stream. Panics if it is.
pub async fn a_container_that_fails_leaves_the_id_and_a_failed_job<A: NodeApi + ?Sized>(
    api: &A,
    setting: &Setting<'_>,
) {
    let (id, bytes) = read(api, request(&[FAIL], json!({"message": "out of paper"}))).await;
    assert_eq!(bytes, b"");
    let job = ended(api, setting, &id).await;
    let (container, error) = failed(&job);
    assert_eq!(container, FAIL);
    assert!(error.contains("out of paper"), "{error}");
}

/// All containers run; the last one is told to stream, the others to hand on. Panics if not.
pub async fn the_last_container_of_a_pipeline_streams<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let (id, bytes) = read(api, request(&[UPPER, STREAM], json!({"text": "one two"}))).await;
    assert_eq!(String::from_utf8_lossy(&bytes), "ONE TWO");
    let job = ended(api, setting, &id).await;
    assert_eq!(succeeded(&job), (STREAM, json!({"output": "ONE TWO"})));
    assert_eq!(intermediate(&job), [(UPPER, json!({"text": "ONE TWO"}))]);

    let (id, bytes) = read(api, request(&[ECHO, ECHO], json!({"n": 1}))).await;
    let last: serde_json::Value = serde_json::from_slice(&bytes).expect("it answers JSON");
    assert_eq!(
        (&last["source"], &last["destination"]),
        (&json!(1), &json!(2)),
        "{last}"
    );
    let first = &last["data"];
    assert_eq!(
        (&first["source"], &first["destination"]),
        (&json!(1), &json!(1)),
        "{last}"
    );
    let job = ended(api, setting, &id).await;
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(succeeded(&job), (ECHO, json!({"output": text})));

    let (id, bytes) = read(api, request(&[FAIL, STREAM], json!({"message": "no", "text": "never"}))).await;
    assert_eq!(bytes, b"");
    let job = ended(api, setting, &id).await;
    assert_eq!(failed(&job).0, FAIL);
}

/// Nobody reads it any more: it is cancelled, and says so. Panics if not.
pub async fn a_stream_that_is_left_ends_its_job<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let mut stream = open(api, request(&[SLOW], json!({"gate": "never opened"}))).await;
    let first = stream.bytes.next().await.expect("there is something");
    assert!(first.is_ok(), "{first:?}");
    let id = stream.id.clone();
    drop(stream);
    let job = ended(api, setting, &id).await;
    let (container, error) = failed(&job);
    assert_eq!(container, SLOW);
    assert!(error.contains("cancel"), "{error}");
}

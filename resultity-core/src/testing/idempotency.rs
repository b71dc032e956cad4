//! The contract of idempotency keys: against a model that answers in text, of any quality.

use crate::api::cloud::CallOptions;
use crate::api::jobs::JobRequest;
use crate::credits::Credits;
use crate::error::ErrorCode;
use crate::openai::chat::{ChatChunk, ChatRequest, Message};
use crate::testing::cloud::WithOptions;
use futures::TryStreamExt;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(with_options: &WithOptions<'_>, model: &str) {
    eprintln!("contract: idempotency: a_repeat_gives_the_first_outcome");
    a_repeat_gives_the_first_outcome(with_options, model).await;
    eprintln!("contract: idempotency: a_repeated_stream_is_the_same");
    a_repeated_stream_is_the_same(with_options, model).await;
    eprintln!("contract: idempotency: a_repeated_job_is_the_same");
    a_repeated_job_is_the_same(with_options, model).await;
}

fn request(model: &str) -> ChatRequest {
    // Without a temperature, so that the same text would be chance.
    ChatRequest::new(model, [Message::user("Tell me a very short story.")]).max_tokens(12)
}

/// A key that no run before this one has used: each run has credits left over from another sum.
async fn new_key(with_options: &WithOptions<'_>, name: &str) -> String {
    let api = with_options(CallOptions::default());
    let credits = api.credits().await.expect("credits can be asked for");
    format!("contract {name} {}", credits.available.micros())
}

async fn available(with_options: &WithOptions<'_>) -> Credits {
    let credits = with_options(CallOptions::default()).credits().await;
    credits.expect("credits can be asked for").available
}

/// The same key and request give the first answer again, unpaid; with another request the key is refused, and another key
/// asks anew. Panics if not.
pub async fn a_repeat_gives_the_first_outcome(with_options: &WithOptions<'_>, model: &str) {
    let key = new_key(with_options, "chat").await;
    let api = with_options(CallOptions::idempotent(&key));
    let first = api.chat(request(model)).await.expect("it is answered");
    assert!(!first.meta.replayed, "{:?}", first.meta);
    let paid = available(with_options).await;

    let again = api.chat(request(model)).await.expect("it is answered again");
    assert_eq!(again.body, first.body);
    assert_eq!(again.meta.job_id, first.meta.job_id);
    assert!(again.meta.replayed, "{:?}", again.meta);
    assert_eq!(available(with_options).await, paid, "a repeat costs nothing");

    let error = api.chat(request(model).max_tokens(13)).await;
    let error = error.expect_err("the key stands for another request");
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");

    let other = with_options(CallOptions::idempotent(format!("{key} b")));
    let other = other.chat(request(model)).await.expect("another key is answered");
    assert_ne!(other.meta.job_id, first.meta.job_id);
    assert!(available(with_options).await < paid, "another key is paid for");
}

/// A stream that is asked for again tells the same text. Panics if not.
pub async fn a_repeated_stream_is_the_same(with_options: &WithOptions<'_>, model: &str) {
    let key = new_key(with_options, "stream").await;
    let api = with_options(CallOptions::idempotent(key));
    let mut told = Vec::new();
    for _ in 0..2 {
        let stream = api.chat_stream(request(model)).await.expect("a stream is opened");
        let meta = stream.meta().clone();
        let chunks: Vec<ChatChunk> = stream.try_collect().await.expect("it ends well");
        let text: String = chunks.iter().map(ChatChunk::text).collect();
        told.push((text, chunks[0].id.clone(), meta.job_id));
    }
    assert_eq!(told[0], told[1]);
}

/// A job that is submitted again is the same job. Panics if not.
pub async fn a_repeated_job_is_the_same(with_options: &WithOptions<'_>, model: &str) {
    let key = new_key(with_options, "job").await;
    let api = with_options(CallOptions::idempotent(key));
    let job = JobRequest::chat(&request(model)).expect("a request is JSON");
    let first = api.create_job(job.clone()).await.expect("a job is accepted");
    let again = api.create_job(job).await.expect("a job is accepted again");
    assert_eq!(again.id, first.id);
    assert!(!first.meta.replayed && again.meta.replayed, "{:?}", again.meta);
}

//! The embedded engine with the real demo model: the contract, the quality of an answer, and the edges.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]
#![cfg(feature = "embedded")]

use std::sync::Arc;

use futures::StreamExt as _;
use resultity_core::openai::chat::{ChatRequest, Choice, Message};
use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, demo_model};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::{Runtime, RuntimeError, RuntimeEvent, testing};
use tokio::sync::OnceCell;

const MODEL: &str = "smollm2-135m";

/// The demo model, fetched once on this machine and loaded once in this process.
async fn runtime() -> Arc<EmbeddedRuntime> {
    static LOADED: OnceCell<Arc<EmbeddedRuntime>> = OnceCell::const_new();
    let load = || async {
        let fetcher = Fetcher::new().unwrap().with_progress(TerminalProgress::new());
        let files = fetcher.fetch_model(&demo_model(), &cache_dir()).await.unwrap();
        let load = move || EmbeddedRuntime::load(&files[0], MODEL).unwrap().with_slots(2);
        Arc::new(tokio::task::spawn_blocking(load).await.unwrap())
    };
    Arc::clone(LOADED.get_or_init(load).await)
}

fn request(prompt: &str) -> ChatRequest {
    ChatRequest::new(MODEL, [Message::user(prompt)])
}

async fn choices(request: ChatRequest) -> (Vec<Choice>, u64) {
    let events: Vec<_> = runtime()
        .await
        .chat(request)
        .await
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    match &events[..] {
        [
            RuntimeEvent::Prompt { .. },
            RuntimeEvent::Answer(choices),
            RuntimeEvent::Done(usage),
        ] => (choices.clone(), usage.completion_tokens),
        other => panic!("{other:?}"),
    }
}

async fn refusal(request: ChatRequest) -> RuntimeError {
    runtime().await.chat(request).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn passes_the_contract() {
    testing::all(&*runtime().await, MODEL).await;
}

#[tokio::test]
async fn knows_the_capital_of_france() {
    let started = std::time::Instant::now();
    // Without a system message the model's own comes first, and with that one this model answers the bare question in
    // something like French. llama.cpp says the same on the same file.
    let messages = [
        Message::system("You are a helpful assistant."),
        Message::user("What is the capital of France?"),
    ];
    let request = ChatRequest::new(MODEL, messages).temperature(0.0).max_tokens(24);
    let outcome = testing::ask(&*runtime().await, request).await;
    println!(
        "{:?} in {:?}, with loading and {:?}",
        outcome.text,
        started.elapsed(),
        outcome.usage
    );
    assert!(outcome.text.contains("Paris"), "{outcome:?}");
    assert_eq!(outcome.finish_reason.as_deref(), Some("stop"));
}

/// The count that llama.cpp gives for the same messages: the template's turns, and every digit a token.
#[tokio::test]
async fn counts_the_prompt_as_others_do() {
    let system = Message::system("Be brief.");
    let request = ChatRequest::new(MODEL, [system, Message::user("Add 123 and 4567.")]).max_tokens(1);
    let outcome = testing::ask(&*runtime().await, request).await;
    // llama-server's /tokenize gives 8 for the first turn, 17 for the second, 4 for what the answer begins with.
    assert_eq!(outcome.usage.prompt_tokens, 29);
}

#[tokio::test]
async fn a_seed_makes_sampling_repeatable_and_choices_differ() {
    let sampled = request("Write a line about the sea.")
        .temperature(1.2)
        .top_p(0.95)
        .seed(-5)
        .max_tokens(12);
    let mut two = sampled.clone();
    two.n = Some(2);
    let (first, tokens) = choices(two.clone()).await;
    let (again, _) = choices(two).await;
    assert_eq!(first, again);
    assert_eq!(first.iter().map(|choice| choice.index).collect::<Vec<_>>(), [0, 1]);
    assert_ne!(first[0].message.content, first[1].message.content);
    assert!(tokens > 12 && tokens <= 24, "both choices are counted: {tokens}");
    let (other, _) = choices(sampled.seed(6)).await;
    assert_ne!(first[0].message.content, other[0].message.content);
}

#[tokio::test]
async fn a_prompt_over_the_context_is_refused() {
    for prompt in ["word ".repeat(5000), "x".repeat(20_000_000)] {
        let error = refusal(request(&prompt)).await;
        assert!(matches!(error, RuntimeError::ContextLengthExceeded(_)), "{error}");
    }
}

#[tokio::test]
async fn what_it_can_not_do_is_refused_by_name() {
    let error = refusal(request("hi").with("tools", serde_json::json!([{"type": "function"}]))).await;
    assert!(
        matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "tools"),
        "{error}"
    );
    let error = refusal(request("hi").max_tokens(0)).await;
    assert!(
        matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "max_tokens"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_model_is_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, b"GGUF and then nothing of use").unwrap();
    let error = EmbeddedRuntime::load(&path, MODEL).unwrap_err().to_string();
    assert!(error.contains("not a usable model file"), "{error}");
    let error = EmbeddedRuntime::load(dir.path().join("none.gguf"), MODEL)
        .unwrap_err()
        .to_string();
    assert!(error.contains("can't be read"), "{error}");
}

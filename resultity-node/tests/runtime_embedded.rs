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
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, demo_model};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::testing::{self, Outcome};
use resultity_node::runtime::{Runtime, RuntimeError, RuntimeEvent};
use serde_json::Value;
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
    let runtime = runtime().await;
    testing::all(&*runtime, MODEL).await;
    testing::logprobs(&*runtime, MODEL).await;
}

#[tokio::test]
async fn passes_the_contract_of_completions() {
    let runtime = runtime().await;
    testing::completions(&*runtime, MODEL).await;
    testing::echoes(&*runtime, MODEL).await;
    testing::completion_logprobs(&*runtime, MODEL).await;
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

async fn completion(request: CompletionRequest) -> Outcome {
    let stream = runtime().await.complete(request).await.unwrap();
    testing::gather(stream).await
}

/// What evaluation programs do: how likely is this text? The first token has nothing before it.
#[tokio::test]
async fn an_echo_without_an_answer_tells_how_likely_the_prompt_is() {
    let mut request = CompletionRequest::new(MODEL, "The capital of France is Paris 🪿").max_tokens(0);
    request.echo = Some(true);
    request.logprobs = Some(1);
    let outcome = completion(request.clone()).await;
    assert_eq!(outcome.text, "The capital of France is Paris 🪿");
    assert_eq!(
        (outcome.finish_reason.as_deref(), outcome.usage.completion_tokens),
        (Some("length"), 0)
    );
    let logprobs = &outcome.logprobs[0];
    let count = usize::try_from(outcome.usage.prompt_tokens).unwrap();
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), count, "{list}");
    }
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    assert_eq!(logprobs["top_logprobs"][0], Value::Null);
    let place = |name: &str| {
        let tokens = logprobs["tokens"].as_array().unwrap();
        tokens.iter().position(|token| token == name).unwrap()
    };
    let paris = place(" Paris");
    assert!(logprobs["token_logprobs"][paris].as_f64().unwrap() > -2.0, "{logprobs}");
    assert_eq!(logprobs["text_offset"][paris], 24);
    // Parts of a character are told by their bytes, and begin where it does.
    let parts: Vec<_> = (paris + 1..count)
        .map(|index| {
            (
                logprobs["tokens"][index].as_str().unwrap(),
                &logprobs["text_offset"][index],
            )
        })
        .collect();
    assert!(
        parts.iter().any(|(name, _)| name.starts_with("bytes:\\x"))
            && parts.iter().all(|(_, at)| **at == 30 || **at == 31),
        "{parts:?}"
    );
    // In pieces it is the same.
    request.stream = Some(true);
    assert_eq!(completion(request).await.logprobs, outcome.logprobs);
}

#[tokio::test]
async fn token_ids_are_prompts_and_come_back_as_text() {
    let mut by_text = CompletionRequest::new(MODEL, "Once upon a time")
        .temperature(0.0)
        .max_tokens(6);
    by_text.echo = Some(true);
    by_text.logprobs = Some(0);
    let text = completion(by_text.clone()).await;
    let mut by_ids = by_text;
    // The same words in the vocabulary of the file.
    by_ids.prompt = Prompt::TokenLists(vec![vec![6403, 1980, 253, 655]]);
    let ids = completion(by_ids.clone()).await;
    assert_eq!((&ids.text, ids.usage), (&text.text, text.usage));
    assert_eq!(ids.logprobs, text.logprobs);
    by_ids.prompt = Prompt::Tokens(vec![6403, 49_152]);
    let error = runtime().await.complete(by_ids).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "prompt"),
        "{error}"
    );
}

/// An evil end: the stop text spans tokens, and a part of the last token is shown.
#[tokio::test]
async fn log_probabilities_go_with_the_text_that_leaves() {
    let request = request("What is the capital of France? Answer in a sentence.")
        .temperature(0.0)
        .max_tokens(24)
        .with("logprobs", true);
    let whole = testing::ask(&*runtime().await, request.clone()).await;
    let cut_at = whole.text.len() / 2;
    let mut stopped = request.stop([&whole.text[cut_at..cut_at + 7]]);
    let entries = |outcome: &Outcome| -> Vec<Value> {
        let all = outcome
            .logprobs
            .iter()
            .filter_map(|logprobs| logprobs["content"].as_array());
        all.flatten().cloned().collect()
    };
    let all = entries(&whole);
    for stream in [false, true] {
        stopped.stream = Some(stream);
        let outcome = testing::ask(&*runtime().await, stopped.clone()).await;
        let told = entries(&outcome);
        assert!(told.len() < all.len() && all.starts_with(&told), "{told:?}");
        let text: String = told.iter().filter_map(|token| token["token"].as_str()).collect();
        let last = told.last().unwrap()["token"].as_str().unwrap();
        assert!(text.starts_with(&outcome.text), "{text:?} and {:?}", outcome.text);
        assert!(
            text.len() - outcome.text.len() < last.len(),
            "no token of which nothing is shown"
        );
    }
}

#[tokio::test]
async fn a_bias_forbids_and_forces_tokens() {
    let request = || request("What is the capital of France?").temperature(0.0).max_tokens(5);
    // " the" of this vocabulary.
    let (forced, _) = choices(request().with("logit_bias", serde_json::json!({"260": 100}))).await;
    assert_eq!(forced[0].message.content.as_deref(), Some(" the the the the the"));
    let (biased, _) = choices(request().with("logit_bias", serde_json::json!({"260": -100}))).await;
    assert!(
        !biased[0].message.content.as_ref().unwrap().contains(" the"),
        "{biased:?}"
    );
}

#[tokio::test]
async fn json_mode_gives_an_object_or_is_cut() {
    let started = std::time::Instant::now();
    let messages = [
        Message::system("You answer in JSON."),
        Message::user("Give me JSON with the keys city and country for Paris. Be brief."),
    ];
    let format = serde_json::json!({"type": "json_object"});
    let mut whole = 0;
    for (seed, temperature) in [(1, 0.0), (2, 1.0), (3, 1.6)] {
        let request = ChatRequest::new(MODEL, messages.clone())
            .temperature(temperature)
            .seed(seed)
            .max_tokens(80)
            .with("response_format", format.clone());
        let outcome = testing::ask(&*runtime().await, request).await;
        println!("{:?} {:?}", outcome.finish_reason, outcome.text);
        let parsed = serde_json::from_str::<serde_json::Map<String, Value>>(&outcome.text);
        match outcome.finish_reason.as_deref() {
            Some("stop") => {
                parsed.unwrap();
                whole += 1;
            }
            Some("length") => assert!(outcome.text.starts_with('{') && parsed.is_err()),
            other => panic!("{other:?}"),
        }
    }
    println!("{whole} of 3 whole in {:?}", started.elapsed());
    assert!(whole > 0, "none came to its end");
}

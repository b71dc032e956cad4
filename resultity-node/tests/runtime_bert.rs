//! Embeddings in this process with the real model: the contract, what the numbers mean, and the edges.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it should be"
)]
#![cfg(feature = "embedded")]

use std::sync::Arc;

use resultity_core::openai::completion::Prompt;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, embedding_model};
use resultity_node::runtime::embedded::{BertFiles, BertRuntime};
use resultity_node::runtime::{Runtime, RuntimeError, testing};
use tokio::sync::OnceCell;

const MODEL: &str = "all-minilm-l6-v2";

/// The model, fetched once on this machine and loaded once in this process.
async fn runtime() -> Arc<BertRuntime> {
    static LOADED: OnceCell<Arc<BertRuntime>> = OnceCell::const_new();
    let load = || async {
        let fetcher = Fetcher::new().unwrap().with_progress(TerminalProgress::new());
        let files = fetcher.fetch_model(&embedding_model(), &cache_dir()).await.unwrap();
        let files = BertFiles::new(files.try_into().unwrap());
        let load = move || BertRuntime::load(&files, MODEL).unwrap();
        Arc::new(tokio::task::spawn_blocking(load).await.unwrap())
    };
    Arc::clone(LOADED.get_or_init(load).await)
}

async fn vectors(texts: &[&str]) -> (Vec<Vec<f32>>, u64) {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let request = EmbeddingRequest::new(MODEL, texts);
    let embeddings = runtime().await.embed(request).await.unwrap();
    (embeddings.vectors, embeddings.prompt_tokens)
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[tokio::test]
async fn passes_the_contract() {
    testing::embeddings(&*runtime().await, MODEL).await;
}

/// The example of the sentence-transformers documentation, with the similarities that it prints for this model.
#[tokio::test]
async fn the_numbers_are_those_of_the_reference() {
    let (vectors, tokens) = vectors(&[
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    ])
    .await;
    assert_eq!(vectors[0].len(), 384);
    for (left, right, expected) in [(0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)] {
        let similarity = cosine(&vectors[left], &vectors[right]);
        assert!(
            (similarity - expected).abs() < 1e-3,
            "{left} and {right}: {similarity}, not {expected}"
        );
    }
    for vector in &vectors {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5, "the length is 1");
    }
    // With the two tokens around each text.
    assert_eq!(tokens, 8 + 9 + 8);
}

#[tokio::test]
async fn a_text_has_the_same_numbers_alone_and_among_others() {
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    let texts = ["a", long.as_str(), "Two words", "Ünïcödé 漢字 🙂", "a"];
    let (together, _) = vectors(&texts).await;
    assert_eq!(together[0], together[4]);
    for (text, among) in texts.iter().zip(&together) {
        let (alone, _) = vectors(&[text]).await;
        let difference = alone[0].iter().zip(among).map(|(left, right)| (left - right).abs());
        assert!(difference.fold(0.0, f32::max) < 1e-5, "{text:?}");
    }
}

#[tokio::test]
async fn a_text_over_the_context_is_refused_and_not_cut() {
    let runtime = runtime().await;
    let fits = runtime.embed(EmbeddingRequest::new(MODEL, "word ".repeat(510))).await;
    assert_eq!(fits.unwrap().prompt_tokens, 512);
    let too_long = vec!["short".to_owned(), "word ".repeat(511)];
    let error = runtime.embed(EmbeddingRequest::new(MODEL, too_long)).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::ContextLengthExceeded(text) if text.contains("input[1] has 513")),
        "{error}"
    );
}

#[tokio::test]
async fn token_ids_are_refused_because_nobody_knows_whose_they_are() {
    let request = EmbeddingRequest::new(MODEL, Prompt::TokenLists(vec![vec![1, 2]]));
    let error = runtime().await.embed(request).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "input"),
        "{error}"
    );
}

#[test]
fn files_that_are_no_model_are_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, b"{}").unwrap();
    let files = BertFiles::new([path.clone(), path.clone(), path]);
    let error = BertRuntime::load(&files, MODEL).unwrap_err().to_string();
    assert!(error.contains("not a usable model file"), "{error}");
}

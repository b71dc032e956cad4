//! The contract of models for embeddings.

use resultity_core::openai::embedding::EmbeddingRequest;

use super::{in_time, lists_its_model};
use crate::runtime::{Runtime, RuntimeError};

/// Runs the contract of a model for embeddings.
///
/// # Panics
/// Where the contract is broken.
pub async fn embeddings(runtime: &dyn Runtime, model: &str) {
    lists_its_model(runtime, model).await;
    let embed = async |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let request = EmbeddingRequest::new(model, texts);
        in_time(runtime.embed(request))
            .await
            .unwrap_or_else(|error| panic!("embed failed: {error}"))
    };
    let texts = [
        "A man is eating food.",
        "A man eats something.",
        "The stock market fell.",
    ];
    let all = embed(&texts).await;
    assert_eq!(all.vectors.len(), texts.len(), "there is a vector for each text");
    assert!(all.prompt_tokens >= 6, "tokens are counted: {}", all.prompt_tokens);
    let length = all.vectors[0].len();
    for vector in &all.vectors {
        assert!(
            vector.len() == length && length > 0 && vector.iter().all(|number| number.is_finite()),
            "all vectors are numbers of one length"
        );
    }
    let cosine = |left: &[f32], right: &[f32]| {
        let product = |left: &[f32], right: &[f32]| left.iter().zip(right).map(|(l, r)| l * r).sum::<f32>();
        product(left, right) / (product(left, left) * product(right, right)).sqrt()
    };
    let (same, other) = (
        cosine(&all.vectors[0], &all.vectors[1]),
        cosine(&all.vectors[0], &all.vectors[2]),
    );
    assert!(same > other, "texts that mean the same are nearer: {same} and {other}");
    let last = embed(&texts[2..]).await;
    assert!(
        cosine(&last.vectors[0], &all.vectors[2]) > 0.999,
        "the vectors are in the order of the texts"
    );
    let request = EmbeddingRequest::new("no-such-model-anywhere", "Hello");
    match in_time(runtime.embed(request)).await {
        Err(RuntimeError::ModelMissing(_)) => {}
        other => panic!("an unknown model is ModelMissing, not {other:?}"),
    }
}

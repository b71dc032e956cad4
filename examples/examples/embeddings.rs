//! Finds the text that is nearest in meaning to a question.
//!
//! `RESULTITY_API_KEY=rk_test_… cargo run -p resultity-examples --example embeddings -- "Where do fish live?"`

use resultity_client::CloudClient;
use resultity_client::core::api::cloud::ModelsApi;
use resultity_client::core::api::embeddings::EmbeddingsApi;
use resultity_client::core::openai::embedding::{EmbeddingInput, EmbeddingRequest, EncodingFormat};

const TEXTS: [&str; 4] = [
    "The river carries salmon up to the lake.",
    "Stock markets fell for the third day.",
    "She tuned the piano before the concert.",
    "Bread needs time, salt and a hot oven.",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "Where do fish live?".into());
    let client = CloudClient::from_env().map_err(|error| error.to_string())?;

    // A model says what it can do.
    let models = client.models().await?;
    let can_embed = |model: &&resultity_client::core::openai::model::Model| {
        let capabilities = model.extra.get("capabilities").and_then(|list| list.as_array());
        capabilities.is_some_and(|list| list.iter().any(|name| name == "embeddings"))
    };
    let model = models.data.iter().find(can_embed);
    let model = &model.ok_or("no model makes embeddings now")?.id;

    // All texts in one request; base64 is half as long as numbers.
    let texts: Vec<String> = TEXTS
        .iter()
        .map(ToString::to_string)
        .chain([question.clone()])
        .collect();
    let request = EmbeddingRequest::new(model, EmbeddingInput::Texts(texts)).encoding_format(EncodingFormat::Base64);
    let answer = client.embed(request).await?;
    let vectors: Option<Vec<Vec<f32>>> = answer.data.iter().map(|entry| entry.embedding.to_floats()).collect();
    let vectors = vectors.ok_or("the answer holds no numbers")?;

    let (asked, known) = vectors.split_last().ok_or("the answer is empty")?;
    println!("{question}");
    for (text, vector) in TEXTS.iter().zip(known) {
        println!("  {:.3}  {text}", likeness(asked, vector));
    }
    Ok(())
}

/// The cosine of the angle between two vectors.
fn likeness(one: &[f32], other: &[f32]) -> f32 {
    let product = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

//! Asks a model one question and waits for the whole answer.
//!
//! `RESULTITY_API_KEY=rk_test_… cargo run -p resultity-examples --example chat -- "Name three rivers."`

use resultity_client::CloudClient;
use resultity_client::core::api::cloud::{ChatApi, ModelsApi};
use resultity_client::core::openai::chat::{ChatRequest, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let question = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "Name the capital of France.".into());
    let client = CloudClient::from_env().map_err(|error| error.to_string())?;

    let models = client.models().await?;
    let model = &models.data.first().ok_or("no model can be asked now")?.id;

    let request = ChatRequest::new(
        model,
        [Message::system("Answer in one sentence."), Message::user(question)],
    )
    .max_tokens(100)
    .temperature(0.0);
    let answer = client.chat(request).await?;

    println!("{}", answer.text());
    if let Some(usage) = answer.usage {
        println!(
            "{} tokens in, {} tokens out",
            usage.prompt_tokens, usage.completion_tokens
        );
    }
    if let Some(cost) = answer.meta.cost {
        println!("{cost} credits");
    }
    Ok(())
}

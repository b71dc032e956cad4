//! Asks a model one question and prints the answer while it is made.
//!
//! `RESULTITY_API_KEY=rk_test_… cargo run -p resultity-examples --example chat_stream -- "Tell me a story."`

use std::io::Write;

use futures::TryStreamExt;
use resultity_client::CloudClient;
use resultity_client::core::api::cloud::{ChatApi, ModelsApi};
use resultity_client::core::openai::chat::{ChatRequest, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let question = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "Tell me about the sea.".into());
    let client = CloudClient::from_env().map_err(|error| error.to_string())?;

    let models = client.models().await?;
    let model = &models.data.first().ok_or("no model can be asked now")?.id;

    // Dropping the stream would cancel the job; an answer that is cut short is an error, not an end.
    let mut stream = client
        .chat_stream(ChatRequest::new(model, [Message::user(question)]).max_tokens(200))
        .await?;
    let mut out = std::io::stdout();
    while let Some(chunk) = stream.try_next().await? {
        out.write_all(chunk.text().as_bytes())?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}

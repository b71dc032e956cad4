//! Asks many questions at once, at bulk priority, and reads the answers when all are there.
//!
//! `RESULTITY_API_KEY=rk_test_… cargo run -p resultity-examples --example batch`

use std::time::Duration;

use futures::TryStreamExt;
use resultity_client::CloudClient;
use resultity_client::core::api::cloud::ModelsApi;
use resultity_client::core::job::Endpoint;
use resultity_client::core::openai::batch::BatchLine;
use resultity_client::core::openai::chat::{ChatCompletion, ChatRequest, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = CloudClient::from_env().map_err(|error| error.to_string())?;
    let models = client.models().await?;
    let model = &models.data.first().ok_or("no model can be asked now")?.id;

    // Answers come in any order: what they are found by is the name of the request.
    let mut lines = Vec::new();
    for country in ["France", "Italy", "Japan"] {
        let question = Message::user(format!("Name the capital of {country}."));
        let request = ChatRequest::new(model, [question]).max_tokens(20);
        lines.push(BatchLine::new(country, Endpoint::ChatCompletions, &request)?);
    }
    let batch = client.submit_batch(Endpoint::ChatCompletions, lines).await?;
    println!("{} is {}", batch.id, batch.status);

    // It goes on without this program: `client.batch(id)` finds it again tomorrow.
    let batch = client.wait_for_batch(batch.id, Duration::from_hours(1)).await?;
    let counts = batch.request_counts;
    println!("{}: {} of {} answered", batch.status, counts.completed, counts.total);

    let mut output = client.batch_output(&batch);
    while let Some(line) = output.try_next().await? {
        match line.response {
            Some(response) if response.status_code == 200 => {
                let answer: ChatCompletion = serde_json::from_str(response.body.get())?;
                println!("{}: {}", line.custom_id, answer.text());
            }
            Some(response) => println!("{}: refused: {}", line.custom_id, response.body),
            None => println!("{}: did not run", line.custom_id),
        }
    }
    Ok(())
}

//! Asks without waiting, is told by a webhook when the answer is there, and fetches it then.
//!
//! ```sh
//! RESULTITY_API_KEY=rk_test_… cargo run -p resultity-examples --example background -- "Tell me a story."
//! ```
//!
//! The webhook goes to this machine, which only a network allows that runs on it, such as `resultity-server dev`. In your
//! own server the handler of the address that you named does what [`receive`] does.

use std::collections::HashMap;
use std::time::Duration;

use resultity_client::CloudClient;
use resultity_client::core::api::cloud::ModelsApi;
use resultity_client::core::api::responses::ResponsesApi;
use resultity_client::core::api::webhooks::{CreateWebhook, WebhooksApi};
use resultity_client::core::openai::response::ResponseRequest;
use resultity_client::webhook::{Event, EventType, Verifier};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "Tell me a story.".into());
    let client = CloudClient::from_env().map_err(|error| error.to_string())?;
    let models = client.models().await?;
    let model = &models.data.first().ok_or("no model can be asked now")?.id;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let request = CreateWebhook::new(url).events([EventType::ResponseCompleted, EventType::ResponseIncomplete]);
    let webhook = client.create_webhook(request).await?.body;
    let verifier = Verifier::new(&webhook.secret)?;

    let request = ResponseRequest::new(model, question).background().max_output_tokens(60);
    let response = client.create_response(request).await?;
    println!("{} is {}", response.id, response.status.as_str());

    let told = tokio::time::timeout(Duration::from_mins(5), receive(&listener, &verifier)).await;
    client.delete_webhook(webhook.webhook.id).await?;
    let event = told??;
    println!("{} is told of {}", event.kind, event.data.id);

    // The message says what has happened, not what the answer is.
    let response = client.response(event.data.id.parse()?).await?;
    println!("{}", response.text());
    Ok(())
}

/// The next message whose signature is right; others are refused. A whole HTTP server in a few lines: use a real one.
async fn receive(listener: &TcpListener, verifier: &Verifier) -> Result<Event, Failure> {
    loop {
        let (socket, _) = listener.accept().await?;
        let mut socket = BufReader::new(socket);
        let (mut line, mut headers) = (String::new(), HashMap::new());
        while socket.read_line(&mut line).await? > 2 {
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            line.clear();
        }
        let length: usize = headers
            .get("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length.min(1 << 20)];
        socket.read_exact(&mut body).await?;

        // The bytes as they came: written again as JSON they may differ, and the signature with them.
        let event = verifier.unwrap(&body, |name| headers.get(name).map(String::as_str));
        let status = if event.is_ok() {
            "204 No Content"
        } else {
            "400 Bad Request"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await?;
        match event {
            Ok(event) => return Ok(event),
            Err(error) => eprintln!("refused: {error}"),
        }
    }
}

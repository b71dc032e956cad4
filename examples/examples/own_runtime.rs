//! An own Runtime: whatever makes text can serve a network. This one says the prompt backwards.
//!
//! ```sh
//! cargo run -p resultity-server -- dev --no-node --model reverse
//! cargo run -p resultity-examples --example own_runtime -- ws://127.0.0.1:8080/io/v1/ws ./own-node reverse
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Usage};
use resultity_node::agent::Agent;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};
use tokio_util::sync::CancellationToken;

struct Reverse {
    model: String,
}

#[async_trait]
impl Runtime for Reverse {
    fn kind(&self) -> &'static str {
        "reverse"
    }

    /// Names that the network's snapshot lists; others are ignored.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new(&self.model)])
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let prompt = request.messages.last().and_then(|message| message.content.as_ref());
        let prompt = prompt
            .ok_or_else(|| RuntimeError::invalid_field("messages", "there is no prompt"))?
            .text();
        let limit = request.token_limit().map_or(usize::MAX, |tokens| tokens as usize);
        let answer: Vec<char> = prompt.chars().rev().take(limit).collect();
        let usage = Usage::new(prompt.chars().count() as u64, answer.len() as u64);
        let reason = if answer.len() == limit { "length" } else { "stop" };
        let pieces = answer.into_iter().map(|letter| vec![ChunkChoice::text(0, letter)]);
        let end = [
            RuntimeEvent::Delta(vec![ChunkChoice::finish(0, reason)]),
            RuntimeEvent::Done(usage),
        ];
        Ok(futures::stream::iter(pieces.map(RuntimeEvent::Delta).chain(end).map(Ok)).boxed())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let io_url = args.next().unwrap_or_else(|| "ws://127.0.0.1:8080/io/v1/ws".into());
    let data_dir = args.next().unwrap_or_else(|| "./own-node".into());
    let model = args.next().unwrap_or_else(|| "reverse".into());
    let agent = Agent::builder(io_url, data_dir)
        .runtime(Arc::new(Reverse { model }))
        .build()?;
    println!("node {}; stop it with Ctrl-C", agent.node_id());
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stopping.cancel()) });
    Ok(agent.run(stop).await?)
}

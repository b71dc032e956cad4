//! An engine that the node runs itself: started, watched, started again when it dies, shut in, ended with the program.
//!
//! ```sh
//! cargo run -p resultity-examples --example managed_engine -- llama-server ./model.gguf smollm2-135m
//! ```
//!
//! Any Agent takes it as its Runtime; `resultity-node run --engine-command llama-server` does all of this.

use std::process::ExitCode;
use std::sync::Arc;

use futures::StreamExt;
use resultity_core::clock::SystemEntropy;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_node::runtime::process::{EngineKind, Isolation, ProcessRuntime, sandbox};
use resultity_node::runtime::{Runtime, RuntimeEvent};

fn main() -> ExitCode {
    // This program shuts the engine in, too: called anew as its own sandbox. It has to be asked before any thread starts.
    if let Some(ended) = sandbox::take_over(std::env::args_os()) {
        return ended;
    }
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("managed_engine: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn answer() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(program), Some(model), Some(name)) = (args.next(), args.next(), args.next()) else {
        return Err("expected the program (llama-server), the model's file and its name".into());
    };
    let spec = EngineKind::LlamaServer
        .spec(Some(program.into()))
        .model(model, &name)
        .slots(2, 4096)
        .isolation(Isolation::BestEffort)
        .sandbox(std::env::current_exe()?);
    let engine = ProcessRuntime::start(spec, "./managed-engine", Arc::new(SystemEntropy)).await?;
    println!("isolation: {}", engine.protections());

    let question = ChatRequest::new(name, [Message::user("What is the capital of France?")]).max_tokens(40);
    let mut events = engine.chat(question).await?;
    while let Some(event) = events.next().await {
        if let RuntimeEvent::Answer(choices) = event? {
            let answer = choices.into_iter().next().and_then(|choice| choice.message.content);
            println!("{}", answer.unwrap_or_default());
        }
    }
    engine.stop().await;
    Ok(())
}

//! How fast the embedded engine is on this machine: `cargo run --release -p resultity-node --example model_speed`.

use std::error::Error;
use std::time::Instant;

use futures::StreamExt as _;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, demo_model};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::{Runtime, RuntimeEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let spec = demo_model();
    let fetcher = Fetcher::new()?.with_progress(TerminalProgress::new());
    let files = fetcher.fetch_model(&spec, &cache_dir()).await?;
    let started = Instant::now();
    let (file, name) = (files[0].clone(), spec.name.clone());
    let runtime = tokio::task::spawn_blocking(move || EmbeddedRuntime::load(file, name)).await??;
    println!("loaded in {:.1} s", started.elapsed().as_secs_f64());
    for (what, prompt) in [
        ("short prompt", "Tell me a long story.".to_owned()),
        ("long prompt", "Tell me a story. ".repeat(100)),
    ] {
        let mut request = ChatRequest::new(&spec.name, [Message::user(prompt)])
            .temperature(0.0)
            .max_tokens(64);
        request.stream = Some(true);
        let started = Instant::now();
        let mut first = None;
        let mut stream = runtime.chat(request).await?;
        while let Some(event) = stream.next().await {
            match event? {
                RuntimeEvent::Delta(_) => {
                    first.get_or_insert_with(Instant::now);
                }
                RuntimeEvent::Done(usage) => {
                    let first = first.unwrap_or(started);
                    let (prefill, decode) = ((first - started).as_secs_f64(), first.elapsed().as_secs_f64());
                    println!(
                        "{what}: {} tokens read at {:.0} a second, {} made at {:.1} a second",
                        usage.prompt_tokens,
                        usage.prompt_tokens as f64 / prefill,
                        usage.completion_tokens,
                        usage.completion_tokens as f64 / decode
                    );
                }
                _ => {}
            }
        }
    }
    Ok(())
}

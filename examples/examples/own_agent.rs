//! A node inside your own program: an engine by its address, status changes printed, a stop that drains.
//!
//! ```sh
//! cargo run -p resultity-examples --example own_agent -- ws://127.0.0.1:8080/io/v1/ws http://127.0.0.1:8000
//! ```

use std::sync::Arc;

use resultity_node::agent::Agent;
use resultity_node::runtime::openai::OpenAiRuntime;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let io_url = args.next().unwrap_or_else(|| "ws://127.0.0.1:8080/io/v1/ws".into());
    let engine_url = args.next().unwrap_or_else(|| "http://127.0.0.1:8000".into());
    let engine = OpenAiRuntime::new(&engine_url)?.with_slots(4);
    let agent = Agent::builder(io_url, "./own-node").runtime(Arc::new(engine)).build()?;
    println!("node {}; stop it with Ctrl-C", agent.node_id());

    let mut status = agent.status();
    let stop = CancellationToken::new();
    let running = tokio::spawn(agent.run(stop.clone()));
    loop {
        tokio::select! {
            changed = status.changed() => {
                // The Agent has ended: it was refused, or cannot go on.
                if changed.is_err() {
                    break;
                }
                let now = status.borrow_and_update();
                println!("connected {} models {:?} running {}", now.connected, now.models, now.running);
            }
            _ = tokio::signal::ctrl_c() => {
                stop.cancel();
                break;
            }
        }
    }
    Ok(running.await??)
}

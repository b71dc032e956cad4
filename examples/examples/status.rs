//! See how a network is, without a key: which models can be asked, and what happens from now on.
//!
//! `cargo run -p resultity-examples --example status`

use std::error::Error;

use futures::StreamExt;
use resultity_client::StatusClient;
use resultity_client::core::api::gate::InEnvironment;
use resultity_client::core::api::status::StatusApi;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Where `resultity-server dev` listens; `.base_url("https://HOST/status/v1")` for another one.
    let status = StatusClient::builder().build()?;
    let of = InEnvironment::default();
    for model in status.models(of).await?.body.models {
        println!(
            "{}: {} nodes, {} a request",
            model.name, model.nodes, model.price.per_request
        );
    }
    // The numbers of the network come first, then whatever changes.
    let mut events = status.events(of).await?.take(3);
    while let Some(event) = events.next().await {
        println!("{:?}", event?);
    }
    Ok(())
}

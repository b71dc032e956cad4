//! A node with an Infernet API inside your own program: asked by the program itself, and by others over HTTP.
//!
//! ```sh
//! cargo run -p resultity-examples --example infernet_node -- http://127.0.0.1:3000
//! ```

use std::net::Ipv4Addr;

use resultity_core::api::node::NodeApi;
use resultity_core::infernet::JobRequest;
use resultity_node::infernet::config::settings::{ContainerSettings, Settings};
use resultity_node::infernet::http;
use resultity_node::infernet::node::{InfernetNode, Parts};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let container = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://127.0.0.1:3000".into());
    let containers = vec![ContainerSettings::new("mine", container.parse()?)];
    let settings = Settings::new("./own-node/results.db", containers);
    let address = settings.listen;
    let node = InfernetNode::start(settings, Parts::default()).await?;

    // Over HTTP, for others on this machine.
    let stop = CancellationToken::new();
    let listener = tokio::net::TcpListener::bind(address).await?;
    let served = tokio::spawn(http::serve(node.clone(), listener, stop.clone()));
    println!("http://{address}/info; stop it with Ctrl-C");

    // In this process: a session is a caller, and a job belongs to its caller.
    let me = node.session(Ipv4Addr::LOCALHOST.into());
    let id = me
        .create_job(JobRequest::new(["mine"], &json!({"text": "hello"}))?)
        .await?;
    println!("job {id}: results at http://{address}/api/jobs?id={id}");

    tokio::signal::ctrl_c().await?;
    stop.cancel();
    node.drain().await;
    served.await??;
    node.close().await;
    Ok(())
}

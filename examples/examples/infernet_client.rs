//! Asks containers of one node directly: a job, its result, and a stream.
//!
//! ```sh
//! resultity-node infernet --config config.json
//! RESULTITY_NODE_URL=http://127.0.0.1:4000 cargo run -p resultity-examples --example infernet_client -- CONTAINER
//! ```

use std::io::Write;
use std::time::Duration;

use futures::TryStreamExt;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::infernet::JobRequest;
use resultity_client::{InfernetClient, RunError};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = InfernetClient::from_env().map_err(|error| error.to_string())?;
    let info = node.info().await?;
    let first = info.containers.iter().find(|container| container.external);
    let named = std::env::args().nth(1).or_else(|| first.map(|first| first.id.clone()));
    let container = named.ok_or("the node has no container that can be asked")?;
    println!("node {}, container {container}", info.version);

    // Several containers make a pipeline: the output of one is the input of the next.
    let request = JobRequest::new([&container], &json!({"text": "Name three rivers."}))?;
    match node.run(request.clone(), Duration::from_mins(5)).await {
        // What a container answers is JSON as it wrote it; `read` gives it as a type.
        Ok(output) => println!("{}", output.output),
        Err(RunError::Failed { id, error }) => println!("job {id}: {} failed: {}", error.container, error.error),
        Err(error) => return Err(error.into()),
    }

    // Dropping the stream would cancel the job.
    let mut stream = node.stream_job(request).await?;
    println!("job {}", stream.id);
    let mut out = std::io::stdout();
    while let Some(bytes) = stream.bytes.try_next().await? {
        out.write_all(&bytes)?;
        out.flush()?;
    }
    writeln!(out)?;

    // A container that fails ends the stream early: the job tells.
    let ended = node
        .wait_for(&stream.id, Duration::from_secs(1), Duration::from_mins(1))
        .await?;
    println!("{}", ended.status);
    Ok(())
}

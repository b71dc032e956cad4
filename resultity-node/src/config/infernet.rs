//! A node that is an agent of the network and serves the Infernet REST API, in one process and on the same containers.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{NodeConfig, RunError, join, own_runtime};
use crate::infernet::config::{Overrides, load};
use crate::infernet::node::InfernetNode;
use crate::infernet::run::{RunOptions, Running};
use crate::infernet::runtime::ContainerRuntime;
use crate::runtime::Runtime;
use crate::runtime::several::Several;

/// Runs both until they are cancelled, or one of them fails. Containers that were started are stopped after both.
///
/// Results are kept in the node's data directory unless the file names another one. Callers are served at once, whatever
/// the network or a model that is fetched takes.
pub(super) async fn run(config: &NodeConfig, path: &Path, cancel: CancellationToken) -> Result<(), RunError> {
    let mut overrides = Overrides::from_environment();
    overrides.default_data_dir = Some(config.data_dir.clone());
    let file = path.to_owned();
    let loaded = tokio::task::spawn_blocking(move || load(&file, &overrides)).await;
    let (mut settings, notes) = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    if settings.log.is_some() {
        tracing::info!("log: an agent of the network logs to its standard error, not to that file");
    }
    settings.drain = config.drain_timeout;
    let mut running = Running::start(RunOptions::new(settings, notes)).await?;
    let node = running.node().clone();

    // Whichever ends first ends the other.
    let stop = cancel.child_token();
    let stopped = stop.clone();
    let serve = AbortOnDropHandle::new(tokio::spawn(async move {
        let served = running.serve(stopped.clone()).await;
        stopped.cancel();
        (running, served)
    }));
    let agent = async {
        let agent = match stop.run_until_cancelled(runtime(config, &node)).await {
            Some(Ok(runtime)) => join(config, runtime, stop.clone()).await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        stop.cancel();
        agent
    };
    let (agent, served) = tokio::join!(agent, serve);
    let (running, served) = served.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    running.end().await;
    agent?;
    Ok(served?)
}

/// What answers the network: containers that are mapped to models, then the engines. The embedded models are loaded if
/// there is neither, or if their file is named.
async fn runtime(config: &NodeConfig, node: &InfernetNode) -> Result<Arc<dyn Runtime>, RunError> {
    let Some(containers) = ContainerRuntime::new(node.pipeline().clone()) else {
        tracing::warn!(
            "no container has a `model`: they serve their own callers, not the network. It takes \"resultity\": {{\"containers\": {{ID: {{\"model\": NAME}}}}}} in the file"
        );
        return own_runtime(config).await;
    };
    for container in &node.settings().containers {
        if let Some(model) = &container.model {
            tracing::info!(
                container = container.id,
                model = model.name,
                "the container can serve the network, where it has this model"
            );
        }
    }
    let containers: Arc<dyn Runtime> = Arc::new(containers);
    #[cfg(unix)]
    let has_engine = config.engine.is_some();
    #[cfg(not(unix))]
    let has_engine = false;
    if config.engines.is_empty() && config.model_file.is_none() && !has_engine {
        return Ok(containers);
    }
    Ok(Arc::new(Several::new(vec![containers, own_runtime(config).await?])))
}

//! The models of the embedded engine: one for text, one for embeddings.

use std::path::PathBuf;
use std::sync::Arc;

use resultity_core::model::ModelSpec;
use resultity_node::models::{self, Fetcher, TerminalProgress};
use resultity_node::runtime::Runtime;
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::several::Several;

use super::{DevError, DevOptions};

/// The models' entries for the snapshot, and the engine with them loaded, unless no node is wanted.
pub(super) async fn demo(options: &DevOptions) -> Result<(Vec<ModelSpec>, Option<Arc<dyn Runtime>>), DevError> {
    let spec = models::demo_model();
    let specs = vec![spec.clone(), models::embedding_model()];
    if options.no_node {
        return Ok((specs, None));
    }
    let path = match &options.model_file {
        Some(path) => path.clone(),
        None => fetch(&spec).await?,
    };
    let name = spec.name.clone();
    // Reading and requantising takes about a second of CPU.
    let loaded = tokio::task::spawn_blocking(move || EmbeddedRuntime::load(path, name)).await;
    let runtime = match loaded {
        Ok(Ok(runtime)) => runtime.with_default_max_tokens(spec.default_max_tokens),
        Ok(Err(error)) => return Err(DevError::Model(error.to_string())),
        Err(error) => return Err(DevError::Model(format!("the model could not be loaded: {error}"))),
    };
    let mut runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(runtime)];
    match resultity_node::config::embeddings().await {
        Ok(embeddings) => runtimes.push(embeddings),
        // Most who try things want to chat; requests for embeddings will find no node.
        Err(error) => tracing::warn!(%error, "this node makes no embeddings"),
    }
    Ok((specs, Some(Arc::new(Several::new(runtimes)))))
}

async fn fetch(spec: &ModelSpec) -> Result<PathBuf, DevError> {
    let failed = |error: models::FetchError| {
        DevError::Model(format!(
            "{error}. A model file that is there already can be named with --model-file"
        ))
    };
    let fetcher = Fetcher::new().map_err(failed)?.with_progress(TerminalProgress::new());
    let files = fetcher.fetch_model(spec, &models::cache_dir()).await.map_err(failed)?;
    files
        .into_iter()
        .next()
        .ok_or_else(|| DevError::Model("the demo model has no file".into()))
}

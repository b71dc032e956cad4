//! Models in this process.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::capability::Capability;
use resultity_core::model::{ModelKind, ModelSpec};

use super::loader::Loader;
use crate::runtime::Runtime;
use crate::runtime::embedded::{BertFiles, BertRuntime, EmbeddedRuntime, LoadError};

/// Loads models into this process: one GGUF file for text, three files for embeddings.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddedLoader {
    /// Requests for text at once; one for every two cores where nothing is said.
    slots: Option<u32>,
}

impl EmbeddedLoader {
    /// One whose models work on so many requests at once.
    pub const fn new(slots: Option<u32>) -> Self {
        Self { slots }
    }
}

#[async_trait]
impl Loader for EmbeddedLoader {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    /// Embeddings have one of their own: they don't wait for answers, nor answers for embeddings.
    fn slots(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let halves = u32::try_from(cores / 2).unwrap_or(1).max(1);
        self.slots.unwrap_or(halves).saturating_add(1)
    }

    fn knows(&self, model: &ModelSpec) -> bool {
        match model.kind {
            ModelKind::Gguf => model.files.len() == 1,
            ModelKind::Safetensors => model.files.len() == 3 && model.can(Capability::Embeddings),
            _ => false,
        }
    }

    async fn load(&self, model: &ModelSpec, files: &[PathBuf]) -> Result<Arc<dyn Runtime>, String> {
        let (name, tokens, slots) = (model.name.clone(), model.default_max_tokens, self.slots);
        let (kind, files) = (model.kind, files.to_vec());
        let load = move || -> Result<Arc<dyn Runtime>, LoadError> {
            if kind == ModelKind::Safetensors {
                let files = <[PathBuf; 3]>::try_from(files).map_err(|_| unusable("it has three files"))?;
                return Ok(Arc::new(BertRuntime::load(&BertFiles::new(files), name)?));
            }
            let path = files.into_iter().next().ok_or_else(|| unusable("it has one file"))?;
            let runtime = EmbeddedRuntime::load(path, name)?.with_default_max_tokens(tokens);
            Ok(Arc::new(match slots {
                Some(slots) => runtime.with_slots(slots),
                None => runtime,
            }))
        };
        match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded.map_err(|error| error.to_string()),
            Err(_) => Err("the engine broke down over it".to_owned()),
        }
    }
}

fn unusable(reason: &str) -> LoadError {
    LoadError::Invalid {
        path: PathBuf::new(),
        reason: reason.to_owned(),
    }
}

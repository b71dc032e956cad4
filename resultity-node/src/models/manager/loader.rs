//! What makes a Runtime out of a model's files.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::model::ModelSpec;

use crate::runtime::Runtime;

/// Makes a Runtime for one model out of its files.
#[async_trait]
pub trait Loader: Send + Sync + 'static {
    /// What its Runtimes are, in a word; see [`Runtime::kind`].
    fn kind(&self) -> &'static str;

    /// The version of what it loads models into; see [`Runtime::version`].
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// How many requests the node works on at once, whichever models it has.
    fn slots(&self) -> u32;

    /// Whether it could run this model, going by its entry.
    fn knows(&self, model: &ModelSpec) -> bool;

    /// Loads it. Dropping the future gives it up. The error is a sentence for people.
    async fn load(&self, model: &ModelSpec, files: &[PathBuf]) -> Result<Arc<dyn Runtime>, String>;
}

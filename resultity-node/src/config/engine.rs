//! An engine that the node runs itself, from a few settings or a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::clock::SystemEntropy;
use resultity_core::model::{ModelKind, ModelSpec};
use serde::Deserialize;

use super::{NodeConfig, RunError};
use crate::models::{Loader, ModelManager};
use crate::runtime::Runtime;
use crate::runtime::process::{
    EngineKind, Isolation, Listen, ProcessRuntime, ProcessSpec, Protections, protections_of,
};

/// Slots of an engine where nothing is said.
const SLOTS: u32 = 4;

/// The table `[engine]` of a node's file: an engine that the node starts, watches, shuts in and ends.
///
/// ```toml
/// [engine]
/// kind = "llama-server"          # or vllm, ollama; else any program, with args and listen
/// program = "/opt/llama/llama-server"
/// model = "/models/smollm2.gguf" # a file (llama-server) or a folder (vllm, ollama)
/// name = "smollm2-135m"          # as the network names it
/// context = 4096                 # tokens of one request, prompt and answer
/// slots = 4                      # requests at once
/// args = ["--n-gpu-layers", "99"]
/// isolation = "required"         # or best_effort, none
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Which engine; else by the name of the program.
    pub kind: Option<EngineKind>,
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: Option<PathBuf>,
    /// The model's file or folder; for llama-server, where nothing is said, those that the network lists.
    pub model: Option<PathBuf>,
    /// The name that the network has for the model.
    pub name: Option<String>,
    /// Tokens of one request, prompt and answer together.
    pub context: Option<u64>,
    /// Requests at once.
    pub slots: Option<u32>,
    /// More arguments; see [`ProcessSpec`] for what may stand in braces.
    pub args: Vec<String>,
    /// More variables of its environment.
    pub env: BTreeMap<String, String>,
    /// Variables of the node's own environment that it gets.
    pub inherit: Vec<String>,
    /// What else it may read and run.
    pub readable: Vec<PathBuf>,
    /// What else it may write to.
    pub writable: Vec<PathBuf>,
    /// How much it is shut in.
    pub isolation: Isolation,
    /// Seconds that a start may take.
    pub start_timeout: Option<u64>,
    /// What is asked to see whether it is well.
    pub health_path: Option<String>,
    /// For a program of no known kind: whether it listens on `{port}` rather than on `{socket}`.
    pub listens_on_port: bool,
    /// The program that shuts it in; see [`ProcessSpec::sandbox`](ProcessSpec#structfield.sandbox).
    #[serde(skip)]
    pub sandbox: Option<PathBuf>,
}

/// Why the file of an engine can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineFileError {
    /// It can't be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither kind nor program is said.
    #[error("the engine needs a `kind` (llama-server, vllm, ollama) or a `program`")]
    NoProgram,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineFile {
    engine: EngineConfig,
}

impl EngineConfig {
    /// Reads the table of a file.
    pub fn read(path: &Path) -> Result<Self, EngineFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| EngineFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file: EngineFile = toml::from_str(&text).map_err(|error| EngineFileError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(file.engine)
    }

    /// The folder of a node's engine.
    fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join("engine")
    }

    /// What shut the engine of this data directory in at its last start, if there was one.
    pub fn protections(data_dir: &Path) -> Option<Protections> {
        let folder = Self::folder(data_dir);
        // One for each model, where the network says which there are: they are shut in alike.
        let inner = || {
            std::fs::read_dir(&folder)
                .ok()?
                .flatten()
                .find_map(|entry| protections_of(entry.path()))
        };
        protections_of(&folder).or_else(inner)
    }

    /// What is run, without a model where none is named.
    pub fn spec(&self) -> Result<ProcessSpec, EngineFileError> {
        let kind = self.kind.or_else(|| EngineKind::of_program(self.program.as_deref()?));
        let mut spec = match (kind, &self.program) {
            (Some(kind), program) => kind.spec(program.clone()),
            (None, Some(program)) if self.listens_on_port => ProcessSpec::new(program, Listen::Port),
            (None, Some(program)) => ProcessSpec::new(program, Listen::Socket),
            (None, None) => return Err(EngineFileError::NoProgram),
        };
        let context = self.context.unwrap_or(spec.context);
        spec = spec
            .args(self.args.iter().cloned())
            .slots(self.slots.unwrap_or(SLOTS), context)
            .isolation(self.isolation);
        spec.environment.extend(self.env.clone());
        spec.inherited.extend(self.inherit.iter().cloned());
        spec.readable.extend(self.readable.iter().cloned());
        spec.writable.extend(self.writable.iter().cloned());
        spec.model.clone_from(&self.model);
        spec.name.clone_from(&self.name);
        spec.sandbox.clone_from(&self.sandbox);
        if let Some(seconds) = self.start_timeout {
            spec.patience.start = Duration::from_secs(seconds);
        }
        if let Some(path) = &self.health_path {
            spec.health_path.clone_from(path);
        }
        Ok(spec)
    }
}

/// Starts it; llama.cpp's server without a model is started for each model that the network lists, as far as they fit.
pub(super) async fn start(engine: &EngineConfig, config: &NodeConfig) -> Result<Arc<dyn Runtime>, RunError> {
    let mut spec = engine.spec()?;
    if let (None, Some(slots)) = (engine.slots, config.max_concurrency) {
        spec = spec.slots(slots, engine.context.unwrap_or(4096));
    }
    let folder = EngineConfig::folder(&config.data_dir);
    if spec.model.is_none() && spec.kind == EngineKind::LlamaServer.as_str() {
        let has_context = engine.context.is_some();
        let loader = ProcessLoader {
            spec,
            folder,
            has_context,
        };
        return Ok(Arc::new(ModelManager::start(
            config.manager_options(),
            Arc::new(loader),
        )?));
    }
    tracing::info!(engine.kind = spec.kind, "the engine starts");
    let runtime = ProcessRuntime::start(spec, folder, Arc::new(SystemEntropy)).await?;
    Ok(Arc::new(runtime))
}

/// Runs llama.cpp's server, one process for each model.
struct ProcessLoader {
    /// Without a model.
    spec: ProcessSpec,
    folder: PathBuf,
    /// Whether the operator has said how much a request may hold.
    has_context: bool,
}

#[async_trait]
impl Loader for ProcessLoader {
    fn kind(&self) -> &'static str {
        self.spec.kind
    }

    /// It says so itself, once it runs.
    fn version(&self) -> String {
        "unknown".to_owned()
    }

    fn slots(&self) -> u32 {
        self.spec.slots
    }

    fn knows(&self, model: &ModelSpec) -> bool {
        model.kind == ModelKind::Gguf && model.files.len() == 1
    }

    async fn load(&self, model: &ModelSpec, files: &[PathBuf]) -> Result<Arc<dyn Runtime>, String> {
        let file = files.first().ok_or("it has no file")?;
        let mut spec = self.spec.clone().model(file, &model.name);
        if !self.has_context {
            spec.context = model.context_length;
        }
        // A version that goes may still answer in its own folder.
        let name: String = model
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(40)
            .collect();
        let digest = model.files.first().and_then(|file| file.sha256.get(..8));
        let folder = self.folder.join(format!("{name}-{}", digest.unwrap_or_default()));
        let started = ProcessRuntime::start(spec, folder, Arc::new(SystemEntropy)).await;
        started
            .map(|runtime| -> Arc<dyn Runtime> { Arc::new(runtime) })
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<ProcessSpec, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        let engine = EngineConfig::read(&path).map_err(|error| error.to_string())?;
        engine.spec().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_says_what_is_run() {
        let text = r#"
            [engine]
            program = "/opt/llama-server"
            model = "m.gguf"
            name = "m"
            context = 1000
            slots = 3
            args = ["--n-gpu-layers", "99"]
            isolation = "required"
            start_timeout = 60
        "#;
        let spec = spec(text).unwrap();
        assert_eq!((spec.kind, spec.slots, spec.context), ("llama-server", 3, 1000));
        assert_eq!(
            (spec.isolation, spec.patience.start),
            (Isolation::Required, Duration::from_mins(1))
        );
        assert!(spec.arguments.ends_with(&["--n-gpu-layers".into(), "99".into()]));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (text, says) in [
            ("[engine]\nprogam = 'x'", "progam"),
            ("[engine]\nkind = 'x'", "llama-server"),
            ("[engine]", "`kind`"),
            ("", "engine"),
        ] {
            let error = spec(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}

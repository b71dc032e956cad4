//! The network of a soak: its processes, and the bad lines between them.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LoadError;
use crate::process::Process;
use crate::proxy::{FaultProxy, Luck, Weather};

/// How long a process has to become ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// How many engines they share.
pub(super) const ENGINES: usize = 2;

/// Which lines something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Between who asks and the server.
    Askers,
    /// Between the nodes and the server.
    Nodes,
    /// Between the nodes and their engines.
    Engines,
}

/// All that runs.
#[derive(Debug)]
pub(super) struct Network {
    folder: PathBuf,
    seed: u64,
    mischief: u32,
    server: Process,
    nodes: Vec<Process>,
    engines: Vec<Process>,
    askers_line: FaultProxy,
    node_lines: Vec<FaultProxy>,
    engine_lines: Vec<FaultProxy>,
    peak_memory: u64,
}

fn own() -> Result<PathBuf, LoadError> {
    env::current_exe().map_err(LoadError::io("finding this program"))
}

async fn start_server(folder: &Path, seed: u64) -> Result<(Process, SocketAddr), LoadError> {
    let (data_dir, seed) = (folder.join("server"), seed.to_string());
    let words = ["server", "--seed", &seed, "--data-dir"].map(AsRef::as_ref);
    let mut process = Process::start(
        "server",
        &own()?,
        words.into_iter().chain([data_dir.as_os_str()]),
        folder,
    )?;
    let line = process.first_line(READY_TIMEOUT).await?;
    let address = line.trim().parse();
    let address = address.map_err(|_| process.failed(format!("printed {line:?}")))?;
    Ok((process, address))
}

async fn start_engine(folder: &Path, seed: u64, mischief: u32) -> Result<(Process, SocketAddr), LoadError> {
    let (seed, mischief) = (seed.to_string(), mischief.to_string());
    let words = ["engine", "--seed", &seed, "--mischief", &mischief];
    let mut process = Process::start("engine", &own()?, words, folder)?;
    let line = process.first_line(READY_TIMEOUT).await?;
    let address = crate::http::split_url(line.trim()).map(|(address, _, _)| address);
    let address = address.ok_or_else(|| process.failed(format!("printed {line:?}")))?;
    Ok((process, address))
}

fn start_node(folder: &Path, number: usize, server: SocketAddr, engine: SocketAddr) -> Result<Process, LoadError> {
    let data_dir = folder.join(format!("node-{number}"));
    let (io, engine) = (format!("ws://{server}/io/v1/ws"), format!("http://{engine}/v1"));
    let words = ["node", "--io", &io, "--engine", &engine, "--data-dir"].map(AsRef::as_ref);
    let words = words.into_iter().chain([data_dir.as_os_str()]);
    Process::start("node", &own()?, words, folder)
}

impl Network {
    /// Starts all of it; the files go into this folder.
    pub(super) async fn start(folder: &Path, seed: u64, mischief: u32) -> Result<Self, LoadError> {
        let proxy = |upstream, number| async move {
            let line = FaultProxy::start(upstream, seed ^ number).await;
            line.map_err(LoadError::io("starting a proxy"))
        };
        let (server, address) = start_server(folder, seed).await?;
        let askers_line = proxy(address, 1).await?;
        let (mut engines, mut engine_lines, mut nodes, mut node_lines) = (vec![], vec![], vec![], vec![]);
        for number in 0..ENGINES {
            let (engine, address) = start_engine(folder, seed ^ number as u64, mischief).await?;
            engines.push(engine);
            engine_lines.push(proxy(address, 100 + number as u64).await?);
        }
        for number in 0..NODES {
            let line = proxy(address, 200 + number as u64).await?;
            let engine = engine_lines[number % ENGINES].address();
            nodes.push(start_node(folder, number, line.address(), engine)?);
            node_lines.push(line);
        }
        Ok(Self {
            folder: folder.to_owned(),
            seed,
            mischief,
            server,
            nodes,
            engines,
            askers_line,
            node_lines,
            engine_lines,
            peak_memory: 0,
        })
    }

    /// Where it is asked.
    pub(super) fn address(&self) -> SocketAddr {
        self.askers_line.address()
    }

    /// The server's data directory.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// Kills the server.
    pub(super) async fn kill_server(&mut self) -> Result<(), LoadError> {
        self.note_memory();
        self.server.kill().await
    }

    /// Starts the server again, on another port.
    pub(super) async fn start_server(&mut self) -> Result<(), LoadError> {
        let (server, address) = start_server(&self.folder, self.seed).await?;
        self.server = server;
        for line in self.node_lines.iter().chain([&self.askers_line]) {
            line.lead_to(address);
        }
        Ok(())
    }

    /// Kills a node.
    pub(super) async fn kill_node(&mut self, number: usize) -> Result<(), LoadError> {
        self.nodes[number].kill().await
    }

    /// Starts it again.
    pub(super) fn start_node(&mut self, number: usize) -> Result<(), LoadError> {
        let engine = self.engine_lines[number % ENGINES].address();
        self.nodes[number] = start_node(&self.folder, number, self.node_lines[number].address(), engine)?;
        Ok(())
    }

    /// Kills an engine.
    pub(super) async fn kill_engine(&mut self, number: usize) -> Result<(), LoadError> {
        self.engines[number].kill().await
    }

    /// Starts it again, with other luck.
    pub(super) async fn start_engine(&mut self, number: usize, luck: &mut Luck) -> Result<(), LoadError> {
        let (engine, address) = start_engine(&self.folder, luck.next(), self.mischief).await?;
        self.engines[number] = engine;
        self.engine_lines[number].lead_to(address);
        Ok(())
    }

    /// The lines of this kind.
    pub(super) fn lines(&self, lines: Lines) -> &[FaultProxy] {
        match lines {
            Lines::Askers => std::slice::from_ref(&self.askers_line),
            Lines::Nodes => &self.node_lines,
            Lines::Engines => &self.engine_lines,
        }
    }

    /// Fair weather everywhere.
    pub(super) fn calm(&self) {
        for lines in [Lines::Askers, Lines::Nodes, Lines::Engines] {
            for line in self.lines(lines) {
                line.set(Weather::default());
            }
        }
    }

    /// How many connections were cut.
    pub(super) fn cuts(&self) -> u64 {
        let lines = [Lines::Askers, Lines::Nodes, Lines::Engines];
        lines
            .iter()
            .flat_map(|lines| self.lines(*lines))
            .map(FaultProxy::cuts)
            .sum()
    }

    fn note_memory(&mut self) {
        // One that has just ended has none any more.
        let now = self.server.peak_memory().unwrap_or_default();
        self.peak_memory = self.peak_memory.max(now);
    }

    /// The most memory that a server had: bytes.
    pub(super) fn peak_memory(&mut self) -> u64 {
        self.note_memory();
        self.peak_memory
    }

    /// Fails if something ended that nobody killed.
    pub(super) fn check(&mut self) -> Result<(), LoadError> {
        let all = self.nodes.iter_mut().chain(&mut self.engines).chain([&mut self.server]);
        for process in all {
            process.check()?;
        }
        Ok(())
    }

    /// Stops everything as an operator does.
    pub(super) async fn stop(self) -> Result<(), LoadError> {
        for node in self.nodes {
            node.stop().await?;
        }
        self.server.stop().await
    }
}

//! A whole Infernet node from its settings: what the command `resultity-node infernet` does, as a library call.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::settings::Settings;
use super::config::{Note, NoteLevel};
use super::docker;
use super::http;
use super::node::{InfernetError, InfernetNode, Parts};

/// What to run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunOptions {
    /// The settings.
    pub settings: Settings,
    /// What there is to say of them, which is logged once.
    pub notes: Vec<Note>,
}

impl RunOptions {
    /// What a configuration says.
    pub fn new(settings: Settings, notes: Vec<Note>) -> Self {
        Self { settings, notes }
    }
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The address is taken.
    #[error(
        "{address} is in use: another program listens there, maybe the original node. Stop it, or choose another address with --listen, or with `listen` in the file's object `resultity`"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The folder of the results cannot be made.
    #[error("cannot make the folder {}: {source}", .path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The node itself.
    #[error(transparent)]
    Node(#[from] InfernetError),
    /// Serving failed.
    #[error("cannot serve any more: {0}")]
    Serve(#[source] io::Error),
}

/// Runs a node until it is cancelled; then it takes no more work, finishes what runs, and stops the containers that it
/// started.
///
/// It listens at once. Containers that a Docker engine starts come up meanwhile.
pub async fn run(options: RunOptions, cancel: CancellationToken) -> Result<(), RunError> {
    let mut running = Running::start(options).await?;
    let served = running.serve(cancel).await;
    running.end().await;
    served
}

/// A node that listens, with the containers that it started.
pub(crate) struct Running {
    node: InfernetNode,
    listener: Option<TcpListener>,
    /// Those that look after containers.
    tasks: TaskTracker,
    stop_containers: CancellationToken,
}

impl Running {
    /// Listens, and begins to start containers where that is its part.
    pub(crate) async fn start(options: RunOptions) -> Result<Self, RunError> {
        let RunOptions { settings, notes } = options;
        // First of all, because it is what fails most often: the reason is then alone.
        let listener = listen(settings.listen).await?;
        for note in &notes {
            match note.level {
                NoteLevel::Note => tracing::info!("{note}"),
                NoteLevel::Warning => tracing::warn!("{note}"),
            }
        }
        if let Some(folder) = settings.results.path.parent() {
            make_folder(folder).await?;
        }
        let node = InfernetNode::start(settings.clone(), Parts::default()).await?;
        let address = listener.local_addr().unwrap_or(settings.listen);
        tracing::info!(address = %address, containers = settings.containers.len(), "the node serves");
        let tasks = TaskTracker::new();
        let stop_containers = CancellationToken::new();
        if let Some(docker) = settings.docker.clone() {
            let (containers, running) = (settings.containers.clone(), node.containers().clone());
            let stop = stop_containers.clone();
            tasks.spawn(docker::manage(docker, containers, running, stop));
        }
        tasks.close();
        Ok(Self {
            node,
            listener: Some(listener),
            tasks,
            stop_containers,
        })
    }

    /// The node.
    pub(crate) const fn node(&self) -> &InfernetNode {
        &self.node
    }

    /// Serves callers until it is cancelled; then their running jobs may finish. Once.
    pub(crate) async fn serve(&mut self, cancel: CancellationToken) -> Result<(), RunError> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let drain = async {
            cancel.cancelled().await;
            tracing::info!("stopping: running jobs may finish");
            self.node.drain().await;
        };
        // At once, with one limit of time: a stream is both a job and a connection.
        let (served, ()) = tokio::join!(http::serve(self.node.clone(), listener, cancel.clone()), drain);
        self.node.close().await;
        served.map_err(RunError::Serve)
    }

    /// Stops the containers that it started.
    pub(crate) async fn end(self) {
        self.stop_containers.cancel();
        self.tasks.wait().await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => RunError::AddressInUse { address },
        _ => RunError::Listen { address, source },
    })
}

/// Results are what callers were told: nobody else on this machine needs to read them.
async fn make_folder(folder: &Path) -> Result<(), RunError> {
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder).await.map_err(|source| RunError::DataDir {
        path: folder.to_owned(),
        source,
    })
}

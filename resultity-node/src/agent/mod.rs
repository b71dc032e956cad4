//! The Agent: connects a [`Runtime`] to a network.
//!
//! ```text
//!              ┌──────────── actor: one task ────────────┐
//!  socket ──▶ reader ──▶ ┐                        ┌──▶ journal (one write for many facts)
//!                        ├ session (pure) ──▶ outputs ──▶ socket (one flush for many frames)
//!  job tasks (Runtime, ──▶ ┘                        └──▶ job tasks (start, stop)
//!  hashes, signatures)
//! ```
//! All queues are bounded. The session decides everything; `session` is a table to read, the rest carries it out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::Address;
use resultity_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::wire::RejectCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::identity::{Identity, IdentityError, NetworkPin, PasswordSource, create_private_dir, private_options};
use crate::runtime::Runtime;

mod actor;
mod asking;
mod assemble;
mod connecting;
mod cutting;
mod event;
mod executor;
mod journal;
mod link;
mod probe;
mod session;
mod signed;
mod sync;
mod told;

pub use sync::stored_snapshot;

/// An encoded frame: cheap to copy.
pub(crate) type Text = tokio_tungstenite::tungstenite::Utf8Bytes;
/// One attempt at a job.
pub(crate) type JobKey = (JobId, Attempt);

/// How long running jobs may go on after a stop, unless said otherwise.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a network and a node do not come together; trying again would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The network said no.
    #[error("the network does not let this node in: {message} ({})", advice(*.code))]
    Rejected {
        /// Why.
        code: RejectCode,
        /// The same for people, by the network.
        message: String,
    },
    /// The network is of the other environment.
    #[error(
        "this is a {offered} network, but the node was started for {wanted}: start it with --environment {offered}, or give the address of a {wanted} network"
    )]
    Environment {
        /// What the node was started for.
        wanted: Environment,
        /// What the network is.
        offered: Environment,
    },
    /// The network shows another key than the one that is trusted.
    #[error("the server shows the key {offered}, but this node trusts {pinned}")]
    Network {
        /// The key that is trusted.
        pinned: Address,
        /// The key that the server shows.
        offered: Address,
    },
}

fn advice(code: RejectCode) -> &'static str {
    match code {
        RejectCode::VersionTooOld => "update resultity-node",
        RejectCode::ClockSkew => "set this machine's clock, best by NTP",
        RejectCode::EnvironmentMismatch => "check --environment and the address",
        RejectCode::Banned => "ask the network's operators",
        _ => "if it stays so, report it with the versions of both sides",
    }
}

/// Why an Agent cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The address of the network cannot be used.
    #[error("{url} is not the address of a network: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A web server answers there, but it knows no node link.
    #[error(
        "{url} answers with HTTP status {status}, so there is no node link: check the address (it ends in /io/v1/ws)"
    )]
    NoLinkThere {
        /// The address.
        url: String,
        /// What the server answers.
        status: u16,
    },
    /// The key, or the pinned network.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Another Agent uses the directory.
    #[error("another node runs with the data directory {}: stop it, or give this one a --data-dir of its own", .0.display())]
    InUse(PathBuf),
    /// Something of this machine is missing.
    #[error("cannot start {what}: {reason}")]
    Start {
        /// What is missing.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The network and the node do not come together.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Where an Agent stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatus {
    /// Whether the network has let it in and the link is up.
    pub connected: bool,
    /// The session, if it is connected.
    pub session: Option<SessionId>,
    /// What the network says about it, such as `active` or `idle`; empty while it is not connected.
    pub state: String,
    /// The models that it can take jobs for now.
    pub models: Vec<String>,
    /// How many jobs it works on.
    pub running: u32,
    /// Whether it is about to stop.
    pub draining: bool,
    /// Whether the network, at its owner's word, told it to take no jobs.
    pub paused: bool,
}

impl AgentStatus {
    /// Whether it could take a job: connected, with a model. The network still tests the model before it sends any.
    pub fn is_ready(&self) -> bool {
        self.connected && !self.models.is_empty() && !self.draining && !self.paused
    }
}

/// Sets up an [`Agent`].
#[derive(Clone)]
pub struct AgentBuilder {
    io_url: String,
    data_dir: PathBuf,
    environment: Environment,
    runtime: Option<Arc<dyn Runtime>>,
    network_key: Option<Address>,
    password: PasswordSource,
    max_concurrency: Option<u32>,
    region: Option<String>,
    drain_timeout: Duration,
    ships_logs: bool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl AgentBuilder {
    /// The network to join; `testnet` unless said otherwise.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// What makes the answers. Needed.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The address of the network's key, the current one or one that it had before. Without it, the key that the server
    /// shows first is trusted from then on. Changes of the key are followed.
    #[must_use]
    pub fn network_key(mut self, key: Option<Address>) -> Self {
        self.network_key = key;
        self
    }

    /// Where the passphrase of the node's key comes from; a generated one unless said otherwise.
    #[must_use]
    pub fn keystore_password(mut self, password: PasswordSource) -> Self {
        self.password = password;
        self
    }

    /// How many jobs it takes at once; what the Runtime can do unless said otherwise.
    #[must_use]
    pub fn max_concurrency(mut self, jobs: Option<u32>) -> Self {
        self.max_concurrency = jobs;
        self
    }

    /// Where the node is, in the operator's words.
    #[must_use]
    pub fn region(mut self, region: Option<String>) -> Self {
        self.region = region;
        self
    }

    /// How long running jobs may go on after a stop; [`DEFAULT_DRAIN_TIMEOUT`] unless said otherwise.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Whether the node's owner may see at the network what happens on it: durations, codes, names of models, never
    /// anything of a request or an answer. They may unless said otherwise.
    #[must_use]
    pub fn ships_logs(mut self, ships: bool) -> Self {
        self.ships_logs = ships;
        self
    }

    /// The clock; the system's unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source of randomness for a new key; the system's unless said otherwise.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Reads or makes the key, locks the data directory and opens the journal. It reads files and unlocks a keystore,
    /// which takes up to half a second of CPU.
    pub fn build(self) -> Result<Agent, AgentError> {
        let runtime = self.runtime.ok_or_else(|| AgentError::Start {
            what: "the Agent",
            reason: "it was given no Runtime".into(),
        })?;
        let mut url = Agent::check_url(&self.io_url)?;
        if !url.query_pairs().any(|(name, _)| name == "environment") {
            url.query_pairs_mut()
                .append_pair("environment", self.environment.as_str());
        }
        let identity = Identity::open(&self.data_dir, &self.password, &*self.entropy)?;
        let dir = self.data_dir.join(self.environment.as_str());
        create_private_dir(&dir)?;
        let lock_path = dir.join("lock");
        let start_error = |reason: std::io::Error| AgentError::Start {
            what: "the Agent in its data directory",
            reason: format!("{}: {reason}", dir.display()),
        };
        let lock = private_options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(start_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(AgentError::InUse(self.data_dir)),
            Err(std::fs::TryLockError::Error(error)) => return Err(start_error(error)),
        }
        crate::network_url::remember_url(&dir, &self.io_url);
        let pin = NetworkPin::load(&dir)?;
        if let (Some(pin), Some(wanted)) = (&pin, self.network_key)
            && !pin.knows(wanted)
        {
            let path = NetworkPin::path(&dir);
            return Err(IdentityError::OtherNetwork {
                pinned: pin.network_key,
                offered: wanted,
                path,
            }
            .into());
        }
        let journal = journal::Journal::open(dir.join("journal.jsonl")).map_err(start_error)?;
        let sync = sync::Sync::new(&url, dir.clone(), self.environment)?;
        let about = event::About {
            key: identity.key().clone(),
            environment: self.environment,
            region: self.region,
            slots: self.max_concurrency.unwrap_or_else(|| runtime.slots()).max(1),
            network_key: pin.as_ref().map(|pin| pin.network_key).or(self.network_key),
            genesis: pin.as_ref().map(|pin| pin.genesis),
            drain_timeout: self.drain_timeout,
            ships_logs: self.ships_logs,
        };
        let asker = asking::Asker::new(&url, self.environment)?;
        let node_id = about.key.node_id();
        let (status, status_receiver) = watch::channel(AgentStatus::default());
        let parts = actor::Parts {
            url,
            dir,
            pin,
            about,
            runtime,
            journal,
            sync,
            asker,
            clock: self.clock,
            status,
            lock,
        };
        Ok(Agent {
            node_id,
            status: status_receiver,
            parts,
        })
    }
}

/// A node's Agent, ready to run.
pub struct Agent {
    node_id: NodeId,
    status: watch::Receiver<AgentStatus>,
    parts: actor::Parts,
}

impl Agent {
    /// Begins to set one up, for the network whose node link is at `io_url` (such as `ws://127.0.0.1:8080/io/v1/ws`),
    /// with its files in `data_dir`.
    pub fn builder(io_url: impl Into<String>, data_dir: impl Into<PathBuf>) -> AgentBuilder {
        AgentBuilder {
            io_url: io_url.into(),
            data_dir: data_dir.into(),
            environment: Environment::Testnet,
            runtime: None,
            network_key: None,
            password: PasswordSource::default(),
            max_concurrency: None,
            region: None,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            ships_logs: true,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Reads the address of a network's node link: `wss://` anywhere, `ws://` on this machine alone.
    pub fn check_url(io_url: &str) -> Result<Url, AgentError> {
        let url = Url::parse(io_url).map_err(|_| AgentError::Url {
            url: io_url.to_owned(),
            reason: "expected an address such as ws://127.0.0.1:8080/io/v1/ws",
        })?;
        link::check_url(&url)?;
        Ok(url)
    }

    /// The node's id: the address of its key.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Where it stands, and what changes.
    pub fn status(&self) -> watch::Receiver<AgentStatus> {
        self.status.clone()
    }

    /// Connects and works until it is cancelled; connects again whenever the link breaks. When cancelled it takes no more
    /// jobs, finishes the running ones within the drain time, and leaves.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), AgentError> {
        actor::Actor::new(self.parts).run(cancel).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::several::Several;

    #[test]
    fn one_data_directory_is_for_one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let build = || {
            Agent::builder("ws://127.0.0.1:8080/io/v1/ws", dir.path())
                .runtime(Arc::new(Several::new(Vec::new())))
                .build()
        };
        let first = build().unwrap();
        assert!(matches!(build(), Err(AgentError::InUse(_))));
        let node = first.node_id();
        drop(first);
        assert_eq!(build().unwrap().node_id(), node);
    }
}

//! The settings as the node uses them, read and checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use resultity_core::Address;
use secrecy::SecretString;
use url::Url;

use resultity_core::networks::Networks;

/// The port of the original node.
pub const DEFAULT_PORT: u16 = 4000;

/// All settings of the Infernet side of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where it listens. Default: loopback.
    pub listen: SocketAddr,
    /// How often one address may call one route.
    pub rate_limit: RateLimit,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Who may call `PUT /api/status`, besides loopback.
    pub status_networks: Networks,
    /// The containers, in the order of the file.
    pub containers: Vec<ContainerSettings>,
    /// How much is worked on, and how much may wait.
    pub queue: QueueSettings,
    /// How long containers may take, and how much they may say.
    pub calls: CallSettings,
    /// Where results are kept, and for how long.
    pub results: ResultSettings,
    /// The largest body of a request: bytes.
    pub max_body_bytes: usize,
    /// How long what is under way may go on after a stop.
    pub drain: Duration,
    /// What a Docker engine needs to start the containers; none: they run already.
    pub docker: Option<DockerSettings>,
    /// The file that the log is written to, beside the terminal.
    pub log: Option<LogSettings>,
}

/// Requests of one address to one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub requests: u32,
    /// In which time.
    pub period: Duration,
}

impl Default for RateLimit {
    /// The original's: 60 in 60 s.
    fn default() -> Self {
        Self {
            requests: 60,
            period: Duration::from_mins(1),
        }
    }
}

/// How much is worked on, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSettings {
    /// Calls of containers at once, over all containers.
    pub max_running: usize,
    /// Jobs that have not ended: beyond that, 503.
    pub max_pending: usize,
    /// Bytes of `data` of jobs that have not ended: beyond that, 503. As many of large answers of containers (they wait for room),
    /// of bodies that come in and of answers that go out (503) may be in memory.
    pub max_pending_bytes: usize,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_running: 64,
            max_pending: 10_000,
            max_pending_bytes: 256 * 1024 * 1024,
        }
    }
}

/// How long containers may take, and how much they may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSettings {
    /// For a whole answer. The original's: 180 s.
    pub timeout: Duration,
    /// For a whole stream. The original's: 60 s.
    pub stream_timeout: Duration,
    /// For what a container says of its resources.
    pub resources_timeout: Duration,
    /// The largest answer, and the most that the answers of one job's containers may be together: bytes.
    pub max_answer_bytes: usize,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(3),
            stream_timeout: Duration::from_mins(1),
            resources_timeout: Duration::from_secs(5),
            max_answer_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Where results are kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultSettings {
    /// The database's file.
    pub path: PathBuf,
    /// How long after a job ended.
    pub keep_for: Duration,
    /// How many at most; the oldest go first.
    pub max_count: u64,
    /// How many bytes of the file they may take at most; the oldest go first.
    pub max_bytes: u64,
    /// What becomes of jobs that a stopped node left.
    pub on_restart: OnRestart,
}

impl ResultSettings {
    /// Results in this file, for 7 days.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keep_for: Duration::from_hours(7 * 24),
            max_count: 1_000_000,
            max_bytes: 20 * 1024 * 1024 * 1024,
            on_restart: OnRestart::Fail,
        }
    }
}

/// What becomes of jobs that a stopped node left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRestart {
    /// They have failed: `interrupted`.
    #[default]
    Fail,
    /// They begin anew, up to five times. Their input is kept on disk until they end; a container may see it twice.
    Rerun,
}

/// One container.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// The image that it runs.
    pub image: String,
    /// Where it answers, without `/service_output`.
    pub url: Url,
    /// The port on this machine that the engine maps to its port 3000.
    pub port: Option<u16>,
    /// What it wants as a bearer token.
    pub bearer: Option<SecretString>,
    /// Whether it can be the first container of a job.
    pub external: bool,
    /// Whether it can prove what it computed.
    pub generates_proofs: bool,
    /// Who may use it; empty: everybody.
    pub allowed_ips: Networks,
    /// Owners of on-chain subscriptions that may use it; empty: everybody.
    pub allowed_addresses: Vec<Address>,
    /// Owners of delegated subscriptions that may use it; empty: everybody.
    pub allowed_delegate_addresses: Vec<Address>,
    /// What it accepts as payment: token to the least amount, in decimal digits of the token's smallest unit.
    pub accepted_payments: BTreeMap<Address, String>,
    /// What it is started with, by a Docker engine.
    pub command: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// What is mounted into it.
    pub volumes: Vec<String>,
    /// Whether it gets the machine's graphics cards.
    pub gpu: bool,
    /// How many calls at once; none: three quarters of those that the node makes, or all where it is the only container.
    pub max_concurrency: Option<usize>,
    /// How long a call may take, where that is not the node's `timeout`.
    pub timeout: Option<Duration>,
    /// How the network sees it.
    pub model: Option<ContainerModel>,
}

impl ContainerSettings {
    /// An external container at this address.
    pub fn new(id: impl Into<String>, url: Url) -> Self {
        Self {
            id: id.into(),
            description: String::new(),
            image: String::new(),
            url,
            port: None,
            bearer: None,
            external: true,
            generates_proofs: false,
            allowed_ips: Networks::default(),
            allowed_addresses: Vec::new(),
            allowed_delegate_addresses: Vec::new(),
            accepted_payments: BTreeMap::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            volumes: Vec::new(),
            gpu: false,
            max_concurrency: None,
            timeout: None,
            model: None,
        }
    }
}

/// How the network sees a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerModel {
    /// The model's name in the snapshot.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
}

/// What a container takes as `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takes {
    /// Whatever the asker sends: a model of the kind `container`.
    Anything,
    /// The body of an OpenAI request; it answers as that API does.
    OpenAi,
}

/// What a Docker engine needs to start the containers that have a `port`.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Where the engine is, such as `unix:///run/podman/podman.sock`. None: the usual socket.
    pub host: Option<String>,
    /// The user at the image registry.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// How long the containers may take to answer before that is said; they are used whenever they answer.
    pub startup_wait: Duration,
    /// The address of this machine that their ports are published on.
    pub publish: IpAddr,
}

impl Default for DockerSettings {
    /// No login; 5 s, as the original waits; loopback.
    fn default() -> Self {
        Self {
            host: None,
            username: None,
            password: None,
            startup_wait: Duration::from_secs(5),
            publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// A log file that is moved aside when it is full: `node.log` to `node.log.1`, that to `node.log.2`, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The file.
    pub path: PathBuf,
    /// How large it may grow: bytes. 0: without end.
    pub max_file_size: u64,
    /// How many older files are kept. 0: it is never moved aside.
    pub backup_count: u32,
}

impl Settings {
    /// The defaults, with these containers and results in this file.
    pub fn new(results: impl Into<PathBuf>, containers: Vec<ContainerSettings>) -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
            rate_limit: RateLimit::default(),
            trusted_proxies: Networks::default(),
            status_networks: Networks::default(),
            containers,
            queue: QueueSettings::default(),
            calls: CallSettings::default(),
            results: ResultSettings::new(results),
            max_body_bytes: 16 * 1024 * 1024,
            drain: Duration::from_secs(30),
            docker: None,
            log: None,
        }
    }
}

//! Putting a server together: store, key, snapshot, flow, routes; and taking it apart again in two stages.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use resultity_core::B256;
use resultity_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::networks::Networks;
pub use resultity_core::snapshot::Offer;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::flow::{CurrentSnapshot, Flow, FlowParts, Flows, KeptLimits, checks};
use crate::http::serve::{self, Gatekeeper};
use crate::http::{self, App, Patience, Role};
use crate::link::{ConnectionLimits, Entrance, Fallback, LinkPolicy};
use crate::mail::{Mail, MailError, MailOptions};
use crate::network_key::KeyFiles;
use crate::private_file::{self, FileError};
use crate::publish::{PublishError, Publisher};
use crate::seal::Sealer;
use crate::session::{Batches, Gate, GateOptions, GateParts, Keys, LimitParameters, Limits, StatusBoard, write_alerts};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::web;
use crate::webhook::{WebhookOptions, Worker};

/// How long links and connections get to say goodbye once no job is left.
const GOODBYE: Duration = Duration::from_secs(5);

/// Names what the secrets of accounts are sealed for.
const ACCOUNT_SECRETS: &str = "resultity account secrets v1";

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network's key, or the models and parameters.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What was published last.
    #[error("the snapshot in the database is damaged: {0}")]
    DamagedSnapshot(#[from] serde_json::Error),
    /// How letters leave.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Nothing to serve.
    #[error("no environment is to be served: name testnet or mainnet")]
    NoEnvironment,
    /// Another server would take this one's jobs for left-overs.
    #[error("another server uses {}: stop it, or use another data directory", .0.display())]
    InUse(PathBuf),
    /// The address.
    #[error("cannot listen on {address}: {source}.{hint}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
        /// What to do, with a space before it.
        hint: &'static str,
    },
}

/// What a server is made of.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Which environments it serves, and what it offers there. The first is meant where nothing is said; never empty.
    pub networks: Vec<(Environment, Offer)>,
    /// Where its files are: database, key.
    pub data_dir: PathBuf,
    /// The database file; by default in the data directory.
    pub database: Option<PathBuf>,
    /// Accounts and what they may do.
    pub gate: GateOptions,
    /// SHA-256 of the administrator's token.
    pub admin_token: Option<B256>,
    /// The proxies that are believed about where a request comes from: none unless they are named.
    pub trusted_proxies: Networks,
    /// Rules for nodes.
    pub link_policy: LinkPolicy,
    /// How much may be asked.
    pub limits: LimitParameters,
    /// The passphrase of the network key's file.
    pub keystore_password: Option<SecretString>,
    /// Counters, where they are kept.
    pub metrics: Option<PrometheusHandle>,
    /// How slow clients may be.
    pub patience: Patience,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Whether webhooks may go to addresses that are not public, and without TLS.
    pub allow_private_webhooks: bool,
    /// The pauses after each failed attempt to send a webhook.
    pub webhook_backoff: Vec<Duration>,
    /// How much may be kept for a namespace.
    pub kept: KeptLimits,
    /// Whether the network asks nodes by itself, to see whether they are honest.
    pub own_jobs: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl ServerOptions {
    /// A server with its files in `data_dir`; all else as is right for most.
    pub fn new(environment: Environment, data_dir: impl Into<PathBuf>, offer: Offer) -> Self {
        Self::serving(vec![(environment, offer)], data_dir)
    }

    /// The same for several environments, the first of which is meant where nothing is said.
    pub fn serving(networks: Vec<(Environment, Offer)>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            networks,
            data_dir: data_dir.into(),
            database: None,
            gate: GateOptions::default(),
            admin_token: None,
            trusted_proxies: Networks::default(),
            link_policy: LinkPolicy::default(),
            limits: LimitParameters::default(),
            keystore_password: None,
            metrics: None,
            patience: Patience::default(),
            connections: ConnectionLimits::default(),
            allow_private_webhooks: false,
            webhook_backoff: WebhookOptions::default().backoff,
            kept: KeptLimits::default(),
            own_jobs: false,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// The file of the database in a data directory.
pub fn database_path(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("resultity.db")
}

/// Opens the store of a data directory.
pub fn open_store(data_dir: &std::path::Path, database: Option<PathBuf>) -> Result<SqliteStore, StartError> {
    private_file::create_dir(data_dir)?;
    Ok(SqliteStore::open(database.unwrap_or_else(|| database_path(data_dir)))?)
}

/// A server that is put together and serves nobody yet.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    /// Held for as long as the server runs.
    lock: File,
}

impl Server {
    /// Opens the store, takes the data directory for itself, puts right what an earlier process left, reads or makes the key and publishes the snapshot if it
    /// says something new.
    pub async fn open(options: ServerOptions) -> Result<Self, StartError> {
        let (data_dir, database) = (options.data_dir.clone(), options.database.clone());
        let store: Arc<dyn Store> = Arc::new(open_store(&data_dir, database)?);
        Self::with_store(options, store).await
    }

    /// The same with a store that is open already.
    pub async fn with_store(options: ServerOptions, store: Arc<dyn Store>) -> Result<Self, StartError> {
        private_file::create_dir(&options.data_dir)?;
        let lock = private_file::lock_dir(&options.data_dir)?;
        let lock = lock.ok_or_else(|| StartError::InUse(options.data_dir.clone()))?;
        let publisher = Publisher::open(
            Arc::clone(&store),
            Arc::clone(&options.clock),
            Arc::clone(&options.entropy),
            KeyFiles::new(&options.data_dir, options.keystore_password),
        );
        let publisher = Arc::new(publisher.await?);
        let recovered = store.recover(options.clock.now()).await?;
        if recovered.cancelled > 0 {
            tracing::warn!(
                jobs = recovered.cancelled,
                "jobs of an earlier process were cancelled and their holds released"
            );
        }
        let limits = Arc::new(Limits::new(options.limits, Arc::clone(&options.clock)));
        let mut flows = Vec::new();
        for (environment, offer) in options.networks {
            let published = publisher.at_start(environment, offer).await?;
            let flow = Flow::new(FlowParts {
                environment,
                store: Arc::clone(&store),
                clock: Arc::clone(&options.clock),
                entropy: Arc::clone(&options.entropy),
                snapshot: CurrentSnapshot::new(published, publisher.keys())?,
                webhooks: WebhookOptions {
                    allow_private: options.allow_private_webhooks,
                    backoff: options.webhook_backoff.clone(),
                    ..WebhookOptions::default()
                },
                own_jobs: options.own_jobs,
                kept: options.kept,
            });
            flow.load_intake().await?;
            let resumed = flow.resume().await?;
            if resumed > 0 {
                tracing::info!(
                    jobs = resumed,
                    "jobs that go on without whoever asked were taken up again"
                );
            }
            let tidy = Arc::clone(&flow);
            flow.background.spawn(async move { tidy.keep_tidy().await });
            let waking = Arc::clone(&flow);
            flow.background.spawn(async move { waking.keep_waking().await });
            flow.background.spawn(checks::run(Arc::clone(&flow)));
            let (following, publications) = (Arc::clone(&flow), Arc::clone(&publisher));
            flow.background
                .spawn(async move { following.follow_publications(&publications).await });
            let batches = Batches::new(Arc::clone(&flow), Arc::clone(&limits));
            flow.background.spawn(batches.run());
            flows.push(flow);
        }
        if flows.is_empty() {
            return Err(StartError::NoEnvironment);
        }
        let flows = Flows::new(flows.remove(0), flows);
        let keys = Keys::new(Arc::clone(&store));
        if let MailOptions::Directory(directory) = &options.gate.mail {
            private_file::create_dir(directory)?;
        }
        let mail = Mail::new(options.gate.mail.clone(), Arc::clone(&options.clock))?;
        let fallback = Fallback::new(&*options.entropy);
        let gate = Gate::new(GateParts {
            mail: Arc::new(mail),
            sealer: Sealer::new(publisher.keys().first(), ACCOUNT_SECRETS),
            publisher,
            store,
            clock: options.clock,
            entropy: options.entropy,
            flows: flows.clone(),
            keys: keys.clone(),
            options: options.gate,
        });
        let app = App {
            status: StatusBoard::new(&flows),
            flows,
            gate: Arc::new(gate),
            keys,
            limits,
            admin_token: options.admin_token,
            trusted_proxies: options.trusted_proxies,
            link_policy: options.link_policy,
            entrance: Entrance::new(&options.connections),
            fallback,
            connections: options.connections,
            stop_links: CancellationToken::new(),
            stop_intake: CancellationToken::new(),
            metrics: options.metrics,
            patience: options.patience,
        };
        Ok(Self {
            app: Arc::new(app),
            lock,
        })
    }

    /// What the handlers share: an embedder can open sessions on it without HTTP.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Begins to serve these roles. `metrics` is a listener of its own for `/metrics`; without one it is on the main one.
    pub fn start(
        self,
        listener: TcpListener,
        roles: &[Role],
        metrics: Option<TcpListener>,
    ) -> std::io::Result<Running> {
        let address = listener.local_addr()?;
        for flow in self.app.flows.iter() {
            let worker = Worker {
                store: Arc::clone(&flow.store),
                clock: Arc::clone(&flow.clock),
                entropy: Arc::clone(&flow.entropy),
                environment: flow.environment,
                webhooks: Arc::clone(&flow.webhooks),
            };
            flow.background.spawn(worker.run(self.app.stop_links.clone()));
        }
        let mail = Arc::clone(&self.app.gate.mail).run(self.app.stop_links.clone());
        self.app.flow().background.spawn(mail);
        let (gate, stop) = (Arc::clone(&self.app.gate), self.app.stop_links.clone());
        self.app
            .flow()
            .background
            .spawn(async move { gate.credit_plans(stop).await });
        let alerts = write_alerts(Arc::clone(&self.app.gate), self.app.stop_links.clone());
        self.app.flow().background.spawn(alerts);
        let status = self.app.status.clone();
        self.app
            .flow()
            .background
            .spawn(status.run(self.app.stop_links.clone()));
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let head = self.app.patience.head;
        let router = http::routes(Arc::clone(&self.app), roles, metrics.is_none(), web::routes());
        // Metrics can be read when everything else is full.
        let gatekeeper = |name| Gatekeeper::new(name, &self.app.connections, &self.app.trusted_proxies);
        let listening = serve::run(listener, router, gatekeeper("main"), head, stop.clone(), cut.clone());
        let listening = tokio::spawn(listening);
        let metrics = metrics.map(|listener| {
            let router = http::metrics_routes(Arc::clone(&self.app));
            let served = serve::run(listener, router, gatekeeper("metrics"), head, stop.clone(), cut.clone());
            tokio::spawn(served)
        });
        Ok(Running {
            app: self.app,
            address,
            stop,
            cut,
            listening,
            metrics,
            lock: self.lock,
        })
    }
}

/// A server that serves.
#[derive(Debug)]
pub struct Running {
    app: Arc<App>,
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    listening: JoinHandle<()>,
    metrics: Option<JoinHandle<()>>,
    lock: File,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the handlers share.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops in two stages: first no new jobs, and those under way may finish for as long as `patience`; then links and
    /// connections end. A job that is cut off all the same is cancelled and its hold released at the next start.
    pub async fn stop(self, patience: Duration) {
        self.app.stop_intake.cancel();
        join_all(self.app.flows.iter().map(|flow| drain(flow, patience))).await;
        self.stop.cancel();
        self.app.stop_links.cancel();
        for flow in self.app.flows.iter() {
            flow.background.close();
        }
        let goodbye = async {
            for flow in self.app.flows.iter() {
                flow.background.wait().await;
            }
            let _ = self.listening.await;
            if let Some(metrics) = self.metrics {
                let _ = metrics.await;
            }
            // Whoever asked may have hung up: what was begun is brought to its end all the same.
            self.app.gate.acts.close();
            self.app.gate.acts.wait().await;
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            self.cut.cancel();
        }
        drop(self.lock);
    }
}

/// No new jobs; those under way may finish for as long as `patience`.
async fn drain(flow: &Flow, patience: Duration) {
    flow.stop_intake();
    flow.tasks.close();
    if tokio::time::timeout(patience, flow.tasks.wait()).await.is_err() {
        tracing::warn!(
            jobs = flow.tasks.len(),
            "jobs are cut off: they took longer than the stop may"
        );
        flow.cut_off();
        flow.tasks.wait().await;
    }
}

/// Binds a listener; what is in the way is said in words.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| {
        let hint = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                " Another program has this port: stop it, or use --listen with another one (:0 picks a free one)"
            }
            std::io::ErrorKind::PermissionDenied => {
                " Ports below 1024 are for the administrator of the machine: use a higher one"
            }
            std::io::ErrorKind::AddrNotAvailable => " This machine has no such address",
            _ => "",
        };
        StartError::Listen { address, source, hint }
    })
}

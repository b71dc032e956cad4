//! The one task that carries out what the session decides.

use std::fs::File;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use futures::future::BoxFuture;
use resultity_core::Address;
use resultity_core::clock::Clock;
use resultity_core::wire::{Hardware, LogLevel, RuntimeInfo};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::asking::{AskError, Asker};
use super::connecting::backoff;
use super::event::{About, Answer, Input, Offer, Output};
use super::executor::Executor;
use super::journal::Journal;
use super::link::{Link, LinkError, Socket};
use super::probe::{Engine, probe};
use super::session::Session;
use super::sync::{Applied, Fetched, Sync, SyncError, served};
use super::told::note;
use super::{AgentError, AgentStatus, Refusal};
use crate::identity::{IdentityError, NetworkPin};
use crate::runtime::{EngineModel, Runtime, RuntimeError};

/// Events that wait for the actor. When it is full, job tasks and the reader wait.
const QUEUE: usize = 1024;
/// Events taken at once.
const BATCH: usize = 256;
/// With so many frames in the write buffer, it is flushed even if more are on the way.
const FLUSH_AT: usize = 512;
/// How long a Runtime may take to start anew.
const RESTART_TIMEOUT: Duration = Duration::from_mins(10);
/// The longest sleep, so that a jump of the clock is seen.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// What comes to the actor.
#[derive(Debug)]
pub(super) enum Event {
    /// From a job's task.
    Input(Input),
    /// From the reader of the link with this number.
    Link(u64, Input),
    /// The Runtime was asked.
    Probed(Result<Vec<EngineModel>, RuntimeError>, Hardware),
    /// A snapshot was fetched, or not.
    Synced(Result<Box<Fetched>, SyncError>),
    /// The chain of the network's keys was followed from the first of these, which is trusted, to the second, or not.
    Followed(Address, Address, Result<NetworkPin, SyncError>),
    /// What was asked over HTTP was answered, or not.
    Asked(Result<Answer, AskError>),
    /// The Runtime was started anew, or not.
    Restarted(Result<(), RuntimeError>),
}

/// All that an actor is made of.
pub(super) struct Parts {
    pub(super) url: Url,
    pub(super) dir: PathBuf,
    pub(super) pin: Option<NetworkPin>,
    pub(super) about: About,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) journal: Journal,
    pub(super) sync: Sync,
    pub(super) asker: Asker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) status: watch::Sender<AgentStatus>,
    /// Held as long as the Agent lives.
    #[expect(dead_code, reason = "dropping it lets go of the data directory")]
    pub(super) lock: File,
}

type Connecting = BoxFuture<'static, Result<Socket, LinkError>>;

pub(super) struct Actor {
    pub(super) parts: Parts,
    pub(super) session: Session,
    executor: Executor,
    events: mpsc::Receiver<Event>,
    pub(super) sender: mpsc::Sender<Event>,
    tasks: TaskTracker,
    outputs: Vec<Output>,
    pub(super) link: Option<Link>,
    pub(super) connecting: Option<Connecting>,
    pub(super) generation: u64,
    pub(super) backoff: ExponentialBackoff,
    pub(super) link_since: Option<Instant>,
    /// Whether a link has ever come about: then an odd answer is a fault that will pass, not a wrong address.
    pub(super) met: bool,
    engine: Engine,
    applied: Option<Box<Applied>>,
    logged: Option<String>,
    restarting: bool,
    end: Option<Result<(), Refusal>>,
}

impl Actor {
    pub(super) fn new(parts: Parts) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let session = Session::new(parts.about.clone(), parts.journal.memory());
        let executor = Executor::new(
            Arc::clone(&parts.runtime),
            parts.about.key.clone(),
            Arc::clone(&parts.clock),
            sender.clone(),
            tasks.clone(),
        );
        let applied = parts.pin.as_ref().and_then(|pin| parts.sync.load(pin)).map(Box::new);
        Self {
            parts,
            session,
            executor,
            events,
            sender,
            tasks,
            outputs: Vec::new(),
            link: None,
            connecting: None,
            generation: 0,
            backoff: backoff(),
            link_since: None,
            met: false,
            engine: Engine::default(),
            applied,
            logged: None,
            restarting: false,
            end: None,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) -> Result<(), AgentError> {
        let node = self.session.node_id();
        tracing::info!(node.id = %node, network = %self.parts.url, "the node starts");
        self.configure();
        let probe = tokio::spawn(probe(Arc::clone(&self.parts.runtime), self.sender.clone()));
        let result = self.work(&cancel).await;
        probe.abort();
        self.publish();
        match &result {
            Ok(()) => tracing::info!(node.id = %node, "the node has stopped"),
            // The caller reports it.
            Err(error) => tracing::debug!(%error, "the node has stopped"),
        }
        result
    }

    async fn work(&mut self, cancel: &CancellationToken) -> Result<(), AgentError> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let now = self.parts.clock.now();
            let nap = self
                .session
                .next_tick()
                .map_or(MAX_SLEEP, |tick| tick.since(now).min(MAX_SLEEP));
            let connecting = async {
                match &mut self.connecting {
                    Some(connecting) => connecting.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled(), if !self.session.is_draining() => {
                    tracing::info!(running = self.session.running(), "the node takes no more jobs and finishes what it has");
                    self.handle(Input::Drain);
                }
                _ = self.events.recv_many(&mut batch, BATCH) => {}
                opened = connecting => self.opened(opened)?,
                () = tokio::time::sleep(nap) => {}
            }
            for event in batch.drain(..) {
                self.take(event);
            }
            // Also under load, when there is never time to sleep.
            if self
                .session
                .next_tick()
                .is_some_and(|tick| tick <= self.parts.clock.now())
            {
                self.handle(Input::Tick);
            }
            self.carry_out().await?;
            if let Some(end) = self.end.take() {
                return end.map_err(|refusal| self.explain(refusal));
            }
            self.flush().await?;
            self.publish();
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.session.handle(input, self.parts.clock.now(), &mut self.outputs);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input(input) => {
                if let Input::Finished(key, _) | Input::Dropped(key) = &input {
                    self.executor.ended(*key);
                }
                self.handle(input);
            }
            // What an earlier link still had to say does not count.
            Event::Link(generation, _) if self.link.as_ref().is_none_or(|link| link.generation != generation) => {}
            Event::Link(_, Input::LinkDown) => self.lost("the connection ended"),
            Event::Link(_, input) => {
                note(&input);
                self.handle(input);
            }
            Event::Probed(models, hardware) => {
                match models {
                    Ok(models) => {
                        if self.engine.failures > 1 {
                            tracing::info!("the engine is back");
                        }
                        self.engine.models = models;
                        self.engine.failures = 0;
                    }
                    Err(error) => {
                        self.engine.failures = self.engine.failures.saturating_add(1);
                        if self.engine.failures == 2 || !self.engine.asked {
                            tracing::warn!(%error, "the engine does not answer; no jobs are taken until it does");
                            let message = "the engine does not answer; no jobs are taken until it does";
                            self.handle(Input::Note(LogLevel::Error, message, Vec::new()));
                        }
                    }
                }
                self.engine.hardware = hardware;
                self.offer();
                // The first link waits for this, so that the hello says what the node can do.
                if !std::mem::replace(&mut self.engine.asked, true) {
                    self.connect(Duration::ZERO);
                }
            }
            Event::Asked(result) => {
                let answer = result.unwrap_or_else(|error| {
                    tracing::debug!(%error, "the network could not be asked over HTTP either");
                    Answer::Nothing(error.status())
                });
                self.handle(Input::Answered(answer));
            }
            Event::Restarted(result) => {
                let (level, message) = match &result {
                    Ok(()) => (LogLevel::Info, "the Runtime was started anew"),
                    Err(_) => (LogLevel::Error, "the Runtime could not be started anew"),
                };
                self.handle(Input::Note(level, message, Vec::new()));
                match result {
                    Ok(()) => tracing::info!("the Runtime was started anew"),
                    Err(error) => tracing::warn!(%error, "the Runtime could not be started anew"),
                }
                self.restarting = false;
                self.offer();
                self.handle(Input::Restarted);
            }
            Event::Synced(result) => {
                match result {
                    Ok(fetched) => {
                        let Fetched { applied, pin } = *fetched;
                        let version = applied.snapshot.version;
                        tracing::info!(snapshot.version = version, "a configuration snapshot is applied");
                        let is_new = self
                            .applied
                            .as_ref()
                            .is_none_or(|before| before.digest != applied.digest);
                        self.applied = Some(Box::new(applied));
                        if is_new {
                            self.configure();
                        }
                        if let Some(pin) = pin {
                            self.handle(Input::Followed(pin));
                        }
                        self.logged = None;
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if self.logged.as_ref() != Some(&error) {
                            tracing::warn!(%error, "the node stays with the configuration snapshot that it has");
                            let message = "a configuration snapshot was not taken; the one before stays in force";
                            self.handle(Input::Note(LogLevel::Warn, message, Vec::new()));
                        }
                        self.logged = Some(error);
                    }
                }
                self.handle(Input::Fetched);
                self.offer();
            }
            Event::Followed(trusted, offered, result) => match result {
                Ok(pin) => self.handle(Input::Followed(pin)),
                Err(error) if error.is_stray() => {
                    tracing::error!(%error, "the network's new key is not to be trusted");
                    self.handle(Input::Strayed(trusted, offered));
                }
                // The next link brings the question up again.
                Err(error) => tracing::warn!(%error, "cannot see whether the network's new key is to be trusted"),
            },
        }
    }

    /// Works by another snapshot from now on. What is left of jobs under the one before is deleted.
    fn configure(&mut self) {
        let Some(applied) = &self.applied else { return };
        let environment = self.parts.about.environment;
        self.parts.runtime.configure(environment, &applied.snapshot);
        if let Err(error) = self.parts.journal.trim() {
            tracing::warn!(%error, "the journal cannot be trimmed; check the space in the data directory");
        }
    }

    /// Tells the session what the node can do now.
    fn offer(&mut self) {
        // What is started anew has to pass its test anew.
        let healthy = self.engine.is_healthy() && !self.restarting;
        let snapshot = self.applied.as_ref().map(|applied| &applied.snapshot);
        let runtime = &self.parts.runtime;
        let offer = Offer {
            models: served(snapshot, &**runtime, &self.engine.models, healthy),
            runtime: RuntimeInfo {
                kind: runtime.kind().to_owned(),
                version: runtime.version(),
                healthy,
            },
            hardware: self.engine.hardware.clone(),
            config_digest: self.applied.as_ref().map(|applied| applied.digest),
            heartbeat_interval: snapshot.map(|snapshot| Duration::from_millis(snapshot.heartbeat_interval_ms)),
        };
        self.handle(Input::Offer(offer));
    }

    /// Does what the session wants. The journal comes first: one write for all facts, before any frame that rests on
    /// them can leave.
    async fn carry_out(&mut self) -> Result<(), AgentError> {
        while !self.outputs.is_empty() {
            let outputs = std::mem::take(&mut self.outputs);
            let mut rest = Vec::with_capacity(outputs.len());
            for output in outputs {
                match output {
                    Output::Record(record) => self.parts.journal.note(record),
                    other => rest.push(other),
                }
            }
            if let Err(error) = self.parts.journal.flush() {
                // Jobs go on: what is lost is the memory of them after a kill.
                tracing::error!(%error, "cannot write the journal; check the space in the data directory");
            }
            for output in rest {
                self.carry(output).await?;
            }
        }
        Ok(())
    }

    async fn carry(&mut self, output: Output) -> Result<(), AgentError> {
        match output {
            Output::Send(frame) => self.feed(frame.encode().into()).await,
            Output::SendText(text) => self.feed(text).await,
            Output::Record(_) => {}
            Output::Start(job, domain) => self.executor.start(job, domain),
            Output::Stop(key, how) => self.executor.stop(key, how),
            Output::Pin(pin) => {
                tracing::info!(network.key = ?pin.network_key, "this network is trusted from now on");
                pin.store(&self.parts.dir)?;
                self.parts.pin = Some(pin);
            }
            Output::Fetch(digest) => {
                let Some(pin) = self.parts.pin.clone() else {
                    return Ok(());
                };
                tracing::debug!(snapshot.digest = %digest, "a new configuration snapshot is out");
                let current = self.applied.as_ref().map(|applied| applied.snapshot.clone());
                let (sync, sender) = (self.parts.sync.clone(), self.sender.clone());
                self.tasks.spawn(async move {
                    let result = sync.fetch(pin, current).await.map(Box::new);
                    // Fails only when the Agent is gone.
                    let _ = sender.send(Event::Synced(result)).await;
                });
            }
            Output::Follow {
                trusted,
                offered,
                genesis,
            } => {
                let (sync, sender) = (self.parts.sync.clone(), self.sender.clone());
                self.tasks.spawn(async move {
                    let result = sync.follow(trusted, genesis).await;
                    // Fails only when the Agent is gone.
                    let _ = sender.send(Event::Followed(trusted, offered, result)).await;
                });
            }
            Output::Ask(ask) => {
                let (asker, sender) = (self.parts.asker.clone(), self.sender.clone());
                self.tasks.spawn(async move {
                    let answer = asker.ask(ask).await;
                    // Fails only when the Agent is gone.
                    let _ = sender.send(Event::Asked(answer)).await;
                });
            }
            Output::RestartRuntime => {
                tracing::info!("the network wants the Runtime to be started anew");
                self.restarting = true;
                self.offer();
                let (runtime, sender) = (Arc::clone(&self.parts.runtime), self.sender.clone());
                self.tasks.spawn(async move {
                    let restarted = tokio::time::timeout(RESTART_TIMEOUT, runtime.restart()).await;
                    let result = restarted.unwrap_or_else(|_| Err(RuntimeError::Unavailable("not in time".into())));
                    // Fails only when the Agent is gone.
                    let _ = sender.send(Event::Restarted(result)).await;
                });
            }
            Output::Close { code, reason, wait } => {
                if let Some(mut link) = self.link.take() {
                    tracing::info!(link.code = code, link.reason = %reason, "the node closes the link");
                    // What was decided before the close goes out before it.
                    let _ = link.flush().await;
                    link.close(code, reason).await;
                }
                self.link_since = None;
                let wait = wait.unwrap_or_else(|| self.pause());
                self.connect(wait);
            }
            Output::End(result) => {
                self.connecting = None;
                self.end = Some(result);
            }
        }
        Ok(())
    }

    async fn feed(&mut self, frame: super::Text) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.feed(frame).await
        {
            self.lost(&error.to_string());
        }
    }

    /// Writes out what was fed, unless more is about to come: at high load many frames go out with one system call.
    async fn flush(&mut self) -> Result<(), AgentError> {
        let Some(unflushed) = self.link.as_ref().map(Link::unflushed) else {
            return Ok(());
        };
        if unflushed == 0 {
            return Ok(());
        }
        if unflushed < FLUSH_AT {
            if self.session.running() > 1 {
                // Lets jobs that have something ready hand it over first.
                tokio::task::yield_now().await;
            }
            if !self.events.is_empty() {
                return Ok(());
            }
        }
        if let Some(link) = &mut self.link
            && let Err(error) = link.flush().await
        {
            self.lost(&error.to_string());
            self.carry_out().await?;
        }
        Ok(())
    }

    /// Adds to a refusal what only the shell knows.
    fn explain(&self, refusal: Refusal) -> AgentError {
        match refusal {
            Refusal::Network { pinned, offered } => IdentityError::OtherNetwork {
                pinned,
                offered,
                path: NetworkPin::path(&self.parts.dir),
            }
            .into(),
            other => other.into(),
        }
    }
}

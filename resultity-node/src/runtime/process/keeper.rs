//! The one task that carries out what the supervisor decides.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use resultity_core::clock::Entropy;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::child::{Child, SharedLog, how, lock};
use super::folder::Folder;
use super::sandbox::Protections;
use super::spec::{Isolation, ProcessSpec};
use super::supervisor::{Action, Input, State, Supervisor};
use crate::runtime::openai::OpenAiRuntime;

/// How often an engine that starts is asked whether it is ready.
const START_CHECK: Duration = Duration::from_millis(200);

/// Where an engine stands, for all who ask it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) state: State,
    /// While it is well.
    pub(super) engine: Option<Arc<OpenAiRuntime>>,
    pub(super) process: Option<u32>,
    pub(super) protections: Protections,
    /// How often it was started.
    pub(super) starts: u64,
    /// How it ended last, and what it said if it never got ready.
    pub(super) ended: Option<(String, String)>,
}

impl Standing {
    pub(super) fn new() -> Self {
        Self {
            state: State::Stopped,
            engine: None,
            process: None,
            protections: Protections::default(),
            starts: 0,
            ended: None,
        }
    }

    /// Whether it can be asked.
    pub(super) const fn is_well(&self) -> bool {
        matches!(self.state, State::Healthy)
    }
}

/// What somebody wants of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Start,
    Restart,
    Stop,
}

pub(super) struct Keeper {
    pub(super) spec: ProcessSpec,
    pub(super) folder: Folder,
    pub(super) log: SharedLog,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) starts: u64,
}

/// An answer to the question whether it is well.
type Check = BoxFuture<'static, bool>;

/// The run that is under way.
struct Run {
    child: Child,
    engine: Arc<OpenAiRuntime>,
    check: Option<Check>,
    next_check: Instant,
    was_well: bool,
}

impl Keeper {
    /// Works until nobody holds the other end any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut supervisor = Supervisor::new(self.spec.patience);
        let mut run: Option<Run> = None;
        let origin = Instant::now();
        let mut is_open = true;
        while is_open || run.is_some() {
            let input = tokio::select! {
                order = orders.recv(), if is_open => match order {
                    Some(Order::Start) => Input::Start,
                    Some(Order::Restart) => Input::Restart,
                    Some(Order::Stop) => Input::Stop,
                    None => {
                        is_open = false;
                        Input::Stop
                    }
                },
                () = wait_until(supervisor.deadline().map(|deadline| origin + deadline)) => Input::Tick,
                input = self.next(&mut run) => input,
            };
            let action = supervisor.handle(input, origin.elapsed());
            match action {
                Some(Action::Spawn) => run = self.spawn(),
                Some(Action::Terminate) => signal(run.as_ref(), Signal::SIGTERM),
                Some(Action::Kill) => signal(run.as_ref(), Signal::SIGKILL),
                None => {}
            }
            if action == Some(Action::Spawn) && run.is_none() {
                supervisor.handle(Input::Ended, origin.elapsed());
            }
            self.publish(&supervisor, run.as_ref());
        }
    }

    /// What happens to the process next.
    async fn next(&self, run: &mut Option<Run>) -> Input {
        let Some(running) = run else {
            return pending().await;
        };
        let Run {
            child,
            engine,
            check,
            next_check,
            ..
        } = running;
        let answer = async {
            if check.is_none() {
                sleep_until(*next_check).await;
            }
            check.get_or_insert_with(|| look(&self.spec, Arc::clone(engine))).await
        };
        tokio::select! {
            biased;
            status = child.wait() => {
                let tail = if running.was_well { String::new() } else { lock(&self.log).tail() };
                let how = how(status);
                if running.was_well {
                    tracing::warn!(engine.kind = self.spec.kind, engine.end = how, "the engine is gone");
                }
                *run = None;
                self.standing.send_modify(|standing| standing.ended = Some((how, tail)));
                Input::Ended
            }
            is_well = answer => {
                running.check = None;
                let is_first = is_well && !running.was_well;
                running.was_well |= is_well;
                let pause = if running.was_well { self.spec.patience.check } else { START_CHECK };
                running.next_check = Instant::now() + pause;
                if is_first {
                    self.started();
                }
                Input::Checked(is_well)
            }
        }
    }

    /// The engine answers for the first time: says what shuts it in.
    fn started(&self) {
        let report = std::fs::read(self.folder.report()).ok();
        let protections: Protections = report
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        tracing::info!(
            engine.kind = self.spec.kind,
            engine.isolation = %protections,
            "the engine runs"
        );
        let missing = protections.missing();
        if self.spec.isolation != Isolation::None && !missing.is_empty() {
            tracing::warn!(
                missing = missing.join("; "),
                "this system does not shut the engine in as far as it could be"
            );
        }
        self.standing.send_modify(|standing| standing.protections = protections);
    }

    fn spawn(&mut self) -> Option<Run> {
        self.starts += 1;
        match Child::spawn(&self.spec, &self.folder, &self.log, &*self.entropy) {
            Ok((child, engine)) => Some(Run {
                child,
                engine: Arc::new(engine),
                check: None,
                next_check: Instant::now() + START_CHECK,
                was_well: false,
            }),
            Err(error) => {
                tracing::warn!(engine.kind = self.spec.kind, %error, "the engine cannot be started");
                self.standing
                    .send_modify(|standing| standing.ended = Some((error.to_string(), String::new())));
                None
            }
        }
    }

    fn publish(&self, supervisor: &Supervisor, run: Option<&Run>) {
        let state = supervisor.state();
        let before = self.standing.borrow().state;
        if before != state {
            match state {
                State::Unhealthy => tracing::warn!(engine.kind = self.spec.kind, "the engine does not answer"),
                State::Backoff => {
                    let log = lock(&self.log).path().display().to_string();
                    tracing::warn!(
                        engine.kind = self.spec.kind,
                        engine.log = log,
                        retry_in = ?supervisor.wait(),
                        "the engine is started again"
                    );
                }
                _ => tracing::debug!(engine.kind = self.spec.kind, engine.state = ?state, "the engine"),
            }
        }
        let process = run.and_then(|run| run.child.id());
        let engine = run
            .filter(|_| state == State::Healthy)
            .map(|run| Arc::clone(&run.engine));
        self.standing.send_if_modified(|standing| {
            let is_new = standing.state != state || standing.process != process || standing.starts != self.starts;
            standing.starts = self.starts;
            standing.state = state;
            standing.engine = engine;
            standing.process = process;
            is_new
        });
    }
}

fn signal(run: Option<&Run>, signal: Signal) {
    if let Some(run) = run {
        run.child.signal(signal);
    }
}

/// Asks how it is.
fn look(spec: &ProcessSpec, engine: Arc<OpenAiRuntime>) -> Check {
    let (path, timeout) = (spec.health_path.clone(), spec.patience.check);
    async move { engine.is_well(&path, timeout).await }.boxed()
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

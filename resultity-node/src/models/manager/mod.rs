//! The models of a node: fetched, checked, loaded and tested as the network's configuration lists them, and served as one
//! Runtime.
//!
//! ```text
//! snapshot ─▶ machine (pure) ─▶ fetch, load, test: one task each ─▶ what came of it ─▶ machine …
//! jobs ─▶ ModelManager (a Runtime) ─▶ the Runtime of the model that is in service
//! ```
//! A model that is taken out of service gets nothing new from that moment; what runs on it goes on to its end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use resultity_core::model::{ModelFile, ModelSpec, ModelState};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::hardware;
use crate::models::fetch::Fetcher;
use crate::models::{FetchError, TerminalProgress, cache_dir, place};
use crate::runtime::Runtime;

mod ask;
#[cfg(feature = "embedded")]
mod embedded;
mod loader;
mod machine;
mod progress;
mod records;
mod served;
mod standing;
mod work;

#[cfg(feature = "embedded")]
pub use embedded::EmbeddedLoader;
pub use loader::Loader;
pub use machine::Serve;
pub use records::Records;
pub use standing::{LeftOut, ModelStanding, Trouble, TroubleKind};

use machine::{Action, Done, EntryId, Input, Machine, Settings};
use progress::Watched;

/// How often an active model is tested, unless said otherwise.
pub const DEFAULT_TEST_INTERVAL: Duration = Duration::from_hours(1);
/// How often it is looked whether a model was removed by hand, and how far a download is.
const LOOK: Duration = Duration::from_secs(2);
/// Disk that models leave free.
const RESERVE: u64 = 1 << 30;

/// What a node does about models.
#[derive(Clone)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// Which models are served.
    pub serve: Serve,
    /// Where their files are kept.
    pub cache: PathBuf,
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// Bytes of memory that they may take together; half of the machine's where nothing is said.
    pub max_memory: Option<u64>,
    /// Bytes that their files may take together; half of what is free without them where nothing is said.
    pub max_disk: Option<u64>,
    /// How often an active one is tested.
    pub test_every: Duration,
    /// In how many networks the node is.
    pub environments: usize,
    /// Files that are here already: by model. They are checked like all others, and never removed.
    pub given: HashMap<String, PathBuf>,
    /// Whether a terminal shows how far downloads are.
    pub shows_progress: bool,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
}

impl ManagerOptions {
    /// A node in one network that serves what fits.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            serve: Serve::WhatFits,
            cache: cache_dir(),
            data_dir: data_dir.into(),
            max_memory: None,
            max_disk: None,
            test_every: DEFAULT_TEST_INTERVAL,
            environments: 1,
            given: HashMap::new(),
            shows_progress: true,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    fn settings(&self) -> Settings {
        let mut seed = [0; 8];
        self.entropy.fill(&mut seed);
        // Where the machine does not say what it has, whoever runs it has to.
        let unknown = u64::MAX;
        Settings {
            serve: self.serve.clone(),
            memory: self
                .max_memory
                .or_else(|| hardware::memory().map(|all| all / 2))
                .unwrap_or(unknown),
            disk: self
                .max_disk
                .or_else(|| hardware::free_space(&self.cache).map(|free| free.saturating_add(kept(&self.cache)) / 2))
                .unwrap_or(unknown),
            test_every: self.test_every,
            environments: self.environments,
            seed: u64::from_le_bytes(seed),
        }
    }
}

/// Fetches, checks, loads and tests the models that the network lists, and answers with them: give it to an Agent as its
/// Runtime.
pub struct ModelManager {
    shared: Arc<Shared>,
    /// How far its models were when somebody last asked for them.
    seen: AtomicU64,
    _keeper: AbortOnDropHandle<()>,
}

struct Shared {
    options: ManagerOptions,
    loader: Arc<dyn Loader>,
    fetcher: Fetcher,
    records: Records,
    watched: Watched,
    state: Mutex<State>,
    /// Rises with every change.
    version: watch::Sender<u64>,
    /// Something is to be done at another time than before.
    wake: Notify,
}

struct State {
    machine: Machine,
    loaded: HashMap<EntryId, Arc<dyn Runtime>>,
    tasks: HashMap<EntryId, Task>,
    /// How many tasks there were.
    begun: u64,
    /// What is in the file.
    written: Vec<ModelStanding>,
}

impl ModelManager {
    /// Begins, with no models before the first snapshot. Needs a Tokio runtime.
    pub fn start(options: ManagerOptions, loader: Arc<dyn Loader>) -> Result<Self, FetchError> {
        let watched = Watched::new(options.shows_progress.then(TerminalProgress::new));
        let fetcher = Fetcher::new()?.with_progress(watched.clone());
        let mut machine = Machine::new(options.settings());
        let records = Records::of(&options.data_dir);
        machine.handle(Input::Unwanted(records.removed()), options.clock.now());
        // What an earlier run has said does not hold any more.
        if !records.state().is_empty()
            && let Err(error) = records.set_state(&[])
        {
            tracing::debug!(%error, "where the models stand cannot be written down");
        }
        let shared = Arc::new(Shared {
            options,
            loader,
            fetcher,
            records,
            watched,
            state: Mutex::new(State {
                machine,
                loaded: HashMap::new(),
                tasks: HashMap::new(),
                begun: 0,
                written: Vec::new(),
            }),
            version: watch::Sender::new(0),
            wake: Notify::new(),
        });
        let keeper = tokio::spawn(work::keep(Arc::clone(&shared)));
        Ok(Self {
            shared,
            seen: AtomicU64::new(0),
            _keeper: AbortOnDropHandle::new(keeper),
        })
    }

    /// Where the models stand, in the order of the snapshot.
    pub fn standings(&self) -> Vec<ModelStanding> {
        self.shared.standings(&self.shared.lock())
    }

    /// Rises whenever something changes there.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }
}

impl Drop for ModelManager {
    fn drop(&mut self) {
        // Tasks hold what is dropped here.
        self.shared.lock().tasks.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened: does what follows from it.
    fn handle(self: &Arc<Self>, input: Input) {
        self.step(input, &mut self.lock());
    }

    fn step(self: &Arc<Self>, input: Input, state: &mut State) {
        let actions = state.machine.handle(input, self.options.clock.now());
        for action in actions {
            self.carry_out(action, state);
        }
        if self.write_down(state) {
            self.version.send_modify(|version| *version += 1);
        }
        self.wake.notify_one();
    }

    fn carry_out(self: &Arc<Self>, action: Action, state: &mut State) {
        match action {
            Action::Fetch(id, spec) => {
                tracing::info!(model = spec.name, "the model is fetched");
                let shared = Arc::clone(self);
                self.spawn(id, state, async move { shared.fetch(&spec).await.map(Work::Fetched) });
            }
            Action::Load(id, spec, files) => {
                tracing::info!(model = spec.name, "loading the model");
                let shared = Arc::clone(self);
                self.spawn(id, state, async move { shared.load(&spec, files).await });
            }
            Action::Test(id, spec) => {
                let runtime = state.loaded.get(&id).cloned();
                self.spawn(id, state, async move {
                    let gone = || Trouble::new(TroubleKind::Test, "it is not loaded");
                    ask::ask(&*runtime.ok_or_else(gone)?, &spec)
                        .await
                        .map(|()| Work::Tested)
                });
            }
            Action::Stop(id) => drop(state.tasks.remove(&id)),
            Action::Unload(id) => drop(state.loaded.remove(&id)),
            Action::Sweep(kept) => match self.records.sweep(|name| kept.contains(name)) {
                Ok(gone) => {
                    for path in gone {
                        tracing::info!(path = %path.display(), "a model's file that is not listed any more is removed");
                    }
                }
                Err(error) => tracing::warn!(%error, "a model's file that is not listed any more cannot be removed"),
            },
        }
    }

    fn spawn(
        self: &Arc<Self>,
        id: EntryId,
        state: &mut State,
        work: impl Future<Output = Result<Work, Trouble>> + Send + 'static,
    ) {
        let shared = Arc::clone(self);
        state.begun += 1;
        let number = state.begun;
        let task = tokio::spawn(async move {
            let outcome = work.await;
            shared.ended(id, number, outcome);
        });
        let handle = AbortOnDropHandle::new(task);
        state.tasks.insert(id, Task { number, handle });
    }

    fn ended(self: &Arc<Self>, id: EntryId, number: u64, outcome: Result<Work, Trouble>) {
        let mut state = self.lock();
        // It may have been given up in the last moment, and another may be at work in its place.
        if state.tasks.get(&id).is_none_or(|task| task.number != number) {
            return;
        }
        // It ends here: nothing is left to be aborted.
        if let Some(task) = state.tasks.remove(&id) {
            drop(task.handle.detach());
        }
        let entry = state.machine.entries().iter().find(|entry| entry.id == id);
        let Some(entry) = entry.filter(|entry| entry.doing().is_some()) else {
            return;
        };
        let done = match outcome {
            Ok(Work::Fetched(files)) => Ok(Done::Fetched(files)),
            Ok(Work::Lost) => Ok(Done::Lost),
            Ok(Work::Loaded(runtime)) => {
                state.loaded.insert(id, runtime);
                Ok(Done::Loaded)
            }
            Ok(Work::Tested) => {
                if !entry.in_service {
                    tracing::info!(model = entry.spec.name, "the model is in service");
                }
                Ok(Done::Tested)
            }
            Err(trouble) => {
                tracing::warn!(model = entry.spec.name, kind = ?trouble.kind, "{}", trouble.message);
                Err(trouble)
            }
        };
        self.step(Input::Ended(id, done), &mut state);
    }

    fn standings(&self, state: &State) -> Vec<ModelStanding> {
        let standing = |entry: &machine::Entry| self.standing(entry);
        state.machine.entries().iter().map(standing).collect()
    }

    fn standing(&self, entry: &machine::Entry) -> ModelStanding {
        let spec = &entry.spec;
        let doing = entry.doing();
        let files = if entry.state() == ModelState::Archived {
            Vec::new()
        } else if entry.files.is_empty() {
            let paths = spec.files.iter().map(|file| place::seen(&self.options.cache, file));
            paths.flatten().collect()
        } else {
            entry.files.clone()
        };
        let is_fetched = doing == Some(machine::Step::Fetch);
        ModelStanding {
            doing: doing.map(|step| {
                let word = match step {
                    machine::Step::Fetch => "fetching",
                    machine::Step::Load => "loading",
                    machine::Step::Test => "testing",
                };
                word.to_owned()
            }),
            size: machine::size(spec),
            fetched: is_fetched.then(|| present(spec, &files) + self.watched.bytes()),
            paths: files,
            left_out: entry.left_out(),
            trouble: entry.trouble.clone(),
            next_at: entry.next(),
            ..ModelStanding::new(&spec.name, &spec.version, entry.state())
        }
    }

    /// Writes down where the models stand, if that has changed.
    fn write_down(&self, state: &mut State) -> bool {
        let standings = self.standings(state);
        if standings == state.written {
            return false;
        }
        if let Err(error) = self.records.set_state(&standings) {
            tracing::debug!(%error, "where the models stand cannot be written down");
        }
        state.written = standings;
        true
    }
}

/// Something that is being done.
struct Task {
    number: u64,
    handle: AbortOnDropHandle<()>,
}

/// What a task brings.
enum Work {
    Fetched(Vec<PathBuf>),
    /// What was fetched is not there any more.
    Lost,
    Loaded(Arc<dyn Runtime>),
    Tested,
}

/// Bytes of a model's files that are whole.
fn present(spec: &ModelSpec, paths: &[PathBuf]) -> u64 {
    let is_here = |file: &ModelFile| paths.iter().any(|path| place::is_of(path, file));
    let here = spec.files.iter().filter(|file| is_here(file));
    here.map(|file| file.size).sum()
}

/// Bytes of the files in this folder: without them they would be free, so that a limit made of what is free stays the same when
/// models have come.
fn kept(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file);
    files.map(|file| file.len()).fold(0, u64::saturating_add)
}

/// Whether there is room for so many more bytes in this folder. Where nothing can be said there is.
fn has_room(dir: &Path, needed: u64) -> bool {
    hardware::free_space(dir).is_none_or(|free| free >= needed.saturating_add(RESERVE.min(needed / 10)))
}

#[cfg(test)]
mod tests;

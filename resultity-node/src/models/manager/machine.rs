//! What happens to each model of the node next. Pure: what has happened and the time in, what is to be done out.
//!
//! ```text
//!            ┌──────────────── failed: later again ────────────────┐
//! listed ─▶ fetch ─▶ load ─▶ test ─▶ active ─▶ test ─▶ active …    │
//!    │        ├────────┴───────┴────────────────┴──────────────────┘
//!    │        └─ files gone or changed: before it is loaded anew
//!    └─▶ left out (inactive)            not listed any more ─▶ archived
//! ```
//! One is fetched at a time, and one is loaded or tested at a time, so that a long download holds up no test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::model::{ModelSpec, ModelState};

use super::standing::{LeftOut, Trouble};
use crate::models::place;

/// How long until what failed once is tried again; doubled with every failure in a row.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// A model that fails so many tests in a row is loaded anew.
const TESTS_UNTIL_LOADED: u32 = 3;

/// What is to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serve {
    /// What fits, in the order of the snapshot.
    WhatFits,
    /// These models, by name or alias, as long as the network lists them.
    Named(Vec<String>),
}

/// What does not change while a node runs.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) serve: Serve,
    /// Bytes of memory that all models together may take.
    pub(super) memory: u64,
    /// Bytes that the files of all models together may take.
    pub(super) disk: u64,
    /// How often an active model is tested.
    pub(super) test_every: Duration,
    /// In how many networks the node is: before all have said what they list, no file is removed.
    pub(super) environments: usize,
    /// Where the scatter of waits begins.
    pub(super) seed: u64,
}

/// One model in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId(u64);

/// What is done to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Fetch,
    Load,
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// This comes next, not before then.
    Waits(Step, Timestamp),
    /// This is being done.
    Does(Step),
    LeftOut(LeftOut),
    /// Not listed any more; forgotten with the next snapshot.
    Archived,
}

/// A model.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) spec: ModelSpec,
    stage: Stage,
    /// It passed its last test and gets jobs.
    pub(super) in_service: bool,
    is_loaded: bool,
    /// Its files, once they were fetched.
    pub(super) files: Vec<PathBuf>,
    /// What was wrong last, until it is in service.
    pub(super) trouble: Option<Trouble>,
    /// Failures in a row.
    failures: u32,
}

impl Entry {
    /// Where it stands.
    pub(super) const fn state(&self) -> ModelState {
        match self.stage {
            Stage::Archived => ModelState::Archived,
            Stage::LeftOut(_) => ModelState::Inactive,
            _ if self.in_service => ModelState::Active,
            _ if self.trouble.is_some() => ModelState::Failed,
            _ => ModelState::Pending,
        }
    }

    /// What is being done to it.
    pub(super) const fn doing(&self) -> Option<Step> {
        match self.stage {
            Stage::Does(step) => Some(step),
            _ => None,
        }
    }

    /// Why it is not served, if that is how it was decided.
    pub(super) const fn left_out(&self) -> Option<LeftOut> {
        match self.stage {
            Stage::LeftOut(why) => Some(why),
            _ => None,
        }
    }

    /// When something is tried again, or tested.
    pub(super) const fn next(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Waits(_, at) => Some(at),
            _ => None,
        }
    }
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A network lists these.
    Listed(Environment, Vec<ModelSpec>),
    /// The operator wants none of these, by name.
    Unwanted(BTreeSet<String>),
    /// What was to be done is done, or not.
    Ended(EntryId, Result<Done, Trouble>),
    /// What runs the models was started anew.
    Restarted,
    /// Time has passed.
    Tick,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Fetched(Vec<PathBuf>),
    /// Its files are gone or were changed, so that it was not loaded.
    Lost,
    Loaded,
    Tested,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Fetch its files.
    Fetch(EntryId, ModelSpec),
    /// Load it out of these files.
    Load(EntryId, ModelSpec, Vec<PathBuf>),
    /// Ask it its test prompt.
    Test(EntryId, ModelSpec),
    /// Stop what is being done to it.
    Stop(EntryId),
    /// Let go of it; what runs on it goes on.
    Unload(EntryId),
    /// Remove what was fetched, but for files of these names in the cache.
    Sweep(BTreeSet<String>),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    listed: BTreeMap<Environment, Vec<ModelSpec>>,
    unwanted: BTreeSet<String>,
    entries: Vec<Entry>,
    next_id: u64,
    noise: u64,
}

impl Machine {
    pub(super) const fn new(settings: Settings) -> Self {
        let noise = settings.seed;
        Self {
            settings,
            listed: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            entries: Vec::new(),
            next_id: 0,
            noise,
        }
    }

    /// All models, in the order of the snapshots.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The model that answers to this name now.
    pub(super) fn serving(&self, name: &str) -> Option<EntryId> {
        let mut all = self.entries.iter();
        all.find(|entry| entry.in_service && entry.spec.name == name)
            .map(|entry| entry.id)
    }

    /// What the operator does not want.
    pub(super) const fn unwanted(&self) -> &BTreeSet<String> {
        &self.unwanted
    }

    /// When something is to be done by itself, if that has a time. What waits for another model's turn has none.
    pub(super) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.entries.iter().filter_map(Entry::next);
        waiting.filter(|at| *at > now).min()
    }

    /// Takes one input; says what is to be done, in order.
    pub(super) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Listed(environment, models) => {
                self.listed.insert(environment, models);
                self.entries.retain(|entry| entry.stage != Stage::Archived);
                self.choose(now, &mut out);
                if self.listed.len() >= self.settings.environments {
                    out.push(Action::Sweep(self.file_names()));
                }
            }
            Input::Unwanted(names) => {
                if names != self.unwanted {
                    self.unwanted = names;
                    self.choose(now, &mut out);
                }
            }
            Input::Ended(id, outcome) => self.ended(id, outcome, now, &mut out),
            Input::Restarted => {
                for entry in self.entries.iter_mut().filter(|entry| entry.in_service) {
                    if entry.doing().is_none() {
                        entry.stage = Stage::Waits(Step::Test, now);
                    }
                }
            }
            Input::Tick => {}
        }
        self.begin(now, &mut out);
        out
    }

    /// What all networks list, the first of a name.
    fn listing(&self) -> Vec<ModelSpec> {
        let mut listing: Vec<ModelSpec> = Vec::new();
        for spec in self.listed.values().flatten() {
            // The others are not ours to fetch: an engine or a container has them.
            if !spec.files.is_empty() && listing.iter().all(|other| other.name != spec.name) {
                listing.push(spec.clone());
            }
        }
        listing
    }

    fn file_names(&self) -> BTreeSet<String> {
        let all = self.listed.values().flatten().flat_map(|spec| &spec.files);
        all.map(place::name).collect()
    }

    /// Brings the models in line with what is listed and wanted.
    fn choose(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let listing = self.listing();
        for entry in &mut self.entries {
            match listing.iter().find(|spec| is_same(&entry.spec, spec)) {
                Some(spec) => {
                    if entry.in_service && entry.doing().is_none() && entry.spec.test_prompt != spec.test_prompt {
                        entry.stage = Stage::Waits(Step::Test, now);
                    }
                    // Other sources may do better at once. Once it is loaded they don't matter.
                    let is_fetching = entry.doing() == Some(Step::Fetch);
                    let is_stuck = entry.trouble.is_some() && entry.doing().is_none() && !entry.is_loaded;
                    if (is_fetching || is_stuck) && entry.spec.files != spec.files {
                        if is_fetching {
                            out.push(Action::Stop(entry.id));
                        }
                        entry.stage = Stage::Waits(Step::Fetch, now);
                    }
                    entry.spec = spec.clone();
                }
                None => take_out(entry, Stage::Archived, out),
            }
        }
        for spec in &listing {
            if !self.entries.iter().any(|entry| entry.is_of(spec)) {
                self.next_id += 1;
                self.entries.push(Entry {
                    id: EntryId(self.next_id),
                    spec: spec.clone(),
                    stage: Stage::LeftOut(LeftOut::NotChosen),
                    in_service: false,
                    is_loaded: false,
                    files: Vec::new(),
                    trouble: None,
                    failures: 0,
                });
            }
        }
        let place = |entry: &Entry| listing.iter().position(|spec| entry.is_of(spec));
        self.entries.sort_by_key(|entry| place(entry).unwrap_or(usize::MAX));
        self.fit(now, out);
    }

    /// Decides which of the listed models are served. What is there already stays before others come.
    fn fit(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let (mut memory, mut disk) = (self.settings.memory, self.settings.disk);
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|index| !self.entries[*index].is_loaded);
        for index in order {
            let entry = &mut self.entries[index];
            if entry.stage == Stage::Archived {
                continue;
            }
            let (on_disk, in_memory) = (size(&entry.spec), memory_of(&entry.spec));
            let why = if self.unwanted.contains(&entry.spec.name) {
                Some(LeftOut::Removed)
            } else {
                match &self.settings.serve {
                    Serve::Named(names) if names.iter().any(|name| entry.spec.answers_to(name)) => None,
                    Serve::Named(_) => Some(LeftOut::NotChosen),
                    Serve::WhatFits if in_memory > memory => Some(LeftOut::Memory),
                    Serve::WhatFits if on_disk > disk => Some(LeftOut::Disk),
                    Serve::WhatFits => None,
                }
            };
            match why {
                Some(why) => take_out(entry, Stage::LeftOut(why), out),
                None => {
                    (memory, disk) = (memory.saturating_sub(in_memory), disk.saturating_sub(on_disk));
                    if entry.left_out().is_some() {
                        entry.stage = Stage::Waits(Step::Fetch, now);
                    }
                }
            }
        }
    }

    fn ended(&mut self, id: EntryId, outcome: Result<Done, Trouble>, now: Timestamp, out: &mut Vec<Action>) {
        let pause = self.settings.test_every;
        let test_at = now.after(self.scattered(pause));
        let noise = self.scattered(FIRST_WAIT);
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else {
            return;
        };
        let Stage::Does(step) = entry.stage else { return };
        match outcome {
            Ok(Done::Fetched(files)) => {
                entry.files = files;
                entry.trouble = None;
                entry.stage = Stage::Waits(Step::Load, now);
            }
            Ok(Done::Lost) => {
                // At once, but not again and again.
                let wait = match entry.failures {
                    0 => Duration::ZERO,
                    failures => backoff(failures) + noise / 4,
                };
                entry.files.clear();
                entry.failures = entry.failures.saturating_add(1);
                entry.stage = Stage::Waits(Step::Fetch, now.after(wait));
            }
            Ok(Done::Loaded) => {
                entry.is_loaded = true;
                entry.stage = Stage::Waits(Step::Test, now);
            }
            Ok(Done::Tested) => {
                entry.in_service = true;
                entry.trouble = None;
                entry.failures = 0;
                entry.stage = Stage::Waits(Step::Test, test_at);
            }
            Err(trouble) => {
                entry.in_service = false;
                entry.trouble = Some(trouble);
                entry.failures = entry.failures.saturating_add(1);
                let again = match step {
                    Step::Test if entry.failures % TESTS_UNTIL_LOADED == 0 => {
                        entry.is_loaded = false;
                        out.push(Action::Unload(id));
                        Step::Load
                    }
                    step => step,
                };
                entry.stage = Stage::Waits(again, now.after(backoff(entry.failures) + noise / 4));
            }
        }
    }

    /// Begins what is due and has its lane free.
    fn begin(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let is_fetch = |step: Step| step == Step::Fetch;
        for fetches in [true, false] {
            let is_busy = self
                .entries
                .iter()
                .any(|entry| entry.doing().is_some_and(|step| is_fetch(step) == fetches));
            if is_busy {
                continue;
            }
            let due = self.entries.iter_mut().find_map(|entry| match entry.stage {
                Stage::Waits(step, at) if is_fetch(step) == fetches && at <= now => Some((entry, step)),
                _ => None,
            });
            if let Some((entry, step)) = due {
                entry.stage = Stage::Does(step);
                let (id, spec) = (entry.id, entry.spec.clone());
                out.push(match step {
                    Step::Fetch => Action::Fetch(id, spec),
                    Step::Load => Action::Load(id, spec, entry.files.clone()),
                    Step::Test => Action::Test(id, spec),
                });
            }
        }
    }

    /// A time from three quarters of this to five: nodes that began together don't stay together. Splitmix64.
    fn scattered(&mut self, time: Duration) -> Duration {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.noise;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        time * 3 / 4 + time / 2048 * ((mixed & 1023) as u32)
    }
}

impl Entry {
    /// Whether it is what this entry of a snapshot means, and still counts.
    fn is_of(&self, spec: &ModelSpec) -> bool {
        self.stage != Stage::Archived && is_same(&self.spec, spec)
    }
}

/// Lets go of a model.
fn take_out(entry: &mut Entry, stage: Stage, out: &mut Vec<Action>) {
    if matches!(entry.stage, Stage::Does(_)) {
        out.push(Action::Stop(entry.id));
    }
    // While it is being loaded nobody knows yet whether it is.
    if entry.is_loaded || entry.stage == Stage::Does(Step::Load) {
        out.push(Action::Unload(entry.id));
    }
    entry.is_loaded = false;
    entry.in_service = false;
    entry.trouble = None;
    entry.failures = 0;
    entry.stage = stage;
}

/// Whether what is loaded for one does for the other: names for it and prices apart, they are the same.
fn is_same(one: &ModelSpec, other: &ModelSpec) -> bool {
    let files = |spec: &ModelSpec| -> Vec<(String, String)> {
        let files = spec.files.iter();
        files.map(|file| (file.name.clone(), file.sha256.clone())).collect()
    };
    (&one.name, &one.version, one.kind) == (&other.name, &other.version, other.kind)
        && (one.context_length, one.default_max_tokens) == (other.context_length, other.default_max_tokens)
        && one.capabilities == other.capabilities
        && files(one) == files(other)
}

/// Bytes of its files.
pub(super) fn size(spec: &ModelSpec) -> u64 {
    spec.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
}

/// Bytes of memory that it takes, roughly: its weights, and a quarter for what is computed.
fn memory_of(spec: &ModelSpec) -> u64 {
    size(spec).saturating_add(size(spec) / 4)
}

fn backoff(failures: u32) -> Duration {
    let doubled = FIRST_WAIT.checked_mul(1 << failures.saturating_sub(1).min(12));
    doubled.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests;

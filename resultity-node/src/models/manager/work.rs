//! The work of the manager: fetching, and waiting for the time of what comes next.

use std::path::PathBuf;
use std::sync::Arc;

use resultity_core::model::{ModelFile, ModelSpec};
use tokio::time::{Instant, sleep_until};

use super::machine::{Input, Step};
use super::standing::{Trouble, TroubleKind};
use super::{LOOK, Shared, Work, has_room};
use crate::models::{FetchError, place, verify};

/// Does what is due at its time, and notices what was removed by hand.
pub(super) async fn keep(shared: Arc<Shared>) {
    loop {
        let (now, looks_at) = (shared.options.clock.now(), Instant::now() + LOOK);
        let due = shared.lock().machine.deadline(now);
        let wakes_at = due.map_or(looks_at, |due| looks_at.min(Instant::now() + due.since(now)));
        tokio::select! {
            () = sleep_until(wakes_at) => {}
            () = shared.wake.notified() => continue,
        }
        let now = shared.options.clock.now();
        let removed = shared.records.removed();
        let mut state = shared.lock();
        let entries = state.machine.entries();
        let is_due = entries.iter().any(|entry| entry.next().is_some_and(|at| at <= now));
        let is_fetching = entries.iter().any(|entry| entry.doing() == Some(Step::Fetch));
        let is_changed = *state.machine.unwanted() != removed;
        if is_fetching {
            shared.write_down(&mut state);
        }
        drop(state);
        if is_changed {
            shared.handle(Input::Unwanted(removed));
        } else if is_due {
            shared.handle(Input::Tick);
        }
    }
}

impl Shared {
    /// Brings the files of a model here, or finds that they are.
    pub(super) async fn fetch(&self, spec: &ModelSpec) -> Result<Vec<PathBuf>, Trouble> {
        if let (Some(path), [file]) = (self.options.given.get(&spec.name), &*spec.files) {
            return given(path.clone(), file.clone()).await;
        }
        let dir = &self.options.cache;
        let machine = |error: std::io::Error| Trouble::new(TroubleKind::Machine, error);
        std::fs::create_dir_all(dir).map_err(machine)?;
        let missing = place::missing(spec, dir).await.map_err(machine)?;
        let begun = |file: &ModelFile| {
            let part = std::fs::metadata(verify::beside(&place::path(dir, file), "part"));
            part.map_or(0, |part| part.len())
        };
        let needed: u64 = missing.iter().map(|file| file.size.saturating_sub(begun(file))).sum();
        if needed > 0 && !has_room(dir, needed) {
            let name = &spec.name;
            let message = format!(
                "there is no room for {name} in {}: {needed} bytes are needed; make room, or name another folder",
                dir.display()
            );
            return Err(Trouble::new(TroubleKind::DiskFull, message));
        }
        self.records.about_to_fetch(&missing, dir).map_err(machine)?;
        let fetched = self.fetcher.fetch_model(spec, dir).await;
        fetched.map_err(|error| Trouble::new(kind(&error), &error))
    }

    /// Loads a model out of its files, unless one of them is gone or is not what it was.
    pub(super) async fn load(&self, spec: &ModelSpec, paths: Vec<PathBuf>) -> Result<Work, Trouble> {
        let is_given = self.options.given.contains_key(&spec.name);
        if !is_given && !are_right(spec, &paths).await {
            tracing::warn!(
                model = spec.name,
                "a file of the model is gone or was changed; it is fetched again"
            );
            return Ok(Work::Lost);
        }
        let loaded = self.loader.load(spec, &paths).await;
        loaded.map(Work::Loaded).map_err(|why| {
            if !is_given {
                // Damage may be the reason, also where the file system tells of no change: all of it is read next time.
                for path in &paths {
                    verify::forget(path);
                }
            }
            Trouble::new(TroubleKind::Load, why)
        })
    }
}

/// Whether these are a model's files still. What can't be read is not.
async fn are_right(spec: &ModelSpec, paths: &[PathBuf]) -> bool {
    let (files, paths) = (spec.files.clone(), paths.to_owned());
    let look = move || {
        let mut all = paths.iter().zip(&files);
        paths.len() == files.len() && all.all(|(path, file)| verify::is_present(path, file).unwrap_or(false))
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// A file that is here already, if it is the right one.
async fn given(path: PathBuf, file: ModelFile) -> Result<Vec<PathBuf>, Trouble> {
    let looked_at = path.clone();
    let matches = tokio::task::spawn_blocking(move || verify::matches(&looked_at, &file)).await;
    match matches {
        Ok(Ok(true)) => Ok(vec![path]),
        Ok(Ok(false)) => Err(Trouble::new(
            TroubleKind::Mismatch,
            format!("{} has another size or SHA-256 than the network's", path.display()),
        )),
        Ok(Err(error)) => Err(Trouble::new(
            TroubleKind::Machine,
            format!("{} cannot be read: {error}", path.display()),
        )),
        Err(error) => Err(Trouble::new(TroubleKind::Machine, error)),
    }
}

/// What kind of trouble a failed fetch is.
fn kind(error: &FetchError) -> TroubleKind {
    match error {
        FetchError::DiskFull { .. } => TroubleKind::DiskFull,
        FetchError::Mismatch { .. } | FetchError::AllSourcesFailed { mismatch: true, .. } => TroubleKind::Mismatch,
        FetchError::Io { .. } | FetchError::Client(_) => TroubleKind::Machine,
        _ => TroubleKind::Source,
    }
}

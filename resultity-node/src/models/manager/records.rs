//! What the node remembers of its models' files, in `models` in its data directory.
//!
//! ```text
//! fetched.json  the files that this node fetched: only these are ever removed
//! removed.json  the models that were removed by hand
//! state.json    where the models stand, written while the node runs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use resultity_core::model::{ModelFile, ModelSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::standing::ModelStanding;
use crate::identity::{Durable, create_private_dir, replace_private};
use crate::models::quarantine;
use crate::models::verify::beside;

const FETCHED: &str = "fetched.json";
const REMOVED: &str = "removed.json";
const STATE: &str = "state.json";

/// What lies beside a file that was fetched.
const BESIDE: [&str; 3] = ["part", "verified", "lock"];

/// A file that this node fetched, or began to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fetched {
    dir: PathBuf,
    sha256: String,
}

/// The records of a node.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    /// One change at a time.
    lock: Mutex<()>,
}

impl Records {
    /// Those of the node with this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("models"),
            lock: Mutex::new(()),
        }
    }

    /// The models that were removed by hand: their names.
    pub fn removed(&self) -> BTreeSet<String> {
        self.read(REMOVED)
    }

    /// Says that a model was removed by hand, or is wanted again.
    pub fn set_removed(&self, model: &str, is_removed: bool) -> io::Result<()> {
        let _one = self.lock();
        let mut removed = self.removed();
        let changes = if is_removed {
            removed.insert(model.to_owned())
        } else {
            removed.remove(model)
        };
        if changes { self.write(REMOVED, &removed) } else { Ok(()) }
    }

    /// Where the models stood when the node last wrote it down.
    pub fn state(&self) -> Vec<ModelStanding> {
        self.read(STATE)
    }

    /// Writes down where the models stand.
    pub(super) fn set_state(&self, state: &[ModelStanding]) -> io::Result<()> {
        self.write(STATE, &state)
    }

    /// Notes that files are about to be fetched: those that are not there yet will be this node's.
    pub fn about_to_fetch(&self, model: &ModelSpec, dir: &Path) -> io::Result<()> {
        let _one = self.lock();
        let mut fetched: BTreeMap<String, Fetched> = self.read(FETCHED);
        let before = fetched.clone();
        for file in model.files.iter().filter(|file| !dir.join(&file.name).exists()) {
            let entry = Fetched {
                dir: dir.to_owned(),
                sha256: file.sha256.clone(),
            };
            fetched.insert(file.name.clone(), entry);
        }
        // A file of ours that is about to become another version of itself.
        for file in &model.files {
            if let Some(ours) = fetched.get_mut(&file.name).filter(|ours| ours.dir == dir) {
                ours.sha256.clone_from(&file.sha256);
            }
        }
        if fetched == before {
            Ok(())
        } else {
            self.write(FETCHED, &fetched)
        }
    }

    /// Whether this node fetched a file.
    pub fn is_ours(&self, file: &ModelFile) -> bool {
        let fetched: BTreeMap<String, Fetched> = self.read(FETCHED);
        fetched.get(&file.name).is_some_and(|ours| ours.sha256 == file.sha256)
    }

    /// Removes the files that this node fetched, but for those that are kept: by name. Says which are gone.
    pub fn sweep(&self, is_kept: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
        let _one = self.lock();
        let mut fetched: BTreeMap<String, Fetched> = self.read(FETCHED);
        let (mut gone, mut failure) = (Vec::new(), None);
        fetched.retain(|name, file| {
            // Names come from a snapshot that was checked; this is a file of ours that may have been changed.
            if is_kept(name) || Path::new(name).components().count() != 1 {
                return true;
            }
            let path = file.dir.join(name);
            let aside = quarantine::place(&path);
            let beside_it = BESIDE.iter().map(|suffix| beside(&path, suffix));
            for other in beside_it.chain([beside(&aside, "json"), aside]) {
                // Mostly there is none.
                let _ = fs::remove_file(other);
            }
            match fs::remove_file(&path) {
                Ok(()) => gone.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    failure = Some(error);
                    return true;
                }
            }
            false
        });
        if !gone.is_empty() || failure.is_none() {
            self.write_if_changed(FETCHED, &fetched)?;
        }
        failure.map_or(Ok(gone), Err)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file holds; nothing where it is missing or damaged: it is about what can be had again.
    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let bytes = fs::read(self.dir.join(name)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write_if_changed<T: Serialize + DeserializeOwned + Default + PartialEq>(
        &self,
        name: &str,
        value: &T,
    ) -> io::Result<()> {
        if self.read::<T>(name) == *value {
            return Ok(());
        }
        self.write(name, value)
    }

    fn write<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> io::Result<()> {
        create_private_dir(&self.dir).map_err(io::Error::other)?;
        let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
        replace_private(&self.dir.join(name), &text, Durable::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::demo_model;

    #[test]
    fn only_what_was_fetched_here_is_removed() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = Records::of(data.path());
        let named = |name: &str| {
            let mut model = demo_model();
            model.files[0].name = name.to_owned();
            model
        };
        let write = |name: &str| fs::write(cache.path().join(name), "x").unwrap();
        // One is there already, two are fetched.
        write("theirs");
        for name in ["theirs", "ours", "kept"] {
            records.about_to_fetch(&named(name), cache.path()).unwrap();
            write(name);
        }
        write("ours.verified");
        fs::create_dir(cache.path().join("quarantine")).unwrap();
        write("quarantine/ours");
        write("quarantine/kept");
        assert!(records.is_ours(&named("ours").files[0]) && !records.is_ours(&named("theirs").files[0]));
        let gone = records.sweep(|name| name == "kept").unwrap();
        assert_eq!(gone, [cache.path().join("ours")]);
        let left: BTreeSet<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(
            left,
            BTreeSet::from(["theirs".into(), "kept".into(), "quarantine".into()])
        );
        let aside = fs::read_dir(cache.path().join("quarantine")).unwrap();
        assert_eq!(aside.count(), 1);
        // And once only.
        assert!(!records.is_ours(&named("ours").files[0]));
        assert!(records.sweep(|name| name == "kept").unwrap().is_empty());
    }

    #[test]
    fn damaged_records_count_as_none() {
        let data = tempfile::tempdir().unwrap();
        let records = Records::of(data.path());
        records.set_removed("m", true).unwrap();
        assert_eq!(Records::of(data.path()).removed(), BTreeSet::from(["m".to_owned()]));
        fs::write(data.path().join("models").join(REMOVED), "{").unwrap();
        assert!(records.removed().is_empty());
        assert!(records.state().is_empty());
    }
}

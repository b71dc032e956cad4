//! What the node remembers of its models' files, in `models` in its data directory.
//!
//! ```text
//! fetched.json  the files that this node fetched: only these are ever removed
//! removed.json  the models that were removed by hand
//! state.json    where the models stand, written while the node runs
//! lock          held while one of the first two changes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use resultity_core::model::ModelFile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::standing::ModelStanding;
use crate::identity::{Durable, create_private_dir, private_options, replace_private};
use crate::models::verify::beside;
use crate::models::{place, quarantine};

const FETCHED: &str = "fetched.json";
const REMOVED: &str = "removed.json";
const STATE: &str = "state.json";
const LOCK: &str = "lock";

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
        let _one = self.lock()?;
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

    /// Notes that these files, which are not there yet, are about to be fetched: they will be this node's.
    pub fn about_to_fetch(&self, missing: &[ModelFile], dir: &Path) -> io::Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let _one = self.lock()?;
        let mut fetched: BTreeMap<String, Fetched> = self.read(FETCHED);
        let before = fetched.clone();
        for file in missing {
            let entry = Fetched {
                dir: dir.to_owned(),
                sha256: file.sha256.clone(),
            };
            fetched.insert(place::name(file), entry);
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
        let mut ours = [place::name(file), file.name.clone()].into_iter();
        ours.any(|name| fetched.get(&name).is_some_and(|ours| ours.sha256 == file.sha256))
    }

    /// Removes the files that this node fetched, but for those that are kept: by their names in the cache, as files that are
    /// fetched today have them. Says which are gone.
    pub fn sweep(&self, is_kept: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
        if self.read::<BTreeMap<String, Fetched>>(FETCHED).is_empty() {
            return Ok(Vec::new());
        }
        let _one = self.lock()?;
        let mut fetched: BTreeMap<String, Fetched> = self.read(FETCHED);
        let (mut gone, mut failure) = (Vec::new(), None);
        fetched.retain(|name, file| {
            // Names come from a snapshot that was checked; this is a file of ours that may have been changed.
            if is_kept(&place::name_today(name, &file.sha256)) || Path::new(name).components().count() != 1 {
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

    /// One change at a time, by this process and others: a node that runs and `resultity-node models` change the same files.
    fn lock(&self) -> io::Result<(std::sync::MutexGuard<'_, ()>, File)> {
        let one = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        create_private_dir(&self.dir).map_err(io::Error::other)?;
        let mut options = private_options();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.dir.join(LOCK))?;
        match file.lock() {
            // A file system without locks: better unguarded than not at all.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
            _ => Ok((one, file)),
        }
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
    use sha2::{Digest as _, Sha256};

    /// A file whose content is its name.
    fn file(name: &str) -> ModelFile {
        ModelFile {
            name: name.to_owned(),
            sha256: hex::encode(Sha256::digest(name)),
            size: name.len() as u64,
            sources: Vec::new(),
        }
    }

    #[tokio::test]
    async fn only_what_was_fetched_here_is_removed() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = Records::of(data.path());
        let name = |name: &str| place::name(&file(name));
        let write = |name: &str, content: &str| fs::write(cache.path().join(name), content).unwrap();
        // One is there already, two are fetched.
        write(&name("theirs"), "theirs");
        for one in ["theirs", "ours", "kept"] {
            let mut model = demo_model();
            model.files = vec![file(one)];
            let missing = place::missing(&model, cache.path()).await.unwrap();
            records.about_to_fetch(&missing, cache.path()).unwrap();
            write(&name(one), one);
        }
        write(&format!("{}.verified", name("ours")), "x");
        fs::create_dir(cache.path().join("quarantine")).unwrap();
        write(&format!("quarantine/{}", name("ours")), "x");
        write(&format!("quarantine/{}", name("kept")), "x");
        assert!(records.is_ours(&file("ours")) && !records.is_ours(&file("theirs")));
        let gone = records.sweep(|file| file == name("kept")).unwrap();
        assert_eq!(gone, [cache.path().join(name("ours"))]);
        let left: BTreeSet<_> = fs::read_dir(cache.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".verified"))
            .collect();
        assert_eq!(
            left,
            BTreeSet::from([name("theirs"), name("kept"), "quarantine".into()])
        );
        let aside = fs::read_dir(cache.path().join("quarantine")).unwrap();
        assert_eq!(aside.count(), 1);
        // And once only.
        assert!(!records.is_ours(&file("ours")));
        assert!(records.sweep(|file| file == name("kept")).unwrap().is_empty());
    }

    /// An earlier version kept files under their plain names.
    #[test]
    fn what_an_earlier_version_fetched_goes_when_it_is_not_listed_any_more() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let records = Records::of(data.path());
        let before: BTreeMap<String, Fetched> = ["old", "kept"]
            .map(|name| {
                let (dir, sha256) = (cache.path().to_owned(), file(name).sha256);
                fs::write(dir.join(name), name).unwrap();
                (name.to_owned(), Fetched { dir, sha256 })
            })
            .into();
        records.write(FETCHED, &before).unwrap();
        assert!(records.is_ours(&file("old")));
        let gone = records.sweep(|name| name == place::name(&file("kept"))).unwrap();
        assert_eq!(gone, [cache.path().join("old")]);
        assert!(cache.path().join("kept").exists());
    }

    #[test]
    fn changes_of_two_processes_are_both_kept() {
        let data = tempfile::tempdir().unwrap();
        // As two processes have them: nothing but the files in common.
        let all: Vec<_> = (0..4).map(|_| Records::of(data.path())).collect();
        std::thread::scope(|scope| {
            for (one, records) in all.iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..10 {
                        records.set_removed(&format!("{one}-{number}"), true).unwrap();
                    }
                });
            }
        });
        assert_eq!(all[0].removed().len(), 40);
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

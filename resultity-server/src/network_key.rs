//! The files of the network's keys: the first is made on the first start, each later one when the key is changed. All are
//! encrypted keystores under one passphrase. Which of them counts says the store.

use std::fs::File;
use std::path::{Path, PathBuf};

use resultity_core::Address;
use resultity_core::clock::Entropy;
use resultity_core::signing::Keypair;
use resultity_core::signing::keystore::{self, KeystoreError, ScryptCost};
use secrecy::{ExposeSecret, SecretString};

use crate::private_file::{self, FileError};

/// The environment variable that holds the passphrase.
pub const PASSWORD_VARIABLE: &str = "RESULTITY_KEYSTORE_PASSWORD";

const FIRST_KEY_FILE: &str = "network-key.json";
const PASSWORD_FILE: &str = "network-key-password";
const LOCK_FILE: &str = "network-key.lock";

/// Why there is no network key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkKeyError {
    /// Its files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The passphrase does not fit, or the file is damaged.
    #[error("cannot unlock the network's key: {0}. Give the passphrase that it was made with, in {PASSWORD_VARIABLE}")]
    Locked(#[from] KeystoreError),
    /// The passphrase is gone.
    #[error(
        "the network's key is there, but its passphrase is not: set {PASSWORD_VARIABLE}, or bring the file {PASSWORD_FILE} back"
    )]
    NoPassword,
    /// The key that the store names has no file.
    #[error("the key that signs now is not there: bring {} back, beside the database that names it", .0.display())]
    Missing(PathBuf),
    /// The network's first key is gone, and the database is that of a network.
    #[error(
        "the network's first key is not there, but the database is that of a network which has one: bring {} back from a backup, \
         beside the database. Nodes and clients know the network by this key, and what is sealed needs it. (To begin another \
         network, use an empty data directory)",
        .0.display()
    )]
    FirstMissing(PathBuf),
    /// The file holds another key than the store names.
    #[error("{} holds the key {found}, but the database names {expected}: bring the files of one backup together", .path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: Address,
        /// What should be.
        expected: Address,
    },
    /// Two processes want to change the key.
    #[error("another process is changing the network's key: wait until it is done")]
    Busy,
}

/// Where the network's keys are.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    data_dir: PathBuf,
    password: Option<SecretString>,
}

impl KeyFiles {
    /// In this directory, under this passphrase; without one, under the one that was generated with the first key.
    pub fn new(data_dir: impl Into<PathBuf>, password: Option<SecretString>) -> Self {
        Self {
            data_dir: data_dir.into(),
            password,
        }
    }

    /// The network's first key, or a new one if there is none and the network is new: one that `has_begun` is known by the
    /// key that it has. Takes tenths of a second of CPU with a passphrase of your own.
    pub fn first(&self, has_begun: bool, entropy: &dyn Entropy) -> Result<Keypair, NetworkKeyError> {
        let path = self.data_dir.join(FIRST_KEY_FILE);
        if let Some(key) = self.read(&path)? {
            return Ok(key);
        }
        if has_begun {
            return Err(NetworkKeyError::FirstMissing(path));
        }
        let password_file = self.data_dir.join(PASSWORD_FILE);
        // One that is there is that of later keys, if the first one's file was lost: in another's place it would lock them.
        if self.password.is_none() && private_file::read(&password_file)?.is_none() {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            private_file::write(&password_file, &hex::encode(bytes))?;
        }
        self.make(&path, entropy)
    }

    /// The key that this change of the key put in force: 0 for the first key.
    pub fn of_change(&self, sequence: u64, expected: Address) -> Result<Keypair, NetworkKeyError> {
        let path = self.path(sequence);
        let key = self
            .read(&path)?
            .ok_or_else(|| NetworkKeyError::Missing(path.clone()))?;
        if key.address() != expected {
            return Err(NetworkKeyError::Other {
                path,
                found: key.address(),
                expected,
            });
        }
        Ok(key)
    }

    /// Makes the key for this change of the key, or takes the one that a change before has left: it may be that the store is
    /// about to name it, so it is never written over. Nothing counts before the store names it. To be called by the holder of [`lock`](Self::lock).
    pub fn make_for_change(&self, sequence: u64, entropy: &dyn Entropy) -> Result<Keypair, NetworkKeyError> {
        let path = self.path(sequence);
        match self.read(&path)? {
            Some(key) => Ok(key),
            None => self.make(&path, entropy),
        }
    }

    /// For whoever is about to change the key: one process at a time, for as long as the file is kept.
    pub fn lock(&self) -> Result<File, NetworkKeyError> {
        private_file::lock_file(&self.data_dir.join(LOCK_FILE))?.ok_or(NetworkKeyError::Busy)
    }

    fn path(&self, sequence: u64) -> PathBuf {
        match sequence {
            0 => self.data_dir.join(FIRST_KEY_FILE),
            later => self.data_dir.join(format!("network-key-{later}.json")),
        }
    }

    fn passphrase(&self) -> Result<SecretString, NetworkKeyError> {
        match &self.password {
            Some(password) => Ok(password.clone()),
            None => Ok(private_file::read(&self.data_dir.join(PASSWORD_FILE))?
                .ok_or(NetworkKeyError::NoPassword)?
                .into()),
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Keypair>, NetworkKeyError> {
        let Some(json) = private_file::read(path)? else {
            return Ok(None);
        };
        let password = self.passphrase()?;
        Ok(Some(keystore::decrypt(&json, password.expose_secret().as_bytes())?))
    }

    fn make(&self, path: &Path, entropy: &dyn Entropy) -> Result<Keypair, NetworkKeyError> {
        let password = self.passphrase()?;
        // A generated passphrase has 256 bits: no cost of guessing is needed to protect it.
        let cost = match self.password {
            Some(_) => ScryptCost::standard(),
            None => ScryptCost::light(),
        };
        let key = Keypair::generate(entropy);
        let json = keystore::encrypt(&key, password.expose_secret().as_bytes(), cost, entropy);
        private_file::write(path, &json)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SystemEntropy;

    #[test]
    fn the_key_stays_the_same_and_a_wrong_passphrase_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(dir.path(), None);
        let first = files.first(false, &SystemEntropy).unwrap();
        assert_eq!(files.first(false, &SystemEntropy).unwrap().address(), first.address());
        let wrong = KeyFiles::new(dir.path(), Some("wrong".to_owned().into()));
        let wrong = wrong.first(false, &SystemEntropy).unwrap_err();
        assert!(wrong.to_string().contains(PASSWORD_VARIABLE), "{wrong}");
        std::fs::remove_file(dir.path().join(PASSWORD_FILE)).unwrap();
        assert!(matches!(
            files.first(false, &SystemEntropy),
            Err(NetworkKeyError::NoPassword)
        ));
    }

    #[test]
    fn every_change_has_a_key_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(dir.path(), None);
        let first = files.first(false, &SystemEntropy).unwrap();
        let given_up = files.make_for_change(1, &SystemEntropy).unwrap();
        // A change that was given up may still be about to count: its key is taken again, never written over.
        let second = files.make_for_change(1, &SystemEntropy).unwrap();
        assert_eq!(given_up.address(), second.address());
        assert_eq!(files.of_change(0, first.address()).unwrap().address(), first.address());
        assert_eq!(
            files.of_change(1, second.address()).unwrap().address(),
            second.address()
        );
        let other = files.of_change(1, first.address());
        assert!(matches!(other, Err(NetworkKeyError::Other { .. })));
        let missing = files.of_change(2, second.address());
        assert!(matches!(missing, Err(NetworkKeyError::Missing(_))));
        let lock = files.lock().unwrap();
        assert!(matches!(files.lock(), Err(NetworkKeyError::Busy)));
        drop(lock);
        assert!(files.lock().is_ok());
    }

    #[test]
    fn a_lost_first_key_does_not_lock_the_later_ones() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::new(dir.path(), None);
        files.first(false, &SystemEntropy).unwrap();
        let later = files.make_for_change(1, &SystemEntropy).unwrap();
        std::fs::remove_file(dir.path().join(FIRST_KEY_FILE)).unwrap();
        let missing = files.first(true, &SystemEntropy).unwrap_err();
        assert!(missing.to_string().contains(FIRST_KEY_FILE), "{missing}");
        assert_eq!(
            private_file::read(&dir.path().join(FIRST_KEY_FILE)).unwrap(),
            None,
            "none is made"
        );
        files.first(false, &SystemEntropy).unwrap();
        assert_eq!(files.of_change(1, later.address()).unwrap().address(), later.address());
    }
}

//! The network's own key: made on the first start, in an encrypted keystore file.

use std::path::Path;

use resultity_core::clock::Entropy;
use resultity_core::signing::Keypair;
use resultity_core::signing::keystore::{self, KeystoreError, ScryptCost};
use secrecy::{ExposeSecret, SecretString};

use crate::private_file::{self, FileError};

/// The environment variable that holds the passphrase.
pub const PASSWORD_VARIABLE: &str = "RESULTITY_KEYSTORE_PASSWORD";

const KEY_FILE: &str = "network-key.json";
const PASSWORD_FILE: &str = "network-key-password";

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
}

/// Reads the key in `data_dir`, or makes one. Takes tenths of a second of CPU with a passphrase of your own.
pub fn open(
    data_dir: &Path,
    password: Option<SecretString>,
    entropy: &dyn Entropy,
) -> Result<Keypair, NetworkKeyError> {
    let key_path = data_dir.join(KEY_FILE);
    let password_path = data_dir.join(PASSWORD_FILE);
    if let Some(json) = private_file::read(&key_path)? {
        let password = match password {
            Some(password) => password,
            None => private_file::read(&password_path)?
                .ok_or(NetworkKeyError::NoPassword)?
                .into(),
        };
        return Ok(keystore::decrypt(&json, password.expose_secret().as_bytes())?);
    }
    // A generated passphrase has 256 bits: no cost of guessing is needed to protect it.
    let (password, cost) = match password {
        Some(password) => (password, ScryptCost::standard()),
        None => {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            let password = hex::encode(bytes);
            private_file::write(&password_path, &password)?;
            (password.into(), ScryptCost::light())
        }
    };
    let key = Keypair::generate(entropy);
    private_file::write(
        &key_path,
        &keystore::encrypt(&key, password.expose_secret().as_bytes(), cost, entropy),
    )?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SystemEntropy;

    #[test]
    fn the_key_stays_the_same_and_a_wrong_passphrase_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), None, &SystemEntropy).unwrap();
        assert_eq!(
            open(dir.path(), None, &SystemEntropy).unwrap().address(),
            first.address()
        );
        let wrong = open(dir.path(), Some("wrong".to_owned().into()), &SystemEntropy).unwrap_err();
        assert!(wrong.to_string().contains(PASSWORD_VARIABLE), "{wrong}");
        std::fs::remove_file(dir.path().join(PASSWORD_FILE)).unwrap();
        assert!(matches!(
            open(dir.path(), None, &SystemEntropy),
            Err(NetworkKeyError::NoPassword)
        ));
    }
}

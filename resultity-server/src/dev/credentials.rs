//! What `dev` keeps of one start for the next: its API key, the operator's token, the administrator's password.

use std::path::Path;

use resultity_core::clock::Entropy;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::ENVIRONMENT;
use crate::private_file::{self, FileError};
use crate::session::new_key;

const CREDENTIALS_FILE: &str = "dev-credentials.json";

/// The same key and token at every start. They are in clear text, readable by the owner alone: this is for trying things.
#[derive(Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) api_key: String,
    pub(super) admin_token: String,
    /// Of the account `admin@localhost`, as it was made; none in a file of an earlier version.
    #[serde(default)]
    pub(super) admin_password: String,
}

impl Credentials {
    pub(super) fn open(data_dir: &Path, entropy: &dyn Entropy) -> Result<Self, FileError> {
        let path = data_dir.join(CREDENTIALS_FILE);
        let known: Option<Self> = private_file::read(&path)?.and_then(|text| serde_json::from_str(&text).ok());
        let mut credentials = match known {
            Some(known) if !known.admin_password.is_empty() => return Ok(known),
            Some(known) => known,
            None => Self {
                api_key: new_key(ENVIRONMENT, entropy).expose_secret().to_owned(),
                admin_token: format!("ra_test_{}", random_text::<24>(entropy)),
                admin_password: String::new(),
            },
        };
        credentials.admin_password = random_text::<10>(entropy);
        let text = serde_json::to_string(&credentials).expect("texts are JSON");
        private_file::write(&path, &text)?;
        Ok(credentials)
    }
}

/// So many random bytes, in hexadecimal.
fn random_text<const BYTES: usize>(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; BYTES];
    entropy.fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SystemEntropy;

    #[test]
    fn what_was_made_stays_and_what_an_earlier_version_lacked_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let earlier = r#"{"api_key": "rk_test_1", "admin_token": "ra_test_1"}"#;
        std::fs::write(dir.path().join(CREDENTIALS_FILE), earlier).unwrap();
        let open = || Credentials::open(dir.path(), &SystemEntropy).unwrap();
        let (first, second) = (open(), open());
        assert_eq!(
            (first.api_key.as_str(), first.admin_token.as_str()),
            ("rk_test_1", "ra_test_1")
        );
        assert_eq!(first.admin_password.len(), 20);
        assert_eq!(first.admin_password, second.admin_password);
    }
}

//! API keys: made once, kept as a hash, looked up on every request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use resultity_core::canonical::sha256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;
use secrecy::{ExposeSecret, SecretString};

use crate::flow::Principal;
use crate::store::{KeyHash, KeyRecord, Store};

/// How many keys are remembered; beyond that all are forgotten and read again.
const REMEMBERED: usize = 100_000;

/// How long a record is believed before it is read again: so long a revoked key may still read what is there.
const BELIEVED: Duration = Duration::from_secs(5);

/// The longest key that is looked at.
const MAX_KEY_BYTES: usize = 256;

/// A new key of this environment: 128 random bits after the prefix.
pub fn new_key(environment: Environment, entropy: &dyn Entropy) -> SecretString {
    let mut secret = [0; 16];
    entropy.fill(&mut secret);
    SecretString::from(format!("{}{}", environment.key_prefix(), hex::encode(secret)))
}

/// What is stored of a key. It has 128 random bits, so a plain hash is enough: there is nothing to guess.
pub fn hash_key(key: &SecretString) -> KeyHash {
    sha256(key.expose_secret())
}

/// By what its owner recognises a key: its prefix and its last four characters.
pub fn key_hint(key: &SecretString) -> String {
    let key = key.expose_secret();
    let prefix = Environment::ALL.map(Environment::key_prefix);
    let prefix = prefix
        .into_iter()
        .find(|prefix| key.starts_with(prefix))
        .unwrap_or_default();
    let rest: Vec<char> = key.chars().skip(prefix.chars().count()).collect();
    // Of a short one, which no key of ours is, that would be too much.
    let last = rest
        .len()
        .checked_sub(4)
        .filter(|before| *before >= 12)
        .unwrap_or(rest.len());
    let last: String = rest.iter().skip(last).collect();
    format!("{prefix}…{last}")
}

/// The account that owns the key may not do anything.
fn account_suspended() -> ApiError {
    ApiError::new(
        ErrorCode::AccountSuspended,
        "the account that this API key belongs to is suspended: ask whoever runs this network",
    )
}

/// A key's record, and when it was read.
#[derive(Debug, Clone)]
struct Known {
    record: KeyRecord,
    read: Timestamp,
}

/// Resolves keys to their owners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Arc<dyn Store>,
    known: Arc<RwLock<HashMap<KeyHash, Known>>>,
    /// How often something was forgotten: what was read from the store before that is not remembered after it.
    forgotten: Arc<AtomicU64>,
}

impl Keys {
    /// Keys as this store knows them.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Arc::default(),
            forgotten: Arc::default(),
        }
    }

    /// Who holds this key. The comparison is one of hashes, so its time tells nothing of the key.
    pub async fn principal(&self, key: Option<&str>, now: Timestamp) -> Result<Principal, ApiError> {
        let invalid = |message: &str| ApiError::new(ErrorCode::InvalidApiKey, message);
        let key = key.ok_or_else(|| invalid("there is no API key: send it as `Authorization: Bearer rk_…`"))?;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(invalid("this is not an API key of this network"));
        }
        let record = self
            .record(sha256(key), now)
            .await?
            .ok_or_else(|| invalid("this is not an API key of this network"))?;
        if record.revoked {
            return Err(invalid("this API key was revoked"));
        }
        if record.suspended {
            return Err(account_suspended());
        }
        if record.replaced_at.is_some_and(|end| end <= now) {
            return Err(invalid("this secret of the API key was replaced: use the new one"));
        }
        if record.limits.is_expired(now) {
            return Err(invalid("this API key has expired: make a new one"));
        }
        Ok(record.into())
    }

    /// The record of the key with this hash, as it was at most some seconds ago. When a job is admitted, it is seen anew
    /// whether the key was revoked since.
    pub async fn record(&self, hash: KeyHash, now: Timestamp) -> Result<Option<KeyRecord>, ApiError> {
        let known = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
            .cloned();
        if let Some(known) = known
            && (known.read..known.read.after(BELIEVED)).contains(&now)
        {
            return Ok(Some(known.record));
        }
        let forgotten = self.forgotten.load(Ordering::Acquire);
        let found = self.store.key(hash).await.map_err(|error| {
            tracing::error!(%error, "a key could not be looked up");
            ApiError::new(ErrorCode::Internal, "the key could not be looked up")
        })?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match &found {
            // Read before a change that is there by now.
            _ if self.forgotten.load(Ordering::Acquire) != forgotten => {
                known.remove(&hash);
            }
            Some(record) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                let record = record.clone();
                known.insert(hash, Known { record, read: now });
            }
            None => {
                known.remove(&hash);
            }
        }
        drop(known);
        Ok(found)
    }

    /// Forgets a key, so that a change of it counts at once.
    pub fn forget(&self, hash: KeyHash) {
        self.forget_all([hash]);
    }

    /// The same for several.
    pub fn forget_all(&self, hashes: impl IntoIterator<Item = KeyHash>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        for hash in hashes {
            known.remove(&hash);
        }
    }

    /// The same for all keys of an account.
    pub fn forget_account(&self, account: AccountId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        known.retain(|_, known| known.record.account != account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;

    #[test]
    fn a_hint_shows_no_more_than_the_ends_of_a_key() {
        let key = new_key(Environment::Mainnet, &SeededEntropy::new(1));
        let hint = key_hint(&key);
        assert_eq!(hint.chars().count(), "rk_live_".len() + 5, "{hint}");
        assert!(key.expose_secret().ends_with(hint.split('…').nth(1).unwrap()));
        for short in ["", "x", "rk_test_abcd", "rk_test_0123456789a"] {
            let hint = key_hint(&SecretString::from(short));
            assert!(hint.ends_with('…'), "{hint}");
        }
    }
}

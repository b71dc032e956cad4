//! What one API key may do, beside what the whole network's limits say.

use std::net::IpAddr;
use std::num::NonZeroU32;

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::model::ModelSpec;
use resultity_core::networks::Networks;

/// Limits of one key. By default there are none, and the network's own apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a minute, instead of the network's default for a key.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, instead of the network's default for a key.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The most that may be spent with it, ever. What was spent is counted where jobs are admitted and settled.
    pub spend_limit: Option<Credits>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The models that it may ask, by their names or aliases. None: all.
    pub models: Option<Vec<String>>,
    /// Where it may be used from. None: everywhere.
    pub addresses: Option<Networks>,
    /// Whether its own rates count only below the network's default for a key: its owner chose them, not an operator.
    pub is_capped: bool,
    /// What its namespace may ask for, by the plan of its account.
    pub namespace: NamespaceRates,
}

/// What a namespace may ask for, over all its keys. None: what the network allows each namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceRates {
    /// Requests a minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Its share against that of others where jobs wait.
    pub weight: NonZeroU32,
}

impl Default for NamespaceRates {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            weight: NonZeroU32::MIN,
        }
    }
}

impl KeyLimits {
    /// Whether the key has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether it may be used from this address; none: it is not known.
    pub fn allows_from(&self, address: Option<IpAddr>) -> bool {
        self.addresses
            .as_ref()
            .is_none_or(|allowed| address.is_some_and(|address| allowed.contain(address)))
    }

    /// Whether this model may be asked, by whichever of its names.
    pub fn allows(&self, model: &ModelSpec) -> bool {
        self.models.as_ref().is_none_or(|allowed| {
            allowed
                .iter()
                .any(|name| *name == model.name || model.aliases.contains(name))
        })
    }
}

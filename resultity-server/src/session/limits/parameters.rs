//! What an operator decides about rate limits.

use std::collections::HashMap;
use std::num::NonZeroU32;

use resultity_core::job::Endpoint;
use serde::Deserialize;

/// A steady rate of requests and of tokens, and how much of it may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rates {
    /// Requests a minute.
    pub requests_per_minute: NonZeroU32,
    /// Tokens a minute: those of the prompt and of the answer, by the most that a request can need.
    pub tokens_per_minute: NonZeroU32,
    /// What comes in this many seconds may be used at once; it is also how long unused requests and tokens add up.
    #[serde(default = "default_burst_seconds")]
    pub burst_seconds: NonZeroU32,
}

impl Rates {
    /// Rates with bursts of a minute.
    pub const fn new(requests_per_minute: NonZeroU32, tokens_per_minute: NonZeroU32) -> Self {
        Self {
            requests_per_minute,
            tokens_per_minute,
            burst_seconds: default_burst_seconds(),
        }
    }

    /// Sets how much may be used at once.
    #[must_use]
    pub const fn burst_seconds(mut self, seconds: NonZeroU32) -> Self {
        self.burst_seconds = seconds;
        self
    }
}

const fn default_burst_seconds() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(59)
}

/// The limits of a server. The default is so generous that nobody on one machine meets it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitParameters {
    /// Of each key that has no limits of its own.
    pub key: Rates,
    /// Of all keys of a namespace together.
    pub namespace: Rates,
    /// Of everybody together.
    pub network: Rates,
    /// Requests a minute, of each key, that make no job: lists, look-ups, cancellations.
    pub reads_per_minute: NonZeroU32,
    /// Endpoints where each key has these limits instead of those that it has over all other endpoints together.
    pub endpoints: HashMap<Endpoint, Rates>,
}

impl Default for LimitParameters {
    fn default() -> Self {
        const MILLION: NonZeroU32 = NonZeroU32::MIN.saturating_add(999_999);
        let generous = Rates::new(MILLION, NonZeroU32::MAX);
        Self {
            key: generous,
            namespace: generous,
            network: generous,
            reads_per_minute: MILLION,
            endpoints: HashMap::new(),
        }
    }
}

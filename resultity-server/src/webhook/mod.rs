//! Sending webhooks: to which addresses, with which secrets, when again.
//!
//! What is to be sent is in the store, where it came with the change that it tells of; the [`Worker`] sends it at least
//! once, also after a crash, and keeps what came of it.

mod seal;
mod send;
mod target;
mod worker;

use std::time::Duration;

use resultity_core::clock::Entropy;
use resultity_core::id::WebhookId;
use resultity_core::signing::Keypair;
use resultity_core::webhook::SigningSecret;
use url::Url;

pub use seal::SealError;
pub use target::{ForbiddenTarget, is_public};
pub use worker::Worker;

use crate::store::webhooks::SealedSecret;
use crate::webhook::seal::Sealer;

/// The pauses after each failed attempt, before jitter: about a day and a half in all.
const BACKOFF: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
];

/// How long a receiver has to answer, connection included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How webhooks are sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WebhookOptions {
    /// Whether they may go to addresses that are not public, and without TLS.
    pub allow_private: bool,
    /// The pauses after each failed attempt; after the last one the delivery has failed. Up to a fifth is added by chance.
    pub backoff: Vec<Duration>,
    /// How long a receiver has to answer, connection included.
    pub timeout: Duration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            allow_private: false,
            backoff: BACKOFF.to_vec(),
            timeout: TIMEOUT,
        }
    }
}

/// What those who make webhooks and those who send them share.
#[derive(Debug)]
pub struct Webhooks {
    options: WebhookOptions,
    sealer: Sealer,
}

impl Webhooks {
    /// Secrets are kept encrypted with a key that comes from the network's.
    pub fn new(options: WebhookOptions, network_key: &Keypair) -> Self {
        Self {
            options,
            sealer: Sealer::new(network_key),
        }
    }

    /// Whether events may be sent there, as far as the address itself tells; what its name stands for is seen when it is
    /// connected to.
    pub fn check_url(&self, url: &str) -> Result<Url, ForbiddenTarget> {
        target::check_url(url, self.options.allow_private)
    }

    /// A secret as the store keeps it.
    pub fn seal(&self, webhook: WebhookId, secret: &SigningSecret, entropy: &dyn Entropy) -> SealedSecret {
        self.sealer.seal(webhook, secret, entropy)
    }

    /// What was sealed for this webhook.
    ///
    /// # Errors
    /// It was sealed for another webhook or by another network key.
    pub fn open(&self, webhook: WebhookId, sealed: &[u8]) -> Result<SigningSecret, SealError> {
        self.sealer.open(webhook, sealed)
    }
}

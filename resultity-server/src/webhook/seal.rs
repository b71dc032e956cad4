//! The secrets of webhooks at rest.

use resultity_core::clock::Entropy;
use resultity_core::id::WebhookId;
use resultity_core::signing::Keypair;
use resultity_core::webhook::SigningSecret;

use crate::seal;
use crate::store::webhooks::SealedSecret;

/// Names what the key is for, so that no other use of the network's key gives the same.
const LABEL: &str = "resultity webhook secrets v1";

/// A secret that can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's secret was kept with another network key: rotate it")]
pub struct SealError;

/// Encrypts and decrypts secrets.
#[derive(Debug)]
pub(super) struct Sealer(seal::Sealer);

impl Sealer {
    pub(super) fn new(network_key: &Keypair) -> Self {
        Self(seal::Sealer::new(network_key, LABEL))
    }

    /// The nonce and what is encrypted; bound to the webhook, so that rows can't be exchanged.
    pub(super) fn seal(&self, webhook: WebhookId, secret: &SigningSecret, entropy: &dyn Entropy) -> SealedSecret {
        self.0.seal(webhook.as_uuid().as_bytes(), secret.as_bytes(), entropy)
    }

    pub(super) fn open(&self, webhook: WebhookId, sealed: &[u8]) -> Result<SigningSecret, SealError> {
        let bytes = self
            .0
            .open(webhook.as_uuid().as_bytes(), sealed)
            .map_err(|_| SealError)?;
        SigningSecret::from_bytes(&bytes).map_err(|_| SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};

    #[test]
    fn a_secret_is_opened_with_the_same_key_for_the_same_webhook_alone() {
        let entropy = SeededEntropy::new(1);
        let clock = ManualClock::new(Timestamp::from_millis(1));
        let key = Keypair::generate(&entropy);
        let sealer = Sealer::new(&key);
        let secret = SigningSecret::generate(&entropy);
        let (webhook, other) = (WebhookId::new(&clock, &entropy), WebhookId::new(&clock, &entropy));
        let sealed = sealer.seal(webhook, &secret, &entropy);
        let reopened = Sealer::new(&key).open(webhook, &sealed).unwrap();
        assert_eq!(reopened.as_bytes(), secret.as_bytes());
        assert!(!sealed.windows(8).any(|part| secret.as_bytes().starts_with(part)));
        assert_ne!(sealer.seal(webhook, &secret, &entropy), sealed);
        let another = Sealer::new(&Keypair::generate(&entropy));
        let mut changed = sealed.clone();
        changed[30] ^= 1;
        assert_eq!(sealer.open(other, &sealed).unwrap_err(), SealError);
        assert_eq!(another.open(webhook, &sealed).unwrap_err(), SealError);
        assert_eq!(sealer.open(webhook, &changed).unwrap_err(), SealError);
        assert_eq!(sealer.open(webhook, &sealed[..20]).unwrap_err(), SealError);
    }
}

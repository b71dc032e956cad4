//! Secrets at rest: XChaCha20-Poly1305 under a key that comes from the network's. A copy of the database alone signs
//! nothing.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use resultity_core::clock::Entropy;
use resultity_core::id::WebhookId;
use resultity_core::signing::Keypair;
use resultity_core::webhook::SigningSecret;
use sha2::Sha256;

use crate::store::webhooks::SealedSecret;

/// Names what the key is for, so that no other use of the network's key gives the same.
const LABEL: &[u8] = b"resultity webhook secrets v1";

const NONCE_BYTES: usize = 24;

/// A secret that can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's secret was kept with another network key: rotate it")]
pub struct SealError;

/// Encrypts and decrypts secrets.
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(network_key: &Keypair) -> Self {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&*network_key.to_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(LABEL);
        Self(XChaCha20Poly1305::new(&mac.finalize().into_bytes()))
    }

    /// The nonce and what is encrypted; bound to the webhook, so that rows can't be exchanged.
    pub(super) fn seal(&self, webhook: WebhookId, secret: &SigningSecret, entropy: &dyn Entropy) -> SealedSecret {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: webhook.as_uuid().as_bytes(),
        };
        let encrypted = self.0.encrypt(&XNonce::from(nonce), payload);
        let encrypted = encrypted.expect("a text of some bytes is never too long");
        [nonce.as_slice(), &encrypted].concat()
    }

    pub(super) fn open(&self, webhook: WebhookId, sealed: &[u8]) -> Result<SigningSecret, SealError> {
        let (nonce, encrypted) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let payload = Payload {
            msg: encrypted,
            aad: webhook.as_uuid().as_bytes(),
        };
        let bytes = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError)?;
        SigningSecret::from_bytes(&bytes).map_err(|_| SealError)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([hidden])")
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

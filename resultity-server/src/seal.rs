//! Secrets at rest: XChaCha20-Poly1305 under keys that come from the network's. A copy of the database alone opens nothing.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use resultity_core::clock::Entropy;
use resultity_core::signing::Keypair;
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;

/// A secret that can't be opened: it was sealed for something else, or with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret was sealed for something else or with another network key")]
pub struct Unopened;

/// Encrypts and decrypts secrets of one kind, and authenticates what this server alone may say.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    mac_key: Zeroizing<[u8; 32]>,
}

impl Sealer {
    /// For the kind of secrets that `label` names: no other label gives the same keys.
    pub fn new(network_key: &Keypair, label: &str) -> Self {
        let key = network_key.to_bytes();
        Self {
            cipher: XChaCha20Poly1305::new(&mac(&*key, &[label.as_bytes()]).into()),
            mac_key: Zeroizing::new(mac(&*key, &[b"mac ", label.as_bytes()])),
        }
    }

    /// The nonce and what is encrypted; bound to whose it is, so that rows can't be exchanged.
    pub fn seal(&self, whose: &[u8], secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let payload = Payload {
            msg: secret,
            aad: whose,
        };
        let encrypted = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let encrypted = encrypted.expect("a text of some bytes is never too long");
        [nonce.as_slice(), &encrypted].concat()
    }

    /// What was sealed for `whose`.
    ///
    /// # Errors
    /// It was sealed for somebody else, by another network key, or was changed.
    pub fn open(&self, whose: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let (nonce, encrypted) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened)?;
        let payload = Payload {
            msg: encrypted,
            aad: whose,
        };
        let opened = self.cipher.decrypt(&XNonce::from(*nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| Unopened)
    }

    /// HMAC-SHA256 over these parts, each with its length: what only this server can make.
    pub fn authenticate(&self, parts: &[&[u8]]) -> [u8; 32] {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let framed: Vec<&[u8]> = lengths
            .iter()
            .zip(parts)
            .flat_map(|(length, part)| [length.as_slice(), part])
            .collect();
        mac(&*self.mac_key, &framed)
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;

    #[test]
    fn a_secret_is_opened_with_the_same_key_for_the_same_owner_alone() {
        let entropy = SeededEntropy::new(1);
        let key = Keypair::generate(&entropy);
        let sealer = Sealer::new(&key, "things");
        let sealed = sealer.seal(b"mine", b"a secret of mine", &entropy);
        assert_eq!(
            Sealer::new(&key, "things").open(b"mine", &sealed).unwrap().as_slice(),
            b"a secret of mine"
        );
        assert!(!sealed.windows(8).any(|part| b"a secret of mine".starts_with(part)));
        assert_ne!(sealer.seal(b"mine", b"a secret of mine", &entropy), sealed);
        let mut changed = sealed.clone();
        changed[30] ^= 1;
        assert_eq!(sealer.open(b"yours", &sealed), Err(Unopened));
        assert_eq!(sealer.open(b"mine", &changed), Err(Unopened));
        assert_eq!(sealer.open(b"mine", &sealed[..20]), Err(Unopened));
        assert_eq!(Sealer::new(&key, "others").open(b"mine", &sealed), Err(Unopened));
        let another = Sealer::new(&Keypair::generate(&entropy), "things");
        assert_eq!(another.open(b"mine", &sealed), Err(Unopened));
    }

    #[test]
    fn what_is_authenticated_depends_on_every_part_and_on_where_it_ends() {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let sealer = Sealer::new(&key, "things");
        let mac = sealer.authenticate(&[b"ab", b"c"]);
        assert_eq!(sealer.authenticate(&[b"ab", b"c"]), mac);
        assert_ne!(sealer.authenticate(&[b"a", b"bc"]), mac);
        assert_ne!(sealer.authenticate(&[b"abc"]), mac);
        assert_ne!(Sealer::new(&key, "others").authenticate(&[b"ab", b"c"]), mac);
    }
}

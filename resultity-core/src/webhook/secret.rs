//! The secret that sender and receiver share.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock::Entropy;

const PREFIX: &str = "whsec_";

/// What a secret holds in bytes: Standard Webhooks asks for 24 to 64.
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;
const NEW_BYTES: usize = 32;

/// A text that is no secret of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook's secret: expected whsec_ and the base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

/// A webhook's secret: `whsec_` and base64. Its bytes are wiped when it is dropped; `Debug` does not show it.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A new random one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; NEW_BYTES]);
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The one with these bytes: 24 to 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSecret> {
        if (MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        } else {
            Err(InvalidSecret)
        }
    }

    /// Its bytes: for where it is kept, encrypted.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is shown to whoever receives: once.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&*self.0))
    }

    /// One signature for the header: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mac = self.mac(id, &timestamp.to_string(), body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// The same computation, to be compared or written.
    pub(super) fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl FromStr for SigningSecret {
    type Err = InvalidSecret;
    /// Reads it with or without `whsec_`.
    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| InvalidSecret)?);
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    #[test]
    fn it_signs_as_the_standard_says() {
        // The example of the reference implementations.
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn it_reads_back_and_hides_itself() {
        let secret = SigningSecret::generate(&SeededEntropy::new(1));
        let text = secret.expose();
        assert_eq!(text.parse::<SigningSecret>().unwrap().as_bytes(), secret.as_bytes());
        assert!(!format!("{secret:?}").contains(&text[6..]));
        for bad in [
            "",
            "whsec_",
            "whsec_AAAA",
            "whsec_!",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        ] {
            assert!(bad.parse::<SigningSecret>().is_err(), "{bad}");
        }
    }
}

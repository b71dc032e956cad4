//! secp256k1 keys and recoverable signatures.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, keccak256};
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::id::{NodeId, deserialize_text};

/// Bytes that are no secp256k1 private key (zero, or not below the group order).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secp256k1 private key")]
pub struct InvalidKey;

/// A signature that is malformed, has a high s, or is not by whom it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignature {
    /// Not 65 bytes in hexadecimal with `0x`, or out of range.
    #[error("the signature is malformed: expected 0x and 130 hexadecimal digits")]
    Malformed,
    /// The upper of the two possible values of s (EIP-2): refused, so that a signature has one form only.
    #[error("the signature has a high s")]
    HighS,
    /// By somebody else, or over something else.
    #[error("the signature does not match")]
    Mismatch,
}

/// A private key with its address. Its bytes are wiped when it is dropped; `Debug` shows the address alone.
#[derive(Clone)]
pub struct Keypair {
    signing: SigningKey,
    address: Address,
}

impl Keypair {
    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            entropy.fill(bytes.as_mut());
            // Fails with a probability of 2^-128.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// The key with these 32 bytes, big endian.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let signing = SigningKey::from_slice(bytes).map_err(|_| InvalidKey)?;
        let address = address_of(signing.verifying_key());
        Ok(Self { signing, address })
    }

    /// The 32 bytes of it: for the keystore alone.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes().into())
    }

    /// The EVM address.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The id of the node that holds this key.
    pub const fn node_id(&self) -> NodeId {
        NodeId::from_address(self.address)
    }

    /// What others verify with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::new(*self.signing.verifying_key())
    }

    /// Signs a digest (RFC 6979: the same signature every time, with a low s).
    pub fn sign(&self, digest: B256) -> Signature {
        let (signature, recovery) = self.signing.sign_prehash_recoverable(digest.as_slice());
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + recovery.to_byte();
        Signature(bytes)
    }

    /// Signs a text as wallets do (EIP-191, version `E`).
    pub fn sign_text(&self, text: &str) -> Signature {
        self.sign(super::eip191_hash(text))
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypair")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A public key with its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    verifying: VerifyingKey,
    /// The same for the C library, which verifies in half the time.
    #[cfg(feature = "libsecp256k1")]
    fast: secp256k1::PublicKey,
    address: Address,
}

impl PublicKey {
    fn new(verifying: VerifyingKey) -> Self {
        Self {
            #[cfg(feature = "libsecp256k1")]
            fast: secp256k1::PublicKey::from_slice(verifying.to_sec1_point(false).as_bytes())
                .expect("a point of the curve is one for every library"),
            address: address_of(&verifying),
            verifying,
        }
    }

    /// The EVM address.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Checks that this key signed the digest. A little cheaper than [`Signature::recover`].
    pub fn verify(&self, digest: B256, signature: &Signature) -> Result<(), InvalidSignature> {
        let (signature, _) = signature.parts()?;
        self.verify_normalized(digest, &signature)
            .ok_or(InvalidSignature::Mismatch)
    }
}

#[cfg(not(feature = "libsecp256k1"))]
impl PublicKey {
    fn verify_normalized(&self, digest: B256, signature: &k256::ecdsa::Signature) -> Option<()> {
        use k256::ecdsa::signature::hazmat::PrehashVerifier;
        self.verifying.verify_prehash(digest.as_slice(), signature).ok()
    }
}

#[cfg(feature = "libsecp256k1")]
impl PublicKey {
    fn verify_normalized(&self, digest: B256, signature: &k256::ecdsa::Signature) -> Option<()> {
        let signature = secp256k1::ecdsa::Signature::from_compact(&signature.to_bytes()).ok()?;
        let message = secp256k1::Message::from_digest(digest.0);
        secp256k1::ecdsa::verify(&signature, message, &self.fast).ok()
    }
}

/// A signature: r, s and v (27 or 28), 65 bytes. On the wire: `0x` and 130 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 65]);

impl Signature {
    /// The signature with these bytes; what they are worth is seen when it is verified.
    pub const fn from_bytes(bytes: [u8; 65]) -> Self {
        Self(bytes)
    }

    /// r, s and v.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// The key that signed the digest.
    pub fn recover(&self, digest: B256) -> Result<PublicKey, InvalidSignature> {
        let (signature, recovery) = self.parts()?;
        let verifying = VerifyingKey::recover_from_prehash(digest.as_slice(), &signature, recovery)
            .map_err(|_| InvalidSignature::Mismatch)?;
        Ok(PublicKey::new(verifying))
    }

    /// Checks that the key of this address signed the digest.
    pub fn verify(&self, digest: B256, address: Address) -> Result<PublicKey, InvalidSignature> {
        let key = self.recover(digest)?;
        if key.address == address {
            Ok(key)
        } else {
            Err(InvalidSignature::Mismatch)
        }
    }

    fn parts(&self) -> Result<(k256::ecdsa::Signature, RecoveryId), InvalidSignature> {
        let signature = k256::ecdsa::Signature::from_slice(&self.0[..64]).map_err(|_| InvalidSignature::Malformed)?;
        if signature.normalize_s() != signature {
            return Err(InvalidSignature::HighS);
        }
        let recovery = match self.0[64] {
            27 => RecoveryId::new(false, false),
            28 => RecoveryId::new(true, false),
            _ => return Err(InvalidSignature::Malformed),
        };
        Ok((signature, recovery))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = InvalidSignature;
    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        let digits = text.strip_prefix("0x").ok_or(InvalidSignature::Malformed)?;
        let mut bytes = [0; 65];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| InvalidSignature::Malformed)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 132];
        text[..2].copy_from_slice(b"0x");
        hex::encode_to_slice(self.0, &mut text[2..]).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, "a signature (0x and 130 hexadecimal digits)")
    }
}

/// The last 20 bytes of the keccak hash of the uncompressed point.
fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    Address::from_slice(&keccak256(&point.as_bytes()[1..])[12..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;
    use proptest::prelude::*;

    fn key() -> Keypair {
        Keypair::generate(&SeededEntropy::new(1))
    }

    #[test]
    fn the_address_is_the_one_that_wallets_show() {
        // The first account of the mnemonic "test test … junk", known from every Ethereum development tool.
        let bytes = hex::decode("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        let key = Keypair::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
        assert_eq!(key.node_id().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn a_signature_verifies_for_its_digest_and_key_alone() {
        let (key, digest) = (key(), keccak256("hello"));
        let signature = key.sign(digest);
        assert_eq!(signature.recover(digest).unwrap(), key.public_key());
        assert_eq!(key.public_key().verify(digest, &signature), Ok(()));
        assert_eq!(
            key.public_key().verify(keccak256("other"), &signature),
            Err(InvalidSignature::Mismatch)
        );
        let other = Keypair::generate(&SeededEntropy::new(2));
        assert_eq!(
            other.public_key().verify(digest, &signature),
            Err(InvalidSignature::Mismatch)
        );
        assert_eq!(
            signature.verify(digest, other.address()),
            Err(InvalidSignature::Mismatch)
        );
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }

    #[test]
    fn a_high_s_is_refused() {
        let (key, digest) = (key(), keccak256("hello"));
        let mut bytes = *key.sign(digest).as_bytes();
        // n - s is the other value of s that the curve equation accepts.
        let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
        let mut borrow = 0i16;
        for index in (0..32).rev() {
            let digit = i16::from(order[index]) - i16::from(bytes[32 + index]) - borrow;
            borrow = i16::from(digit < 0);
            bytes[32 + index] = digit.rem_euclid(256) as u8;
        }
        bytes[64] = 27 + 28 - bytes[64];
        let high = Signature::from_bytes(bytes);
        assert_eq!(high.recover(digest), Err(InvalidSignature::HighS));
        assert_eq!(key.public_key().verify(digest, &high), Err(InvalidSignature::HighS));
    }

    #[test]
    fn debug_never_shows_the_key() {
        let key = key();
        assert!(!format!("{key:?}").contains(&hex::encode(*key.to_bytes())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,140}|0x[0-9a-fA-F]{129,131}|0x[0-9a-f]{130}") {
            if let Ok(signature) = text.parse::<Signature>() {
                prop_assert_eq!(signature.to_string(), text.to_lowercase());
            }
        }

        /// Junk recovers some other key or none; it never panics, and it never verifies.
        #[test]
        fn any_bytes_are_refused(head in any::<[u8; 32]>(), tail in any::<[u8; 32]>(), v in 0u8..32) {
            let bytes = [head.as_slice(), &tail, &[v]].concat().try_into().unwrap();
            let signature = Signature::from_bytes(bytes);
            let read: Signature = serde_json::from_value(serde_json::to_value(signature).unwrap()).unwrap();
            prop_assert_eq!(read, signature);
            prop_assert!(signature.verify(keccak256("hello"), key().address()).is_err());
            prop_assert!(key().public_key().verify(keccak256("hello"), &signature).is_err());
        }

        /// A signature has one form: whichever bit is turned, it is refused.
        #[test]
        fn no_bit_can_be_turned(bit in 0usize..65 * 8) {
            let digest = keccak256("hello");
            let mut bytes = *key().sign(digest).as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Signature::from_bytes(bytes).verify(digest, key().address()).is_err());
        }
    }
}

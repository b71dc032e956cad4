//! Sign-in with Ethereum ([EIP-4361]): the message that a wallet signs, read strictly, and who signed it ([EIP-191]).
//!
//! A message is read only if it is written exactly as the standard has it: what is parsed is printed as the same bytes. So
//! what a person saw in the wallet is what is checked here.
//!
//! [EIP-4361]: https://eips.ethereum.org/EIPS/eip-4361
//! [EIP-191]: https://eips.ethereum.org/EIPS/eip-191

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use alloy_primitives::{Address, B256, eip191_hash_message};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::id::deserialize_text;
use crate::signing::{InvalidSignature, PublicKey, Signature};

/// The longest message that is read: bytes.
pub const MAX_SIWE_BYTES: usize = 4096;

/// How far ahead a signer's clock may be.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// What a wallet signs when it is asked to sign this text (EIP-191, version `E`).
pub fn eip191_hash(text: &str) -> B256 {
    eip191_hash_message(text)
}

/// A text that is not a message of EIP-4361.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is not one of EIP-4361: {what}")]
pub struct InvalidSiwe {
    what: &'static str,
}

impl InvalidSiwe {
    const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

/// A message that does not count at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SiweTimeError {
    /// It says that it was issued in the future.
    #[error("the message says that it was issued in the future: check the clock")]
    Future,
    /// It was issued too long ago.
    #[error("the message is too old: ask for a new one")]
    TooOld,
    /// Its own expiration time is over.
    #[error("the message has expired: ask for a new one")]
    Expired,
    /// Its own begin has not come.
    #[error("the message does not count yet")]
    NotYet,
}

/// A time as a message has it: RFC 3339, printed as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiweTime {
    text: String,
    at: Timestamp,
}

impl SiweTime {
    /// The point in time.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

impl From<Timestamp> for SiweTime {
    fn from(at: Timestamp) -> Self {
        Self {
            text: at.to_string(),
            at,
        }
    }
}

impl fmt::Display for SiweTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A message of EIP-4361, version 1. Its fields are what the standard says of them once it was parsed; [`SiweMessage::new`] and
/// the methods after it trust their caller, and [`SiweMessage::check`] finds out.
///
/// ```
/// use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
/// use resultity_core::signing::{Keypair, SiweMessage};
///
/// let key = Keypair::generate(&SeededEntropy::new(1));
/// let now = Timestamp::from_millis(1_800_000_000_000);
/// let message = SiweMessage::new("example.org", key.address(), "https://example.org", 1, "0123456789abcdef", now);
/// let text = message.to_string();
/// assert!(text.starts_with("example.org wants you to sign in with your Ethereum account:\n0x"));
///
/// let signature = key.sign_text(&text);
/// let read: SiweMessage = text.parse()?;
/// assert!(read.verify(&signature).is_ok());
/// # Ok::<(), resultity_core::signing::InvalidSiwe>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiweMessage {
    /// `https` or the like, where the message names it.
    pub scheme: Option<String>,
    /// Who asks for the signature: a host, and a port where it is not the usual one.
    pub domain: String,
    /// Who is to sign.
    pub address: Address,
    /// What the person reads, in one line.
    pub statement: Option<String>,
    /// What the signature is for.
    pub uri: String,
    /// The chain that the account lives on (EIP-155).
    pub chain_id: u64,
    /// What keeps the message from counting twice.
    pub nonce: String,
    /// When it was written.
    pub issued_at: SiweTime,
    /// Until when it counts.
    pub expiration_time: Option<SiweTime>,
    /// From when on it counts.
    pub not_before: Option<SiweTime>,
    /// What the asker calls it.
    pub request_id: Option<String>,
    /// What else the signature is for.
    pub resources: Vec<String>,
}

impl SiweMessage {
    /// A message without the fields that may be left out.
    pub fn new(
        domain: impl Into<String>,
        address: Address,
        uri: impl Into<String>,
        chain_id: u64,
        nonce: impl Into<String>,
        issued_at: Timestamp,
    ) -> Self {
        Self {
            scheme: None,
            domain: domain.into(),
            address,
            statement: None,
            uri: uri.into(),
            chain_id,
            nonce: nonce.into(),
            issued_at: issued_at.into(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        }
    }

    /// With this for the person to read: one line of the letters, digits and signs that URLs may have, and spaces.
    #[must_use]
    pub fn statement(mut self, statement: impl Into<String>) -> Self {
        self.statement = Some(statement.into());
        self
    }

    /// Counting until then.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> Self {
        self.expiration_time = Some(at.into());
        self
    }

    /// Whether it is what the standard allows: whether it would be read back as the same.
    pub fn check(&self) -> Result<(), InvalidSiwe> {
        let read: Self = self.to_string().parse()?;
        if read == *self {
            Ok(())
        } else {
            Err(InvalidSiwe::new(
                "a field holds a line end or what looks like another field",
            ))
        }
    }

    /// Whether it counts now, if it was issued at most `longest` ago.
    pub fn check_time(&self, now: Timestamp, longest: Duration) -> Result<(), SiweTimeError> {
        let (issued, latest) = (self.issued_at.at, now.after(CLOCK_SKEW));
        if issued > latest {
            return Err(SiweTimeError::Future);
        }
        if now.since(issued) > longest {
            return Err(SiweTimeError::TooOld);
        }
        if self.expiration_time.as_ref().is_some_and(|expires| expires.at <= now) {
            return Err(SiweTimeError::Expired);
        }
        if self.not_before.as_ref().is_some_and(|begins| begins.at > now) {
            return Err(SiweTimeError::NotYet);
        }
        Ok(())
    }

    /// Whether the wallet that it names signed exactly this message.
    pub fn verify(&self, signature: &Signature) -> Result<PublicKey, InvalidSignature> {
        signature.verify(eip191_hash(&self.to_string()), self.address)
    }
}

impl fmt::Display for SiweMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        writeln!(f, "{}{}", self.domain, parse::PREAMBLE)?;
        write!(f, "{}\n\n", self.address.to_checksum(None))?;
        if let Some(statement) = &self.statement {
            writeln!(f, "{statement}")?;
        }
        write!(
            f,
            "\nURI: {}\nVersion: 1\nChain ID: {}\nNonce: {}\nIssued At: {}",
            self.uri, self.chain_id, self.nonce, self.issued_at
        )?;
        if let Some(time) = &self.expiration_time {
            write!(f, "\nExpiration Time: {time}")?;
        }
        if let Some(time) = &self.not_before {
            write!(f, "\nNot Before: {time}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nRequest ID: {id}")?;
        }
        if !self.resources.is_empty() {
            f.write_str("\nResources:")?;
            for resource in &self.resources {
                write!(f, "\n- {resource}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for SiweMessage {
    type Err = InvalidSiwe;

    fn from_str(text: &str) -> Result<Self, InvalidSiwe> {
        parse::message(text)
    }
}

impl Serialize for SiweMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SiweMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, "a message of EIP-4361")
    }
}

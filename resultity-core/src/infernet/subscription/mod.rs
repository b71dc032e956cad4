//! Delegated subscriptions: jobs whose results go to a chain, signed by whoever the subscription's owner lets sign.
//!
//! What is signed is EIP-712 typed data of the coordinator contract (`EIP712Coordinator.sol` of the Infernet SDK), in the two
//! forms that the contract has had; a request's fields tell which one it is:
//!
//! - [`HashedSubscription`], the newer one, has `containers`, a hash. Client 1.4.0 sends it.
//! - [`NamedSubscription`], the older one, has `container_id`, the ids themselves. The document describes it.
//!
//! The signer is recovered from the signature. Whether the owner lets it sign is known to the chain alone.
//!
//! ```
//! use resultity_core::infernet::subscription::{CoordinatorDomain, DelegatedRequest, HashedSubscription};
//! use resultity_core::{Address, clock::SeededEntropy, signing::Keypair};
//!
//! let key = Keypair::generate(&SeededEntropy::new(1));
//! let domain = CoordinatorDomain { chain_id: 31337, coordinator: Address::repeat_byte(1) };
//! let subscription = HashedSubscription::once(Address::repeat_byte(2), &["summarise"]);
//! let data = serde_json::json!({"text": "…"});
//! let request = DelegatedRequest::sign(subscription.into(), 1, 2_000_000_000, &data, &domain, &key)?;
//! let read = DelegatedRequest::from_json(&serde_json::to_string(&request)?)?;
//! assert_eq!(read.signer(&domain)?, key.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;
mod typed_data;
mod wire;

use serde::Serialize;
use serde_json::value::RawValue;

pub use self::typed_data::{CoordinatorDomain, containers_hash};
pub use alloy_primitives::{Address, B256, U256, aliases::U48};

/// Why a delegated subscription can't be read, or its signer not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The body is no JSON, or no object.
    #[error("not a delegated subscription: {0}")]
    Unreadable(String),
    /// A field is missing, or null.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// A field is something else, or out of its range.
    #[error("{field}: expected {expected}")]
    Invalid {
        /// Its path, such as `signature.r`.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It is of neither form, or of both.
    #[error("subscription: expected either `containers` (a hash) or `container_id` (ids joined by commas)")]
    Form,
    /// `v` is none of 0, 1, 27 and 28, or `r` or `s` is zero or not below the order of the curve.
    #[error("the signature's v, r or s is out of range")]
    OutOfRange,
    /// The upper of the two possible values of `s` (EIP-2): refused, so that a signature has one form.
    #[error("the signature has a high s")]
    HighS,
    /// Nobody can have made this signature.
    #[error("the signature has no signer")]
    NoSigner,
}

/// `POST /api/jobs` with a subscription.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DelegatedRequest {
    /// The signature over the subscription.
    pub signature: SubscriptionSignature,
    /// What is to be computed, when, and for whom.
    pub subscription: Subscription,
    /// What the first container gets at the first interval: a JSON object.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Map<String, serde_json::Value>))]
    pub data: Box<RawValue>,
}

/// A subscription, in either of the two forms that the coordinator contract has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Subscription {
    /// The newer one, which client 1.4.0 sends.
    Hashed(HashedSubscription),
    /// The older one, which the document describes.
    Named(NamedSubscription),
}

impl Subscription {
    /// The contract that owns it.
    pub const fn owner(&self) -> Address {
        match self {
            Self::Hashed(subscription) => subscription.owner,
            Self::Named(subscription) => subscription.owner,
        }
    }

    /// Whether its results have to be proved: the newer form says so by naming a verifier.
    pub fn requires_proof(&self) -> bool {
        match self {
            Self::Hashed(subscription) => !subscription.verifier.is_zero(),
            Self::Named(_) => false,
        }
    }
}

impl From<HashedSubscription> for Subscription {
    fn from(subscription: HashedSubscription) -> Self {
        Self::Hashed(subscription)
    }
}

impl From<NamedSubscription> for Subscription {
    fn from(subscription: NamedSubscription) -> Self {
        Self::Named(subscription)
    }
}

/// The newer form: containers by their hash, and a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HashedSubscription {
    /// The contract that owns it.
    #[serde(serialize_with = "wire::checksummed")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub owner: Address,
    /// From when on: seconds since the Unix epoch.
    pub active_at: u32,
    /// Seconds from one response to the next; 0: there is one.
    pub period: u32,
    /// How many times.
    pub frequency: u32,
    /// How many nodes each time.
    pub redundancy: u16,
    /// `keccak256(abi.encode(string))` of the container ids, joined by commas: see [`containers_hash`].
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub containers: B256,
    /// Whether outputs are delivered lazily.
    pub lazy: bool,
    /// The contract that verifies proofs; zero: none is required.
    #[serde(serialize_with = "wire::checksummed")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub verifier: Address,
    /// What is paid for a response, in the token's smallest unit: 256 bits.
    #[serde(serialize_with = "wire::unquoted")]
    #[cfg_attr(feature = "openapi", schema(schema_with = wire::whole_number))]
    pub payment_amount: U256,
    /// The token; zero: the chain's own.
    #[serde(serialize_with = "wire::checksummed")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub payment_token: Address,
    /// The wallet that pays.
    #[serde(serialize_with = "wire::checksummed")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub wallet: Address,
}

impl HashedSubscription {
    /// One response of one node, as soon as can be, without proof or payment.
    pub fn once<S: std::borrow::Borrow<str>>(owner: Address, containers: &[S]) -> Self {
        Self {
            owner,
            active_at: 0,
            period: 0,
            frequency: 1,
            redundancy: 1,
            containers: containers_hash(containers),
            lazy: false,
            verifier: Address::ZERO,
            payment_amount: U256::ZERO,
            payment_token: Address::ZERO,
            wallet: Address::ZERO,
        }
    }
}

/// The older form: containers by name, and limits on gas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedSubscription {
    /// The contract that owns it.
    #[serde(serialize_with = "wire::checksummed")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub owner: Address,
    /// From when on: seconds since the Unix epoch.
    pub active_at: u32,
    /// Seconds from one response to the next; 0: there is one.
    pub period: u32,
    /// How many times.
    pub frequency: u32,
    /// How many nodes each time.
    pub redundancy: u16,
    /// The most that a unit of gas may cost, in wei: 48 bits.
    #[serde(serialize_with = "wire::unquoted")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub max_gas_price: U48,
    /// The most gas of a response.
    pub max_gas_limit: u32,
    /// The container ids, joined by commas.
    pub container_id: String,
    /// Encoded input. As in the original node, its bytes are those of this text in UTF-8, also where it looks like `0x…`.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub inputs: String,
}

/// The signature of a delegated subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubscriptionSignature {
    /// Numbers the subscriptions of one owner.
    pub nonce: u32,
    /// Until when the subscription may be created: seconds since the Unix epoch.
    pub expiry: u32,
    /// Which of the two points: 0 or 1, 27 or 28.
    pub v: u8,
    /// 256 bits.
    #[serde(serialize_with = "wire::unquoted")]
    #[cfg_attr(feature = "openapi", schema(schema_with = wire::whole_number))]
    pub r: U256,
    /// 256 bits.
    #[serde(serialize_with = "wire::unquoted")]
    #[cfg_attr(feature = "openapi", schema(schema_with = wire::whole_number))]
    pub s: U256,
}

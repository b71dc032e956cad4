//! Delegated subscriptions: jobs whose results go to a chain, signed by whoever the subscription's owner lets sign.

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `POST /api/jobs` with a subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DelegatedRequest {
    /// What is to be computed, when, and for whom.
    pub subscription: Subscription,
    /// The signature over it.
    pub signature: SubscriptionSignature,
    /// What the first container gets at the first interval: a JSON object.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Map<String, serde_json::Value>))]
    pub data: Box<RawValue>,
}

/// A subscription, in either of the two forms that the coordinator contract has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Subscription {
    /// The newer one, which client 1.4.0 sends.
    Hashed(HashedSubscription),
    /// The older one, which the document describes.
    Named(NamedSubscription),
}

/// The newer form: containers by their hash, and a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HashedSubscription {
    /// The contract that owns it.
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
    /// `keccak256(abi.encode(string))` of the container ids, joined by commas.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub containers: B256,
    /// Whether outputs are delivered lazily.
    pub lazy: bool,
    /// The contract that verifies proofs; zero: none is required.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub verifier: Address,
    /// What is paid for a response, in the token's smallest unit.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub payment_amount: U256,
    /// The token; zero: the chain's own.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub payment_token: Address,
    /// The wallet that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub wallet: Address,
}

/// The older form: containers by name, and limits on gas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedSubscription {
    /// The contract that owns it.
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
    pub max_gas_price: u64,
    /// The most gas of a response.
    pub max_gas_limit: u32,
    /// The container ids, joined by commas.
    pub container_id: String,
    /// Encoded input.
    #[serde(default)]
    pub inputs: String,
}

/// The signature of a delegated subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubscriptionSignature {
    /// Numbers the subscriptions of one owner.
    pub nonce: u32,
    /// Until when the subscription may be created: seconds since the Unix epoch.
    pub expiry: u32,
    /// Which of the two points: 0 or 1, 27 or 28.
    pub v: u8,
    /// 256 bits.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub r: U256,
    /// 256 bits.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub s: U256,
}

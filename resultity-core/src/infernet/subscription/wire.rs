//! The JSON of delegated subscriptions: numbers of 256 bits as they are, unquoted. They are read from the text itself, never
//! through a floating-point number.

use std::fmt::Display;

use alloy_primitives::{Address, B256, U256};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    DelegatedRequest, HashedSubscription, NamedSubscription, Subscription, SubscriptionError, SubscriptionSignature,
};

const OBJECT: &str = "an object";
const ONCE: &str = "an object that has every field once";
const TEXT: &str = "a text";
const BOOLEAN: &str = "true or false";
const HASH: &str = "a hash: 64 hexadecimal digits, with 0x or without";
const ADDRESS: &str = "an address: 0x and 40 hexadecimal digits; upper and lower case mixed are a checksum (EIP-55)";
const UINT8: &str = "a whole number from 0 to 255";
const UINT16: &str = "a whole number from 0 to 65535";
const UINT32: &str = "a whole number from 0 to 4294967295";
const UINT48: &str = "a whole number from 0 to 281474976710655";
const UINT256: &str = "a whole number from 0 to 2^256 - 1";

impl DelegatedRequest {
    /// Reads the body of a request. Fields that nobody knows are ignored.
    ///
    /// # Errors
    ///
    /// Which field is missing or wrong, with its path and what was expected; never what was there.
    pub fn from_json(text: &str) -> Result<Self, SubscriptionError> {
        if !text.trim_start().starts_with('{') {
            return Err(SubscriptionError::Unreadable("expected an object".to_owned()));
        }
        let parts: Parts =
            serde_json::from_str(text).map_err(|error| SubscriptionError::Unreadable(error.to_string()))?;
        parts.try_into()
    }
}

impl<'de> Deserialize<'de> for DelegatedRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parts::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Subscription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        subscription(&raw).map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Parts {
    subscription: Option<Box<RawValue>>,
    signature: Option<Box<RawValue>>,
    data: Option<Box<RawValue>>,
}

impl TryFrom<Parts> for DelegatedRequest {
    type Error = SubscriptionError;

    fn try_from(parts: Parts) -> Result<Self, SubscriptionError> {
        let subscription = subscription(required("subscription", parts.subscription.as_deref())?)?;
        let signature = signature(required("signature", parts.signature.as_deref())?)?;
        let data = parts.data.ok_or(SubscriptionError::Missing("data"))?;
        if !data.get().starts_with('{') {
            return Err(invalid("data", OBJECT));
        }
        Ok(Self {
            signature,
            subscription,
            data,
        })
    }
}

/// The fields of both forms.
#[derive(Deserialize)]
struct SubscriptionFields<'a> {
    #[serde(borrow)]
    owner: Option<&'a RawValue>,
    active_at: Option<&'a RawValue>,
    period: Option<&'a RawValue>,
    frequency: Option<&'a RawValue>,
    redundancy: Option<&'a RawValue>,
    containers: Option<&'a RawValue>,
    lazy: Option<&'a RawValue>,
    verifier: Option<&'a RawValue>,
    payment_amount: Option<&'a RawValue>,
    payment_token: Option<&'a RawValue>,
    wallet: Option<&'a RawValue>,
    max_gas_price: Option<&'a RawValue>,
    max_gas_limit: Option<&'a RawValue>,
    container_id: Option<&'a RawValue>,
    inputs: Option<&'a RawValue>,
}

fn subscription(raw: &RawValue) -> Result<Subscription, SubscriptionError> {
    let fields: SubscriptionFields<'_> = object("subscription", raw)?;
    let owner = address("subscription.owner", fields.owner)?;
    let active_at = small("subscription.active_at", fields.active_at, UINT32)?;
    let period = small("subscription.period", fields.period, UINT32)?;
    let frequency = small("subscription.frequency", fields.frequency, UINT32)?;
    let redundancy = small("subscription.redundancy", fields.redundancy, UINT16)?;
    match (fields.containers, fields.container_id) {
        (containers @ Some(_), None) => Ok(Subscription::Hashed(HashedSubscription {
            owner,
            active_at,
            period,
            frequency,
            redundancy,
            containers: hash("subscription.containers", containers)?,
            lazy: boolean("subscription.lazy", fields.lazy)?,
            verifier: address("subscription.verifier", fields.verifier)?,
            payment_amount: number("subscription.payment_amount", fields.payment_amount, UINT256)?,
            payment_token: address("subscription.payment_token", fields.payment_token)?,
            wallet: address("subscription.wallet", fields.wallet)?,
        })),
        (None, container_id @ Some(_)) => Ok(Subscription::Named(NamedSubscription {
            owner,
            active_at,
            period,
            frequency,
            redundancy,
            max_gas_price: small("subscription.max_gas_price", fields.max_gas_price, UINT48)?,
            max_gas_limit: small("subscription.max_gas_limit", fields.max_gas_limit, UINT32)?,
            container_id: text("subscription.container_id", container_id, TEXT)?,
            inputs: match fields.inputs {
                None => String::new(),
                inputs => text("subscription.inputs", inputs, TEXT)?,
            },
        })),
        _ => Err(SubscriptionError::Form),
    }
}

#[derive(Deserialize)]
struct SignatureFields<'a> {
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    expiry: Option<&'a RawValue>,
    v: Option<&'a RawValue>,
    r: Option<&'a RawValue>,
    s: Option<&'a RawValue>,
}

fn signature(raw: &RawValue) -> Result<SubscriptionSignature, SubscriptionError> {
    let fields: SignatureFields<'_> = object("signature", raw)?;
    Ok(SubscriptionSignature {
        nonce: small("signature.nonce", fields.nonce, UINT32)?,
        expiry: small("signature.expiry", fields.expiry, UINT32)?,
        v: small("signature.v", fields.v, UINT8)?,
        r: number("signature.r", fields.r, UINT256)?,
        s: number("signature.s", fields.s, UINT256)?,
    })
}

const fn invalid(field: &'static str, expected: &'static str) -> SubscriptionError {
    SubscriptionError::Invalid { field, expected }
}

fn required<'a>(field: &'static str, raw: Option<&'a RawValue>) -> Result<&'a RawValue, SubscriptionError> {
    raw.ok_or(SubscriptionError::Missing(field))
}

fn object<'a, T: Deserialize<'a>>(field: &'static str, raw: &'a RawValue) -> Result<T, SubscriptionError> {
    // The macro's structs could be read from lists too.
    if !raw.get().starts_with('{') {
        return Err(invalid(field, OBJECT));
    }
    serde_json::from_str(raw.get()).map_err(|_| invalid(field, ONCE))
}

fn text(field: &'static str, raw: Option<&RawValue>, expected: &'static str) -> Result<String, SubscriptionError> {
    serde_json::from_str(required(field, raw)?.get()).map_err(|_| invalid(field, expected))
}

fn boolean(field: &'static str, raw: Option<&RawValue>) -> Result<bool, SubscriptionError> {
    serde_json::from_str(required(field, raw)?.get()).map_err(|_| invalid(field, BOOLEAN))
}

fn hash(field: &'static str, raw: Option<&RawValue>) -> Result<B256, SubscriptionError> {
    let text = text(field, raw, HASH)?;
    bytes(&text).map(B256::from).ok_or(invalid(field, HASH))
}

fn address(field: &'static str, raw: Option<&RawValue>) -> Result<Address, SubscriptionError> {
    let text = text(field, raw, ADDRESS)?;
    let address = bytes(&text).map(Address::from).ok_or(invalid(field, ADDRESS))?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let has_checksum =
        digits.contains(|c: char| c.is_ascii_lowercase()) && digits.contains(|c: char| c.is_ascii_uppercase());
    if has_checksum && address.to_checksum(None)[2..] != *digits {
        return Err(invalid(field, ADDRESS));
    }
    Ok(address)
}

fn bytes<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok()?;
    Some(bytes)
}

fn small<T: TryFrom<u64>>(
    field: &'static str,
    raw: Option<&RawValue>,
    expected: &'static str,
) -> Result<T, SubscriptionError> {
    let number = u64::try_from(number(field, raw, expected)?).ok();
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or(invalid(field, expected))
}

/// A number, or a text with decimal digits, or one with 0x and hexadecimal digits.
fn number(field: &'static str, raw: Option<&RawValue>, expected: &'static str) -> Result<U256, SubscriptionError> {
    let raw = required(field, raw)?;
    let digits = if raw.get().starts_with('"') {
        text(field, Some(raw), expected)?
    } else {
        raw.get().to_owned()
    };
    digits_of_number(&digits).ok_or(invalid(field, expected))
}

fn digits_of_number(text: &str) -> Option<U256> {
    let (digits, radix, longest) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16, 64),
        None => (text, 10, 78),
    };
    let significant = digits.trim_start_matches('0');
    let is_number = !digits.is_empty() && significant.len() <= longest && digits.chars().all(|c| c.is_digit(radix));
    // The parser takes underscores too, and no digits at all for zero.
    is_number
        .then(|| U256::from_str_radix(significant, u64::from(radix)).ok())
        .flatten()
}

pub(super) fn unquoted<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(number.to_string())
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

pub(super) fn checksummed<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address.to_checksum(None))
}

#[cfg(feature = "openapi")]
pub(super) fn whole_number() -> utoipa::openapi::schema::Object {
    utoipa::openapi::schema::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::Integer)
        .description(Some(
            "256 bits. Also read as text: decimal digits, or 0x and hexadecimal digits.",
        ))
        .minimum(Some(0))
        .build()
}

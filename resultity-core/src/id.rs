//! Typed identifiers, so that a namespace id is never passed for an account id.
//!
//! All but [`NodeId`] are UUIDs (version 7 where they are made by the network, so that they sort by time), some with a
//! prefix as OpenAI has them. A node's id is the EVM address of its key.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::clock::{Clock, Entropy};

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: expected {expected}")]
pub struct InvalidId {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

impl InvalidId {
    fn new(kind: &'static str, expected: &'static str, text: &str) -> Self {
        Self {
            kind,
            expected,
            text: text.chars().take(64).collect(),
        }
    }
}

impl JobId {
    /// The job that made an answer, by the answer's id: `chatcmpl-…`, `cmpl-…`, `resp_…` or `compute-…` and the digits of the job's id.
    pub fn of_answer(id: &str) -> Option<Self> {
        let prefixes = ["chatcmpl-", "cmpl-", "resp_", "compute-"];
        let digits = prefixes.iter().find_map(|prefix| id.strip_prefix(prefix))?;
        digits.parse().ok()
    }
}

/// A UUID of version 7 (RFC 9562) from the given time and randomness. The twelve bits after the milliseconds are finer time
/// (section 6.2, method 3), so that what is made one after the other in one millisecond is in order, too.
fn uuid_v7(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let (now, part) = clock.fine();
    let mut random = [0; 10];
    entropy.fill(&mut random);
    random[..2].copy_from_slice(&part.to_be_bytes());
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier: sorts after all that were made earlier on the same clock.
            pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(uuid_v7(clock, entropy))
            }

            /// The identifier with this value.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The value.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId::new($kind, "a UUID", text))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_text(deserializer, concat!("a ", $kind, " (UUID)"))
            }
        }
    )*};
}

uuid_id! {
    /// A person or organisation that signs in.
    AccountId, "account id";
    /// A balance with its API keys; belongs to one account.
    NamespaceId, "namespace id";
    /// An API key (its record, never the secret).
    KeyId, "key id";
    /// One unit of work: a request that a node answers.
    JobId, "job id";
    /// One connection of a node.
    SessionId, "session id";
    /// The secret that names one lease: whoever returns a result must name it.
    LeaseToken, "lease token";
}

macro_rules! prefixed_id {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What every one of them begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier: sorts after all that were made earlier on the same clock.
            pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(uuid_v7(clock, entropy))
            }

            /// The identifier with this value.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The value.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                const EXPECTED: &str = concat!($prefix, " and 32 hexadecimal digits");
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 32)
                    .and_then(|digits| Uuid::try_parse(digits).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId::new($kind, EXPECTED, text))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_text(deserializer, concat!("a ", $kind, " (", $prefix, "…)"))
            }
        }
    )*};
}

prefixed_id! {
    /// An address that events are sent to.
    WebhookId, "webhook id", "wh_";
    /// Something that happened; the `webhook-id` of every message about it.
    EventId, "event id", "evt_";
    /// An event on its way to one webhook.
    DeliveryId, "delivery id", "whd_";
    /// An uploaded file, or one that a batch wrote.
    FileId, "file id", "file-";
    /// A batch of requests.
    BatchId, "batch id", "batch_";
    /// A response: the id of its job in OpenAI's clothes.
    ResponseId, "response id", "resp_";
    /// Where somebody is signed in: a browser, or the command.
    LoginId, "login id", "login_";
    /// An access token (its record, never the secret).
    TokenId, "token id", "tok_";
    /// Once that somebody signed in or failed to.
    SignInId, "sign-in id", "sgn_";
    /// A transfer, payout or redemption of an account's own making.
    TransferId, "transfer id", "trf_";
    /// A code that is worth credits (its record, never the code).
    VoucherId, "voucher id", "vch_";
    /// What keeps a node from work, and why.
    PenaltyId, "penalty id", "pen_";
    /// A group of nodes that jobs can be addressed to.
    SubcloudId, "subcloud id", "sub_";
    /// Something that an account is told.
    NotificationId, "notification id", "ntf_";
    /// What somebody with power did.
    AuditId, "audit id", "aud_";
}

impl From<JobId> for ResponseId {
    fn from(job: JobId) -> Self {
        Self(job.0)
    }
}

impl From<ResponseId> for JobId {
    fn from(response: ResponseId) -> Self {
        Self(response.0)
    }
}

/// A node: the EVM address of its secp256k1 key. Shown in lower-case hexadecimal with `0x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Address);

impl NodeId {
    /// The node with this address.
    pub const fn from_address(address: Address) -> Self {
        Self(address)
    }

    /// The address.
    pub const fn address(&self) -> Address {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("node id", "0x and 40 hexadecimal digits", text);
        let digits = text.strip_prefix("0x").ok_or_else(invalid)?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| invalid())?;
        Ok(Self(Address::from(bytes)))
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, "a node id (0x and 40 hexadecimal digits)")
    }
}

/// Deserializes anything that is a text on the wire, naming what was expected otherwise.
pub(crate) fn deserialize_text<'de, D, T>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct TextVisitor<T>(&'static str, std::marker::PhantomData<T>);
    impl<T: FromStr> serde::de::Visitor<'_> for TextVisitor<T>
    where
        T::Err: fmt::Display,
    {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(TextVisitor(expecting, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SeededEntropy, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn ids_sort_by_time_and_round_trip() {
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let entropy = SeededEntropy::new(7);
        let first = JobId::new(&clock, &entropy);
        clock.advance(std::time::Duration::from_millis(1));
        let second = JobId::new(&clock, &entropy);
        assert!(first < second);
        assert_eq!(first.to_string().parse::<JobId>().unwrap(), first);
        assert_eq!(
            serde_json::from_str::<JobId>(&serde_json::to_string(&first).unwrap()).unwrap(),
            first
        );
    }

    #[test]
    fn ids_of_one_millisecond_are_in_order() {
        let manual = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
        for clock in [&manual as &dyn Clock, &crate::clock::SystemClock] {
            let made: Vec<_> = (0..500)
                .map(|_| JobId::new(clock, &crate::clock::SystemEntropy))
                .collect();
            assert!(made.is_sorted(), "{clock:?}");
        }
    }

    #[test]
    fn a_node_id_is_read_in_any_case_and_shown_in_lower_case() {
        let id: NodeId = "0xAbCdEf0000000000000000000000000000000001".parse().unwrap();
        assert_eq!(id.to_string(), "0xabcdef0000000000000000000000000000000001");
        for bad in [
            "",
            "0x",
            "abcdef0000000000000000000000000000000001",
            "0xzz",
            "0xabcdef00000000000000000000000000000000011",
        ] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_names_its_job() {
        let job: JobId = "01a20314-ba89-7dc5-95cf-7b70ee8cf9d4".parse().unwrap();
        for prefix in ["chatcmpl-", "cmpl-", "resp_", "compute-"] {
            let id = format!("{prefix}01a20314ba897dc595cf7b70ee8cf9d4");
            assert_eq!(JobId::of_answer(&id), Some(job), "{id}");
        }
        for other in [
            "01a20314ba897dc595cf7b70ee8cf9d4",
            "chatcmpl-",
            "wh_01a20314ba897dc595cf7b70ee8cf9d4",
        ] {
            assert_eq!(JobId::of_answer(other), None, "{other}");
        }
    }

    #[test]
    fn a_prefixed_id_is_read_with_its_prefix_alone() {
        let id = EventId::new(&ManualClock::new(Timestamp::from_millis(1)), &SeededEntropy::new(1));
        let text = id.to_string();
        assert!(text.starts_with("evt_") && text.len() == 36, "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert!(text.parse::<WebhookId>().is_err());
        assert!(id.as_uuid().to_string().parse::<EventId>().is_err());
        assert!(format!("evt_{}", id.as_uuid()).parse::<EventId>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,50}|0x[0-9a-fA-F]{39,41}|[0-9a-f-]{32,36}|wh_[0-9a-fA-F]{31,33}") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
            if let Ok(id) = text.parse::<JobId>() {
                prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            }
            if let Ok(id) = text.parse::<WebhookId>() {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
        }

        #[test]
        fn every_address_is_a_node_id(bytes in any::<[u8; 20]>()) {
            let id = NodeId::from_address(Address::from(bytes));
            prop_assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
            prop_assert_eq!(serde_json::from_value::<NodeId>(serde_json::to_value(id).unwrap()).unwrap(), id);
        }
    }
}

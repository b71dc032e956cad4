//! What is told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::id::EventId;

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What has happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $($(#[$doc])* $name,)*
            /// One that this version does not know.
            Unknown,
        }

        impl EventType {
            /// All that are known.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        /// A text that names no type of event.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("expected one of{NAMES}")]
        pub struct UnknownEventType;

        const NAMES: &str = concat!($(" ", $text),*);
    };
}

event_types! {
    /// A response in the background is there.
    ResponseCompleted = "response.completed",
    /// A response in the background failed.
    ResponseFailed = "response.failed",
    /// A response in the background was cancelled.
    ResponseCancelled = "response.cancelled",
    /// A response in the background ended before it was whole.
    ResponseIncomplete = "response.incomplete",
    /// A batch is done.
    BatchCompleted = "batch.completed",
    /// A batch could not be begun.
    BatchFailed = "batch.failed",
    /// A batch was not done in time.
    BatchExpired = "batch.expired",
    /// A batch was cancelled.
    BatchCancelled = "batch.cancelled",
    /// A job that is polled for has an answer.
    JobSucceeded = "job.succeeded",
    /// A job that is polled for failed.
    JobFailed = "job.failed",
    /// A job that is polled for was cancelled.
    JobCancelled = "job.cancelled",
    /// What the namespace has fell below the limit that was set. The id is that of the notification.
    CreditsLow = "credits.low",
    /// Nothing has happened: somebody tries a webhook.
    WebhookTest = "webhook.test",
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownEventType)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventType {
    /// A name that is not known is [`Unknown`](Self::Unknown): a receiver must not fail at what a newer server sends.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().unwrap_or(Self::Unknown))
    }
}

/// The body of a webhook's message: what has happened, and to what. The rest is asked for by the id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Names it; the same in every repeat.
    pub id: EventId,
    /// Always `event`.
    pub object: String,
    /// What has happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
    /// To what.
    pub data: EventData,
}

/// To what it has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventData {
    /// The id of the response, batch or job.
    pub id: String,
    /// What else is told.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Event {
    /// An event about the thing with this id.
    pub fn new(id: EventId, kind: EventType, data_id: impl Into<String>, at: Timestamp) -> Self {
        Self {
            id,
            object: "event".into(),
            kind,
            created_at: at.as_seconds(),
            data: EventData {
                id: data_id.into(),
                extra: Map::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_do_not_fail() {
        for kind in EventType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        assert!("unknown".parse::<EventType>().is_err());
        let known: EventType = serde_json::from_str("\"batch.expired\"").unwrap();
        let newer: EventType = serde_json::from_str("\"node.sings\"").unwrap();
        assert_eq!((known, newer), (EventType::BatchExpired, EventType::Unknown));
        assert!(
            UnknownEventType
                .to_string()
                .starts_with("expected one of response.completed response.failed")
        );
    }

    #[test]
    fn the_body_looks_like_openais() {
        let id = EventId::from_uuid(uuid::Uuid::from_u128(1));
        let event = Event::new(
            id,
            EventType::ResponseCompleted,
            "resp_1",
            Timestamp::from_millis(1_700_000_000_999),
        );
        insta::assert_json_snapshot!(event, @r#"
        {
          "id": "evt_00000000000000000000000000000001",
          "object": "event",
          "type": "response.completed",
          "created_at": 1700000000,
          "data": {
            "id": "resp_1"
          }
        }
        "#);
    }
}

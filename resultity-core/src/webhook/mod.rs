//! Webhooks as Standard Webhooks has them (<https://www.standardwebhooks.com>): what is sent, how it is signed, and how
//! a receiver checks it.
//!
//! ```
//! use resultity_core::webhook::Verifier;
//! # use resultity_core::clock::{Clock, ManualClock, Timestamp};
//! # use resultity_core::webhook::SigningSecret;
//! # let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
//! # let body = br#"{"id":"evt_0190a0a0a0a07000a0a0a0a0a0a0a0a0","object":"event","type":"response.completed",
//! #   "created_at":1700000000,"data":{"id":"resp_1"}}"#;
//! # let signed = secret.parse::<SigningSecret>()?.sign("evt_0190a0a0a0a07000a0a0a0a0a0a0a0a0", 1_700_000_000, body);
//! # let headers = [("webhook-id", "evt_0190a0a0a0a07000a0a0a0a0a0a0a0a0"), ("webhook-timestamp", "1700000000"),
//! #   ("webhook-signature", signed.as_str())];
//! # let clock = std::sync::Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_001_000)));
//! let verifier = Verifier::new(secret)?;
//! # let verifier = verifier.with_clock(clock);
//! // `headers` are those of the request, `body` its bytes as they came.
//! let event = verifier.unwrap(body, |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))?;
//! assert_eq!(event.data.id, "resp_1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod event;
mod secret;
mod verify;

pub use event::{Event, EventData, EventType, UnknownEventType};
pub use secret::{InvalidSecret, SigningSecret};
pub use verify::{InvalidWebhook, Verifier};

/// The header with the event's id: the same for every attempt, so that a repeat can be told.
pub const ID_HEADER: &str = "webhook-id";

/// The header with the time of the attempt: seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

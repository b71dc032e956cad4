//! Checking a message at its receiver.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;

use super::{Event, ID_HEADER, InvalidSecret, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER};
use crate::clock::{Clock, SystemClock, Timestamp};

/// How far the sender's clock may be from ours.
const TOLERANCE: Duration = Duration::from_mins(5);

/// How many signatures are looked at: a sender has two while its secret is changed.
const MAX_SIGNATURES: usize = 16;

/// Why a message is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhook {
    /// One of the three headers is missing.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The time is no number.
    #[error("the header webhook-timestamp is not a number of seconds")]
    BadTimestamp,
    /// It is old, or sent again by somebody else, or one of the two clocks is wrong.
    #[error("the message was sent too long ago, or in the future by this clock")]
    OutsideTolerance,
    /// By somebody else, or changed on its way.
    #[error("no signature of the message matches")]
    WrongSignature,
    /// It is signed, but is no event.
    #[error("the body is not an event: {0}")]
    NotAnEvent(String),
}

/// Checks messages that were signed with one secret.
#[derive(Debug, Clone)]
pub struct Verifier {
    secret: SigningSecret,
    tolerance: Duration,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// For the secret that the webhook was made with: `whsec_…`.
    pub fn new(secret: &str) -> Result<Self, InvalidSecret> {
        Ok(Self::of(secret.parse()?))
    }

    /// The same for a secret that was read already.
    pub fn of(secret: SigningSecret) -> Self {
        Self {
            secret,
            tolerance: TOLERANCE,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how far the time of a message may be from now; 5 minutes otherwise.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets who tells the time.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks a message and reads it. `body` is what came, byte for byte; `header` gives the value of a header by its name in
    /// lower case.
    ///
    /// # Errors
    /// The message is not to be believed: answer with a 4xx and do nothing.
    pub fn unwrap<'h>(
        &self,
        body: &[u8],
        header: impl Fn(&'static str) -> Option<&'h str>,
    ) -> Result<Event, InvalidWebhook> {
        self.verify(body, header)?;
        serde_json::from_slice(body).map_err(|error| InvalidWebhook::NotAnEvent(error.to_string()))
    }

    /// Checks a message without reading it.
    ///
    /// # Errors
    /// The message is not to be believed.
    pub fn verify<'h>(
        &self,
        body: &[u8],
        header: impl Fn(&'static str) -> Option<&'h str>,
    ) -> Result<(), InvalidWebhook> {
        let required = |name| header(name).ok_or(InvalidWebhook::MissingHeader(name));
        let (id, timestamp) = (required(ID_HEADER)?, required(TIMESTAMP_HEADER)?);
        let signatures = required(SIGNATURE_HEADER)?;
        let seconds: i64 = timestamp.parse().map_err(|_| InvalidWebhook::BadTimestamp)?;
        let sent = Timestamp::from_millis(seconds.saturating_mul(1000));
        // To the second, as the header is.
        let now = Timestamp::from_millis(self.clock.now().as_seconds().saturating_mul(1000));
        if now.since(sent).max(sent.since(now)) > self.tolerance {
            return Err(InvalidWebhook::OutsideTolerance);
        }
        let mac = self.secret.mac(id, timestamp, body);
        let matches = signatures
            .split_ascii_whitespace()
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .take(MAX_SIGNATURES)
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            // Compares in constant time.
            .any(|signature| mac.clone().verify_slice(&signature).is_ok());
        if matches {
            Ok(())
        } else {
            Err(InvalidWebhook::WrongSignature)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SeededEntropy};
    use crate::id::EventId;
    use crate::webhook::EventType;
    use rstest::rstest;

    const NOW: i64 = 1_700_000_000;

    struct Message {
        secret: SigningSecret,
        headers: [(&'static str, String); 3],
        body: Vec<u8>,
    }

    fn message() -> Message {
        let entropy = SeededEntropy::new(1);
        let clock = ManualClock::new(Timestamp::from_millis(NOW * 1000));
        let secret = SigningSecret::generate(&entropy);
        let id = EventId::new(&clock, &entropy);
        let event = Event::new(id, EventType::BatchCompleted, "batch_1", clock.now());
        let body = serde_json::to_vec(&event).unwrap();
        let headers = [
            (ID_HEADER, id.to_string()),
            (TIMESTAMP_HEADER, NOW.to_string()),
            (SIGNATURE_HEADER, secret.sign(&id.to_string(), NOW, &body)),
        ];
        Message { secret, headers, body }
    }

    impl Message {
        fn unwrap_at(&self, now: i64) -> Result<Event, InvalidWebhook> {
            let verifier = Verifier::new(&self.secret.expose())
                .unwrap()
                .with_clock(Arc::new(ManualClock::new(Timestamp::from_millis(now * 1000 + 999))));
            verifier.unwrap(&self.body, |name| {
                let found = self.headers.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.as_str())
            })
        }
    }

    #[rstest]
    #[case(0, true)]
    #[case(300, true)]
    #[case(301, false)]
    #[case(-300, true)]
    #[case(-301, false)]
    fn a_message_counts_for_five_minutes(#[case] later: i64, #[case] counts: bool) {
        let outcome = message().unwrap_at(NOW + later);
        match outcome {
            Ok(event) => assert!(counts && event.data.id == "batch_1" && event.kind == EventType::BatchCompleted),
            Err(error) => assert_eq!((error, counts), (InvalidWebhook::OutsideTolerance, false)),
        }
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        type Change = fn(&mut Message);
        let cases: [(Change, InvalidWebhook); 8] = [
            (|message| message.body.push(b' '), InvalidWebhook::WrongSignature),
            (|message| message.headers[0].1.push('0'), InvalidWebhook::WrongSignature),
            (
                |message| message.headers[1].1 = (NOW + 1).to_string(),
                InvalidWebhook::WrongSignature,
            ),
            (
                |message| message.headers[1].1 = "soon".into(),
                InvalidWebhook::BadTimestamp,
            ),
            (
                |message| message.headers[2].1 = "v1,AAAA".into(),
                InvalidWebhook::WrongSignature,
            ),
            (
                |message| message.headers[2].1.replace_range(..3, "v2,"),
                InvalidWebhook::WrongSignature,
            ),
            (
                |message| message.headers[2].0 = "x",
                InvalidWebhook::MissingHeader(SIGNATURE_HEADER),
            ),
            (
                |message| message.secret = SigningSecret::generate(&SeededEntropy::new(2)),
                InvalidWebhook::WrongSignature,
            ),
        ];
        for (change, error) in cases {
            let mut changed = message();
            change(&mut changed);
            assert_eq!(changed.unwrap_at(NOW), Err(error));
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let mut message = message();
        let other = SigningSecret::generate(&SeededEntropy::new(2)).sign(&message.headers[0].1, NOW, &message.body);
        message.headers[2].1 = format!("{other} v9,what {}", message.headers[2].1);
        assert!(message.unwrap_at(NOW).is_ok());
        message.headers[2].1 = format!("{}{}", "v1,AAAA ".repeat(MAX_SIGNATURES), message.headers[2].1);
        assert_eq!(message.unwrap_at(NOW), Err(InvalidWebhook::WrongSignature));
    }

    #[test]
    fn what_is_signed_but_no_event_is_told() {
        let mut message = message();
        message.body = b"{}".to_vec();
        message.headers[2].1 = message.secret.sign(&message.headers[0].1, NOW, &message.body);
        assert!(matches!(message.unwrap_at(NOW), Err(InvalidWebhook::NotAnEvent(_))));
    }
}

//! What goes wrong with containers.

use std::time::Duration;

/// Containers that can't be called as the settings have them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainersError {
    /// Two have one id.
    #[error("two containers have the id {0:?}")]
    Duplicate(String),
    /// Its address is not one of HTTP.
    #[error("container {0:?}: expected an address such as http://127.0.0.1:3000")]
    InvalidUrl(String),
    /// Its bearer can't stand in a header.
    #[error("container {0:?}: its bearer has characters that no header can have")]
    InvalidBearer(String),
    /// What `https` needs isn't there.
    #[error("no HTTPS to containers: {0}")]
    Tls(#[source] rustls::Error),
}

/// Why a container did not answer. Shown to callers: it names no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is none with this id.
    #[error("container {0:?} is not on this node")]
    Unknown(String),
    /// No connection came about.
    #[error("container {0:?} cannot be reached")]
    Unreachable(String),
    /// The connection ended before the answer did.
    #[error("container {0:?} closed the connection before its answer was complete")]
    Cut(String),
    /// It took too long.
    #[error("container {id:?} gave no answer within {} s", .after.as_secs_f32())]
    Timeout {
        /// Which container.
        id: String,
        /// How long it could take.
        after: Duration,
    },
    /// It said too much.
    #[error("the answer of container {id:?} is larger than {limit} bytes")]
    TooLarge {
        /// Which container.
        id: String,
        /// The most bytes.
        limit: usize,
    },
    /// It and those before it said too much together.
    #[error("the answers of the job's containers are larger than {limit} bytes together")]
    TooMuch {
        /// The most bytes.
        limit: usize,
    },
    /// The job has some of the room for large answers, and there is no more.
    #[error("the node holds too many large answers right now")]
    Crowded,
    /// It answered with an HTTP status that is no success.
    #[error("{text}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said: the text of its body, or of the field `error` where the body is a JSON object with one; at most
        /// [`TEXT_LIMIT`] bytes. Where it said nothing, the status in our words.
        text: String,
    },
    /// It answered with success, but not with JSON. The text is what it said, at most [`TEXT_LIMIT`] bytes.
    #[error("{0}")]
    NotJson(String),
    /// Nobody waits for the answer any more.
    #[error("cancelled")]
    Cancelled,
}

impl CallError {
    /// What happened, in a word, for logs: nothing of what the container said.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::Unreachable(_) => "unreachable",
            Self::Cut(_) => "cut",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } | Self::TooMuch { .. } => "too large",
            Self::Crowded => "crowded",
            Self::Refused { .. } => "refused",
            Self::NotJson(_) => "no JSON",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The most bytes of a container's text in an error.
pub const TEXT_LIMIT: usize = 4096;

/// The beginning of what a container said, as text.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_LIMIT)]).into_owned();
    if let Some(cut) = (TEXT_LIMIT - 3..=TEXT_LIMIT)
        .rev()
        .find(|at| text.is_char_boundary(*at))
    {
        text.truncate(cut);
    }
    text.truncate(text.trim_end().len());
    text
}

/// What a refusal says: the container's own words.
pub(super) fn refusal(id: &str, status: u16, body: &[u8]) -> CallError {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    let said = serde_json::from_slice::<Said>(body).ok();
    let mut text = said.map_or_else(|| text(body), |said| text(said.error.as_bytes()));
    if text.is_empty() {
        text = format!("container {id:?} answered with status {status}");
    }
    CallError::Refused { status, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r#"{"error":"no such prompt","params":{}}"#, "no such prompt")]
    #[case(r#"{"error":{"code":7}}"#, r#"{"error":{"code":7}}"#)]
    #[case(r#"{"detail":"x"}"#, r#"{"detail":"x"}"#)]
    #[case("Internal Server Error\n", "Internal Server Error")]
    #[case(r#"{"error":""}"#, "container \"a\" answered with status 500")]
    #[case("", "container \"a\" answered with status 500")]
    fn a_refusal_has_the_words_of_the_container(#[case] body: &str, #[case] says: &str) {
        let error = refusal("a", 500, body.as_bytes());
        assert!(matches!(error, CallError::Refused { status: 500, .. }));
        assert_eq!(error.to_string(), says);
    }

    #[test]
    fn texts_are_bounded_at_a_character() {
        let long = "ä".repeat(TEXT_LIMIT);
        for bytes in [long.as_bytes(), &long.as_bytes()[1..]] {
            let text = text(bytes);
            assert!(
                text.len() <= TEXT_LIMIT && text.len() > TEXT_LIMIT - 8,
                "{}",
                text.len()
            );
        }
        assert_eq!(text(&[b'x'; 2 * TEXT_LIMIT]).len(), TEXT_LIMIT);
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
    }
}

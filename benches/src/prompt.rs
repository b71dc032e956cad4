//! What is asked and what has to come back: known to the driver that checks and to the engine that answers.
//!
//! All of it stands in the text of the last user message, because that alone travels through the network unchanged:
//! `nonce=…` is what the answer repeats, `chunks=64` says in how many parts a stream comes, and `pace=20,10` asks for
//! 20 ms to the first part and 10 ms for each further one. `flush=each` asks for a write for each part, as real engines
//! do it; without it a stream that isn't paced comes in one write.

use std::fmt::Write as _;
use std::time::Duration;

/// Tokens that the engine counts for an answer that is not streamed.
pub const ANSWER_TOKENS: u64 = 8;

/// Parts of a stream where the prompt doesn't say.
pub const DEFAULT_CHUNKS: u32 = 64;

/// The most parts of a stream that the engine makes.
const MAX_CHUNKS: u32 = 100_000;

/// How fast an engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time to the first part.
    pub first: Duration,
    /// Time for each further part.
    pub chunk: Duration,
}

impl Pace {
    /// The pace with these times in milliseconds.
    pub const fn from_millis(first: u64, chunk: u64) -> Self {
        Self {
            first: Duration::from_millis(first),
            chunk: Duration::from_millis(chunk),
        }
    }

    /// When part `index`, counted from 0, is due after the request came in.
    pub fn due(&self, index: u32) -> Duration {
        self.first + self.chunk * index
    }
}

/// What the text of a message asks of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What to repeat.
    pub nonce: &'a str,
    /// In how many parts, if it is streamed.
    pub chunks: u32,
    /// How fast, if the text says so.
    pub pace: Option<Pace>,
    /// Whether each part is written by itself.
    pub flush: bool,
}

impl<'a> Asked<'a> {
    /// Reads it out of the text of a message, raw JSON or not. A text without a nonce is answered all the same.
    pub fn parse(text: &'a str) -> Self {
        let chunks = value(text, "chunks=")
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(DEFAULT_CHUNKS);
        let pace = value(text, "pace=").and_then(|times| {
            let (first, chunk) = times.split_once(',')?;
            Some(Pace::from_millis(first.parse().ok()?, chunk.parse().ok()?))
        });
        Self {
            nonce: value(text, "nonce=").unwrap_or("nothing"),
            chunks: chunks.clamp(1, MAX_CHUNKS),
            pace,
            flush: value(text, "flush=") == Some("each"),
        }
    }
}

/// What follows `key`, up to the first character that no value has.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(key)? + key.len()..];
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ',')
        .unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The text that asks for it. The nonce may hold ASCII letters, digits and `-`.
pub fn question(nonce: &str, chunks: Option<u32>, pace: Option<Pace>, flush: bool) -> String {
    let mut text = format!("Please repeat the following number and say nothing else: nonce={nonce}");
    if let Some(chunks) = chunks {
        let _ = write!(text, " chunks={chunks}");
    }
    if let Some(pace) = pace {
        let _ = write!(text, " pace={},{}", pace.first.as_millis(), pace.chunk.as_millis());
    }
    if flush {
        text.push_str(" flush=each");
    }
    text
}

/// The whole answer, where it is not streamed.
pub fn answer(nonce: &str) -> String {
    format!("You asked for {nonce}.")
}

/// Adds part `index` of a streamed answer.
pub fn push_part(text: &mut String, nonce: &str, index: u32) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{nonce}.{index} ");
}

/// The whole of a streamed answer.
pub fn streamed_answer(nonce: &str, chunks: u32) -> String {
    let mut text = String::new();
    for index in 0..chunks {
        push_part(&mut text, nonce, index);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_back() {
        let pace = Pace::from_millis(20, 10);
        let text = question("a-17", Some(5), Some(pace), true);
        assert_eq!(
            Asked::parse(&text),
            Asked {
                nonce: "a-17",
                chunks: 5,
                pace: Some(pace),
                flush: true
            }
        );
        let json = serde_json::to_string(&question("b", None, None, false)).unwrap();
        assert_eq!(
            Asked::parse(&json),
            Asked {
                nonce: "b",
                chunks: DEFAULT_CHUNKS,
                pace: None,
                flush: false
            }
        );
        assert_eq!(Asked::parse("Hello").nonce, "nothing");
        assert_eq!(Asked::parse("pace=x,1 chunks=0").chunks, 1);
    }

    #[test]
    fn a_paced_stream_ends_when_its_parts_are_due() {
        assert_eq!(Pace::from_millis(20, 10).due(63), Duration::from_millis(650));
        assert_eq!(streamed_answer("n", 3), "n.0 n.1 n.2 ");
    }
}

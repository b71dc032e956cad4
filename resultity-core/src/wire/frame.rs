//! Reading and writing frames.

use std::borrow::Cow;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{CanonicalError, sha256, to_canonical_json};
use crate::wire::{
    Accept, Ack, Cancel, Challenge, Chunk, Config, Control, Decline, ErrorFrame, Failed, Heartbeat, HeartbeatAck,
    Hello, Job, JobResult, LogBatch, Notice, Reject, Welcome,
};

/// A text that is no frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame of a later version: it is answered with `error`, and the link stays up.
    #[error("unknown frame type {0:?}")]
    UnknownType(String),
    /// Not JSON, without a type, or not what its type promises: it closes the link.
    #[error("malformed frame: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// The `type`: at a glance where it comes first and plain, as all of ours do (a second one is then an unknown
/// field); by reading the whole text otherwise.
fn kind_of(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    let first = text
        .strip_prefix("{\"type\":\"")
        .and_then(|rest| rest.split_once("\","));
    match first {
        Some((kind, _)) if kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => Ok(kind.into()),
        _ => Ok(serde_json::from_str::<Tag<'_>>(text)?.kind),
    }
}

/// Writes `{"type":…` before the fields of the frame: a tagged enum cannot hold raw JSON.
fn encode<T: Serialize>(kind: &str, frame: &T) -> String {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"{\"type\":\"");
    text.extend_from_slice(kind.as_bytes());
    text.push(b'"');
    let fields = text.len();
    serde_json::to_writer(&mut text, frame).expect("frames have string keys and no failing serializers");
    if text[fields..] == *b"{}" {
        text.truncate(fields);
        text.push(b'}');
    } else {
        text[fields] = b',';
    }
    String::from_utf8(text).expect("serde_json writes UTF-8")
}

macro_rules! frames {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident($frame:ty) = $kind:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant($frame),)* }

        impl $name {
            /// Reads one frame.
            pub fn parse(text: &str) -> Result<Self, FrameError> {
                let kind = kind_of(text)?;
                match kind.as_ref() {
                    $($kind => Ok(Self::$variant(serde_json::from_str(text)?)),)*
                    other => Err(FrameError::UnknownType(other.chars().take(64).collect())),
                }
            }

            /// The frame as it is sent.
            pub fn encode(&self) -> String {
                match self { $(Self::$variant(frame) => encode($kind, frame),)* }
            }

            /// Its `type`.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }
        }

        $(impl From<$frame> for $name {
            fn from(frame: $frame) -> Self {
                Self::$variant(frame)
            }
        })*
    };
}

frames! {
    /// What the network sends to a node.
    ServerFrame {
        /// Asks the node to prove who it is.
        Challenge(Challenge) = "challenge",
        /// The node is in.
        Welcome(Welcome) = "welcome",
        /// The node is not let in.
        Reject(Reject) = "reject",
        /// Work.
        Job(Job) = "job",
        /// A result or failure was dealt with.
        Ack(Ack) = "ack",
        /// Stop working on it.
        Cancel(Cancel) = "cancel",
        /// A heartbeat was seen.
        HeartbeatAck(HeartbeatAck) = "heartbeat_ack",
        /// A new snapshot is out.
        Config(Config) = "config",
        /// An order, signed by the network.
        Control(Control) = "control",
        /// Something that the node's operator should know.
        Notice(Notice) = "notice",
        /// Something that was sent could not be used.
        Error(ErrorFrame) = "error",
    }
}

frames! {
    /// What a node sends to the network.
    NodeFrame {
        /// Who it is, signed.
        Hello(Hello) = "hello",
        /// It takes the job.
        Accept(Accept) = "accept",
        /// It does not take the job.
        Decline(Decline) = "decline",
        /// A piece of an answer; provisional until the result is verified.
        Chunk(Chunk) = "chunk",
        /// The answer, signed.
        Result(JobResult) = "result",
        /// The job failed here, signed.
        Failed(Failed) = "failed",
        /// It is alive, signed.
        Heartbeat(Heartbeat) = "heartbeat",
        /// What happened on it, signed.
        Log(LogBatch) = "log",
        /// Something that was sent could not be used.
        Error(ErrorFrame) = "error",
    }
}

/// What `body_hash` of a signed frame is: SHA-256 over the canonical JSON of the frame as sent, without its `signature`.
/// Fields that this version does not know count too.
pub fn body_hash(frame: &str) -> Result<B256, CanonicalError> {
    let mut value: Value = serde_json::from_str(frame)?;
    if let Value::Object(fields) = &mut value {
        fields.remove("signature");
    }
    Ok(sha256(to_canonical_json(&value)?))
}

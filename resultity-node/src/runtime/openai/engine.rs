//! Whoever answers OpenAI's requests, however it is reached.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use resultity_core::openai::chat::Choice;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::event::Piece;
use super::{Expected, answer, event, plain};
use crate::runtime::{RuntimeError, RuntimeStream};

/// An engine that takes the bodies of OpenAI's requests.
#[async_trait]
pub(crate) trait Engine: Send + Sync + 'static {
    /// Asks it once. Refusals are errors in our words. Dropping the future, or the stream that comes of it, ends the work.
    async fn ask(&self, ask: Ask<'_>) -> Result<Said, RuntimeError>;
}

/// What is asked of an engine.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) model: &'a str,
    pub(crate) body: Box<RawValue>,
    pub(crate) stream: bool,
    /// How many choices.
    #[cfg_attr(
        not(feature = "infernet"),
        expect(dead_code, reason = "only containers answer with one whatever is asked")
    )]
    pub(crate) choices: u64,
    /// The most bytes of an answer that comes whole.
    pub(crate) limit: usize,
}

/// What kind of answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Embeddings,
}

impl Endpoint {
    /// The path behind `/v1/`.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }
}

/// What an engine answers.
pub(crate) enum Said {
    /// All of it, as JSON.
    Whole(Bytes),
    /// Server-sent events with OpenAI's chunks.
    Events(BytesStream),
    /// The text itself, of one choice.
    #[cfg_attr(not(feature = "infernet"), expect(dead_code, reason = "only containers answer so"))]
    Text(BytesStream),
}

pub(crate) type BytesStream = BoxStream<'static, Result<Bytes, RuntimeError>>;

impl<'a> Ask<'a> {
    pub(super) fn new(
        endpoint: Endpoint,
        body: &impl Serialize,
        expected: &'a Expected,
        limit: usize,
    ) -> Result<Self, RuntimeError> {
        Ok(Self {
            endpoint,
            model: &expected.model,
            body: written(body)?,
            stream: expected.stream,
            choices: expected.choices,
            limit,
        })
    }
}

pub(super) fn written(body: &impl Serialize) -> Result<Box<RawValue>, RuntimeError> {
    to_raw_value(body).map_err(|_| RuntimeError::invalid("it can't be written"))
}

/// The events of an answer whose choices are written as `W` where it comes whole, and as `P` in pieces.
pub(super) fn events<W, P>(said: Said, expected: Expected) -> Result<RuntimeStream, RuntimeError>
where
    W: serde::de::DeserializeOwned + Into<Choice>,
    P: Piece,
{
    Ok(match said {
        Said::Whole(body) => futures::stream::iter(answer::events::<W>(&body, &expected)?.map(Ok)).boxed(),
        Said::Events(bytes) => event::from_bytes::<P>(bytes, expected),
        Said::Text(bytes) => plain::events(bytes, expected),
    })
}

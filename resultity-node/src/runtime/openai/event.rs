//! Answers that come as server-sent events. This is a hot path: it runs once for each token.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{EventStream, EventStreamError, Eventsource as _};
use futures::stream::{Stream, StreamExt as _};
use resultity_core::openai::chat::{ChunkChoice, Usage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::Counts;
use super::engine::BytesStream;
use super::{Expected, failure};
use crate::runtime::{RuntimeError, RuntimeEvent, RuntimeStream};

/// The most bytes of one event.
const EVENT_LIMIT: usize = 1 << 20;

/// The most bytes of a whole stream.
const STREAM_LIMIT: usize = 256 << 20;

/// The most bytes that the parser is given at once.
const READ_SIZE: usize = 4096;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How long we wait after the last event for the end of the body, so that the connection can be used again.
const TAIL_TIMEOUT: Duration = Duration::from_millis(20);

/// The parts of an engine's chunk that go on.
#[derive(Deserialize)]
#[serde(bound = "C: DeserializeOwned")]
struct EngineChunk<C> {
    #[serde(default = "Vec::new")]
    choices: Vec<C>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
}

/// What is new in a choice, as an engine writes it.
pub(super) trait Piece: DeserializeOwned + Into<ChunkChoice> + Send + 'static {}

impl<T: DeserializeOwned + Into<ChunkChoice> + Send + 'static> Piece for T {}

/// The events of a streamed answer, whose pieces the engine writes as `C`.
pub(super) fn from_bytes<C: Piece>(bytes: BytesStream, expected: Expected) -> RuntimeStream {
    let reader = Box::new(Reader {
        source: Guard::new(bytes).eventsource(),
        expected,
        usage: None,
        deltas: 0,
        finished: HashSet::new(),
        ended: false,
    });
    futures::stream::unfold(reader, |mut reader| async move {
        if reader.ended {
            return None;
        }
        let event = reader.next::<C>().await;
        reader.ended = !matches!(event, Ok(RuntimeEvent::Delta(_)));
        Some((event, reader))
    })
    .boxed()
}

struct Reader {
    source: EventStream<Guard>,
    expected: Expected,
    usage: Option<Usage>,
    /// Pieces with something in them; stands for the tokens where the engine counts nothing.
    deltas: u64,
    /// Choices that said why they ended.
    finished: HashSet<u32>,
    ended: bool,
}

impl Reader {
    /// The next delta, or the end.
    async fn next<C: Piece>(&mut self) -> Result<RuntimeEvent, RuntimeError> {
        loop {
            let Some(event) = self.source.next().await else {
                // Some engines leave the mark of the end out; a cut is told apart by what is unfinished.
                return if self.is_finished() {
                    Ok(self.done())
                } else {
                    Err(cut())
                };
            };
            let event = event.map_err(|error| match error {
                EventStreamError::Transport(error) => error,
                EventStreamError::Utf8(_) | EventStreamError::Parser(_) => unreadable(),
            })?;
            if event.data == "[DONE]" {
                if self.finished.is_empty() && self.deltas == 0 {
                    return Err(RuntimeError::Failed("its stream is empty".to_owned()));
                }
                let _ = tokio::time::timeout(TAIL_TIMEOUT, async { while self.source.next().await.is_some() {} }).await;
                return Ok(self.done());
            }
            let chunk: EngineChunk<C> = serde_json::from_str(&event.data).map_err(|_| unreadable())?;
            if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
                return Err(failure::of_event(&error, &self.expected.model));
            }
            if let Some(counts) = chunk.usage {
                self.usage = Some(counts.into());
            }
            if !chunk.choices.is_empty() {
                let choices: Vec<ChunkChoice> = chunk.choices.into_iter().map(Into::into).collect();
                self.note(&choices);
                return Ok(RuntimeEvent::Delta(choices));
            }
        }
    }

    fn note(&mut self, choices: &[ChunkChoice]) {
        for choice in choices {
            let text = choice.delta.content.as_ref().is_some_and(|text| !text.is_empty());
            if text || !choice.delta.extra.is_empty() {
                self.deltas += 1;
            }
            if choice.finish_reason.is_some() {
                self.finished.insert(choice.index);
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.finished.len() as u64 >= self.expected.choices.max(1)
    }

    fn done(&self) -> RuntimeEvent {
        RuntimeEvent::Done(
            self.usage
                .unwrap_or_else(|| Usage::new(self.expected.prompt_tokens(), self.deltas)),
        )
    }
}

fn cut() -> RuntimeError {
    RuntimeError::Failed("its stream was cut".to_owned())
}

fn unreadable() -> RuntimeError {
    RuntimeError::Failed("its stream can't be read".to_owned())
}

/// Stands before the parser, which holds all that it was given and copies the rest of it at each event: gives it little at
/// a time, whole characters, no byte order mark (it can't take one), and no event without an end.
struct Guard {
    bytes: BytesStream,
    /// Read, but not given on yet.
    rest: Bytes,
    /// The start of a character whose end is not here yet.
    tail: Vec<u8>,
    /// Bytes since the last blank line: an upper bound for what the parser holds.
    event: usize,
    whole: usize,
}

impl Guard {
    fn new(bytes: BytesStream) -> Self {
        Self {
            bytes,
            rest: Bytes::new(),
            tail: Vec::new(),
            event: 0,
            whole: 0,
        }
    }

    /// The next of `rest`: it may be empty.
    fn admit(&mut self) -> Result<Bytes, RuntimeError> {
        let mut bytes = self.rest.split_to(self.rest.len().min(READ_SIZE));
        if !self.tail.is_empty() {
            bytes = [&self.tail[..], &bytes[..]].concat().into();
            self.tail.clear();
        }
        if let Err(error) = std::str::from_utf8(&bytes) {
            if error.error_len().is_some() {
                return Err(unreadable());
            }
            self.tail = bytes.split_off(error.valid_up_to()).into();
        }
        while self.whole == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes = bytes.slice(BYTE_ORDER_MARK.len()..);
        }
        self.whole = self.whole.saturating_add(bytes.len());
        self.event = match after_blank_line(&bytes) {
            Some(rest) => rest,
            None => self.event.saturating_add(bytes.len()),
        };
        if self.event > EVENT_LIMIT || self.whole > STREAM_LIMIT {
            return Err(RuntimeError::Failed("its stream is too long".to_owned()));
        }
        Ok(bytes)
    }
}

/// How many bytes follow the last blank line. A line break that is cut in two is missed: the bound is only stricter then.
fn after_blank_line(bytes: &[u8]) -> Option<usize> {
    let last = bytes
        .windows(2)
        .rposition(|pair| matches!(pair, b"\n\n" | b"\n\r" | b"\r\r"));
    last.map(|at| bytes.len() - at - 2)
}

impl Stream for Guard {
    type Item = Result<Bytes, RuntimeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.rest.is_empty() {
            match ready!(self.bytes.as_mut().poll_next(context)) {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(self.admit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expected() -> Expected {
        Expected {
            model: "m".to_owned(),
            stream: true,
            choices: 1,
            prompt_bytes: 10,
        }
    }

    /// What comes out if the engine's bytes are read in these pieces.
    fn read(pieces: &[&[u8]]) -> Vec<Result<RuntimeEvent, String>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let events = from_bytes::<ChunkChoice>(futures::stream::iter(pieces).boxed(), expected());
        let events = events.map(|event| event.map_err(|error| error.to_string())).collect();
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(events)
    }

    fn text(text: &str) -> RuntimeEvent {
        RuntimeEvent::Delta(vec![ChunkChoice::text(0, text)])
    }

    const WHOLE: &str = "\u{feff}: hello\r\n\r\n\
        data: {\"id\":\"host-7\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ä\"}}]}\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"€\"}}],\"usage\":null}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n\
        data: [DONE]\n\n";

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(mut cuts in prop::collection::vec(0..WHOLE.len(), 0..8)) {
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&WHOLE.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&WHOLE.as_bytes()[from..]);
            let finish = RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")]);
            let expected = [text("ä"), text("€"), finish, RuntimeEvent::Done(Usage::new(5, 2))];
            prop_assert_eq!(read(&pieces), expected.map(Ok).to_vec());
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let events = read(&pieces);
            prop_assert!(events.last().is_some_and(Result::is_err));
        }
    }

    #[test]
    fn an_event_without_end_is_cut_off() {
        let piece = vec![b'x'; 300 << 10];
        let pieces: Vec<&[u8]> = std::iter::repeat_n(piece.as_slice(), 5).collect();
        assert!(read(&pieces)[0].as_ref().unwrap_err().contains("too long"));
    }
}

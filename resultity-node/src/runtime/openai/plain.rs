//! Answers that come as nothing but their text, piece by piece.

use std::collections::VecDeque;

use futures::StreamExt as _;
use resultity_core::openai::chat::{ChunkChoice, Usage};

use super::Expected;
use super::engine::BytesStream;
use crate::runtime::{RuntimeError, RuntimeEvent, RuntimeStream};

/// The events of one choice with this text. Nobody counts its tokens: four bytes make one.
pub(super) fn events(bytes: BytesStream, expected: Expected) -> RuntimeStream {
    let reader = Box::new(Reader {
        bytes,
        expected,
        tail: Vec::new(),
        whole: 0,
        last: VecDeque::new(),
    });
    futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let event = reader.next().await;
        let goes_on = matches!(event, Ok(RuntimeEvent::Delta(_)));
        Some((event, goes_on.then_some(reader)))
    })
    .boxed()
}

struct Reader {
    bytes: BytesStream,
    expected: Expected,
    /// The start of a character whose end is not here yet.
    tail: Vec<u8>,
    whole: u64,
    /// What comes after the last piece.
    last: VecDeque<RuntimeEvent>,
}

impl Reader {
    async fn next(&mut self) -> Result<RuntimeEvent, RuntimeError> {
        loop {
            if let Some(event) = self.last.pop_front() {
                return Ok(event);
            }
            let text = match self.bytes.next().await.transpose()? {
                Some(bytes) => {
                    self.whole += bytes.len() as u64;
                    self.text(&bytes)
                }
                None => self.end(),
            };
            if !text.is_empty() {
                return Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(0, text)]));
            }
        }
    }

    /// The characters that are complete. What can't be one is replaced.
    fn text(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.tail);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        for chunk in all.utf8_chunks() {
            text.push_str(chunk.valid());
            let rest = chunk.invalid();
            let is_last = rest.as_ptr_range().end == all.as_ptr_range().end;
            let is_begun = is_last && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if is_begun {
                self.tail = rest.to_vec();
            } else if !rest.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the end, and what comes after it.
    fn end(&mut self) -> String {
        let usage = Usage::new(self.expected.prompt_tokens(), self.whole.div_ceil(4));
        self.last = [
            RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")]),
            RuntimeEvent::Done(usage),
        ]
        .into();
        String::from_utf8_lossy(&std::mem::take(&mut self.tail)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// The text and the counts, if the bytes come in pieces of these sizes.
    fn read(bytes: &[u8], size: usize) -> (String, Usage) {
        let pieces: Vec<_> = bytes
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let expected = Expected {
            model: "m".to_owned(),
            stream: true,
            choices: 1,
            prompt_bytes: 8,
        };
        let events = events(futures::stream::iter(pieces).boxed(), expected);
        let events: Vec<_> = futures::executor::block_on(events.collect());
        let mut text = String::new();
        for event in &events[..events.len() - 2] {
            match event {
                Ok(RuntimeEvent::Delta(pieces)) => text.push_str(pieces[0].delta.content.as_deref().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            *events[events.len() - 2].as_ref().unwrap(),
            RuntimeEvent::Delta(vec![ChunkChoice::finish(0, "stop")])
        );
        match events[events.len() - 1] {
            Ok(RuntimeEvent::Done(usage)) => (text, usage),
            ref other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn how_a_text_is_cut_does_not_matter(text in ".{0,40}", size in 1..7_usize) {
            let counts = Usage::new(2, (text.len() as u64).div_ceil(4));
            prop_assert_eq!(read(text.as_bytes(), size), (text, counts));
        }

        #[test]
        fn what_is_no_text_is_replaced(bytes in prop::collection::vec(any::<u8>(), 0..40), size in 1..7_usize) {
            prop_assert_eq!(read(&bytes, size).0, String::from_utf8_lossy(&bytes));
        }
    }
}

//! What binds a result's signature to what was sent.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use crate::openai::chat::{Choice, ChunkChoice};

/// The running hash over what a node sent: for each chunk its length (u64, big endian) and its bytes as sent. A result
/// without chunks counts as one chunk: its `output`.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Sha256);

impl Transcript {
    /// Adds one chunk: the bytes of its `delta`.
    pub fn add(&mut self, delta: &str) {
        self.0.update((delta.len() as u64).to_be_bytes());
        self.0.update(delta.as_bytes());
    }

    /// The hash so far.
    pub fn finish(&self) -> B256 {
        B256::new(self.0.clone().finalize().into())
    }
}

/// Gathers a streamed answer, for its output hash.
#[derive(Debug, Clone, Default)]
pub struct OutputHasher(BTreeMap<u32, String>);

impl OutputHasher {
    /// Adds what a chunk holds.
    pub fn add(&mut self, choices: &[ChunkChoice]) {
        for choice in choices {
            let text = self.0.entry(choice.index).or_default();
            if let Some(content) = &choice.delta.content {
                text.push_str(content);
            }
        }
    }

    /// The text of each choice so far, by index.
    pub const fn texts(&self) -> &BTreeMap<u32, String> {
        &self.0
    }

    /// The hash so far.
    pub fn finish(&self) -> B256 {
        output_hash(self.0.iter().map(|(index, text)| (*index, text.as_str())))
    }
}

/// SHA-256 over the final text of each choice, by rising index: index (u32, big endian), length in bytes (u64, big
/// endian), UTF-8. Whoever saw the answer can compute it.
pub fn output_hash<'a>(choices: impl IntoIterator<Item = (u32, &'a str)>) -> B256 {
    let mut hash = Sha256::new();
    for (index, text) in choices {
        hash.update(index.to_be_bytes());
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    B256::new(hash.finalize().into())
}

/// The same over whole choices.
impl<'a> FromIterator<&'a Choice> for OutputHasher {
    fn from_iter<T: IntoIterator<Item = &'a Choice>>(choices: T) -> Self {
        let texts = choices.into_iter().map(|choice| {
            let text = choice.message.content.clone().unwrap_or_default();
            (choice.index, text)
        });
        Self(texts.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However an answer was cut into chunks, the reader's hash is the same; the transcript tells the cuts apart.
        #[test]
        fn the_output_hash_does_not_depend_on_the_cuts(pieces in proptest::collection::vec("[a-zé]{0,6}", 1..12)) {
            let mut hasher = OutputHasher::default();
            for piece in &pieces {
                hasher.add(&[ChunkChoice::text(0, piece.as_str())]);
            }
            let whole = pieces.concat();
            prop_assert_eq!(hasher.finish(), output_hash([(0, whole.as_str())]));
            let (mut cut, mut uncut) = (Transcript::default(), Transcript::default());
            for piece in &pieces {
                cut.add(piece);
            }
            uncut.add(&whole);
            prop_assert_eq!(cut.finish() == uncut.finish(), pieces.len() == 1);
        }
    }
}

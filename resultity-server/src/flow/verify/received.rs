//! What came of an answer: checked against its limits, hashed, and cut down to what may go on.

use std::collections::BTreeMap;

use resultity_core::B256;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice, Delta};
use resultity_core::raw_json::RawJson;
use resultity_core::wire::{OutputHasher, Transcript};

use super::shown::{self, Extent};
use super::{Limits, Violation, computed, embeddings};

/// What was received of an answer so far.
#[derive(Debug)]
pub struct Received {
    pub(super) limits: Limits,
    transcript: Transcript,
    output: OutputHasher,
    /// Why each choice ended.
    pub finish_reasons: BTreeMap<u32, String>,
    chunks: u64,
    bytes: u64,
    /// Bytes that the asker gets to see: text, tool calls and the like.
    pub(super) shown: u64,
    /// Over an answer that is not of choices.
    other_hash: Option<B256>,
}

impl Received {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            transcript: Transcript::default(),
            output: OutputHasher::default(),
            finish_reasons: BTreeMap::new(),
            chunks: 0,
            bytes: 0,
            shown: 0,
            other_hash: None,
        }
    }

    /// How many chunks came.
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// How many bytes of chunks came.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a chunk; gives what of it goes on to the asker. Ends of choices are kept back until the result is settled.
    pub fn chunk(&mut self, index: u64, delta: &str) -> Result<Vec<ChunkChoice>, Violation> {
        // A node whose link dropped sends its chunks again from the first; the transcript tells whether they are the same.
        if index < self.chunks {
            return Ok(Vec::new());
        }
        if index != self.chunks {
            return Err(Violation::ChunkOrder {
                expected: self.chunks,
                found: index,
            });
        }
        self.chunks += 1;
        if self.chunks > self.limits.max_chunks() {
            return Err(Violation::TooLarge);
        }
        self.bytes = self.bytes.saturating_add(delta.len() as u64);
        if self.bytes > self.limits.max_bytes().saturating_add(self.chunks * 256) {
            return Err(Violation::TooLarge);
        }
        let mut choices: Vec<ChunkChoice> =
            serde_json::from_str(delta).map_err(|error| Violation::unreadable(&error))?;
        self.transcript.add(delta);
        self.output.add(&choices);
        for choice in &mut choices {
            self.check_index(choice.index)?;
            choice.delta.role = None;
            let kind = self.limits.kind;
            shown::fields(kind, Extent::Piece, &mut choice.delta.extra)?;
            choice.logprobs = shown::logprobs(kind, self.limits.logprobs, choice.logprobs.take())?;
            self.shown += shown::bytes(choice.delta.content.as_deref(), &choice.delta.extra);
            if let Some(reason) = choice.finish_reason.take() {
                self.finish_reasons
                    .insert(choice.index, shown::finish_reason(kind, &reason).to_owned());
            }
        }
        choices.retain(|choice| choice.delta != Delta::default() || choice.logprobs.is_some());
        Ok(choices)
    }

    fn check_index(&self, index: u32) -> Result<(), Violation> {
        if u64::from(index) < self.limits.choices {
            Ok(())
        } else {
            Err(Violation::Malformed(format!("choice {index} was not asked for")))
        }
    }

    /// Takes an answer that came whole.
    pub(super) fn whole(&mut self, output: &str) -> Result<Whole, Violation> {
        self.bytes = output.len() as u64;
        if self.bytes > self.limits.max_bytes() {
            return Err(Violation::TooLarge);
        }
        self.transcript.add(output);
        if self.limits.kind == JobKind::Embedding {
            let (embeddings, hash) = embeddings::take(output, &self.limits)?;
            self.other_hash = Some(hash);
            return Ok(Whole {
                embeddings,
                ..Whole::default()
            });
        }
        if matches!(self.limits.kind, JobKind::Container | JobKind::Score) {
            let (computed, hash) = computed::take(output)?;
            self.other_hash = Some(hash);
            return Ok(Whole {
                computed: Some(computed),
                ..Whole::default()
            });
        }
        let mut choices: Vec<Choice> = serde_json::from_str(output).map_err(|error| Violation::unreadable(&error))?;
        if choices.len() as u64 != self.limits.choices {
            return Err(Violation::Malformed(format!("{} choices came", choices.len())));
        }
        self.output = choices.iter().collect();
        for (place, choice) in choices.iter_mut().enumerate() {
            if choice.index as usize != place {
                return Err(Violation::Malformed(format!(
                    "choice {} came at place {place}",
                    choice.index
                )));
            }
            let kind = self.limits.kind;
            "assistant".clone_into(&mut choice.message.role);
            shown::fields(kind, Extent::Whole, &mut choice.message.extra)?;
            choice.logprobs = shown::logprobs(kind, self.limits.logprobs, choice.logprobs.take())?;
            self.shown += shown::bytes(choice.message.content.as_deref(), &choice.message.extra);
            let reason = choice.finish_reason.as_deref().unwrap_or("stop");
            choice.finish_reason = Some(shown::finish_reason(kind, reason).to_owned());
        }
        Ok(Whole {
            choices,
            ..Whole::default()
        })
    }

    /// Over all that was sent.
    pub(super) fn transcript_hash(&self) -> B256 {
        self.transcript.finish()
    }

    /// Over what the asker got.
    pub(super) fn output_hash(&self) -> B256 {
        self.other_hash.unwrap_or_else(|| self.output.finish())
    }
}

/// An answer that came whole.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) choices: Vec<Choice>,
    pub(super) embeddings: Vec<String>,
    pub(super) computed: Option<RawJson>,
}

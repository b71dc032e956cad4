//! `verify`: what a result must be before it counts. Pure, but for the arithmetic of the signature.

use resultity_core::B256;
use resultity_core::id::{JobId, NodeId};
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice, Usage};
use resultity_core::raw_json::RawJson;
use resultity_core::signing::{Domain, InvalidSignature, PublicKey, TypedData};
use resultity_core::wire::{JobResult, MAX_FRAME_BYTES};

use crate::bus::TopicLease;
use crate::flow::validate::MAX_DIMENSIONS;

mod computed;
mod embeddings;
mod received;
mod shown;

pub use received::Received;
use received::Whole;

/// Why an answer ended, as askers are told it: one of OpenAI's reasons, whatever the node calls it.
pub fn shown_finish_reason(kind: JobKind, reason: &str) -> &str {
    shown::finish_reason(kind, reason)
}

/// Bytes that a token can stand for at the most; what is beyond is no answer to this request.
pub(in crate::flow) const MAX_BYTES_PER_TOKEN: u64 = 256;

/// Bytes that a token and its log-probability can be written in at the most.
const MAX_BYTES_PER_PROBABILITY: u64 = 1024;

/// Bytes of the longest reason why a choice ended; ours are far shorter.
const MAX_FINISH_REASON: usize = 64;

/// Tokens of a choice that leave no text, such as its end.
const SILENT_TOKENS: u64 = 4;

/// Why a result does not count. All of them are the node's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Another lease than the one it holds.
    #[error("the result names another lease")]
    WrongLease,
    /// An answer to something else.
    #[error("the request hash does not match")]
    RequestHash,
    /// Something else was sent.
    #[error("the transcript hash does not match")]
    TranscriptHash,
    /// Something else was signed than was sent.
    #[error("the output hash does not match")]
    OutputHash,
    /// Chunks with a gap.
    #[error("chunk {found} came where {expected} was due")]
    ChunkOrder {
        /// What was due.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Not an array of choices, or one of a choice that was not asked for.
    #[error("the output is malformed: {0}")]
    Malformed(String),
    /// More than the request allows.
    #[error("the output is larger than the request allows")]
    TooLarge,
    /// Not by this node.
    #[error("{0}")]
    Signature(#[from] InvalidSignature),
}

impl Violation {
    /// It is not of its form. What the reader itself says would repeat parts of the answer, in logs.
    fn unreadable(error: &serde_json::Error) -> Self {
        let (kind, line, column) = (error.classify(), error.line(), error.column());
        Self::Malformed(format!("unreadable at line {line}, column {column} ({kind:?})"))
    }
}

/// What limits an answer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What was asked.
    pub kind: JobKind,
    /// How many choices were asked for; of an embedding: how many texts.
    pub choices: u64,
    /// The most tokens that the prompt can have.
    pub max_prompt_tokens: u64,
    /// The most tokens that can be made, over all choices.
    pub max_completion_tokens: u64,
    /// How many of the likeliest tokens are told at each place, where log-probabilities were asked for.
    pub logprobs: Option<u64>,
    /// The most bytes of prompts that the answer repeats.
    pub echo_bytes: u64,
    /// How many numbers an embedding must have, if the request says so.
    pub dimensions: Option<u64>,
}

impl Limits {
    /// One a token, and a few empty ones for each choice.
    const fn max_chunks(&self) -> u64 {
        self.max_completion_tokens
            .saturating_add(self.choices.saturating_mul(4))
            .saturating_add(64)
    }

    fn max_bytes(&self) -> u64 {
        match self.kind {
            JobKind::Embedding => return self.choices.saturating_mul(MAX_DIMENSIONS * 6 + 16),
            // Nothing in the request says how much a container may answer; what fits into a frame.
            JobKind::Container | JobKind::Score => return MAX_FRAME_BYTES as u64,
            _ => {}
        }
        let text = self.max_completion_tokens.saturating_mul(MAX_BYTES_PER_TOKEN);
        // As escaped as JSON can be.
        let echo = self.echo_bytes.saturating_mul(6);
        let probabilities = self.logprobs.map_or(0, |most| {
            let prompts = if self.echo_bytes > 0 {
                self.max_prompt_tokens.saturating_mul(self.choices)
            } else {
                0
            };
            self.max_completion_tokens
                .saturating_add(prompts)
                .saturating_mul((most + 2) * MAX_BYTES_PER_PROBABILITY)
        });
        text.saturating_add(echo)
            .saturating_add(probabilities)
            .saturating_add(64 * 1024)
    }
}

/// What a result must match.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The job.
    pub job: JobId,
    /// The lease it is under.
    pub lease: &'a TopicLease,
    /// The hash of the body that was sent.
    pub request_hash: B256,
    /// Whether it was sent in chunks.
    pub stream: bool,
}

/// A result that counts.
#[derive(Debug)]
pub struct Verified {
    /// Token counts, within bounds: what is billed.
    pub usage: Usage,
    /// Whether the node named more than can be.
    pub is_outlier: bool,
    /// Whether it named more than the request allows, whatever came. What is beyond the length of what came may be honest: an
    /// engine counts what it cuts off, such as a text that ends the answer, and tokens that are never shown.
    pub is_beyond_limits: bool,
    /// Bytes of what the asker got.
    pub shown: u64,
    /// The answer, where it was not sent in chunks.
    pub choices: Vec<Choice>,
    /// The answer of an embedding, in the order of the texts: the base64 of little-endian 32-bit floats.
    pub embeddings: Vec<String>,
    /// What a container computed.
    pub computed: Option<RawJson>,
}

/// Checks a result against what was asked and what came; the signature last, as it costs most.
pub fn result(
    result: &JobResult,
    expected: &Expected<'_>,
    received: &mut Received,
    domain: &Domain,
    key: &PublicKey,
) -> Result<Verified, Violation> {
    let TopicLease {
        node, attempt, token, ..
    } = *expected.lease;
    let named: (JobId, NodeId) = (result.job_id, result.node_id);
    if named != (expected.job, node) || result.attempt != attempt || result.lease_token != token {
        return Err(Violation::WrongLease);
    }
    if result.request_hash != expected.request_hash {
        return Err(Violation::RequestHash);
    }
    if result.finish_reason.len() > MAX_FINISH_REASON {
        return Err(Violation::Malformed("the finish reason is too long".into()));
    }
    let mut whole = Whole::default();
    if !expected.stream {
        let output = result
            .output
            .as_ref()
            .ok_or_else(|| Violation::Malformed("there is no output".into()))?;
        whole = received.whole(output.get())?;
    }
    if result.transcript_hash != received.transcript_hash() {
        return Err(Violation::TranscriptHash);
    }
    if result.output_hash != received.output_hash() {
        return Err(Violation::OutputHash);
    }
    key.verify(result.signed_data().signing_hash(domain), &result.signature)?;
    let usage = bounded_usage(result, received);
    let limits = &received.limits;
    Ok(Verified {
        usage,
        shown: received.shown,
        is_outlier: (usage.prompt_tokens, usage.completion_tokens) != (result.prompt_tokens, result.completion_tokens),
        is_beyond_limits: result.prompt_tokens > limits.max_prompt_tokens
            || result.completion_tokens > limits.max_completion_tokens,
        choices: whole.choices,
        embeddings: whole.embeddings,
        computed: whole.computed,
    })
}

/// Bytes of these pieces of what the asker got.
pub fn shown_bytes(pieces: &[ChunkChoice]) -> u64 {
    let bytes = |piece: &ChunkChoice| shown::bytes(piece.delta.content.as_deref(), &piece.delta.extra);
    pieces.iter().map(bytes).sum()
}

/// No more tokens than were asked for, and no more than the output's length can hold.
fn bounded_usage(result: &JobResult, received: &Received) -> Usage {
    let limits = &received.limits;
    let by_length = received.shown.saturating_add(SILENT_TOKENS * limits.choices);
    let completion = result
        .completion_tokens
        .min(limits.max_completion_tokens)
        .min(by_length);
    let prompt = result.prompt_tokens.min(limits.max_prompt_tokens);
    Usage::new(prompt, completion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{self, SignedAnswer};

    fn limits() -> Limits {
        Limits {
            kind: JobKind::ChatCompletion,
            choices: 1,
            max_prompt_tokens: 10,
            max_completion_tokens: 5,
            logprobs: None,
            echo_bytes: 0,
            dimensions: None,
        }
    }

    fn verify(answer: &SignedAnswer) -> Result<Verified, Violation> {
        let mut received = Received::new(limits());
        let expected = Expected {
            job: answer.result.job_id,
            lease: &answer.lease,
            request_hash: answer.request_hash,
            stream: false,
        };
        result(&answer.result, &expected, &mut received, &answer.domain, &answer.key)
    }

    #[test]
    fn an_honest_result_counts() {
        let verified = verify(&testing::signed_answer("hello", |_| {})).unwrap();
        assert_eq!(verified.choices[0].message.content.as_deref(), Some("hello"));
        assert_eq!(verified.usage, Usage::new(3, 2));
        assert!(!verified.is_outlier);
    }

    #[test]
    fn inflated_token_counts_are_cut_to_what_can_be() {
        let verified = verify(&testing::signed_answer("hello", |result| {
            result.prompt_tokens = 1000;
            result.completion_tokens = u64::MAX;
        }))
        .unwrap();
        assert_eq!(verified.usage, Usage::new(10, 5));
        assert!(verified.is_outlier && verified.is_beyond_limits);
    }

    #[test]
    fn tokens_that_left_no_text_are_not_billed_and_no_lie() {
        let answer = testing::signed_answer("", |result| result.completion_tokens = 5);
        let verified = verify(&answer).unwrap();
        assert_eq!(verified.usage, Usage::new(3, SILENT_TOKENS));
        assert!(verified.is_outlier && !verified.is_beyond_limits);
    }

    #[test]
    fn whatever_is_changed_before_signing_is_found() {
        let wrong = B256::repeat_byte(9);
        type Change = fn(&mut JobResult);
        let cases: [(Change, Violation); 4] = [
            (|result| result.attempt = result.attempt.next(), Violation::WrongLease),
            (
                |result| result.request_hash = B256::repeat_byte(9),
                Violation::RequestHash,
            ),
            (
                |result| result.transcript_hash = B256::repeat_byte(9),
                Violation::TranscriptHash,
            ),
            (
                |result| result.output_hash = B256::repeat_byte(9),
                Violation::OutputHash,
            ),
        ];
        for (change, violation) in cases {
            assert_eq!(
                verify(&testing::signed_answer("hello", change)).unwrap_err(),
                violation,
                "{wrong}"
            );
        }
    }

    #[test]
    fn whatever_is_changed_after_signing_is_found() {
        let changes: [fn(&mut JobResult); 3] = [
            |result| result.prompt_tokens += 1,
            |result| result.finish_reason = "length".into(),
            |result| result.outcome = resultity_core::signing::Outcome::Partial,
        ];
        for change in changes {
            let mut answer = testing::signed_answer("hello", |_| {});
            change(&mut answer.result);
            assert!(matches!(verify(&answer), Err(Violation::Signature(_))));
        }
    }

    #[test]
    fn chunks_with_gaps_unasked_choices_or_junk_are_found() {
        let mut received = Received::new(limits());
        let hello = r#"[{"index":0,"delta":{"content":"hello","x_engine_host":"h"},"finish_reason":"eos"}]"#;
        let passed_on = received.chunk(0, hello).unwrap();
        assert_eq!(passed_on, [ChunkChoice::text(0, "hello")]);
        assert_eq!(shown_bytes(&passed_on), received.shown);
        assert_eq!(received.finish_reasons[&0], "stop");
        assert_eq!(received.chunk(0, hello), Ok(Vec::new()), "sent again after a break");
        assert!(matches!(
            received.chunk(2, hello),
            Err(Violation::ChunkOrder { expected: 1, found: 2 })
        ));
        assert!(matches!(
            received.chunk(1, r#"[{"index":1,"delta":{}}]"#),
            Err(Violation::Malformed(_))
        ));
        assert!(matches!(
            Received::new(limits()).chunk(0, "{}"),
            Err(Violation::Malformed(_))
        ));
        let huge = format!(r#"[{{"index":0,"delta":{{"content":"{}"}}}}]"#, "x".repeat(100_000));
        assert!(matches!(
            Received::new(limits()).chunk(0, &huge),
            Err(Violation::TooLarge)
        ));
    }
}

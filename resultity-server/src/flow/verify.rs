//! `verify`: what a result must be before it counts. Pure, but for the arithmetic of the signature.

use resultity_core::B256;
use resultity_core::id::{JobId, NodeId};
use resultity_core::openai::chat::{Choice, ChunkChoice, Delta, Usage};
use resultity_core::signing::{Domain, InvalidSignature, PublicKey, TypedData};
use resultity_core::wire::{JobResult, OutputHasher, Transcript};

use serde_json::{Map, Value};

use crate::bus::TopicLease;

/// Fields of a message that go on to the asker beside its text. All others stay behind: they could name the engine's host.
const PASSED_ON: [&str; 5] = [
    "tool_calls",
    "function_call",
    "refusal",
    "reasoning_content",
    "reasoning",
];

/// Bytes that a token can stand for at the most; what is beyond is no answer to this request.
const MAX_BYTES_PER_TOKEN: u64 = 256;

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

/// What limits an answer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many choices were asked for.
    pub choices: u64,
    /// The most tokens that the prompt can have.
    pub max_prompt_tokens: u64,
    /// The most tokens that can be made, over all choices.
    pub max_completion_tokens: u64,
}

impl Limits {
    /// One a token, and a few empty ones for each choice.
    const fn max_chunks(&self) -> u64 {
        self.max_completion_tokens
            .saturating_add(self.choices.saturating_mul(4))
            .saturating_add(64)
    }

    fn max_bytes(&self) -> u64 {
        self.max_completion_tokens
            .saturating_mul(MAX_BYTES_PER_TOKEN)
            .saturating_add(64 * 1024)
    }
}

/// What was received of an answer so far.
#[derive(Debug)]
pub struct Received {
    limits: Limits,
    transcript: Transcript,
    output: OutputHasher,
    /// Why each choice ended.
    pub finish_reasons: std::collections::BTreeMap<u32, String>,
    chunks: u64,
    bytes: u64,
    /// Bytes that the asker gets to see: text, tool calls and the like.
    shown: u64,
}

impl Received {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            transcript: Transcript::default(),
            output: OutputHasher::default(),
            finish_reasons: std::collections::BTreeMap::new(),
            chunks: 0,
            bytes: 0,
            shown: 0,
        }
    }

    /// How many chunks came.
    pub const fn chunks(&self) -> u64 {
        self.chunks
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
            serde_json::from_str(delta).map_err(|error| Violation::Malformed(error.to_string()))?;
        self.transcript.add(delta);
        self.output.add(&choices);
        for choice in &mut choices {
            self.check_index(choice.index)?;
            choice.delta.role = None;
            choice
                .delta
                .extra
                .retain(|field, _| PASSED_ON.contains(&field.as_str()));
            self.shown += shown_bytes(choice.delta.content.as_deref(), &choice.delta.extra);
            if let Some(reason) = choice.finish_reason.take() {
                self.finish_reasons
                    .insert(choice.index, known_finish_reason(&reason).to_owned());
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
    /// The answer, where it was not sent in chunks.
    pub choices: Vec<Choice>,
    /// The answer of an embedding, in the order of the texts: the base64 of little-endian 32-bit floats.
    pub embeddings: Vec<String>,
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
    let mut choices = Vec::new();
    if !expected.stream {
        let output = result
            .output
            .as_ref()
            .ok_or_else(|| Violation::Malformed("there is no output".into()))?;
        choices = take_output(output.get(), received)?;
    }
    if result.transcript_hash != received.transcript.finish() {
        return Err(Violation::TranscriptHash);
    }
    if result.output_hash != received.output.finish() {
        return Err(Violation::OutputHash);
    }
    key.verify(result.signed_data().signing_hash(domain), &result.signature)?;
    let (usage, is_outlier) = bounded_usage(result, received);
    Ok(Verified {
        usage,
        is_outlier,
        choices,
        embeddings: Vec::new(),
    })
}

fn take_output(output: &str, received: &mut Received) -> Result<Vec<Choice>, Violation> {
    received.bytes = output.len() as u64;
    if received.bytes > received.limits.max_bytes() {
        return Err(Violation::TooLarge);
    }
    let mut choices: Vec<Choice> =
        serde_json::from_str(output).map_err(|error| Violation::Malformed(error.to_string()))?;
    if choices.len() as u64 != received.limits.choices {
        return Err(Violation::Malformed(format!("{} choices came", choices.len())));
    }
    received.transcript.add(output);
    received.output = choices.iter().collect();
    for (place, choice) in choices.iter_mut().enumerate() {
        if choice.index as usize != place {
            return Err(Violation::Malformed(format!(
                "choice {} came at place {place}",
                choice.index
            )));
        }
        "assistant".clone_into(&mut choice.message.role);
        choice
            .message
            .extra
            .retain(|field, _| PASSED_ON.contains(&field.as_str()));
        received.shown += shown_bytes(choice.message.content.as_deref(), &choice.message.extra);
        choice.finish_reason = Some(known_finish_reason(choice.finish_reason.as_deref().unwrap_or("stop")).to_owned());
    }
    Ok(choices)
}

/// No more tokens than were asked for, and no more than the output's length can hold.
fn bounded_usage(result: &JobResult, received: &Received) -> (Usage, bool) {
    let limits = &received.limits;
    let by_length = received.shown.saturating_add(SILENT_TOKENS * limits.choices);
    let completion = result
        .completion_tokens
        .min(limits.max_completion_tokens)
        .min(by_length);
    let prompt = result.prompt_tokens.min(limits.max_prompt_tokens);
    let is_outlier = (prompt, completion) != (result.prompt_tokens, result.completion_tokens);
    (Usage::new(prompt, completion), is_outlier)
}

/// Bytes of what goes on to the asker.
fn shown_bytes(content: Option<&str>, extra: &Map<String, Value>) -> u64 {
    let content = content.map_or(0, str::len);
    let extra = if extra.is_empty() {
        0
    } else {
        serde_json::to_string(extra).map_or(0, |text| text.len())
    };
    (content + extra) as u64
}

/// OpenAI's reasons; any other is a `stop`.
fn known_finish_reason(reason: &str) -> &str {
    match reason {
        "length" | "tool_calls" | "content_filter" | "function_call" => reason,
        _ => "stop",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{self, SignedAnswer};

    fn limits() -> Limits {
        Limits {
            choices: 1,
            max_prompt_tokens: 10,
            max_completion_tokens: 5,
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
        assert!(verified.is_outlier);
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

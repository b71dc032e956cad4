//! What a finished job says of its node, with the help of a trusted one.

use std::collections::BTreeMap;
use std::sync::Arc;

use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::openai::embedding::decode_floats;
use resultity_core::score::{GivenAnswer, MAX_SCORED_TEXTS, Score, ScoreRequest};
use resultity_core::wire::MAX_FRAME_BYTES;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use super::Finished;
use super::ask::{Unanswered, ask};
use crate::flow::Flow;
use crate::flow::verify::Limits;
use crate::trust::Evidence;
use crate::trust::compare::embeddings;
use crate::trust::compare::logprobs::{self, Told};
use crate::trust::compare::text::{self, Claim};
use crate::trust::latency::{self, Taken};

/// One choice of an answer, put together.
#[derive(Debug, Default)]
struct Whole {
    text: String,
    reason: String,
    told: Vec<Told>,
    /// More than text came: tool calls, thoughts.
    has_more: bool,
}

/// Has the answer scored. Nothing if it is of a kind that can't be.
pub(super) async fn of_text(
    flow: &Arc<Flow>,
    finished: &Finished,
    trusted: NodeId,
) -> Result<Option<Evidence>, Unanswered> {
    let fields: Map<String, Value> = serde_json::from_str(finished.body.get()).unwrap_or_default();
    let is_set = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    let wholes = wholes(&finished.choices, &finished.chunks, &finished.finish_reasons);
    // Calls of tools are no text that could be read again.
    if wholes.is_empty() || wholes.len() > MAX_SCORED_TEXTS || wholes.iter().any(|whole| whole.has_more) {
        return Ok(None);
    }
    let answers = wholes.iter().map(|whole| GivenAnswer {
        text: whole.text.clone(),
        ended: whole.reason == "stop",
    });
    let request = ScoreRequest {
        kind: finished.kind,
        request: finished.body.clone(),
        answers: answers.collect(),
    };
    let body = to_raw_value(&request).map_err(|_| Unanswered::Failed("the request can't be written"))?;
    if body.get().len() > MAX_FRAME_BYTES / 2 {
        return Ok(None);
    }
    let limits = Limits {
        kind: JobKind::Score,
        choices: 1,
        max_prompt_tokens: u64::MAX,
        max_completion_tokens: 0,
        logprobs: None,
        echo_bytes: 0,
        dimensions: None,
    };
    let verified = ask(flow, trusted, JobKind::Score, &finished.model, body, limits).await?;
    let score = verified.computed.ok_or(Unanswered::Failed("no score came"))?;
    let score: Score = serde_json::from_str(score.get()).map_err(|_| Unanswered::Failed("what came is no score"))?;
    if score.answers.len() != wholes.len() {
        return Err(Unanswered::Failed("the score is of other answers"));
    }
    let claim = Claim {
        prompt_tokens: finished.prompt_tokens,
        completion_tokens: finished.completion_tokens,
        limit: limit(flow, finished, &score),
        at_limit: wholes.iter().filter(|whole| whole.reason == "length").count() as u32,
        has_stops: is_set("stop"),
        has_hidden: false,
    };
    let mut findings = text::findings(&score, &claim);
    for (whole, answer) in wholes.iter().zip(&score.answers) {
        findings.extend(logprobs::against_score(&whole.told, &answer.plain));
    }
    findings.extend(latency::findings(
        &taken(finished, &score),
        least_per_token(flow, finished),
    ));
    Ok(Some(Evidence::new(findings)))
}

/// Has the same texts embedded again.
pub(super) async fn of_embeddings(
    flow: &Arc<Flow>,
    finished: &Finished,
    trusted: NodeId,
) -> Result<Option<Evidence>, Unanswered> {
    let limits = Limits {
        kind: JobKind::Embedding,
        choices: finished.embeddings.len() as u64,
        max_prompt_tokens: u64::MAX,
        max_completion_tokens: 0,
        logprobs: None,
        echo_bytes: 0,
        dimensions: None,
    };
    let body = finished.body.clone();
    let verified = ask(flow, trusted, JobKind::Embedding, &finished.model, body, limits).await?;
    let floats = |texts: &[String]| texts.iter().map(|text| decode_floats(text)).collect::<Option<Vec<_>>>();
    let (Some(told), Some(right)) = (floats(&finished.embeddings), floats(&verified.embeddings)) else {
        return Ok(None);
    };
    let finding = embeddings::finding(&told, &right);
    Ok(finding.map(|finding| Evidence::new(vec![finding])))
}

/// The most tokens that each choice may have: what was asked for, or what fits behind the prompt.
fn limit(flow: &Flow, finished: &Finished, score: &Score) -> u64 {
    let snapshot = flow.snapshot();
    let spec = snapshot.models.iter().find(|model| model.name == finished.model);
    let room = spec.map_or(u64::MAX, |spec| spec.context_length.saturating_sub(score.prompt_tokens));
    finished.limit.min(room)
}

fn taken(finished: &Finished, score: &Score) -> Taken {
    // Choices may be made at once.
    let longest = score.answers.iter().map(|answer| answer.tokens() as u64).max();
    Taken {
        took: finished.took,
        allowed: finished.allowed,
        tokens: longest.unwrap_or_default(),
    }
}

fn least_per_token(flow: &Flow, finished: &Finished) -> std::time::Duration {
    let snapshot = flow.snapshot();
    let spec = snapshot.models.iter().find(|model| model.name == finished.model);
    let bytes: u64 = spec.map_or(0, |spec| spec.files.iter().map(|file| file.size).sum());
    let view = flow.fleet.node(finished.node);
    view.map_or_else(std::time::Duration::default, |view| {
        latency::least_per_token(&view.hardware, bytes)
    })
}

/// The tokens of the first choice with their log-probabilities. None: it has none.
pub(super) fn told_first(finished: &Finished) -> Option<Vec<Told>> {
    let mut wholes = wholes(&finished.choices, &finished.chunks, &finished.finish_reasons).into_iter();
    wholes.next().map(|whole| whole.told).filter(|told| !told.is_empty())
}

/// The choices of an answer, in their order.
fn wholes(choices: &[Choice], chunks: &[ChunkChoice], reasons: &BTreeMap<u32, String>) -> Vec<Whole> {
    let mut wholes: BTreeMap<u32, Whole> = BTreeMap::new();
    for choice in choices {
        let whole = wholes.entry(choice.index).or_default();
        whole
            .text
            .push_str(choice.message.content.as_deref().unwrap_or_default());
        whole.reason = choice.finish_reason.clone().unwrap_or_default();
        whole.has_more |= !choice.message.extra.is_empty();
        whole.told.extend(told(choice.logprobs.as_ref()));
    }
    for piece in chunks {
        let whole = wholes.entry(piece.index).or_default();
        whole.text.push_str(piece.delta.content.as_deref().unwrap_or_default());
        whole.has_more |= !piece.delta.extra.is_empty();
        whole.told.extend(told(piece.logprobs.as_ref()));
    }
    for (index, reason) in reasons {
        wholes.entry(*index).or_default().reason.clone_from(reason);
    }
    wholes.into_values().collect()
}

/// The tokens of a chat answer with their log-probabilities, where it has them.
fn told(logprobs: Option<&Value>) -> Vec<Told> {
    let content = logprobs.and_then(|logprobs| logprobs.get("content")?.as_array());
    let entry = |entry: &Value| {
        Some((
            entry.get("token")?.as_str()?.to_owned(),
            entry.get("logprob")?.as_f64()?,
        ))
    };
    let told = content.into_iter().flatten().filter_map(|token| {
        let (name, logprob) = entry(token)?;
        let top = token.get("top_logprobs").and_then(Value::as_array);
        Some(Told {
            token: name,
            logprob,
            top: top.into_iter().flatten().filter_map(entry).collect(),
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pieces_of_a_stream_are_put_together_by_choice() {
        let piece = |index: u32, text: &str| ChunkChoice::text(index, text.to_owned());
        let chunks = [piece(1, "b"), piece(0, "a "), piece(0, "fox")];
        let reasons = BTreeMap::from([(0, "stop".to_owned()), (1, "length".to_owned())]);
        let found = wholes(&[], &chunks, &reasons);
        let texts: Vec<_> = found
            .iter()
            .map(|whole| (whole.text.as_str(), whole.reason.as_str()))
            .collect();
        assert_eq!(texts, [("a fox", "stop"), ("b", "length")]);
    }

    #[test]
    fn log_probabilities_are_read_and_what_is_none_is_left_out() {
        let logprobs = json!({"content": [
            {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}, {"token": 1}]},
            {"token": null},
        ]});
        let found = told(Some(&logprobs));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].logprob, found[0].top.len()), (-0.5, 1));
        assert!(told(None).is_empty());
    }
}

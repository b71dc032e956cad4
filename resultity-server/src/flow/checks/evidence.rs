//! What a finished job says of its node, with the help of a trusted one.

use std::collections::BTreeMap;
use std::sync::Arc;

use resultity_core::capability::Capability;
use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::openai::embedding::decode_floats;
use resultity_core::score::{GivenAnswer, MAX_SCORED_TEXTS, Score, ScoreRequest};
use resultity_core::wire::MAX_FRAME_BYTES;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use super::Finished;
use super::ask::{Unanswered, ask, score_limits};
use crate::flow::Flow;
use crate::flow::verify::Limits;
use crate::trust::Evidence;
use crate::trust::compare::embeddings;
use crate::trust::compare::logprobs::{self, Told};
use crate::trust::compare::text::{self, Claim};
use crate::trust::latency::{self, Taken};

/// The most bytes of a text that are read again: a very long one is judged by its beginning.
const MOST_READ: usize = 256 * 1024;

/// Of fewer tokens than this an answer may well be empty at its limit: they may be the pieces of one letter.
const FEW_TOKENS: u64 = 8;

/// One choice of an answer, put together.
#[derive(Debug, Default)]
struct Whole {
    text: String,
    /// What the model is said to have thought before.
    thoughts: String,
    reason: String,
    told: Vec<Told>,
    has_calls: bool,
}

impl Whole {
    fn adds(&mut self, content: Option<&str>, extra: &Map<String, Value>) {
        self.text.push_str(content.unwrap_or_default());
        for (name, value) in extra {
            match (name.as_str(), value.as_str()) {
                // It stands where the text would.
                ("refusal", Some(text)) => self.text.push_str(text),
                (_, Some(text)) => self.thoughts.push_str(text),
                (_, None) => self.has_calls = true,
            }
        }
    }

    /// What the model would have written. Where it is none that thinks, what it is said to have thought is a part of its text.
    fn written(&self, thinks: bool) -> String {
        let mut text = if self.thoughts.is_empty() || thinks {
            self.text.clone()
        } else {
            format!("<think>\n{}\n</think>\n\n{}", self.thoughts, self.text)
        };
        text.truncate(text.floor_char_boundary(MOST_READ));
        text
    }

    /// Whether all of it is read.
    fn is_cut(&self) -> bool {
        self.text.len() + self.thoughts.len() + 64 > MOST_READ
    }

    /// Whether nothing came, and not because the model wanted it so.
    fn is_oddly_empty(&self, limit: u64) -> bool {
        let is_empty = self.text.is_empty() && self.thoughts.is_empty() && !self.has_calls;
        let is_odd = match self.reason.as_str() {
            "stop" => false,
            "length" => limit >= FEW_TOKENS,
            _ => true,
        };
        is_empty && is_odd && limit > 0
    }
}

/// What a request says of how its answer is made.
struct Asked(Map<String, Value>);

impl Asked {
    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn has_functions(&self) -> bool {
        let is_there = |name| {
            self.0
                .get(name)
                .and_then(Value::as_array)
                .is_some_and(|all| !all.is_empty())
        };
        is_there("tools") || is_there("functions")
    }

    /// Whether engines draw tokens for it alike: by temperature and nucleus, both named. Of penalties, of answers in a given form
    /// and of the best of several that is not known.
    fn is_calibrated(&self) -> bool {
        let number = |name: &str| self.0.get(name).and_then(Value::as_f64);
        let is_plain = |name: &str| number(name).unwrap_or_default() == 0.0;
        let format = self.0.get("response_format").and_then(|format| format.get("type"));
        number("temperature").is_some()
            && is_plain("presence_penalty")
            && is_plain("frequency_penalty")
            && format.is_none_or(|kind| kind == "text")
            && number("best_of") <= number("n").or(Some(1.0))
    }
}

/// Has the answer scored. Nothing if it is of a kind that can't be, as it was asked for.
pub(super) async fn of_text(
    flow: &Arc<Flow>,
    finished: &Finished,
    trusted: NodeId,
) -> Result<Option<Evidence>, Unanswered> {
    let asked = Asked(serde_json::from_str(finished.body.get()).unwrap_or_default());
    let mut wholes = wholes(&finished.choices, &finished.chunks, &finished.finish_reasons);
    let (thinks, has_calls) = (
        thinks(flow, &finished.model),
        wholes.iter().any(|whole| whole.has_calls),
    );
    // Calls of functions are no text that could be read again.
    if wholes.is_empty() || has_calls && asked.has_functions() {
        return Ok(None);
    }
    let is_odd = has_calls || !finished.is_partial && wholes.iter().any(|whole| whole.is_oddly_empty(finished.limit));
    let has_hidden_thoughts = thinks && wholes.iter().any(|whole| !whole.thoughts.is_empty());
    let is_part = wholes.len() > MAX_SCORED_TEXTS || wholes.iter().any(Whole::is_cut);
    wholes.truncate(MAX_SCORED_TEXTS);
    let answers = wholes.iter().map(|whole| GivenAnswer {
        text: whole.written(thinks),
        // Whatever is said of why: what ended before its limit is where the model ends it.
        ended: whole.reason != "length" && !finished.is_partial && !whole.is_cut(),
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
    let verified = ask(flow, trusted, JobKind::Score, &finished.model, body, score_limits()).await?;
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
        has_stops: asked.has("stop"),
        has_hidden: has_hidden_thoughts || is_part,
        is_outlier: finished.is_outlier,
        is_calibrated: asked.is_calibrated() && !has_hidden_thoughts,
        is_odd,
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

/// Whether it is a model that thinks before it answers, so that what it thinks is no part of its text.
fn thinks(flow: &Flow, model: &str) -> bool {
    let snapshot = flow.snapshot();
    let spec = snapshot.models.iter().find(|spec| spec.name == model);
    spec.is_some_and(|spec| spec.can(Capability::ReasoningEffort))
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
    let mut evidence = Evidence::new(embeddings::finding(&told, &right).into_iter().collect());
    let counted = verified.usage.prompt_tokens;
    // An engine that counts nothing says nothing.
    if !evidence.is_empty() && (counted > 0 || finished.is_outlier) {
        let texts = right.len() as u64;
        let claimed = if finished.is_outlier {
            u64::MAX
        } else {
            finished.prompt_tokens
        };
        evidence.push(text::prompt_count(claimed, counted, texts));
    }
    Ok(Some(evidence))
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
        whole.adds(choice.message.content.as_deref(), &choice.message.extra);
        whole.reason = choice.finish_reason.clone().unwrap_or_default();
        whole.told.extend(told(choice.logprobs.as_ref()));
    }
    for piece in chunks {
        let whole = wholes.entry(piece.index).or_default();
        whole.adds(piece.delta.content.as_deref(), &piece.delta.extra);
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
    use rstest::rstest;
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

    fn choice(message: Value, reason: &str) -> Choice {
        serde_json::from_value(json!({"index": 0, "message": message, "finish_reason": reason})).unwrap()
    }

    #[test]
    fn what_a_model_is_said_to_have_thought_is_a_part_of_its_text_unless_it_thinks() {
        let message = json!({"role": "assistant", "content": "yes", "reasoning_content": "hm"});
        let found = wholes(&[choice(message, "stop")], &[], &BTreeMap::new());
        assert_eq!(found[0].written(true), "yes");
        assert_eq!(found[0].written(false), "<think>\nhm\n</think>\n\nyes");
        let refusal = json!({"role": "assistant", "content": null, "refusal": "no"});
        let found = wholes(&[choice(refusal, "stop")], &[], &BTreeMap::new());
        assert_eq!((found[0].written(false).as_str(), found[0].has_calls), ("no", false));
        let calls = json!({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]});
        assert!(wholes(&[choice(calls, "tool_calls")], &[], &BTreeMap::new())[0].has_calls);
    }

    #[rstest]
    #[case::the_model_says_nothing("", "stop", 100, false)]
    #[case::filtered("", "content_filter", 100, true)]
    #[case::calls_without_calls("", "tool_calls", 100, true)]
    #[case::full_of_nothing("", "length", 100, true)]
    #[case::half_a_letter("", "length", 1, false)]
    #[case::no_reason_at_all("", "", 100, true)]
    #[case::a_text("x", "content_filter", 100, false)]
    #[case::nothing_was_asked_for("", "content_filter", 0, false)]
    fn an_answer_that_is_empty_for_an_odd_reason_is_one(
        #[case] text: &str,
        #[case] reason: &str,
        #[case] limit: u64,
        #[case] expected: bool,
    ) {
        let found = wholes(
            &[choice(json!({"role": "assistant", "content": text}), reason)],
            &[],
            &BTreeMap::new(),
        );
        assert_eq!(found[0].is_oddly_empty(limit), expected);
    }

    #[rstest]
    #[case(json!({"temperature": 0.7, "top_p": 0.9}), true)]
    #[case(json!({"temperature": 0, "presence_penalty": 0, "response_format": {"type": "text"}}), true)]
    #[case(json!({}), false)]
    #[case(json!({"temperature": 1, "presence_penalty": 0.5}), false)]
    #[case(json!({"temperature": 1, "frequency_penalty": -1}), false)]
    #[case(json!({"temperature": 1, "response_format": {"type": "json_object"}}), false)]
    #[case(json!({"temperature": 1, "best_of": 3}), false)]
    #[case(json!({"temperature": 1, "best_of": 2, "n": 2}), true)]
    fn texts_are_weighed_where_engines_draw_alike(#[case] fields: Value, #[case] expected: bool) {
        assert_eq!(Asked(fields.as_object().unwrap().clone()).is_calibrated(), expected);
    }

    #[test]
    fn a_very_long_text_is_judged_by_its_beginning() {
        let long = Whole {
            text: "é".repeat(MOST_READ),
            ..Whole::default()
        };
        assert!(long.is_cut() && long.written(false).len() == MOST_READ);
        assert!(!Whole::default().is_cut());
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

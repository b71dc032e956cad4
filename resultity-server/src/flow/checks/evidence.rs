//! What a finished job says of its node, with the help of a trusted one.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::capability::Capability;
use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use resultity_core::openai::embedding::decode_floats;
use resultity_core::score::{AnswerScore, GivenAnswer, Score, ScoreRequest, repeated};
use resultity_core::wire::MAX_FRAME_BYTES;
use serde_json::value::to_raw_value;
use tokio::time::Instant;

use super::Finished;
use super::ask::{Unanswered, ask, score_limits};
use super::asked::{Asked, before_stop};
use super::given::Whole;
use crate::flow::Flow;
use crate::flow::verify::{Limits, MAX_BYTES_PER_TOKEN};
use crate::trust::Evidence;
use crate::trust::compare::embeddings;
use crate::trust::compare::logprobs::{self, Told};
use crate::trust::compare::text::{self, Claim, drift_at, is_beyond};
use crate::trust::latency::{self, Taken};

/// The most tokens of all texts of an answer that are weighed. Reading them is what a check costs, and a node that answers more than
/// it was asked for must not make it cost more.
pub(super) const MOST_WEIGHED: u64 = 512;

/// Bytes that are left of a frame for what is around a request.
const AROUND: usize = 64 * 1024;

/// Has the answer scored. Nothing if it is of a kind that can't be, as it was asked for.
pub(super) async fn of_text(
    flow: &Arc<Flow>,
    finished: &Finished,
    trusted: NodeId,
    until: Instant,
) -> Result<Option<Evidence>, Unanswered> {
    let asked = Asked::new(&finished.body);
    let wholes = &finished.given.wholes;
    let has_calls = wholes.iter().any(|whole| whole.has_calls);
    // Calls of functions are no text that could be read again.
    if has_calls && asked.has_functions() {
        return Ok(None);
    }
    // Neither is what is far too long, or was asked for and never came.
    if is_too_long(&asked, finished) || is_missing(&asked, finished) {
        return Ok(Some(Evidence::new(vec![text::form(true)])));
    }
    if wholes.is_empty() {
        return Ok(None);
    }
    let thinks = thinks(flow, &finished.model);
    let answers: Vec<GivenAnswer> = wholes
        .iter()
        .map(|whole| given(whole, &asked, finished, thinks))
        .collect();
    let chosen: Vec<u32> = wholes.iter().map(|whole| whole.index).collect();
    let unwritten = |_| Unanswered::Failed("the request can't be written");
    let request = ScoreRequest {
        kind: finished.kind,
        request: asked.read_again(&chosen).map_err(unwritten)?,
        answers: answers.clone(),
        most: Some(MOST_WEIGHED / answers.len() as u64),
    };
    let body = to_raw_value(&request).map_err(unwritten)?;
    if body.get().len() > MAX_FRAME_BYTES - AROUND {
        return Ok(None);
    }
    let verified = ask(
        flow,
        trusted,
        JobKind::Score,
        &finished.model,
        body,
        score_limits(),
        until,
    )
    .await?;
    let score = verified.computed.ok_or(Unanswered::Failed("no score came"))?;
    let score: Score = serde_json::from_str(score.get()).map_err(|_| Unanswered::Failed("what came is no score"))?;
    if score.answers.len() != wholes.len() {
        return Err(Unanswered::Failed("the score is of other answers"));
    }
    let limit = limit(flow, finished, &score);
    let claim = claim(&asked, finished, &answers, &score, limit, thinks);
    let mut findings = text::findings(&score, &claim);
    if asked.tells_plainly() && claim.is_calibrated {
        for (whole, answer) in wholes.iter().zip(&score.answers) {
            let told = told_of(whole, answer);
            findings.extend(told.and_then(|told| logprobs::against_score(told, &answer.plain)));
        }
    }
    findings.extend(latency::findings(
        &taken(finished, &score),
        least_per_token(flow, finished),
    ));
    Ok(Some(Evidence::new(findings)))
}

/// Whether more bytes came than the tokens that were asked for can stand for.
fn is_too_long(asked: &Asked, finished: &Finished) -> bool {
    let most = finished.limit.saturating_mul(MAX_BYTES_PER_TOKEN);
    let wholes = &finished.given.wholes;
    asked.is_bounded() && wholes.iter().any(|whole| whole.bytes as u64 > most)
}

/// Whether fewer choices came than were asked for, though nobody stopped it.
fn is_missing(asked: &Asked, finished: &Finished) -> bool {
    !finished.is_partial && finished.given.of < asked.choices()
}

/// What of a choice is read again.
fn given(whole: &Whole, asked: &Asked, finished: &Finished, thinks: bool) -> GivenAnswer {
    let mut text = whole.written(thinks);
    let is_stopped = asked.has_stops() && whole.reason != "length";
    if is_stopped {
        text.truncate(before_stop(&text).len());
    }
    GivenAnswer {
        text,
        // Whatever is said of why: what ended before its limit is where the model ends it.
        ended: whole.reason != "length"
            && !finished.is_partial
            && !whole.is_cut()
            && !is_stopped
            && !finished.given.is_beginning,
    }
}

/// What the node says of its answer, as far as it can be held to it.
fn claim(
    asked: &Asked,
    finished: &Finished,
    answers: &[GivenAnswer],
    score: &Score,
    limit: u64,
    thinks: bool,
) -> Claim {
    let given = &finished.given;
    let wholes = &given.wholes;
    // Where the prompt has control tokens a model may go on with some, which are never shown.
    let is_unusual = score.answers.iter().any(|answer| answer.unusual);
    let has_hidden_thoughts = thinks && wholes.iter().any(|whole| !whole.thoughts.is_empty());
    let is_part = given.is_beginning || wholes.len() < given.of || wholes.iter().any(Whole::is_cut);
    let hides_tokens = asked.hides_tokens() || is_unusual;
    let hides_prompt = asked.hides_prompt() || is_unusual || asked.has_several() && wholes.len() < given.of;
    let is_shown = !hides_tokens && !asked.has_stops();
    let is_empty = wholes
        .iter()
        .any(|whole| whole.is_oddly_empty(finished.limit, is_shown));
    let is_long = score.answers.iter().any(|answer| is_beyond(limit, answer.counted()));
    // A model may cut such stretches into as many tokens as they have letters.
    let uncounted: usize = answers
        .iter()
        .map(|answer| repeated(answer.text.as_bytes()).iter().filter(|is| **is).count())
        .sum();
    Claim {
        prompt_tokens: if hides_prompt { 0 } else { finished.prompt_tokens },
        completion_tokens: finished.completion_tokens.saturating_sub(uncounted as u64),
        limit,
        at_limit: wholes.iter().filter(|whole| whole.reason == "length").count() as u32,
        has_stops: asked.has_stops(),
        has_hidden: has_hidden_thoughts || is_part || hides_tokens,
        is_outlier: finished.is_outlier && !hides_prompt,
        drift: drift_at(asked.temperature()),
        is_calibrated: asked.is_calibrated() && !has_hidden_thoughts && !is_unusual,
        is_odd: wholes.iter().any(|whole| whole.has_calls)
            || !finished.is_partial && !given.is_beginning && is_empty
            || asked.is_bounded() && !is_unusual && is_long,
    }
}

/// The told tokens that were scored. None: the text was cut into others.
fn told_of<'a>(whole: &'a Whole, answer: &AnswerScore) -> Option<&'a [Told]> {
    let from = usize::try_from(answer.from).ok()?;
    let is_same = whole.told.len() as u64 == answer.counted();
    let told = whole.told.get(from..from.checked_add(answer.tokens())?);
    told.filter(|_| is_same)
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
    until: Instant,
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
    let verified = ask(flow, trusted, JobKind::Embedding, &finished.model, body, limits, until).await?;
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
    let longest = score.answers.iter().map(AnswerScore::counted).max();
    Taken {
        took: finished.took,
        // When an answer ends that its asker stopped is the asker's choice.
        allowed: if finished.is_partial {
            Duration::ZERO
        } else {
            finished.allowed
        },
        tokens: longest.unwrap_or_default(),
    }
}

fn least_per_token(flow: &Flow, finished: &Finished) -> Duration {
    let snapshot = flow.snapshot();
    let spec = snapshot.models.iter().find(|model| model.name == finished.model);
    let bytes: u64 = spec.map_or(0, |spec| spec.files.iter().map(|file| file.size).sum());
    let view = flow.fleet.node(finished.node);
    view.map_or_else(Duration::default, |view| {
        latency::least_per_token(&view.hardware, bytes)
    })
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;

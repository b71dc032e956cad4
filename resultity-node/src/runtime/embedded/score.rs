//! How likely the model finds an answer of another machine: reads it token by token, as if it had made it itself.

use std::ops::Range;

use candle_core::Tensor;
use candle_transformers::models::quantized_llama::ModelWeights;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::score::{
    AnswerScore, EndScore, GivenAnswer, MAX_SCORED_TEXTS, Score, ScoreRequest, in_milli_nats, repeated,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::generate::{PREFILL_STEP, forward};
use super::json::Json;
use super::plan::Plan;
use super::sampling::Sampler;
use super::tokenizer::Tokenizer;
use super::{Engine, RuntimeError};

/// How many tokens before the part that is scored are read at the most, over all answers.
const MOST_BEFORE: usize = 1024;

/// Scores all answers; ends early if nobody waits any more.
pub(super) fn run(
    engine: &Engine,
    request: &ScoreRequest,
    is_wanted: impl Fn() -> bool,
) -> Result<Score, RuntimeError> {
    if request.answers.len() > MAX_SCORED_TEXTS {
        return Err(RuntimeError::invalid_field("answers", "too many"));
    }
    let plan = match request.kind {
        JobKind::ChatCompletion => Plan::of_chat(engine, &read::<ChatRequest>(request)?)?,
        JobKind::Completion => Plan::of_completion(engine, &read::<CompletionRequest>(request)?)?,
        _ => return Err(RuntimeError::invalid_field("kind", "expected a kind that makes text")),
    };
    let failed = |error: candle_core::Error| {
        tracing::error!(%error, "the embedded engine failed");
        RuntimeError::Failed("the answer could not be scored".to_owned())
    };
    let texts: Asked = read(request)?;
    let reading = Reading {
        engine,
        plan: &plan,
        is_wanted: &is_wanted,
        most: request.most.and_then(|most| usize::try_from(most).ok()),
        most_before: MOST_BEFORE / request.answers.len().max(1),
        unusual: has_control(&engine.tokenizer, &texts.messages)
            .and_then(|found| Ok(found || has_control(&engine.tokenizer, &texts.prompt)?))
            .map_err(failed)?,
    };
    reading.all(&request.answers).map_err(failed)
}

/// What somebody wrote.
#[derive(serde::Deserialize)]
struct Asked {
    #[serde(default)]
    messages: Value,
    #[serde(default)]
    prompt: Value,
}

/// Whether control tokens are written out in a text, wherever in a value.
fn has_control(tokenizer: &Tokenizer, value: &Value) -> candle_core::Result<bool> {
    let any = |values: &mut dyn Iterator<Item = &Value>| {
        for value in values {
            if has_control(tokenizer, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match value {
        Value::String(text) => tokenizer
            .has_control(text)
            .map_err(|_| candle_core::Error::msg("the prompt can't be cut into tokens")),
        Value::Array(entries) => any(&mut entries.iter()),
        Value::Object(fields) => any(&mut fields.values()),
        _ => Ok(false),
    }
}

fn read<T: DeserializeOwned>(request: &ScoreRequest) -> Result<T, RuntimeError> {
    serde_json::from_str(request.request.get())
        .map_err(|error| RuntimeError::invalid_field("request", error.to_string()))
}

struct Reading<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    is_wanted: &'a dyn Fn() -> bool,
    /// The most tokens of each answer that are scored.
    most: Option<usize>,
    most_before: usize,
    /// Whether somebody wrote control tokens into the prompt.
    unusual: bool,
}

impl Reading<'_> {
    fn all(&self, answers: &[GivenAnswer]) -> candle_core::Result<Score> {
        let mut score = Score {
            prompt_tokens: self.plan.prompts.iter().map(|prompt| prompt.tokens.len() as u64).sum(),
            greedy: self.plan.sampling.temperature <= 0.0,
            answers: Vec::with_capacity(answers.len()),
        };
        let choices = self.plan.choices.max(1) as usize;
        for (place, prompt) in self.plan.prompts.iter().enumerate() {
            let mut start = None;
            for (step, tokens) in prompt.tokens.chunks(PREFILL_STEP).enumerate() {
                self.check()?;
                let (model, _) = start.get_or_insert_with(|| (self.engine.weights.clone(), None));
                let logits = forward(model, tokens, step * PREFILL_STEP)?;
                if let Some((_, last)) = &mut start {
                    *last = Some(logits);
                }
            }
            let Some((model, Some(logits))) = start else { continue };
            let echo = prompt.echo.as_deref().unwrap_or_default();
            for answer in answers.iter().skip(place * choices).take(choices) {
                let text = answer.text.strip_prefix(echo).unwrap_or(&answer.text);
                let given = (text, answer.ended);
                score
                    .answers
                    .push(self.one(given, prompt.tokens.len(), model.clone(), logits.clone())?);
            }
        }
        Ok(score)
    }

    fn one(
        &self,
        (text, ended): (&str, bool),
        prompt: usize,
        mut model: ModelWeights,
        mut logits: Tensor,
    ) -> candle_core::Result<AnswerScore> {
        let tokenizer = &self.engine.tokenizer;
        let mut tokens = tokenizer
            .encode_shown(text)
            .map_err(|_| candle_core::Error::msg("the answer can't be cut into tokens"))?;
        let room = self.engine.context.saturating_sub(prompt);
        let counted = tokens.len();
        let mut fits = counted < room;
        tokens.truncate(room.saturating_sub(1));
        let part = part(tokens.len(), self.most, self.most_before);
        fits &= part.end == tokens.len();
        tokens.truncate(part.end);
        let mut sampler = Sampler::new(self.plan.sampling, &self.plan.bias, 0);
        let mut json = self.plan.json.then(Json::new);
        let mut score = AnswerScore {
            from: part.start as u64,
            counted: counted as u64,
            unusual: self.unusual,
            ..AnswerScore::default()
        };
        for (step, before) in tokens[..part.start].chunks(PREFILL_STEP).enumerate() {
            self.check()?;
            for token in before {
                sampler.chose(*token);
                json = json.and_then(|json| json.after(tokenizer.bytes(*token)));
            }
            logits = forward(&mut model, before, prompt + step * PREFILL_STEP)?;
        }
        let repeats = repeats(tokenizer, &tokens);
        for (place, token) in tokens.iter().enumerate().skip(part.start) {
            self.check()?;
            let allowed = json.map(|json| self.engine.allowed(json));
            // What is not allowed at all is as surprising as can be.
            let plain: Vec<f32> = logits.to_vec1()?;
            let (shares, numbers) = sampler.shares(plain.clone(), allowed.as_deref())?;
            let at = *token as usize;
            let (entropy, variance) = spread(&shares);
            // A stretch that repeats itself may have been made of other tokens than it is cut into here.
            let is_sure = !repeats[place];
            let here = if is_sure { surprise(&shares, at) } else { entropy };
            score.surprisal.push(in_milli_nats(here));
            score.entropy.push(in_milli_nats(entropy));
            score.variance.push(in_milli_nats(if is_sure { variance } else { 0.0 }));
            let behind = if is_sure { gap(&numbers, at) } else { 0.0 };
            score.gap.push(in_milli_nats(behind));
            score.plain.push(in_milli_nats(plain_surprise(&plain, at)));
            sampler.chose(*token);
            json = json.and_then(|json| json.after(tokenizer.bytes(*token)));
            logits = forward(&mut model, &[*token], prompt + place)?;
        }
        // A JSON object ends where it is whole: that is no choice of the model.
        if ended && fits && !self.plan.json {
            let (shares, numbers) = sampler.shares(logits.to_vec1()?, None)?;
            let ends = (0..tokenizer.count()).filter(|token| tokenizer.is_end(*token));
            let (mut share, mut least) = (0.0, f64::INFINITY);
            for token in ends {
                share += f64::from(shares.get(token as usize).copied().unwrap_or_default());
                least = least.min(gap(&numbers, token as usize));
            }
            score.end = Some(EndScore {
                surprisal: in_milli_nats(-share.ln()),
                gap: in_milli_nats(least),
            });
        }
        Ok(score)
    }

    fn check(&self) -> candle_core::Result<()> {
        if (self.is_wanted)() {
            Ok(())
        } else {
            Err(candle_core::Error::msg("nobody waits for the score"))
        }
    }
}

/// Which tokens of an answer are scored: all, or so many of them somewhere. The last ones every other time, else anywhere.
fn part(tokens: usize, most: Option<usize>, most_before: usize) -> Range<usize> {
    let most = most.unwrap_or(tokens).min(tokens);
    let latest = (tokens - most).min(most_before);
    let start = if rand::random() {
        latest
    } else {
        rand::random_range(0..=latest)
    };
    start..start + most
}

/// Which tokens are, in part at least, in a stretch of text that repeats itself.
fn repeats(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<bool> {
    let text: Vec<u8> = tokens
        .iter()
        .flat_map(|token| tokenizer.bytes(*token))
        .copied()
        .collect();
    let found = repeated(&text);
    let mut from = 0;
    let of_token = |token: &u32| {
        let end = from + tokenizer.bytes(*token).len();
        let is_repeated = found[from..end].contains(&true);
        from = end;
        is_repeated
    };
    tokens.iter().map(of_token).collect()
}

fn surprise(shares: &[f32], token: usize) -> f64 {
    -shares.get(token).map_or(0.0, |share| f64::from(*share)).ln()
}

/// The entropy of a distribution, and the variance of the surprise.
fn spread(shares: &[f32]) -> (f64, f64) {
    let (mut mean, mut square) = (0.0, 0.0);
    for share in shares.iter().filter(|share| **share > 0.0) {
        let share = f64::from(*share);
        let surprise = -share.ln();
        mean += share * surprise;
        square += share * surprise * surprise;
    }
    (mean, (square - mean * mean).max(0.0))
}

/// How far a token is behind the likeliest.
fn gap(numbers: &[f32], token: usize) -> f64 {
    let highest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    numbers
        .get(token)
        .map_or(f64::INFINITY, |number| f64::from(highest) - f64::from(*number))
}

/// How surprising a token is by the model itself.
fn plain_surprise(numbers: &[f32], token: usize) -> f64 {
    let highest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = numbers.iter().map(|number| f64::from(number - highest).exp()).sum();
    gap(numbers, token) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_answer_some_part_is_scored_and_nobody_knows_which() {
        assert_eq!(part(100, None, 10), 0..100);
        assert_eq!(part(100, Some(200), 10), 0..100);
        assert_eq!(part(0, Some(5), 10), 0..0);
        let mut ends = std::collections::HashSet::new();
        for _ in 0..500 {
            let part = part(100, Some(20), 1_000);
            assert!(part.len() == 20 && part.end <= 100);
            ends.insert(part.end);
        }
        assert!(ends.contains(&100) && ends.len() > 20, "{ends:?}");
        assert!(part(100, Some(20), 30).start <= 30);
    }

    #[test]
    fn an_even_choice_surprises_as_it_should_and_a_sure_one_does_not() {
        let even = [0.25_f32; 4];
        let (entropy, variance) = spread(&even);
        assert!((entropy - 4.0_f64.ln()).abs() < 1e-6 && variance < 1e-6);
        assert!((surprise(&even, 2) - entropy).abs() < 1e-6);
        assert_eq!(spread(&[1.0, 0.0]), (0.0, 0.0));
        assert!(surprise(&even, 9).is_infinite());
        assert!((plain_surprise(&[0.0; 4], 1) - entropy).abs() < 1e-6);
        assert!((gap(&[1.0, 3.0], 0) - 2.0).abs() < 1e-6);
    }
}

//! How likely the model finds an answer of another machine: reads it token by token, as if it had made it itself.

use candle_core::Tensor;
use candle_transformers::models::quantized_llama::ModelWeights;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::score::{AnswerScore, EndScore, GivenAnswer, MAX_SCORED_TEXTS, Score, ScoreRequest, in_milli_nats};
use serde::de::DeserializeOwned;

use super::generate::{PREFILL_STEP, forward};
use super::json::Json;
use super::plan::Plan;
use super::sampling::Sampler;
use super::{Engine, RuntimeError};

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
    let reading = Reading {
        engine,
        plan: &plan,
        is_wanted: &is_wanted,
    };
    reading.all(&request.answers).map_err(|error| {
        tracing::error!(%error, "the embedded engine failed");
        RuntimeError::Failed("the answer could not be scored".to_owned())
    })
}

fn read<T: DeserializeOwned>(request: &ScoreRequest) -> Result<T, RuntimeError> {
    serde_json::from_str(request.request.get())
        .map_err(|error| RuntimeError::invalid_field("request", error.to_string()))
}

struct Reading<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    is_wanted: &'a dyn Fn() -> bool,
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
            .encode_further(text)
            .map_err(|_| candle_core::Error::msg("the answer can't be cut into tokens"))?;
        let room = self.engine.context.saturating_sub(prompt);
        let fits = tokens.len() < room;
        tokens.truncate(room.saturating_sub(1));
        let mut sampler = Sampler::new(self.plan.sampling, &self.plan.bias, 0);
        let mut json = self.plan.json.then(Json::new);
        let mut score = AnswerScore::default();
        for (place, token) in tokens.iter().enumerate() {
            self.check()?;
            let allowed = json.map(|json| self.engine.allowed(json));
            // What is not allowed at all is as surprising as can be.
            let plain: Vec<f32> = logits.to_vec1()?;
            let (shares, numbers) = sampler.shares(plain.clone(), allowed.as_deref())?;
            let at = *token as usize;
            let (entropy, variance) = spread(&shares);
            score.surprisal.push(in_milli_nats(surprise(&shares, at)));
            score.entropy.push(in_milli_nats(entropy));
            score.variance.push(in_milli_nats(variance));
            score.gap.push(in_milli_nats(gap(&numbers, at)));
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

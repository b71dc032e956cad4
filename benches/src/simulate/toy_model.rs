//! A toy language model: what comes next depends on the prompt and the token before. With temperature, log-probabilities, and
//! noise as other hardware makes it.

use resultity_core::score::{AnswerScore, EndScore, in_milli_nats};
use resultity_server::trust::compare::logprobs::Told;

use super::luck::{Luck, mixed, normal};

/// Tokens that there are.
const TOKENS: usize = 96;

/// The token that ends an answer.
const END: usize = 0;

/// How far apart the numbers of tokens are: the entropy at temperature 1 is then about that of a real model, 1 to 2 nats.
const SPREAD: f64 = 3.0;

/// A model on some hardware.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToyModel {
    /// How far its numbers are from those of the true model: 0 for the true one.
    pub(super) smaller_by: f64,
    /// How far hardware and quantisation move each number.
    pub(super) noise: f64,
    /// Which machine: each has noise of its own.
    pub(super) machine: u64,
}

/// How a request wants tokens to be drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// What the prompt is.
    pub(super) prompt: u64,
    /// 0: the likeliest each time.
    pub(super) temperature: f64,
    /// The most tokens.
    pub(super) limit: usize,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub(super) tokens: Vec<usize>,
    /// Whether the model ended it by itself.
    pub(super) ended: bool,
}

impl ToyModel {
    /// The number of each token after this one.
    fn logits(&self, prompt: u64, before: usize) -> [f64; TOKENS] {
        let place = mixed(prompt ^ mixed(before as u64 + 1));
        let mut logits = [0.0; TOKENS];
        for (token, logit) in logits.iter_mut().enumerate() {
            let here = mixed(place.wrapping_add(token as u64));
            *logit = SPREAD * normal(here);
            if self.smaller_by > 0.0 {
                *logit += self.smaller_by * normal(here ^ 0x5ca1_ab1e);
            }
            if self.noise > 0.0 {
                *logit += self.noise * normal(here ^ mixed(self.machine));
            }
        }
        // After a few tokens a text may well end, after the others hardly ever.
        logits[END] += if place.is_multiple_of(8) { 5.0 } else { -9.0 };
        logits
    }

    /// Answers a request.
    pub(super) fn answer(&self, asked: Asked, luck: &mut Luck) -> Text {
        let mut text = Text::default();
        let mut before = TOKENS;
        while text.tokens.len() < asked.limit {
            let logits = self.logits(asked.prompt, before);
            let token = if asked.temperature <= 0.0 {
                likeliest(&logits)
            } else {
                drawn(&log_probabilities(&logits, asked.temperature), luck.share())
            };
            if token == END {
                text.ended = true;
                break;
            }
            text.tokens.push(token);
            before = token;
        }
        text
    }

    /// Says how likely it finds an answer.
    pub(super) fn score(&self, asked: Asked, text: &Text, says_ended: bool) -> AnswerScore {
        let mut score = AnswerScore::default();
        let mut before = TOKENS;
        // At temperature 0 only the gaps count.
        let temperature = if asked.temperature <= 0.0 {
            1.0
        } else {
            asked.temperature
        };
        for token in &text.tokens {
            let logits = self.logits(asked.prompt, before);
            let logs = log_probabilities(&logits, temperature);
            let (mut entropy, mut square) = (0.0, 0.0);
            for log in logs {
                let share = log.exp();
                entropy -= share * log;
                square += share * log * log;
            }
            score.surprisal.push(in_milli_nats(-logs[*token]));
            score.entropy.push(in_milli_nats(entropy));
            score.variance.push(in_milli_nats(square - entropy * entropy));
            score
                .gap
                .push(in_milli_nats(logits[likeliest(&logits)] - logits[*token]));
            score
                .plain
                .push(in_milli_nats(-log_probabilities(&logits, 1.0)[*token]));
            before = *token;
        }
        if says_ended {
            let logits = self.logits(asked.prompt, before);
            score.end = Some(EndScore {
                surprisal: in_milli_nats(-log_probabilities(&logits, temperature)[END]),
                gap: in_milli_nats(logits[likeliest(&logits)] - logits[END]),
            });
        }
        score
    }

    /// The log-probabilities that it tells of an answer.
    pub(super) fn told(&self, asked: Asked, text: &Text) -> Vec<Told> {
        let befores = std::iter::once(TOKENS).chain(text.tokens.iter().copied());
        let told = text.tokens.iter().zip(befores).map(|(token, before)| Told {
            token: token.to_string(),
            logprob: log_probabilities(&self.logits(asked.prompt, before), 1.0)[*token],
            top: Vec::new(),
        });
        told.collect()
    }
}

/// A text of tokens that mean nothing.
pub(super) fn junk(length: u64, luck: &mut Luck) -> Text {
    Text {
        tokens: (0..length).map(|_| 1 + luck.next() as usize % (TOKENS - 1)).collect(),
        ended: true,
    }
}

fn log_probabilities(logits: &[f64; TOKENS], temperature: f64) -> [f64; TOKENS] {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let below = logits.map(|logit| (logit - highest) / temperature);
    let sum: f64 = below.iter().map(|log| log.exp()).sum();
    let all = sum.ln();
    below.map(|log| log - all)
}

fn likeliest(logits: &[f64; TOKENS]) -> usize {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best
}

fn drawn(logs: &[f64; TOKENS], point: f64) -> usize {
    let mut sum = 0.0;
    for (token, log) in logs.iter().enumerate() {
        sum += log.exp();
        if sum > point {
            return token;
        }
    }
    TOKENS - 1
}

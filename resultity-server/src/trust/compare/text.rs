//! A text, scored by a trusted node ([`Score`]).
//!
//! For an honest answer the surprise of each token is, on average, the entropy of the distribution that it was drawn from, so
//! `z = Σ(surprisal − entropy) / √Σ variance` is about normal with mean 0. Junk, an answer to another request and the tokens of a
//! smaller model surprise more than they should; a text made colder than was asked for surprises too little. At temperature 0
//! honest tokens are the likeliest ones, but for near ties.

use resultity_core::score::{AnswerScore, EndScore, Score};

use super::density::{calibrated, normal, student};
use crate::trust::evidence::{Aspect, Finding};

/// How much an honest token may surprise more or less than it should, in thousandths of a nat, at temperatures near 1: other hardware
/// and quantisation.
const DRIFT: u32 = 20;

/// The same at a temperature, which divides what sets machines apart; what that does to the surprise goes with its square.
pub fn drift_at(temperature: f64) -> u32 {
    let grown = 10.0 / (temperature * temperature).max(0.001);
    DRIFT.max(grown as u32)
}

/// How much less it may surprise: engines leave out what is unlikely (the 40 likeliest, those with a twentieth of the likeliest one's
/// share) where nothing in a request can tell them not to.
const CUT_OFF: f64 = 0.25;

/// What is added to the variance of a text, in nats squared: a few tokens of a sure model say little.
const LEAST_VARIANCE: f64 = 4.0;

/// The most that one token counts for, in nats.
const MOST_SURPRISE: f64 = 12.0;

/// Within this many nats two tokens are tied, so that another machine may well choose the other one.
const TIE: f64 = 0.5;

/// How often an honest token at temperature 0 is not tied with the likeliest.
const HONEST_MISSES: f64 = 0.02;

/// What a node says of its answer, beside the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of all choices.
    pub completion_tokens: u64,
    /// The most tokens that each choice may have.
    pub limit: u64,
    /// How many choices are said to have ended because of that limit.
    pub at_limit: u32,
    /// Whether the request names texts that end the answer: what was cut off there can't be counted.
    pub has_stops: bool,
    /// Whether more was counted than could be read, such as what a model thinks, or the rest of a very long text.
    pub has_hidden: bool,
    /// Whether more tokens are claimed than the request allows, whatever came.
    pub is_outlier: bool,
    /// How much an honest token may surprise more or less than it should, in thousandths of a nat ([`drift_at`]).
    pub drift: u32,
    /// Whether engines are known to draw the tokens of such a request alike, so that their likelihood says something.
    pub is_calibrated: bool,
    /// Whether what came is of a kind that was not asked for: calls of functions without functions, nothing at all for an odd reason.
    pub is_odd: bool,
}

/// What the score of an answer says of the node that gave it. Nothing if the score is none of this answer.
pub fn findings(score: &Score, claim: &Claim) -> Vec<Finding> {
    if score.answers.is_empty() || !score.answers.iter().all(AnswerScore::is_even) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let tokens: u64 = score.answers.iter().map(AnswerScore::counted).sum();
    if score.answers.iter().any(|answer| answer.tokens() > 0) && claim.is_calibrated {
        findings.push(if score.greedy {
            likeliest(&score.answers)
        } else {
            drawn(&score.answers, f64::from(claim.drift) / 1000.0)
        });
    }
    if !claim.has_stops && claim.is_calibrated {
        findings.extend(ends(score));
    }
    findings.push(token_count(score, claim, tokens));
    // An engine may hold back what may yet become a text that ends the answer, and lose it at the limit.
    if !claim.has_hidden && !claim.has_stops {
        findings.extend(length(score, claim, tokens));
    }
    findings.push(form(claim.is_odd));
    findings
}

/// Whether an answer is of a kind that was asked for. What is not can't be read again, so it must not be a way around that.
pub fn form(is_odd: bool) -> Finding {
    Finding::of_event(Aspect::Form, is_odd, 0.005, 0.9)
}

/// Whether the tokens surprise as much as drawn ones do.
fn drawn(answers: &[AnswerScore], drift: f64) -> Finding {
    let (mut excess, mut variance, mut tokens) = (0.0, LEAST_VARIANCE, 0.0);
    for answer in answers {
        for ((surprisal, entropy), spread) in answer.surprisal.iter().zip(&answer.entropy).zip(&answer.variance) {
            excess += nats(*surprisal).min(MOST_SURPRISE) - nats(*entropy);
            variance += nats(*spread);
            tokens += 1.0;
        }
    }
    let drift = if excess < 0.0 { drift.max(CUT_OFF) } else { drift };
    let beyond = excess.signum() * (excess.abs() - drift * tokens).max(0.0);
    let z = beyond / f64::sqrt(variance);
    Finding::new(Aspect::Text, e_value_of(z))
}

/// How much likelier this `z` is for a node that cheats: a smaller model (2 to 5), junk (anything above), one that draws
/// colder than it should (below 0).
fn e_value_of(z: f64) -> f64 {
    let cheating = 0.3 * normal(z, 2.0, 1.0)
        + 0.25 * normal(z, 4.0, 1.5)
        + 0.35 * normal(z, 0.0, 15.0)
        + 0.1 * normal(z, -3.0, 1.5);
    // Far beyond what the densities can tell apart.
    if z > 30.0 {
        return f64::INFINITY;
    }
    cheating / student(z, 1.2)
}

/// Whether the tokens are the likeliest ones. Against the share that honest tokens miss stands any share, small ones first.
fn likeliest(answers: &[AnswerScore]) -> Finding {
    let gaps = answers.iter().flat_map(|answer| &answer.gap);
    let (mut missed, mut tokens) = (0_u32, 0_u32);
    for gap in gaps {
        tokens += 1;
        missed += u32::from(nats(*gap) > TIE);
    }
    // Beta(1, 3) against a fixed share; the number of ways cancels out.
    let (hits, misses) = (f64::from(tokens - missed), f64::from(missed));
    let cheating = ln_beta(1.0 + misses, 3.0 + hits) - ln_beta(1.0, 3.0);
    let honest = misses * HONEST_MISSES.ln() + hits * (1.0 - HONEST_MISSES).ln();
    Finding::new(Aspect::Text, (cheating - honest).exp())
}

/// Whether the answers ended where the model may well have ended them.
fn ends(score: &Score) -> Option<Finding> {
    let ends = score
        .answers
        .iter()
        .filter_map(|answer| Some((answer.end?, answer.counted())));
    let e_values: Vec<f64> = ends
        .map(|(end, tokens)| e_value_of_end(end, tokens, score.greedy))
        .collect();
    if e_values.is_empty() {
        return None;
    }
    let average = e_values.iter().sum::<f64>() / e_values.len() as f64;
    Some(Finding::new(Aspect::End, average))
}

fn e_value_of_end(end: EndScore, tokens: u64, greedy: bool) -> f64 {
    if greedy {
        let missed = nats(end.gap) > TIE;
        return if missed {
            0.9 / HONEST_MISSES
        } else {
            0.1 / (1.0 - HONEST_MISSES)
        };
    }
    // At each of the places so far it ended with at most this probability where the end was that unlikely.
    let places = tokens as f64 + 1.0;
    calibrated((-nats(end.surprisal)).exp() * places)
}

/// A text can be cut into tokens in more than one way, and ends are tokens too.
fn room(counted: u64, choices: u64) -> u64 {
    counted.saturating_add(counted / 10).saturating_add(4 * choices)
}

impl Claim {
    /// The most tokens that a text has which was cut into so many. What a request does to the tokens, such as a grammar, a penalty or
    /// a high temperature, may well lead to others than a tokenizer makes of their text.
    fn room(&self, counted: u64, choices: u64) -> u64 {
        if self.is_calibrated {
            return room(counted, choices);
        }
        counted.saturating_mul(2).saturating_add(8 * choices)
    }
}

/// Whether a text has clearly more tokens than its request allows, however it was cut.
pub const fn is_beyond(limit: u64, counted: u64) -> bool {
    counted > limit.saturating_mul(2).saturating_add(16)
}

/// Whether there are as many tokens as is said.
fn token_count(score: &Score, claim: &Claim, tokens: u64) -> Finding {
    let choices = score.answers.len() as u64;
    let is_uncounted = claim.has_stops || claim.has_hidden;
    let is_inflated = claim.is_outlier
        || claim.completion_tokens > claim.room(tokens, choices) && !is_uncounted
        || claim.prompt_tokens > room(score.prompt_tokens, choices);
    Finding::of_event(Aspect::TokenCount, is_inflated, 0.005, 0.9)
}

/// Whether a prompt, or so many texts together, has as many tokens as is said.
pub fn prompt_count(claimed: u64, counted: u64, texts: u64) -> Finding {
    Finding::of_event(Aspect::TokenCount, claimed > room(counted, texts), 0.005, 0.9)
}

/// Whether answers that are said to be as long as they may be are that long.
fn length(score: &Score, claim: &Claim, tokens: u64) -> Option<Finding> {
    let choices = score.answers.len() as u64;
    (claim.at_limit > 0 && u64::from(claim.at_limit) == choices).then(|| {
        let due = claim.limit.saturating_mul(choices);
        let is_short = claim.room(tokens, choices) < due.min(claim.completion_tokens.max(1).saturating_mul(2));
        Finding::of_event(Aspect::Length, is_short, 0.005, 0.9)
    })
}

fn nats(thousandths: u32) -> f64 {
    f64::from(thousandths) / 1000.0
}

/// The logarithm of Euler's beta function for a small first or second argument that is a whole number plus 1 or 3.
fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The logarithm of the gamma function for arguments of 1 and more (Stirling's series).
fn ln_gamma(x: f64) -> f64 {
    if x < 8.0 {
        return ln_gamma(x + 1.0) - x.ln();
    }
    let inverse = 1.0 / x;
    let series = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1260.0;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;

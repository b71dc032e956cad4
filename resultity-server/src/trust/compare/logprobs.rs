//! Log-probabilities: what a node says of its tokens, beside what another one says, as long as the texts are the same.

use super::density::normal;
use crate::trust::evidence::{Aspect, Finding};

/// The usual difference between two honest machines, in nats, and how many times more or less it may be (as a logarithm).
const HONEST: (f64, f64) = (0.03, 1.2);

/// The same for machines with different models.
const CHEATING: (f64, f64) = (1.0, 1.0);

/// Below this many nats a difference is none.
const SAME: f64 = 0.001;

/// Within this many nats of each other two tokens are tied, so that machines may well choose differently.
const TIE: f64 = 0.7;

/// Fewer tokens than this say nothing.
const FEWEST: usize = 4;

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its text.
    pub token: String,
    /// Its log-probability by the model itself, in nats.
    pub logprob: f64,
    /// The likeliest tokens in its place.
    pub top: Vec<(String, f64)>,
}

/// What a node told of its tokens, beside how surprising a trusted node finds the same ones (thousandths of a nat at temperature 1).
pub fn against_score(told: &[Told], plain: &[u32]) -> Option<Finding> {
    // Cut into other tokens: nothing to compare.
    if told.len() != plain.len() {
        return None;
    }
    let pairs = told.iter().zip(plain);
    let differences = pairs.map(|(told, plain)| (told.logprob + f64::from(*plain) / 1000.0).abs());
    Some(Finding::new(Aspect::Logprobs, e_value(differences.collect())?))
}

/// What two nodes told of their answers to one request at temperature 0. Where their texts part, the two tokens have to be tied.
pub fn of_two(one: &[Told], other: &[Told]) -> Option<Finding> {
    let same = one
        .iter()
        .zip(other)
        .take_while(|(left, right)| left.token == right.token)
        .count();
    let mut differences = Vec::new();
    for (left, right) in one.iter().zip(other).take(same + 1) {
        if left.token == right.token {
            differences.push((left.logprob - right.logprob).abs());
        }
        for (token, logprob) in &left.top {
            let found = right.top.iter().find(|(name, _)| name == token);
            differences.extend(found.map(|(_, there)| (logprob - there).abs()));
        }
    }
    let parting = one.get(same).zip(other.get(same));
    let is_tied = parting.is_none_or(|(left, right)| tied(left, &right.token) && tied(right, &left.token));
    let e_value = e_value(differences);
    let parted = if is_tied { 0.3 / 0.98 } else { 0.7 / 0.02 };
    // Averaged: both are e-values.
    Some(Finding::new(Aspect::Agreement, f64::midpoint(e_value?, parted)))
}

/// Whether a token is about as likely as the one that was chosen.
fn tied(chosen: &Told, token: &str) -> bool {
    let found = chosen.top.iter().find(|(name, _)| name == token);
    found.is_some_and(|(_, logprob)| chosen.logprob - logprob < TIE)
}

/// By the difference in the middle: a few far out ones happen.
fn e_value(mut differences: Vec<f64>) -> Option<f64> {
    if differences.len() < FEWEST || differences.iter().any(|difference| difference.is_nan()) {
        return None;
    }
    differences.sort_unstable_by(f64::total_cmp);
    let middle = differences[differences.len() / 2].clamp(SAME, 1e6).ln();
    let density = |(usual, times): (f64, f64)| normal(middle, usual.ln(), times);
    Some(density(CHEATING) / density(HONEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::evidence::MilliNats;
    use proptest::prelude::*;
    use rstest::rstest;

    fn told(tokens: &[(&str, f64)]) -> Vec<Told> {
        let told = tokens.iter().map(|(token, logprob)| Told {
            token: (*token).to_owned(),
            logprob: *logprob,
            top: vec![((*token).to_owned(), *logprob), ("other".to_owned(), logprob - 0.3)],
        });
        told.collect()
    }

    #[rstest]
    #[case::other_hardware(&[-0.50, -1.01, -0.11, -2.02, -0.3], false)]
    #[case::other_quantisation(&[-0.6, -0.9, -0.15, -2.2, -0.4], false)]
    #[case::another_model(&[-1.9, -0.1, -1.4, -0.4, -2.0], true)]
    #[case::made_up(&[0.0, 0.0, 0.0, 0.0, 0.0], true)]
    fn what_is_told_has_to_be_near_what_the_model_says(#[case] logprobs: &[f64], #[case] speaks_against: bool) {
        let tokens: Vec<(&str, f64)> = logprobs.iter().map(|logprob| ("t", *logprob)).collect();
        let finding = against_score(&told(&tokens), &[500, 1_000, 100, 2_000, 300]).unwrap();
        assert_eq!(finding.weight > MilliNats::ZERO, speaks_against, "{finding:?}");
        assert_eq!(against_score(&told(&tokens), &[500]), None);
    }

    #[rstest]
    #[case::the_same(&[("a", -0.1), ("b", -0.2), ("c", -0.3)], false)]
    #[case::parted_at_a_tie(&[("a", -0.1), ("b", -0.2), ("other", -0.4)], false)]
    #[case::parted_for_no_reason(&[("a", -0.1), ("b", -0.2), ("x", -0.3)], true)]
    #[case::another_model(&[("a", -1.9), ("b", -3.0), ("c", -2.2)], true)]
    fn two_nodes_agree_or_part_at_a_tie(#[case] there: &[(&str, f64)], #[case] speaks_against: bool) {
        let here = told(&[("a", -0.1), ("b", -0.21), ("c", -0.32)]);
        let mut there = told(there);
        if there[2].token == "other" {
            there[2].top = vec![("other".to_owned(), -0.4), ("c".to_owned(), -0.5)];
        }
        let finding = of_two(&here, &there).unwrap();
        assert_eq!(finding.weight > MilliNats::ZERO, speaks_against, "{finding:?}");
    }

    proptest! {
        #[test]
        fn honest_differences_give_an_e_value_below_one(scale in 0.2_f64..1.0) {
            // The difference in the middle, log-normal as assumed or narrower.
            let steps = (-8_000..8_000).map(|step| f64::from(step) / 1_000.0);
            let average: f64 = steps.map(|x| {
                let difference = (HONEST.0.ln() + x).exp();
                e_value(vec![difference; FEWEST]).unwrap_or_default() * normal(x, 0.0, HONEST.1 * scale) / 1_000.0
            }).sum();
            prop_assert!(average <= 1.01, "{}", average);
        }
    }
}

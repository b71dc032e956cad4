//! Embeddings: the angle between a node's vector and a trusted node's.

use super::density::normal;
use crate::trust::evidence::{Aspect, Finding};

/// The usual distance (1 − cosine) between honest machines, and how many times more or less it may be (as a logarithm).
const HONEST: (f64, f64) = (0.001, 2.0);

/// The same for another model, or for texts that were not embedded.
const CHEATING: (f64, f64) = (0.5, 1.0);

/// Below this a distance is none.
const SAME: f64 = 1e-7;

/// What the vectors of an answer say beside those of a trusted node. None if there is nothing to compare them with.
pub fn finding(told: &[Vec<f32>], trusted: &[Vec<f32>]) -> Option<Finding> {
    if trusted.is_empty() || told.is_empty() {
        return None;
    }
    if told.len() != trusted.len() {
        return Some(Finding::new(Aspect::Embedding, f64::INFINITY));
    }
    let pairs = told.iter().zip(trusted);
    // Of a text that the trusted node itself finds nothing in, nothing can be said.
    let pairs = pairs.filter(|(_, right)| distance(right, right).is_some());
    let e_values: Vec<f64> = pairs
        .map(|(one, right)| distance(one, right).map_or(f64::INFINITY, e_value))
        .collect();
    if e_values.is_empty() {
        return None;
    }
    // The average is an e-value, however many texts there are and however they depend on each other: a cheat may embed some of them
    // only, and not even one is forgiven.
    let average = e_values.iter().sum::<f64>() / e_values.len() as f64;
    Some(Finding::new(Aspect::Embedding, average))
}

fn e_value(distance: f64) -> f64 {
    let log = distance.clamp(SAME, 2.0).ln();
    let density = |(usual, times): (f64, f64)| normal(log, usual.ln(), times);
    density(CHEATING) / density(HONEST)
}

/// 1 − cosine. None if the vectors can't be compared: of other lengths, all zero, or with what is no number.
fn distance(one: &[f32], other: &[f32]) -> Option<f64> {
    if one.len() != other.len() {
        return None;
    }
    let product = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = (product(one, one) * product(other, other)).sqrt();
    let cosine = product(one, other) / lengths;
    cosine.is_finite().then_some(1.0 - cosine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::evidence::MilliNats;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::the_same(vec![0.6, 0.8, 0.0], false)]
    #[case::other_hardware(vec![0.601, 0.799, 0.002], false)]
    #[case::quantised(vec![0.62, 0.78, 0.05], false)]
    #[case::another_text(vec![0.1, 0.2, 0.97], true)]
    #[case::the_opposite(vec![-0.6, -0.8, 0.0], true)]
    #[case::nothing(vec![0.0, 0.0, 0.0], true)]
    #[case::of_another_model(vec![0.6, 0.8], true)]
    fn the_angle_tells(#[case] told: Vec<f32>, #[case] speaks_against: bool) {
        let finding = finding(&[told], &[vec![0.6, 0.8, 0.0]]).unwrap();
        assert_eq!(finding.weight > MilliNats::ZERO, speaks_against, "{finding:?}");
    }

    #[test]
    fn a_vector_that_is_missing_speaks_against_a_node_and_no_vectors_say_nothing() {
        let vector = vec![1.0_f32, 0.0];
        let found = finding(std::slice::from_ref(&vector), &[vector.clone(), vector.clone()]).unwrap();
        assert_eq!(found.weight, MilliNats::MOST);
        assert_eq!(finding(&[], &[]), None);
    }

    #[rstest]
    #[case::one_of_two(2, 1, true)]
    #[case::one_of_three(3, 1, true)]
    #[case::one_of_twenty(20, 1, true)]
    #[case::half(40, 20, true)]
    #[case::none_of_many(40, 0, false)]
    fn junk_among_right_vectors_is_found(#[case] texts: usize, #[case] junk: usize, #[case] speaks_against: bool) {
        let right = vec![vec![0.6_f32, 0.8, 0.0]; texts];
        let mut told = vec![vec![0.601_f32, 0.799, 0.002]; texts];
        told[..junk].fill(vec![0.1, 0.2, 0.97]);
        let finding = finding(&told, &right).unwrap();
        assert_eq!(finding.weight > MilliNats::ZERO, speaks_against, "{finding:?}");
    }

    #[test]
    fn a_text_without_a_vector_says_nothing() {
        let (right, none) = (vec![0.6_f32, 0.8], vec![0.0_f32, 0.0]);
        assert_eq!(finding(std::slice::from_ref(&right), std::slice::from_ref(&none)), None);
        let found = finding(&[right.clone(), right.clone()], &[right.clone(), none]).unwrap();
        assert!(found.weight < MilliNats::ZERO, "{found:?}");
    }

    #[test]
    fn honest_distances_give_an_e_value_below_one() {
        let steps = (-10_000..10_000).map(|step| f64::from(step) / 1_000.0);
        let average: f64 = steps
            .map(|x| e_value((HONEST.0.ln() + x).exp()) * normal(x, 0.0, HONEST.1) / 1_000.0)
            .sum();
        assert!(average <= 1.01, "{average}");
    }

    proptest! {
        #[test]
        fn no_vectors_make_it_fail(one in proptest::collection::vec(any::<f32>(), 0..6), other in proptest::collection::vec(any::<f32>(), 0..6)) {
            if let Some(found) = finding(&[one], &[other]) {
                prop_assert!((MilliNats::LEAST..=MilliNats::MOST).contains(&found.weight));
            }
        }
    }
}

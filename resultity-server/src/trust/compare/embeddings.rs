//! Embeddings: the angle between a node's vector and a trusted node's.

use super::density::normal;
use crate::trust::evidence::{Aspect, Finding};

/// The usual distance (1 − cosine) between honest machines, and how many times more or less it may be (as a logarithm).
const HONEST: (f64, f64) = (0.001, 2.0);

/// The same for another model, or for texts that were not embedded.
const CHEATING: (f64, f64) = (0.5, 1.0);

/// Below this a distance is none.
const SAME: f64 = 1e-7;

/// What the vectors of an answer say beside those of a trusted node. None if there are none of either.
pub fn finding(told: &[Vec<f32>], trusted: &[Vec<f32>]) -> Option<Finding> {
    if trusted.is_empty() || told.is_empty() {
        return None;
    }
    if told.len() != trusted.len() {
        return Some(Finding::new(Aspect::Embedding, f64::INFINITY));
    }
    let distances: Option<Vec<f64>> = told
        .iter()
        .zip(trusted)
        .map(|(one, other)| distance(one, other))
        .collect();
    let Some(mut distances) = distances else {
        return Some(Finding::new(Aspect::Embedding, f64::INFINITY));
    };
    distances.sort_unstable_by(f64::total_cmp);
    // The farthest but for one in twenty: a cheat may embed some texts only.
    let far = distances[(distances.len() - 1) * 19 / 20].clamp(SAME, 2.0).ln();
    let density = |(usual, times): (f64, f64)| normal(far, usual.ln(), times);
    Some(Finding::new(Aspect::Embedding, density(CHEATING) / density(HONEST)))
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

    proptest! {
        #[test]
        fn no_vectors_make_it_fail(one in proptest::collection::vec(any::<f32>(), 0..6), other in proptest::collection::vec(any::<f32>(), 0..6)) {
            let found = finding(&[one], &[other]).unwrap();
            prop_assert!((MilliNats::LEAST..=MilliNats::MOST).contains(&found.weight));
        }
    }
}

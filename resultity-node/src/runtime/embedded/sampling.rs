//! Which token comes next.

use std::collections::HashMap;

use candle_core::{D, Tensor};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Within this many nats of each other tokens are tied, so that another machine may well prefer the other one.
const TIE: f32 = 0.5;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    /// 0: always the likeliest.
    pub(super) temperature: f64,
    pub(super) top_p: f64,
    pub(super) presence_penalty: f64,
    pub(super) frequency_penalty: f64,
}

/// Chooses the tokens of one choice.
pub(super) struct Sampler<'a> {
    sampling: Sampling,
    /// What is added to the numbers of these tokens.
    bias: &'a [(u32, f32)],
    random: StdRng,
    /// How often each token was chosen; kept only where there is a penalty.
    chosen: HashMap<u32, u32>,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(sampling: Sampling, bias: &'a [(u32, f32)], seed: u64) -> Self {
        Self {
            sampling,
            bias,
            random: StdRng::seed_from_u64(seed),
            chosen: HashMap::new(),
        }
    }

    /// The next token, given one number for each, and which may come if not all.
    pub(super) fn sample(&mut self, logits: &Tensor, allowed: Option<&[bool]>) -> candle_core::Result<u32> {
        let Sampling {
            temperature,
            presence_penalty,
            frequency_penalty,
            ..
        } = self.sampling;
        let penalised = presence_penalty != 0.0 || frequency_penalty != 0.0;
        if temperature <= 0.0 && !penalised && self.bias.is_empty() && allowed.is_none() {
            return logits.argmax(D::Minus1)?.to_scalar::<u32>();
        }
        let logits = self.adjusted(logits.to_vec1()?, allowed)?;
        let token = if temperature <= 0.0 {
            likeliest(&logits)
        } else {
            self.draw(&logits)
        };
        self.chose(token);
        Ok(token)
    }

    /// How likely each token is to be drawn next, given one number for each, and which may come if not all: temperature 0 counts
    /// as 1. Says also the numbers after penalties, biases and masks.
    pub(super) fn shares(
        &self,
        logits: Vec<f32>,
        allowed: Option<&[bool]>,
    ) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let logits = self.adjusted(logits, allowed)?;
        let temperature = self.sampling.temperature;
        let scale = if temperature <= 0.0 {
            1.0
        } else {
            1.0 / temperature as f32
        };
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut shares: Vec<f32> = logits.iter().map(|logit| ((logit - highest) * scale).exp()).collect();
        let total: f64 = shares.iter().map(|share| f64::from(*share)).sum();
        if temperature > 0.0 && self.sampling.top_p < 1.0 {
            let kept = nucleus(&shares, self.sampling.top_p * total);
            // On other hardware the nucleus may hold others that are about as likely: they count as kept. What is farther outside keeps
            // a hundredth.
            let lightest = kept.last().map_or(0.0, |(share, _)| *share) * (-TIE * scale).exp();
            let is_kept = |share: f32| share >= lightest;
            let kept = shares.iter().filter(|share| is_kept(**share));
            let light: f64 = kept.map(|share| f64::from(*share)).sum();
            for share in &mut shares {
                let heavy = if is_kept(*share) { 0.99 / light } else { 0.0 };
                *share = (f64::from(*share) * (0.01 / total + heavy)) as f32;
            }
        } else {
            let whole = |share: &mut f32| *share = (f64::from(*share) / total) as f32;
            shares.iter_mut().for_each(whole);
        }
        Ok((shares, logits))
    }

    /// A token has come: penalties count it.
    pub(super) fn chose(&mut self, token: u32) {
        if self.sampling.presence_penalty != 0.0 || self.sampling.frequency_penalty != 0.0 {
            *self.chosen.entry(token).or_default() += 1;
        }
    }

    /// The numbers after penalties, biases and masks.
    fn adjusted(&self, mut logits: Vec<f32>, allowed: Option<&[bool]>) -> candle_core::Result<Vec<f32>> {
        let Sampling {
            presence_penalty,
            frequency_penalty,
            ..
        } = self.sampling;
        for (token, times) in &self.chosen {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit -= (presence_penalty + frequency_penalty * f64::from(*times)) as f32;
            }
        }
        for (token, bias) in self.bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        if let Some(allowed) = allowed {
            for (logit, allowed) in logits.iter_mut().zip(allowed.iter().chain(std::iter::repeat(&false))) {
                if !allowed {
                    *logit = f32::NEG_INFINITY;
                }
            }
            if logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
                return Err(candle_core::Error::msg("no token may come next"));
            }
        }
        Ok(logits)
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = 1.0 / self.sampling.temperature as f32;
        let weights: Vec<f32> = logits.iter().map(|logit| ((logit - highest) * scale).exp()).collect();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        if self.sampling.top_p >= 1.0 {
            return pick(weights.iter().copied().zip(0..), self.random.random::<f64>() * total).unwrap_or(0);
        }
        let nucleus = nucleus(&weights, self.sampling.top_p * total);
        let total: f64 = nucleus.iter().map(|(weight, _)| f64::from(*weight)).sum();
        pick(nucleus.into_iter(), self.random.random::<f64>() * total).unwrap_or(0)
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// The fewest likeliest tokens that weigh `share` together; at least one.
fn nucleus(weights: &[f32], share: f64) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = weights.iter().copied().zip(0..).collect();
    // Sorting all is slow, and few are needed: sort more only if those are too light.
    let mut sorted = 64;
    loop {
        if sorted < all.len() {
            all.select_nth_unstable_by(sorted, heavier_first);
        }
        let end = sorted.min(all.len());
        all[..end].sort_unstable_by(heavier_first);
        let mut sum = 0.0;
        for (index, (weight, _)) in all[..end].iter().enumerate() {
            sum += f64::from(*weight);
            if sum >= share {
                all.truncate(index + 1);
                return all;
            }
        }
        if end == all.len() {
            return all;
        }
        sorted *= 8;
    }
}

/// By weight, and by token where that is equal, so that the order is always the same.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "sorting gives references")]
fn heavier_first(left: &(f32, u32), right: &(f32, u32)) -> std::cmp::Ordering {
    right.0.total_cmp(&left.0).then(left.1.cmp(&right.1))
}

/// The one in whose part of the sum `point` lies; the last that weighs anything if rounding leaves none.
fn pick(weights: impl Iterator<Item = (f32, u32)>, point: f64) -> Option<u32> {
    let mut sum = 0.0;
    let mut last = None;
    for (weight, token) in weights.filter(|(weight, _)| *weight > 0.0) {
        sum += f64::from(weight);
        last = Some(token);
        if sum > point {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use proptest::prelude::*;

    const PLAIN: Sampling = Sampling {
        temperature: 1.0,
        top_p: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };

    fn draws(sampling: Sampling, seed: u64, logits: &[f32], count: usize) -> Vec<u32> {
        let logits = Tensor::new(logits, &Device::Cpu).unwrap();
        let mut sampler = Sampler::new(sampling, &[], seed);
        (0..count).map(|_| sampler.sample(&logits, None).unwrap()).collect()
    }

    #[test]
    fn at_temperature_0_the_likeliest_comes() {
        assert_eq!(
            draws(
                Sampling {
                    temperature: 0.0,
                    ..PLAIN
                },
                1,
                &[0.1, 3.0, 2.9],
                3
            ),
            [1, 1, 1]
        );
    }

    #[test]
    fn a_penalty_makes_what_was_there_less_likely() {
        let sampling = Sampling {
            temperature: 0.0,
            presence_penalty: 0.5,
            ..PLAIN
        };
        assert_eq!(draws(sampling, 1, &[0.0, 3.0, 2.9], 3), [1, 2, 1]);
        let sampling = Sampling {
            temperature: 0.0,
            frequency_penalty: 1.0,
            ..PLAIN
        };
        assert_eq!(draws(sampling, 1, &[0.0, 3.0, 1.5], 4), [1, 1, 2, 1]);
    }

    #[test]
    fn a_bias_moves_tokens_and_a_mask_keeps_them_out() {
        let logits = Tensor::new(&[0.0f32, 3.0, 2.9], &Device::Cpu).unwrap();
        let greedy = Sampling {
            temperature: 0.0,
            ..PLAIN
        };
        let mut biased = Sampler::new(greedy, &[(0, 100.0), (7, 1.0)], 1);
        assert_eq!(biased.sample(&logits, None).unwrap(), 0);
        for sampling in [greedy, PLAIN] {
            let mut sampler = Sampler::new(sampling, &[(1, 100.0)], 1);
            for _ in 0..50 {
                assert_eq!(sampler.sample(&logits, Some(&[false, false, true])).unwrap(), 2);
            }
            assert!(sampler.sample(&logits, Some(&[false])).is_err());
        }
    }

    #[test]
    fn what_another_machine_may_have_in_its_nucleus_is_no_surprise() {
        let sampling = Sampling { top_p: 0.1, ..PLAIN };
        let sampler = Sampler::new(sampling, &[], 1);
        let (shares, _) = sampler.shares(vec![1.0, 0.95, 0.6, -3.0], None).unwrap();
        assert!(
            shares[..3].iter().all(|share| *share > 0.2) && shares[3] < 0.01,
            "{shares:?}"
        );
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
        let far = sampler.shares(vec![1.0, 0.0, 0.0], None).unwrap().0;
        assert!(far[0] > 0.99 && far[1] < 0.01, "{far:?}");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_all_that_is_likely_comes() {
        let logits = [1.0, 1.1, 0.9, -40.0];
        let drawn = draws(PLAIN, 7, &logits, 200);
        assert_eq!(drawn, draws(PLAIN, 7, &logits, 200));
        assert_ne!(drawn, draws(PLAIN, 8, &logits, 200));
        assert!([0, 1, 2].iter().all(|token| drawn.contains(token)) && !drawn.contains(&3));
    }

    proptest! {
        #[test]
        fn a_nucleus_is_the_fewest_that_are_heavy_enough(
            weights in prop::collection::vec(0.0f32..1.0, 1..600),
            top_p in 0.0f64..1.0,
        ) {
            let share = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>() * top_p;
            let nucleus = nucleus(&weights, share);
            let sum = |part: &[(f32, u32)]| part.iter().map(|(weight, _)| f64::from(*weight)).sum::<f64>();
            prop_assert!(!nucleus.is_empty());
            prop_assert!(sum(&nucleus) >= share || nucleus.len() == weights.len());
            prop_assert!(nucleus.len() == 1 || sum(&nucleus[..nucleus.len() - 1]) < share);
            let lightest = nucleus.last().map_or(0.0, |(weight, _)| *weight);
            prop_assert!(weights.iter().filter(|weight| **weight > lightest).count() < nucleus.len());
        }
    }
}

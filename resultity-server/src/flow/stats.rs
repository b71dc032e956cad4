//! What was done lately: counts of the last hour by seconds, and how long answers took in the last minute. In memory, and
//! cheap enough for every job.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::Timestamp;

/// Seconds that are remembered.
const HOUR: usize = 3600;

/// Seconds over which rates and times are told.
const MINUTE: i64 = 60;

/// Classes of times: four for each doubling, from [`SHORTEST`] on; the last one is for all that took longer.
const CLASSES: usize = 96;

/// What is below this is told as this: microseconds.
const SHORTEST: f64 = 100.0;

/// What ended in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    /// Which second since the Unix epoch.
    at: i64,
    answered: u32,
    failed: u32,
    tokens: u64,
    took: Duration,
}

/// How long the answers of one second took.
#[derive(Debug, Clone, Copy)]
struct Times {
    at: i64,
    counts: [u32; CLASSES],
}

#[derive(Debug)]
struct State {
    seconds: Box<[Second]>,
    times: Box<[Times]>,
}

/// What was done lately.
#[derive(Debug)]
pub struct Stats {
    state: Mutex<State>,
}

impl Default for Stats {
    fn default() -> Self {
        let empty = Times {
            at: 0,
            counts: [0; CLASSES],
        };
        Self {
            state: Mutex::new(State {
                seconds: vec![Second::default(); HOUR].into(),
                times: vec![empty; MINUTE as usize].into(),
            }),
        }
    }
}

/// What was done lately, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lately {
    /// Jobs that ended in the last minute, for each second.
    pub per_second: f64,
    /// Tokens of the last minute, for each second.
    pub tokens_per_second: f64,
    /// Jobs that ended in the last hour.
    pub last_hour: u64,
    /// Of them, those that were answered.
    pub answered: u64,
    /// How long the answers of the last minute took: milliseconds, the mean.
    pub mean_ms: f64,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// 95 of 100 took at most this.
    pub p95_ms: f64,
}

impl Stats {
    /// A job was answered.
    pub fn answered(&self, now: Timestamp, took: Duration, tokens: u64) {
        let at = now.as_seconds();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = state.second(at);
        second.answered += 1;
        second.tokens += tokens;
        second.took += took;
        state.times(at).counts[class(took)] += 1;
    }

    /// A job ended without an answer.
    pub fn failed(&self, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.second(now.as_seconds()).failed += 1;
    }

    /// What was done up to now. The second that has just begun does not count.
    pub fn lately(&self, now: Timestamp) -> Lately {
        let now = now.as_seconds();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lately = Lately::default();
        let (mut ended, mut tokens, mut answered, mut took) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
        for second in &state.seconds {
            if !(now - HOUR as i64..now).contains(&second.at) {
                continue;
            }
            lately.answered += u64::from(second.answered);
            lately.last_hour += u64::from(second.answered) + u64::from(second.failed);
            if second.at >= now - MINUTE {
                ended += u64::from(second.answered) + u64::from(second.failed);
                answered += u64::from(second.answered);
                tokens += second.tokens;
                took += second.took;
            }
        }
        let mut counts = [0_u64; CLASSES];
        for times in state
            .times
            .iter()
            .filter(|times| (now - MINUTE..now).contains(&times.at))
        {
            for (sum, count) in counts.iter_mut().zip(times.counts) {
                *sum += u64::from(count);
            }
        }
        drop(state);
        let rate = |count: u64| count as f64 / MINUTE as f64;
        lately.per_second = rate(ended);
        lately.tokens_per_second = rate(tokens);
        if answered > 0 {
            lately.mean_ms = round(took.as_secs_f64() * 1000.0 / answered as f64);
            lately.p50_ms = at_most(&counts, 0.5);
            lately.p95_ms = at_most(&counts, 0.95);
        }
        lately
    }
}

impl State {
    fn second(&mut self, at: i64) -> &mut Second {
        let second = &mut self.seconds[at.rem_euclid(HOUR as i64) as usize];
        if second.at != at {
            *second = Second {
                at,
                ..Second::default()
            };
        }
        second
    }

    fn times(&mut self, at: i64) -> &mut Times {
        let times = &mut self.times[at.rem_euclid(MINUTE) as usize];
        if times.at != at {
            *times = Times {
                at,
                counts: [0; CLASSES],
            };
        }
        times
    }
}

/// The class of a time: four for each doubling.
fn class(took: Duration) -> usize {
    let doublings = (took.as_secs_f64() * 1e6 / SHORTEST).max(1.0).log2();
    ((doublings * 4.0).ceil() as usize).min(CLASSES - 1)
}

/// The upper end of the class in which this part of all is reached: milliseconds.
fn at_most(counts: &[u64; CLASSES], part: f64) -> f64 {
    let wanted = (counts.iter().sum::<u64>() as f64 * part).ceil() as u64;
    let mut seen = 0;
    let reached = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    round(SHORTEST * 2_f64.powf(reached.unwrap_or_default() as f64 / 4.0) / 1000.0)
}

/// Three decimals are more than what is known.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000 + 500)
    }

    #[test]
    fn the_last_minute_and_hour_are_counted_and_what_is_older_is_forgotten() {
        let stats = Stats::default();
        for second in 0..60 {
            stats.answered(at(second), Duration::from_millis(10), 5);
        }
        stats.failed(at(59));
        let lately = stats.lately(at(60));
        assert_eq!((lately.last_hour, lately.answered), (61, 60));
        assert!((lately.per_second - 61.0 / 60.0).abs() < 1e-9, "{lately:?}");
        assert!((lately.tokens_per_second - 5.0).abs() < 1e-9, "{lately:?}");
        assert!((lately.mean_ms - 10.0).abs() < 1e-9, "{lately:?}");
        let later = stats.lately(at(200));
        assert_eq!((later.per_second, later.p50_ms, later.last_hour), (0.0, 0.0, 61));
        assert_eq!(stats.lately(at(4000)), Lately::default());
    }

    #[test]
    fn times_are_told_within_a_fifth() {
        let stats = Stats::default();
        for (count, millis) in [(90, 2), (10, 800)] {
            for _ in 0..count {
                stats.answered(at(1), Duration::from_millis(millis), 1);
            }
        }
        let lately = stats.lately(at(2));
        assert!((2.0..2.4).contains(&lately.p50_ms), "{lately:?}");
        assert!((800.0..960.0).contains(&lately.p95_ms), "{lately:?}");
    }

    #[test]
    fn any_time_has_a_class() {
        for took in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX / 4] {
            assert!(class(took) < CLASSES);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_no_harm() {
        let stats = Stats::default();
        stats.answered(at(1000), Duration::from_millis(1), 1);
        stats.answered(at(-5), Duration::from_millis(1), 1);
        assert_eq!(stats.lately(at(-4)).last_hour, 1);
    }
}

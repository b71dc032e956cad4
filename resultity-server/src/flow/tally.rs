//! What became of jobs lately, by model: counts of the last hour, and totals since the start. In memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::job::JobState;

/// Seconds that are counted together.
const SLOT: i64 = 10;

/// Slots that are remembered: an hour.
const SLOTS: i64 = 360;

/// How many models there have to be before those that nobody asked lately are forgotten.
const SWEEP_FROM: usize = 256;

/// How many jobs ended, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Answered and paid for.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Not taken by a node in time.
    pub expired: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// How long those that succeeded took from acceptance to end, together.
    pub took: Duration,
    /// Tokens that were paid for.
    pub tokens: u64,
}

impl Ends {
    fn of(state: JobState, took: Duration, tokens: u64) -> Self {
        let mut ends = Self {
            tokens,
            ..Self::default()
        };
        match state {
            JobState::Succeeded => {
                ends.succeeded = 1;
                ends.took = took;
            }
            JobState::Expired => ends.expired = 1,
            JobState::Cancelled => ends.cancelled = 1,
            _ => ends.failed = 1,
        }
        ends
    }

    /// Adds what somebody else counted.
    pub fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
        self.took += other.took;
        self.tokens += other.tokens;
    }
}

#[derive(Debug, Default)]
struct State {
    /// Slots with their numbers, oldest first.
    models: HashMap<String, VecDeque<(i64, Ends)>>,
    totals: Ends,
}

/// What became of jobs.
#[derive(Debug, Default)]
pub struct Tally {
    state: Mutex<State>,
}

impl Tally {
    /// A job of this model ended so, this long after it was accepted.
    pub fn ended(&self, model: &str, state: JobState, now: Timestamp, took: Duration, tokens: u64) {
        let ends = Ends::of(state, took, tokens);
        let slot = now.as_seconds().div_euclid(SLOT);
        let mut tally = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        tally.totals.add(&ends);
        if let Some(slots) = tally.models.get_mut(model) {
            count(slots, slot, &ends);
            return;
        }
        if tally.models.len() >= SWEEP_FROM {
            tally
                .models
                .retain(|_, slots| slots.back().is_some_and(|(at, _)| *at > slot - SLOTS));
        }
        tally.models.insert(model.to_owned(), VecDeque::from([(slot, ends)]));
    }

    /// What ended within this time, at most an hour, by model. It is cut to slots of ten seconds.
    pub fn lately(&self, now: Timestamp, time: Duration) -> BTreeMap<String, Ends> {
        let slot = now.as_seconds().div_euclid(SLOT);
        let slots = (time.as_secs() as i64 / SLOT).clamp(1, SLOTS);
        let tally = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        tally
            .models
            .iter()
            .filter_map(|(model, counted)| {
                let mut sum = Ends::default();
                let within = counted.iter().rev().take_while(|(at, _)| *at > slot - slots);
                let mut is_some = false;
                for (_, ends) in within {
                    sum.add(ends);
                    is_some = true;
                }
                is_some.then(|| (model.clone(), sum))
            })
            .collect()
    }

    /// All since the start.
    pub fn totals(&self) -> Ends {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).totals
    }
}

/// Counts in the slot. A clock that was set back counts where it had been.
fn count(slots: &mut VecDeque<(i64, Ends)>, slot: i64, ends: &Ends) {
    match slots.back_mut() {
        Some((at, counted)) if *at >= slot => counted.add(ends),
        _ => {
            slots.push_back((slot, *ends));
            while slots.front().is_some_and(|(at, _)| *at <= slot - SLOTS) {
                slots.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn ends_are_told_by_model_and_time() {
        let tally = Tally::default();
        let second = Duration::from_secs(1);
        tally.ended("a", JobState::Succeeded, at(100), second, 5);
        tally.ended("a", JobState::Failed, at(109), second, 0);
        tally.ended("a", JobState::Succeeded, at(150), second, 7);
        tally.ended("b", JobState::Expired, at(150), second, 0);
        tally.ended("b", JobState::Cancelled, at(151), second, 3);
        let hour = tally.lately(at(159), Duration::from_hours(1));
        let a = Ends {
            succeeded: 2,
            failed: 1,
            took: 2 * second,
            tokens: 12,
            ..Ends::default()
        };
        let b = Ends {
            expired: 1,
            cancelled: 1,
            tokens: 3,
            ..Ends::default()
        };
        assert_eq!(hour, BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]));
        let lately = tally.lately(at(159), Duration::from_secs(30));
        assert_eq!(lately["a"].succeeded, 1);
        assert_eq!(tally.lately(at(159 + 3600), Duration::from_hours(1)), BTreeMap::new());
        assert_eq!(tally.totals().tokens, 15);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_clock_may_be_set_back() {
        let tally = Tally::default();
        for second in 0..10_000 {
            tally.ended("a", JobState::Succeeded, at(second), Duration::ZERO, 0);
        }
        tally.ended("a", JobState::Succeeded, at(5), Duration::ZERO, 0);
        let state = tally.state.lock().unwrap();
        assert!(state.models["a"].len() <= SLOTS as usize);
        drop(state);
        for model in 0..10_000 {
            tally.ended(
                &model.to_string(),
                JobState::Failed,
                at(20_000 + model * 60),
                Duration::ZERO,
                0,
            );
        }
        assert!(tally.state.lock().unwrap().models.len() <= SWEEP_FROM + 1);
    }
}

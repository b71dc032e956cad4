//! How long jobs of a model take, by those that ended lately: for guesses of how long one has to wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a job is taken to last before one was seen.
const UNKNOWN: Duration = Duration::from_secs(5);

/// How long jobs take.
#[derive(Debug, Default)]
pub struct Estimates {
    by_model: Mutex<HashMap<String, Duration>>,
}

impl Estimates {
    /// A job of this model took so long on its node.
    pub fn record(&self, model: &str, took: Duration) {
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        match by_model.get_mut(model) {
            Some(mean) => *mean = (*mean * 7 + took) / 8,
            None => {
                by_model.insert(model.to_owned(), took);
            }
        }
    }

    /// How long a job waits that has so many before it, with so many slots.
    pub fn wait(&self, model: &str, before: u64, slots: u64) -> Duration {
        let by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = by_model.get(model).copied().unwrap_or(UNKNOWN);
        let turns = u32::try_from((before + 1) / slots.max(1) + 1).unwrap_or(u32::MAX);
        mean.saturating_mul(turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_slots_and_faster_jobs_make_the_wait_shorter() {
        let estimates = Estimates::default();
        assert!(estimates.wait("m", 10, 1) > estimates.wait("m", 10, 8));
        let before = estimates.wait("m", 10, 1);
        estimates.record("m", Duration::from_millis(100));
        assert!(estimates.wait("m", 10, 1) < before);
    }
}

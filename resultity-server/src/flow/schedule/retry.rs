//! When a job is tried again, and when no more. Pure.

use std::time::Duration;

use super::Outcome;

/// The pause after the second node that failed; nobody waits after the first one.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The pause after a node that was busy though it had said otherwise.
const AFTER_BUSY: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// What a job has behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Nodes that failed at it.
    pub failed: u32,
    /// Nodes that sent it back through nobody's fault: it counts for no limit but time.
    pub sent_back: u32,
}

/// What comes after an attempt without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, after a pause.
    Again(Duration),
    /// None: as many nodes as may try have tried.
    GiveUp,
}

impl Tries {
    /// An attempt ended without a result. `most` nodes may fail at it.
    pub fn add(&mut self, outcome: Outcome, most: u32) -> Next {
        if matches!(outcome, Outcome::Neutral | Outcome::Busy) {
            self.sent_back = self.sent_back.saturating_add(1);
            return Next::Again(doubled(AFTER_BUSY, self.sent_back - 1));
        }
        self.failed = self.failed.saturating_add(1);
        if self.failed >= most.max(1) {
            return Next::GiveUp;
        }
        Next::Again(match self.failed {
            1 => Duration::ZERO,
            failed => doubled(AFTER_FAILURE, failed - 2),
        })
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(1 << times.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn again(millis: u64) -> Next {
        Next::Again(Duration::from_millis(millis))
    }

    #[rstest]
    #[case::one_may_fail(1, &[(Outcome::Failure, Next::GiveUp)])]
    #[case::none_is_one(0, &[(Outcome::Failure, Next::GiveUp)])]
    #[case::the_second_comes_at_once(2, &[(Outcome::Failure, again(0)), (Outcome::Failure, Next::GiveUp)])]
    #[case::then_pauses_grow(
        4,
        &[
            (Outcome::Failure, again(0)),
            (Outcome::Failure, again(100)),
            (Outcome::Failure, again(200)),
            (Outcome::Failure, Next::GiveUp)
        ]
    )]
    #[case::busy_nodes_do_not_count(
        2,
        &[
            (Outcome::Neutral, again(100)),
            (Outcome::Busy, again(200)),
            (Outcome::Failure, again(0)),
            (Outcome::Neutral, again(400)),
            (Outcome::Failure, Next::GiveUp)
        ]
    )]
    fn a_job_is_tried_again_so_often(#[case] most: u32, #[case] attempts: &[(Outcome, Next)]) {
        let mut tries = Tries::default();
        for (number, (outcome, expected)) in attempts.iter().enumerate() {
            assert_eq!(tries.add(*outcome, most), *expected, "attempt {number}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let mut tries = Tries::default();
        for _ in 0..100 {
            let Next::Again(pause) = tries.add(Outcome::Neutral, 1) else {
                panic!("a busy node counted");
            };
            assert!(pause <= LONGEST);
        }
    }
}

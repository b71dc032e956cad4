//! Which finished jobs are checked: at random, so that a node can't know, and within a bound on what checks may cost.

use resultity_core::clock::Entropy;

use super::evidence::MilliNats;
use super::reputation::{Reputation, Rules};

/// All.
pub const WHOLE: u32 = 1_000_000;

/// The least share of a node's jobs that is checked, in parts per million: 2 %.
pub const LEAST: u32 = 20_000;

/// How many passed checks halve the rate of a new node.
const TRIAL: u64 = 4;

/// The share of the threshold from which on every job is checked: a quarter.
const EVERY_JOB_FROM: i64 = 4;

/// The largest share of a node's jobs that is checked because others part from it, whoever they are: else slander would use up what
/// there is for liars.
const MOST_PARTED: u32 = WHOLE / 10;

/// The share of a node's jobs that is checked, in parts per million. All of a new node's and of one on probation; with `p` passed
/// checks `4/(4 + p)`, down to [`LEAST`], which takes 196 checks; and more with doubt, up to all.
pub fn rate(reputation: &Reputation, rules: &Rules) -> u32 {
    if reputation.probation > 0 {
        return WHOLE;
    }
    let trial = u64::from(WHOLE) * TRIAL / (TRIAL + u64::from(reputation.passed));
    let every_job = (rules.threshold.get() / EVERY_JOB_FROM).max(1);
    let share = |number: MilliNats, most: u32| number.get().clamp(0, every_job) * i64::from(most) / every_job;
    let doubt = share(reputation.doubt(), WHOLE).max(share(reputation.parted, MOST_PARTED));
    (trial as u32).max(doubt as u32).max(LEAST)
}

/// Whether a job is checked: true with this probability, in parts per million.
pub fn draw(entropy: &dyn Entropy, rate: u32) -> bool {
    if rate >= WHOLE {
        return true;
    }
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes) % u64::from(WHOLE) < u64::from(rate)
}

/// How much checks may cost: tokens that they make others compute, as a share of the tokens of real jobs.
///
/// Each finished job adds its share, each check takes what it costs. What was saved up is bounded, and its last half is kept for
/// nodes that are in doubt, so that a crowd of new nodes can't use up what is needed against liars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// In millionths of a token.
    saved: i64,
    most: i64,
    share: u32,
}

impl Budget {
    /// A budget of this share (parts per million) with this many tokens at hand, which is also the most that can be saved up.
    pub fn new(share: u32, tokens: u32) -> Self {
        let most = i64::from(tokens) * i64::from(WHOLE);
        Self {
            saved: most,
            most,
            share,
        }
    }

    /// A real job of this many tokens has ended.
    pub fn earn(&mut self, tokens: u64) {
        let earned = i64::try_from(tokens)
            .unwrap_or(i64::MAX)
            .saturating_mul(i64::from(self.share));
        self.saved = self.saved.saturating_add(earned).min(self.most);
    }

    /// Takes what a check costs, unless that is more than there is.
    pub fn spend(&mut self, tokens: u64, is_doubtful: bool) -> bool {
        let cost = i64::try_from(tokens)
            .unwrap_or(i64::MAX)
            .saturating_mul(i64::from(WHOLE));
        let kept = if is_doubtful { 0 } else { self.most / 2 };
        if self.saved.saturating_sub(cost) < kept {
            return false;
        }
        self.saved -= cost;
        true
    }
}

impl Default for Budget {
    /// A tenth of all tokens, and half a million to begin with.
    fn default() -> Self {
        Self::new(WHOLE / 10, 500_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use resultity_core::clock::SeededEntropy;
    use rstest::rstest;

    fn reputation(passed: u32, doubt: i64, probation: u32) -> Reputation {
        Reputation {
            seldom: MilliNats::new(doubt),
            passed,
            probation,
            ..Reputation::default()
        }
    }

    #[rstest]
    #[case::new(0, 0, 0, WHOLE)]
    #[case::a_few_passed(4, 0, 0, WHOLE / 2)]
    #[case::well_known(1_000, 0, 0, LEAST)]
    #[case::some_doubt(1_000, 1_500, 0, WHOLE / 2)]
    #[case::one_lie(1_000, 3_700, 0, WHOLE)]
    #[case::probation(1_000, 0, 1, WHOLE)]
    fn the_rate_falls_with_what_is_known_and_rises_with_doubt(
        #[case] passed: u32,
        #[case] doubt: i64,
        #[case] probation: u32,
        #[case] expected: u32,
    ) {
        let found = rate(&reputation(passed, doubt, probation), &Rules::default());
        assert_eq!(found, expected);
    }

    #[test]
    fn slander_makes_a_tenth_be_checked() {
        let slandered = Reputation {
            parted: MilliNats::new(6_000),
            ..reputation(1_000, 0, 0)
        };
        assert_eq!(rate(&slandered, &Rules::default()), WHOLE / 10);
    }

    #[test]
    fn jobs_are_drawn_at_their_rate() {
        let entropy = SeededEntropy::new(5);
        let drawn = (0..100_000).filter(|_| draw(&entropy, LEAST)).count();
        assert!((1_800..2_200).contains(&drawn), "{drawn} of 100000 at 2 %");
        assert!(!draw(&entropy, 0) && draw(&entropy, WHOLE));
    }

    #[test]
    fn checks_cost_no_more_than_their_share_and_doubt_goes_first() {
        let mut budget = Budget::new(WHOLE / 10, 1_000);
        let routine = (0..100).filter(|_| budget.spend(100, false)).count();
        assert_eq!(routine, 5);
        let doubtful = (0..100).filter(|_| budget.spend(100, true)).count();
        assert_eq!(doubtful, 5);
        budget.earn(999);
        assert!(!budget.spend(100, true));
        budget.earn(1);
        assert!(budget.spend(100, true));
    }

    proptest! {
        #[test]
        fn rates_are_shares(passed: u32, doubt in 0_i64..20_000, probation in 0_u32..3) {
            let found = rate(&reputation(passed, doubt, probation), &Rules::default());
            prop_assert!((LEAST..=WHOLE).contains(&found));
        }

        #[test]
        fn what_is_spent_was_earned(jobs in proptest::collection::vec((0_u64..10_000, 0_u64..10_000, any::<bool>()), 0..200)) {
            let mut budget = Budget::new(WHOLE / 10, 500);
            let (mut earned, mut spent) = (500.0, 0.0);
            for (tokens, cost, is_doubtful) in jobs {
                budget.earn(tokens);
                earned += tokens as f64 / 10.0;
                if budget.spend(cost, is_doubtful) {
                    spent += cost as f64;
                }
            }
            prop_assert!(spent <= earned + 1e-6);
        }
    }
}

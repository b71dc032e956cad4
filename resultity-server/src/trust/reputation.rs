//! What the network thinks of a node, in one environment and with one model: a sequential test.
//!
//! Two numbers stand beside each other, both in thousandths of a nat, each a product of e-values with a floor (CUSUM):
//!
//! - **always** grows with what every check says: it finds quickly who cheats in every job, be it by little;
//! - **seldom** grows with `ln(1 − ε + ε·e)`, where ε is [`Rules::seldom`]: the evidence against a node that cheats in that
//!   share of its jobs and is honest in the others. A passed check weighs −0.105 there, a caught lie up to +3.7.
//!
//! The floor is 0 for both: a long honest past can't be spent on much cheating. At [`Rules::threshold`] in either the node is
//! excluded.
//!
//! **How often an honest node is wronged.** The e-values of an honest node average 1 or less, so before either number reaches
//! the threshold `h` it takes at least `eʰ` checks on average (Lorden's bound for CUSUM; Shin, Ramdas and Rinaldo, "E-detectors",
//! for e-values). With h = 12 that is 162 755 checks, half of it for the two together; at the lowest check rate of 2 % this is one wrong
//! exclusion for a model in 4 million jobs, at most. On probation the numbers begin at h/2, so that an honest node is excluded
//! again with a probability of at most 2·e⁻⁶ (0.5 %) before it is back at the floor.

use std::collections::BTreeMap;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{Aspect, Evidence, MilliNats};

/// The parameters of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Where a node is excluded.
    pub threshold: MilliNats,
    /// The share of jobs that a node cheats in which cheats seldom, in parts per thousand.
    pub seldom: u32,
    /// How many checks a node is on probation for after an exclusion: every job is checked.
    pub probation: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            threshold: MilliNats::new(12_000),
            seldom: 100,
            probation: 20,
        }
    }
}

/// How long a node is excluded for the first, second and third time; after that until somebody decides.
pub const COOLDOWNS: [Duration; 3] = [
    Duration::from_hours(1),
    Duration::from_hours(24),
    Duration::from_hours(7 * 24),
];

/// How long a node is excluded that was so before this often. None: until somebody decides.
pub fn cooldown(exclusions_before: u32) -> Option<Duration> {
    COOLDOWNS.get(exclusions_before as usize).copied()
}

/// What the network thinks of a node with a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reputation {
    /// Evidence that it cheats in every job; never below 0.
    pub always: MilliNats,
    /// Evidence that it cheats in some jobs; never below 0.
    pub seldom: MilliNats,
    /// Checks that did not speak against it, since the last exclusion.
    pub passed: u32,
    /// Checks in all.
    pub checks: u32,
    /// Checks until the end of its probation.
    pub probation: u32,
    /// Jobs before this time count no more: they are what it was excluded for. Milliseconds since the epoch.
    pub since: i64,
    /// What spoke against it since both numbers were at the floor, with the number of checks.
    pub reasons: BTreeMap<Aspect, u32>,
}

/// What becomes of a node after a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It works on.
    Stays,
    /// The job is from before its last exclusion, and counts no more.
    TooOld,
    /// It is excluded, for these reasons: the most frequent first, with how many checks.
    Excluded(Vec<(Aspect, u32)>),
}

impl Reputation {
    /// Takes up what a check of a job found that ended at `ended`. An exclusion puts the node on probation for what comes after it.
    pub fn observe(&mut self, rules: &Rules, evidence: &Evidence, ended: Timestamp, now: Timestamp) -> Verdict {
        if ended.as_millis() < self.since {
            return Verdict::TooOld;
        }
        let weight = evidence.weight();
        self.always = raised(self.always, weight);
        self.seldom = raised(self.seldom, if_seldom(rules, weight));
        self.checks = self.checks.saturating_add(1);
        self.probation = self.probation.saturating_sub(1);
        if evidence.speaks_against() {
            for aspect in evidence.against() {
                *self.reasons.entry(aspect).or_default() += 1;
            }
        } else {
            self.passed = self.passed.saturating_add(1);
        }
        if self.doubt() == MilliNats::ZERO {
            self.reasons.clear();
        }
        if self.doubt() < rules.threshold {
            return Verdict::Stays;
        }
        let mut reasons: Vec<(Aspect, u32)> = std::mem::take(&mut self.reasons).into_iter().collect();
        reasons.sort_by_key(|(aspect, checks)| (std::cmp::Reverse(*checks), *aspect));
        let checks = self.checks;
        *self = Self::on_probation(rules, now);
        self.checks = checks;
        Verdict::Excluded(reasons)
    }

    /// Where a node stands whose exclusion is over: in the middle, not at the floor.
    pub fn on_probation(rules: &Rules, now: Timestamp) -> Self {
        let middle = rules.threshold.half();
        Self {
            always: middle,
            seldom: middle,
            probation: rules.probation,
            since: now.as_millis(),
            ..Self::default()
        }
    }

    /// The larger of the two numbers.
    pub fn doubt(&self) -> MilliNats {
        self.always.max(self.seldom)
    }

    /// The same for people: from 0 (excluded) over 500 (nothing is known) to 1000.
    pub fn score(&self, rules: &Rules) -> u16 {
        let known = 500 * u64::from(self.passed) / (u64::from(self.passed) + 20);
        let threshold = rules.threshold.get().max(1);
        let trust = (threshold - self.doubt().get()).clamp(0, threshold);
        ((500 + known) * trust.cast_unsigned() / threshold.cast_unsigned()) as u16
    }
}

fn raised(number: MilliNats, by: MilliNats) -> MilliNats {
    number.plus(by).max(MilliNats::ZERO)
}

/// What a check says about a node that would cheat seldom.
fn if_seldom(rules: &Rules, weight: MilliNats) -> MilliNats {
    let share = f64::from(rules.seldom.min(1000)) / 1000.0;
    MilliNats::of(1.0 - share + share * weight.e_value())
}

/// Reasons as the owner of a node is told them. Says what was wrong and in how many checks, never which jobs they were.
pub fn told(reasons: &[(Aspect, u32)]) -> String {
    let parts = reasons.iter().map(|(aspect, checks)| {
        let times = if *checks == 1 { "check" } else { "checks" };
        format!("{} ({checks} {times})", aspect.told())
    });
    let told = parts.collect::<Vec<_>>().join("; ");
    if told.is_empty() {
        "its answers were not those of the model".to_owned()
    } else {
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::evidence::Finding;
    use proptest::prelude::*;
    use rstest::rstest;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn evidence(thousandths: i64) -> Evidence {
        let weight = MilliNats::new(thousandths);
        Evidence::new(vec![Finding {
            aspect: Aspect::Text,
            weight,
        }])
    }

    /// How many checks of these weights, in turn, until the node is excluded.
    fn checks_until_excluded(reputation: &mut Reputation, weights: &[i64], most: u32) -> Option<u32> {
        let rules = Rules::default();
        let found = (1..=most).zip(weights.iter().cycle()).find(|(_, weight)| {
            let verdict = reputation.observe(&rules, &evidence(**weight), NOW, NOW);
            matches!(verdict, Verdict::Excluded(_))
        });
        found.map(|(number, _)| number)
    }

    #[rstest]
    #[case::always(&[6_000], Some(2))]
    #[case::a_little_each_time(&[1_000], Some(12))]
    #[case::one_in_ten(&[6_000, -2_000, -2_000, -2_000, -2_000, -2_000, -2_000, -2_000, -2_000, -2_000], Some(31))]
    #[case::honest(&[-2_000], None)]
    #[case::honest_with_bad_luck(&[-2_000, -2_000, 1_000, -2_000], None)]
    fn the_more_it_cheats_the_sooner_it_is_excluded(#[case] weights: &[i64], #[case] expected: Option<u32>) {
        assert_eq!(
            checks_until_excluded(&mut Reputation::default(), weights, 10_000),
            expected
        );
    }

    #[test]
    fn a_long_honest_past_is_worth_nothing_against_lies() {
        let mut old = Reputation::default();
        assert_eq!(checks_until_excluded(&mut old, &[-2_000], 5_000), None);
        assert_eq!(old.score(&Rules::default()), 998);
        assert_eq!(checks_until_excluded(&mut old, &[6_000], 10), Some(2));
    }

    #[test]
    fn an_exclusion_tells_why_and_puts_on_probation_in_the_middle() {
        let (rules, mut reputation) = (Rules::default(), Reputation::default());
        assert_eq!(reputation.observe(&rules, &evidence(6_000), NOW, NOW), Verdict::Stays);
        let later = NOW.after(Duration::from_secs(1));
        let verdict = reputation.observe(&rules, &Evidence::violation(), NOW, later);
        let Verdict::Excluded(reasons) = verdict else {
            panic!("it stays: {verdict:?}");
        };
        assert_eq!(reasons, [(Aspect::Text, 1), (Aspect::Violation, 1)]);
        assert!(told(&reasons).contains("(1 check); results"), "{}", told(&reasons));
        assert_eq!(
            (reputation.doubt().get(), reputation.probation, reputation.checks),
            (6_000, 20, 2)
        );
        assert_eq!(reputation.score(&rules), 250);
        // What it did before that is paid for.
        let before = reputation.clone();
        assert_eq!(
            reputation.observe(&rules, &evidence(6_000), NOW, later),
            Verdict::TooOld
        );
        assert_eq!(reputation, before);
    }

    #[test]
    fn exclusions_get_longer_until_somebody_has_to_decide() {
        let hours = (0..5).map(|before| cooldown(before).map(|cooldown| cooldown.as_secs() / 3600));
        assert_eq!(hours.collect::<Vec<_>>(), [Some(1), Some(24), Some(168), None, None]);
    }

    proptest! {
        #[test]
        fn the_numbers_never_fall_below_the_floor_and_replay_exactly(weights in proptest::collection::vec(-6_000_i64..=3_000, 0..200)) {
            let run = || {
                let mut reputation = Reputation::default();
                for weight in &weights {
                    reputation.observe(&Rules::default(), &evidence(*weight), NOW, NOW);
                    assert!(reputation.always >= MilliNats::ZERO && reputation.seldom >= MilliNats::ZERO);
                    assert!(reputation.score(&Rules::default()) <= 1000);
                }
                reputation
            };
            let reputation = run();
            prop_assert_eq!(&reputation, &run());
            let text = serde_json::to_string(&reputation).unwrap();
            prop_assert_eq!(serde_json::from_str::<Reputation>(&text).unwrap(), reputation);
        }
    }
}

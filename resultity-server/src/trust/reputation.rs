//! What the network thinks of a node, in one environment and with one model: a sequential test.
//!
//! Three numbers stand beside each other, all in thousandths of a nat, each a product of e-values with a floor (CUSUM):
//!
//! - **always** grows with what every check says: it finds quickly who cheats in every job, be it by little;
//! - **seldom** grows with `ln(1 − ε + ε·e)`, where ε is [`Rules::seldom`]: the evidence against a node that cheats in that
//!   share of its jobs and is honest in the others. A passed check weighs −0.105 there, a caught lie up to +3.7.
//!
//! - **rarely** is the same with [`Rules::rarely`]: it forgets slowly, so that who lies, is honest for as long as it is looked at
//!   closely, and lies again, is found as well.
//!
//! The floor is 0 for all: a long honest past can't be spent on much cheating. At [`Rules::threshold`] in any the node is
//! excluded. A finding that is strong ([`STRONG`]) also ends that the node counts as known ([`Reputation::passed`]).
//!
//! What nodes that nobody trusts say of each other ([`Reputation::compared`]) is a number of its own, which ends at half of the threshold
//! and excludes nobody, however many they are: it makes a tenth of a node's jobs be checked, and nothing else.
//!
//! **How often an honest node is wronged.** The e-values of an honest node average 1 or less, so before either number reaches
//! the threshold `h` it takes at least `eʰ` checks on average (Lorden's bound for CUSUM; Shin, Ramdas and Rinaldo, "E-detectors",
//! for e-values). With h = 12 that is 162 755 checks, a third of it for the three together; at the lowest check rate of 2 % this is one wrong
//! exclusion for a model in 2.7 million jobs, at most. On probation the first two begin at h/2, so that an honest node is excluded
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
    /// The same of one that cheats so rarely that it is near the floor of the other numbers each time.
    pub rarely: u32,
    /// How many checks a node is on probation for after an exclusion: every job is checked.
    pub probation: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            threshold: MilliNats::new(12_000),
            seldom: 100,
            rarely: 20,
            probation: 20,
        }
    }
}

/// From here on the finding of one check is strong: an honest node has such a one in 20 checks at most.
pub const STRONG: MilliNats = MilliNats::new(3_000);

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
    /// Evidence that it cheats rarely; never below 0.
    #[serde(default)]
    pub rarely: MilliNats,
    /// How much it parts from other nodes that nobody trusts: from 0 to half of the threshold.
    #[serde(default)]
    pub parted: MilliNats,
    /// Comparisons with such nodes, among the checks.
    #[serde(default)]
    pub comparisons: u32,
    /// Checks that did not speak against it, since the last exclusion and the last strong finding.
    pub passed: u32,
    /// Checks in all.
    pub checks: u32,
    /// Checks until the end of its probation.
    pub probation: u32,
    /// Jobs before this time count no more: they are what it was excluded for. Milliseconds since the epoch.
    pub since: i64,
    /// What spoke against it since all numbers were at the floor, with the number of checks.
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
    /// Takes up what a comparison with nodes that nobody trusts found. It excludes nobody, and no number of them makes a node one
    /// that is known to be honest: they may all be of one owner.
    pub fn compared(&mut self, rules: &Rules, evidence: &Evidence, ended: Timestamp) -> Verdict {
        if ended.as_millis() < self.since {
            return Verdict::TooOld;
        }
        self.parted = raised(self.parted, evidence.weight()).min(rules.threshold.half());
        self.checks = self.checks.saturating_add(1);
        self.comparisons = self.comparisons.saturating_add(1);
        Verdict::Stays
    }

    /// Takes up what a check of a job found that ended at `ended`. An exclusion puts the node on probation for what comes after it.
    pub fn observe(&mut self, rules: &Rules, evidence: &Evidence, ended: Timestamp, now: Timestamp) -> Verdict {
        if ended.as_millis() < self.since {
            return Verdict::TooOld;
        }
        let weight = evidence.weight();
        self.always = raised(self.always, weight);
        self.seldom = raised(self.seldom, if_in_some(rules.seldom, weight));
        self.rarely = raised(self.rarely, if_in_some(rules.rarely, weight));
        self.checks = self.checks.saturating_add(1);
        self.probation = self.probation.saturating_sub(1);
        if weight >= STRONG {
            self.passed = 0;
        }
        if evidence.speaks_against() {
            for aspect in evidence.against() {
                *self.reasons.entry(aspect).or_default() += 1;
            }
        } else {
            self.passed = self.passed.saturating_add(1);
        }
        if self.evidence() == MilliNats::ZERO {
            self.reasons.clear();
        }
        if self.evidence() < rules.threshold {
            return Verdict::Stays;
        }
        let mut reasons: Vec<(Aspect, u32)> = std::mem::take(&mut self.reasons).into_iter().collect();
        reasons.sort_by_key(|(aspect, checks)| (std::cmp::Reverse(*checks), *aspect));
        let (checks, comparisons) = (self.checks, self.comparisons);
        *self = Self::on_probation(rules, now);
        (self.checks, self.comparisons) = (checks, comparisons);
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

    /// The largest of the three numbers that can exclude it.
    pub fn evidence(&self) -> MilliNats {
        self.always.max(self.seldom).max(self.rarely)
    }

    /// How much there is to be looked at more closely now.
    pub fn doubt(&self) -> MilliNats {
        self.always.max(self.seldom)
    }

    /// Whether its checks come before those of others: on probation, and from a quarter of the threshold on. What other nodes say of
    /// it does not count for that, else they could use up what is there for liars.
    pub fn is_doubtful(&self, rules: &Rules) -> bool {
        self.probation > 0 || self.doubt() >= rules.threshold.half().half()
    }

    /// How many of its checks were more than comparisons with nodes that nobody trusts.
    pub const fn scored(&self) -> u32 {
        self.checks.saturating_sub(self.comparisons)
    }

    /// What its owner is shown, of [`Self::score`] and the number of checks: nothing that moves with a single check, else a node could
    /// learn which of its jobs were checked, and lie when it is not in doubt.
    pub fn shown(&self) -> (u16, u32) {
        let checks = roughly(self.checks);
        let known = 500 * u64::from(checks) / (u64::from(checks) + 20);
        let score = (500 + known) as u16;
        (if self.probation > 0 { score / 2 } else { score }, checks)
    }

    /// The same for people: from 0 (excluded) over 500 (nothing is known) to 1000.
    pub fn score(&self, rules: &Rules) -> u16 {
        let known = 500 * u64::from(self.passed) / (u64::from(self.passed) + 20);
        let threshold = rules.threshold.get().max(1);
        let trust = (threshold - self.evidence().max(self.parted).get()).clamp(0, threshold);
        ((500 + known) * trust.cast_unsigned() / threshold.cast_unsigned()) as u16
    }
}

fn raised(number: MilliNats, by: MilliNats) -> MilliNats {
    number.plus(by).max(MilliNats::ZERO)
}

/// The first digit of a number.
fn roughly(number: u32) -> u32 {
    let unit = 10_u32.pow(number.checked_ilog10().unwrap_or_default());
    number / unit * unit
}

/// What a check says about a node that would cheat in so many of a thousand jobs.
fn if_in_some(of_thousand: u32, weight: MilliNats) -> MilliNats {
    let share = f64::from(of_thousand.min(1000)) / 1000.0;
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
    fn however_many_others_part_from_a_node_they_do_not_exclude_it() {
        let (rules, mut reputation) = (Rules::default(), Reputation::default());
        for _ in 0..1_000 {
            let verdict = reputation.compared(&rules, &evidence(6_000), NOW);
            assert_eq!(verdict, Verdict::Stays);
        }
        assert_eq!((reputation.parted.get(), reputation.evidence().get()), (6_000, 0));
        assert!(!reputation.is_doubtful(&rules));
        // Nor does it make a lie weigh more, or its own honesty less.
        assert_eq!(checks_until_excluded(&mut reputation.clone(), &[6_000], 10), Some(2));
        assert_eq!(checks_until_excluded(&mut reputation, &[-2_000], 5_000), None);
        // Nodes that agree with each other are not known for it.
        let mut agreeing = Reputation::default();
        for _ in 0..1_000 {
            agreeing.compared(&rules, &evidence(-2_000), NOW);
        }
        assert_eq!((agreeing.passed, agreeing.scored(), agreeing.checks), (0, 0, 1_000));
    }

    #[test]
    fn who_waits_until_it_is_forgotten_and_lies_again_is_found() {
        let (rules, mut reputation) = (Rules::default(), Reputation::default());
        // As long as the first two numbers are above the floor it is honest.
        let found = (0..2_000).find(|_| {
            let is_clean = reputation.always.max(reputation.seldom) == MilliNats::ZERO;
            let weight = if is_clean { 6_000 } else { -2_000 };
            matches!(
                reputation.observe(&rules, &evidence(weight), NOW, NOW),
                Verdict::Excluded(_)
            )
        });
        assert!(found.is_some_and(|checks| checks < 400), "{found:?}");
    }

    #[test]
    fn a_strong_finding_makes_a_node_unknown_and_its_owner_does_not_see_it() {
        let (rules, mut reputation) = (Rules::default(), Reputation::default());
        for _ in 0..250 {
            reputation.observe(&rules, &evidence(-2_000), NOW, NOW);
        }
        let before = reputation.shown();
        assert_eq!((before, reputation.passed), ((954, 200), 250));
        reputation.observe(&rules, &evidence(6_000), NOW, NOW);
        assert_eq!((reputation.shown(), reputation.passed), (before, 0));
        assert_eq!([0, 9, 10, 1_999].map(roughly), [0, 9, 10, 1_000]);
    }

    #[test]
    fn doubt_begins_at_a_quarter_and_on_probation() {
        let rules = Rules::default();
        let with = |seldom, probation| Reputation {
            seldom: MilliNats::new(seldom),
            probation,
            ..Reputation::default()
        };
        let found = [with(2_999, 0), with(3_000, 0), with(0, 1)].map(|of| of.is_doubtful(&rules));
        assert_eq!(found, [false, true, true]);
        // What was written before there were comparisons is still read.
        let old = r#"{"always":1,"seldom":2,"passed":3,"checks":4,"probation":5,"since":6,"reasons":{"text":1}}"#;
        assert_eq!(serde_json::from_str::<Reputation>(old).unwrap().comparisons, 0);
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

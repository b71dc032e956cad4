//! What a check found: e-values, kept as their logarithms in thousandths of a nat so that they store and replay exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Thousandths of a nat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliNats(i64);

impl MilliNats {
    /// Says nothing.
    pub const ZERO: Self = Self(0);

    /// The most that one check can say against a node: e⁶ is 403, so that no single check excludes anybody.
    pub const MOST: Self = Self(6_000);

    /// The most that one check can say for a node: so little that cutting there moves no average.
    pub const LEAST: Self = Self(-12_000);

    /// This many thousandths.
    pub const fn new(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// How many thousandths.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The logarithm of an e-value, cut to what one check may say. What is no number says nothing.
    ///
    /// Rounded down, so that the average of honest nodes stays at 1.
    pub fn of(e_value: f64) -> Self {
        if e_value.is_nan() || e_value < 0.0 {
            return Self::ZERO;
        }
        let (least, most) = (Self::LEAST.0 as f64, Self::MOST.0 as f64);
        Self((e_value.ln() * 1000.0).floor().clamp(least, most) as i64)
    }

    /// The e-value.
    pub fn e_value(self) -> f64 {
        (self.0 as f64 / 1000.0).exp()
    }

    /// Half of it.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for MilliNats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0 as f64 / 1000.0)
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aspect {
    /// How likely the model finds the text.
    Text,
    /// Whether the text ended where the model would have ended it.
    End,
    /// Whether it is as long as is said.
    Length,
    /// How many tokens are claimed.
    TokenCount,
    /// The log-probabilities that came with it.
    Logprobs,
    /// How near embeddings are to a trusted node's.
    Embedding,
    /// Whether it came faster than the hardware can be.
    TooFast,
    /// Whether it came just before the deadline.
    Deadline,
    /// A bad signature, another's lease, hashes that are not those of what was sent.
    Violation,
    /// Whether two nodes say the same of a model where no trusted node can be asked.
    Agreement,
    /// Whether it is an answer of a kind that was asked for, and so can be looked at.
    Form,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Text,
        Self::End,
        Self::Length,
        Self::TokenCount,
        Self::Logprobs,
        Self::Embedding,
        Self::TooFast,
        Self::Deadline,
        Self::Violation,
        Self::Agreement,
        Self::Form,
    ];

    /// The name, as in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::End => "end",
            Self::Length => "length",
            Self::TokenCount => "token_count",
            Self::Logprobs => "logprobs",
            Self::Embedding => "embedding",
            Self::TooFast => "too_fast",
            Self::Deadline => "deadline",
            Self::Violation => "violation",
            Self::Agreement => "agreement",
            Self::Form => "form",
        }
    }

    /// What the owner of a node is told was wrong.
    pub const fn told(self) -> &'static str {
        match self {
            Self::Text => "the model hardly ever gives texts like those that were answered",
            Self::End => "answers ended where the model would have gone on",
            Self::Length => "answers were shorter than was said",
            Self::TokenCount => "more tokens were claimed than there were",
            Self::Logprobs => "log-probabilities were not those of the model",
            Self::Embedding => "embeddings were not those of the model",
            Self::TooFast => "answers came faster than the hardware can be",
            Self::Deadline => "answers came just before the deadline",
            Self::Violation => "results were not signed, hashed or leased as they have to be",
            Self::Agreement => "answers did not agree with those of other nodes",
            Self::Form => "answers were of a kind that nobody had asked for",
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an aspect of a check, such as text, end or token_count")]
pub struct UnknownAspect;

impl FromStr for Aspect {
    type Err = UnknownAspect;

    fn from_str(text: &str) -> Result<Self, UnknownAspect> {
        let found = Self::ALL.into_iter().find(|aspect| aspect.as_str() == text);
        found.ok_or(UnknownAspect)
    }
}

/// What one aspect of a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub aspect: Aspect,
    /// The logarithm of its e-value.
    pub weight: MilliNats,
}

impl Finding {
    /// An e-value.
    pub fn new(aspect: Aspect, e_value: f64) -> Self {
        Self {
            aspect,
            weight: MilliNats::of(e_value),
        }
    }

    /// Something that an honest node does with at most the probability `honest`, and one that cheats in this way with
    /// `cheating`.
    pub fn of_event(aspect: Aspect, happened: bool, honest: f64, cheating: f64) -> Self {
        let e_value = if happened {
            cheating / honest
        } else {
            (1.0 - cheating) / (1.0 - honest)
        };
        Self::new(aspect, e_value)
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence {
    findings: Vec<Finding>,
}

impl Evidence {
    /// What these findings say together.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// A result that broke a rule that no honest node breaks. It is seen whenever it happens, not only in what is sampled.
    pub fn violation() -> Self {
        Self::new(vec![Finding {
            aspect: Aspect::Violation,
            weight: MilliNats::MOST,
        }])
    }

    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// What was found, aspect by aspect.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing could be looked at.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The logarithm of the average of the e-values: an e-value again, however much the aspects depend on each other.
    pub fn weight(&self) -> MilliNats {
        if self.findings.is_empty() {
            return MilliNats::ZERO;
        }
        let sum: f64 = self.findings.iter().map(|finding| finding.weight.e_value()).sum();
        MilliNats::of(sum / self.findings.len() as f64)
    }

    /// Whether it speaks against the node.
    pub fn speaks_against(&self) -> bool {
        self.weight() > MilliNats::ZERO
    }

    /// The aspects that speak against the node.
    pub fn against(&self) -> impl Iterator<Item = Aspect> + '_ {
        let against = self.findings.iter().filter(|finding| finding.weight > MilliNats::ZERO);
        against.map(|finding| finding.aspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_back() {
        for aspect in Aspect::ALL {
            assert_eq!(aspect.as_str().parse(), Ok(aspect));
            assert_eq!(serde_json::to_value(aspect).unwrap(), aspect.as_str());
        }
        assert_eq!("looks".parse::<Aspect>(), Err(UnknownAspect));
    }

    #[test]
    fn one_aspect_is_heard_among_others_and_none_says_nothing() {
        let findings = vec![
            Finding::new(Aspect::Text, 0.1),
            Finding::new(Aspect::End, 0.5),
            Finding::of_event(Aspect::TokenCount, true, 0.005, 0.9),
        ];
        let evidence = Evidence::new(findings);
        assert!(
            (4_090..4_100).contains(&evidence.weight().get()),
            "{}",
            evidence.weight()
        );
        assert!(evidence.speaks_against());
        assert_eq!(evidence.against().collect::<Vec<_>>(), [Aspect::TokenCount]);
        assert_eq!(Evidence::default().weight(), MilliNats::ZERO);
        assert_eq!(Finding::new(Aspect::Text, f64::NAN).weight, MilliNats::ZERO);
    }

    proptest! {
        #[test]
        fn together_they_say_no_more_than_the_loudest(weights in proptest::collection::vec(-6_000_i64..=6_000, 1..8)) {
            let findings = weights.iter().map(|weight| Finding { aspect: Aspect::Text, weight: MilliNats::new(*weight) });
            let weight = Evidence::new(findings.collect()).weight().get();
            let (least, most) = (weights.iter().min().copied().unwrap(), weights.iter().max().copied().unwrap());
            prop_assert!((least - 1..=most).contains(&weight), "{weight} is not within {least} and {most}");
        }

        #[test]
        fn an_event_is_an_e_value(honest in 0.001_f64..0.5, cheating in 0.001_f64..0.999) {
            let e_value = |happened| Finding::of_event(Aspect::Length, happened, honest, cheating).weight.e_value();
            prop_assert!(honest * e_value(true) + (1.0 - honest) * e_value(false) <= 1.0 + 1e-5);
        }
    }
}

//! Who asks and who works in the simulated network.

use std::time::Duration;

use super::super::luck::Luck;

/// How long one unit of work takes on an ordinary node.
pub(super) const UNIT: Duration = Duration::from_millis(100);

/// How many jobs every node takes at once.
pub(super) const SLOTS: u32 = 2;

/// Tokens of an answer, on average.
const ANSWER: f64 = 800.0;

/// The work of a job, on average.
pub(super) const MEAN_WORK: f64 = 870.0;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// As fast as most.
    Steady,
    /// Goes away for an hour every few hours.
    Restless,
    /// Three times as slow.
    Slow,
    /// Twice as fast.
    Fast,
    /// Fails at four jobs in ten.
    Failing,
    /// Fails at every job, at once.
    Broken,
    /// Steady, but comes during the simulation.
    New,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Steady,
        Self::Restless,
        Self::Slow,
        Self::Fast,
        Self::Failing,
        Self::Broken,
        Self::New,
    ];

    /// The kind of a node by its number: of 50, 25 are steady, 8 restless, 6 slow, 5 fast, 2 failing, 1 broken and 3 new.
    pub(super) const fn of(number: u32) -> Self {
        match number % 50 {
            0..25 => Self::Steady,
            25..33 => Self::Restless,
            33..39 => Self::Slow,
            39..44 => Self::Fast,
            44 | 45 => Self::Failing,
            46 => Self::Broken,
            _ => Self::New,
        }
    }

    /// How much slower than an ordinary one.
    pub(super) const fn pace(self) -> f64 {
        match self {
            Self::Slow => 3.0,
            Self::Fast => 0.5,
            _ => 1.0,
        }
    }

    /// The probability that a job fails.
    pub(super) const fn failures(self) -> f64 {
        match self {
            Self::Failing => 0.4,
            Self::Broken => 1.0,
            _ => 0.001,
        }
    }

    /// The name, as it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Restless => "comes and goes",
            Self::Slow => "slow (1/3)",
            Self::Fast => "fast (2x)",
            Self::Failing => "fails at 40 %",
            Self::Broken => "fails always",
            Self::New => "new",
        }
    }
}

/// Who asks together, as far as waits are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Light,
    Heavy,
    Bulk,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Light, Self::Heavy, Self::Bulk];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Light => "normal, light askers",
            Self::Heavy => "normal, heavy askers",
            Self::Bulk => "bulk",
        }
    }
}

/// A namespace.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) weight: u32,
    /// What it asks for by day, as a share of what all nodes can do.
    pub(super) load: f64,
    /// Tokens that it asks for in each request.
    pub(super) max_tokens: u64,
}

/// Thirty who ask little, five who ask far more than there is by day, and two with bulk.
pub(super) fn askers() -> Vec<Asker> {
    let heavy = |name, weight, load, max_tokens| Asker {
        name,
        group: Group::Heavy,
        weight,
        load,
        max_tokens,
    };
    let light = Asker {
        name: "light",
        group: Group::Light,
        weight: 1,
        load: 0.005,
        max_tokens: 2048,
    };
    let bulk = Asker {
        name: "bulk",
        group: Group::Bulk,
        weight: 1,
        load: 0.08,
        max_tokens: 2048,
    };
    let mut askers = vec![
        heavy("weight 1, asks most", 1, 0.35, 2048),
        heavy("weight 1", 1, 0.15, 2048),
        heavy("weight 1, asks for 4x the tokens it uses", 1, 0.25, 8192),
        heavy("weight 2", 2, 0.30, 2048),
        heavy("weight 4", 4, 0.45, 2048),
    ];
    askers.extend((0..30).map(|_| light.clone()));
    askers.extend((0..2).map(|_| bulk.clone()));
    askers
}

/// How much is asked at a time of day against the most: all at 15:00, an eighth of it at 3:00. Bulk is asked for all day.
pub(super) fn daylight(group: Group, seconds: u64) -> f64 {
    if group == Group::Bulk {
        return 1.0;
    }
    let hour = (seconds % 86_400) as f64 / 3600.0;
    0.5625 - 0.4375 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos()
}

/// Tokens of a prompt and of its answer.
pub(super) fn tokens(luck: &mut Luck) -> (u64, u64) {
    let answer = -(1.0 - luck.share()).ln() * ANSWER;
    (luck.between(100, 1000), (answer as u64).clamp(8, 2048))
}

//! What simulated nodes do with a job.

use std::time::Duration;

use serde::Serialize;

use super::luck::Luck;
use super::toy_model::{Asked, Text, ToyModel, junk};

/// How far the numbers of two honest machines are apart.
const HARDWARE: f64 = 0.03;

/// The same where one of them runs a coarser quantisation.
const QUANTISED: f64 = 0.15;

/// How far the numbers of a smaller model are from those of the true one.
const SMALLER: f64 = 1.0;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Behaviour {
    Honest,
    /// Honest, with coarser numbers than the trusted node.
    HonestQuantised,
    /// Honest, and so busy that one answer in fifty comes at the last moment.
    HonestBusy,
    Junk,
    /// Answers half and says that this was all.
    Truncates,
    SmallerModel,
    /// Claims half as many tokens again as there are.
    InflatesTokens,
    /// Answers with what it answered to somebody else.
    Replays,
    /// Signs results for jobs of other nodes.
    SignsForAnother,
    /// Answers just before the deadline.
    Stalls,
    /// Answers honestly what it takes for a probe: four in five blind jobs, and one in five of the others. Else junk.
    HonestWhenProbed,
    /// Junk in one job of ten.
    OneInTen,
    /// Honest for 500 jobs, then junk.
    Sleeper,
    /// The smaller model in three jobs of ten.
    SmallerSometimes,
    /// Junk, with the call of a function that nobody asked for, so that it is no text.
    HidesBehindCalls,
    /// Nothing, for a reason that is neither the end nor the limit.
    Empty,
    /// Junk, but only while there is no doubt about it: it knows all that the network thinks of it.
    InGoodRepute,
    /// Junk, and other nodes of its owner praise it in one comparison of ten jobs.
    Praised,
    /// Honest, and nodes of somebody else part from it in one comparison of ten jobs.
    HonestSlandered,
    /// Honest, and somebody asks it for answers that a stop text cuts anywhere.
    HonestStopped,
    /// Honest, and somebody asks it with biases for tokens that make no sense, most of which are not shown.
    HonestBiased,
}

impl Behaviour {
    pub(super) const ALL: [Self; 21] = [
        Self::Honest,
        Self::HonestQuantised,
        Self::HonestBusy,
        Self::HonestSlandered,
        Self::HonestStopped,
        Self::HonestBiased,
        Self::Junk,
        Self::Truncates,
        Self::SmallerModel,
        Self::InflatesTokens,
        Self::Replays,
        Self::SignsForAnother,
        Self::Stalls,
        Self::HonestWhenProbed,
        Self::OneInTen,
        Self::Sleeper,
        Self::SmallerSometimes,
        Self::HidesBehindCalls,
        Self::Empty,
        Self::InGoodRepute,
        Self::Praised,
    ];

    pub(super) const fn is_honest(self) -> bool {
        matches!(
            self,
            Self::Honest
                | Self::HonestQuantised
                | Self::HonestBusy
                | Self::HonestSlandered
                | Self::HonestStopped
                | Self::HonestBiased
        )
    }

    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::HonestQuantised => "honest, coarser numbers",
            Self::HonestBusy => "honest, at times late",
            Self::Junk => "returns junk",
            Self::Truncates => "truncates",
            Self::SmallerModel => "smaller model",
            Self::InflatesTokens => "inflates tokens",
            Self::Replays => "replays old answers",
            Self::SignsForAnother => "signs for another",
            Self::Stalls => "stalls at the deadline",
            Self::HonestWhenProbed => "honest to probes only",
            Self::OneInTen => "junk in 1 job of 10",
            Self::Sleeper => "honest for 500 jobs",
            Self::SmallerSometimes => "smaller model in 3 of 10",
            Self::HidesBehindCalls => "junk behind calls",
            Self::Empty => "nothing, oddly",
            Self::InGoodRepute => "junk while not in doubt",
            Self::Praised => "junk, praised by its own",
            Self::HonestSlandered => "honest, slandered",
            Self::HonestStopped => "honest, asked with stops",
            Self::HonestBiased => "honest, asked with biases",
        }
    }

    /// What nodes that nobody trusts say of it in a comparison, in thousandths of a nat.
    pub(super) const fn said_of_it(self) -> Option<i64> {
        match self {
            Self::Praised => Some(-2_000),
            Self::HonestSlandered => Some(6_000),
            _ => None,
        }
    }

    /// Whether it lies in this job: its `number` from 0 on. `is_clean`: nothing speaks against it so far.
    pub(super) fn lies(self, number: u64, is_blind: bool, is_clean: bool, luck: &mut Luck) -> bool {
        match self {
            _ if self.is_honest() => false,
            Self::InGoodRepute => is_clean,
            Self::HonestWhenProbed => !luck.happens(if is_blind { 0.8 } else { 0.2 }),
            Self::OneInTen => luck.happens(0.1),
            Self::Sleeper => number >= 500,
            Self::SmallerSometimes => luck.happens(0.3),
            _ => true,
        }
    }

    /// Which model answers.
    pub(super) fn model(self, lies: bool, machine: u64) -> ToyModel {
        let is_smaller = lies && matches!(self, Self::SmallerModel | Self::SmallerSometimes);
        let is_coarse = self == Self::HonestQuantised;
        ToyModel {
            smaller_by: if is_smaller { SMALLER } else { 0.0 },
            noise: if is_coarse { QUANTISED } else { HARDWARE },
            machine,
        }
    }
}

/// What a node sends.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) text: Text,
    /// Tokens as the node counts them.
    pub(super) claimed: u64,
    pub(super) took: Duration,
    pub(super) model: ToyModel,
    /// Whether it is of a kind that nobody asked for.
    pub(super) is_odd: bool,
    /// Whether a stop text cut it.
    pub(super) has_stops: bool,
    /// Whether it was asked for with biases.
    pub(super) is_biased: bool,
}

/// How long a job may take.
pub(super) const ALLOWED: Duration = Duration::from_mins(1);

/// A node answers a job.
pub(super) fn answered(behaviour: Behaviour, lies: bool, asked: Asked, machine: u64, luck: &mut Luck) -> Answered {
    let model = behaviour.model(lies, machine);
    let mut text = match behaviour {
        Behaviour::Replays => {
            let other = Asked {
                prompt: luck.next(),
                ..asked
            };
            model.answer(other, luck)
        }
        Behaviour::Empty => Text::default(),
        Behaviour::HonestBiased => junk(asked.limit as u64, luck),
        Behaviour::Junk
        | Behaviour::OneInTen
        | Behaviour::Sleeper
        | Behaviour::HonestWhenProbed
        | Behaviour::HidesBehindCalls
        | Behaviour::InGoodRepute
        | Behaviour::Praised
            if lies =>
        {
            junk(luck.between(10, 80).min(asked.limit as u64), luck)
        }
        _ => model.answer(asked, luck),
    };
    if behaviour == Behaviour::Truncates && text.tokens.len() > 1 {
        text.tokens.truncate(text.tokens.len() / 2);
        text.ended = true;
    }
    // The token that ended an answer counts.
    let honest = text.tokens.len() as u64 + u64::from(text.ended);
    if matches!(behaviour, Behaviour::HonestStopped | Behaviour::HonestBiased) {
        text.tokens.truncate(luck.between(0, honest) as usize);
        text.ended = behaviour == Behaviour::HonestStopped;
    }
    let is_late = behaviour == Behaviour::Stalls || (behaviour == Behaviour::HonestBusy && luck.happens(0.02));
    let took = if is_late {
        ALLOWED.mul_f64(0.96 + 0.03 * luck.share())
    } else {
        Duration::from_millis(200 + honest * luck.between(10, 60))
    };
    Answered {
        claimed: if behaviour == Behaviour::InflatesTokens {
            honest + honest / 2 + 4
        } else {
            honest
        },
        is_odd: matches!(behaviour, Behaviour::HidesBehindCalls | Behaviour::Empty),
        has_stops: behaviour == Behaviour::HonestStopped,
        is_biased: behaviour == Behaviour::HonestBiased,
        text,
        took,
        model,
    }
}

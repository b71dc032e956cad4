//! What the scheduler knows of a node: how it did lately, whether it is on trial, whether it is left out for a while. Pure.
//!
//! - A node is **new** until it has ended [`TRIAL_JOBS`] jobs: its score is unknown, and it gets a bounded share of the work.
//! - After [`FAILURES_IN_A_ROW`] failures in a row it is **left out** for [`COOLDOWN`], twice as long each further time, up to
//!   [`LONGEST_COOLDOWN`]; unless half of the nodes of one of its models would be left out then: where most fail, it is hardly them.
//! - Then it is on **probation**: one job at a time, until it has done [`PROBATION_JOBS`] in a row. One failure leaves it out again.
//! - [`FORGIVEN_AFTER`] jobs in a row make its next cooldown the first one again.

use std::collections::HashMap;
use std::time::Duration;

use resultity_core::clock::Timestamp;

use super::wanted::{Offer, Spot};
use super::{Ended, Outcome};

/// A node with fewer jobs behind it is new.
pub(super) const TRIAL_JOBS: u32 = 20;

/// So many failures in a row leave a node out.
pub(super) const FAILURES_IN_A_ROW: u32 = 4;

/// So many jobs sent back as busy with none done between them are a failure: a node says by its heartbeats how much it takes.
pub(super) const BUSY_IN_A_ROW: u32 = 8;

/// How long a node is left out for the first time.
pub(super) const COOLDOWN: Duration = Duration::from_secs(5);

/// The longest time that a node is left out.
pub(super) const LONGEST_COOLDOWN: Duration = Duration::from_mins(10);

/// So many jobs in a row end the probation.
pub(super) const PROBATION_JOBS: u32 = 3;

/// So many jobs in a row, and old failures are forgotten.
pub(super) const FORGIVEN_AFTER: u32 = 50;

/// A score of a node that is as fast as the others, never fails and has nothing to do: higher is better.
const FULL_SCORE: u64 = 1_000_000;

/// A moving mean of the time that one unit of work takes: microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace(f64);

impl Pace {
    pub(super) fn add(&mut self, work: u64, took: Duration) {
        let now = took.as_secs_f64() * 1e6 / work.max(1) as f64;
        self.0 = if self.0 > 0.0 {
            (self.0 * 15.0 + now) / 16.0
        } else {
            now
        };
    }

    /// How much slower than the other one, in parts per thousand: from four times as fast to four times as slow.
    fn against(self, others: Self) -> u64 {
        if self.0 > 0.0 && others.0 > 0.0 {
            (self.0 / others.0 * 1000.0).clamp(250.0, 4000.0) as u64
        } else {
            1000
        }
    }
}

/// How a node did: what stays of it when it goes away for a while.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Share of successes, in parts per thousand, moving.
    success: u32,
    /// Jobs that ended in a success or a failure.
    finished: u32,
    failed_in_a_row: u32,
    busy_in_a_row: u32,
    last_failure: Option<Timestamp>,
    done_in_a_row: u32,
    /// How often it was left out.
    times_out: u32,
    is_on_probation: bool,
    /// From when until when it is left out.
    out: Option<(Timestamp, Timestamp)>,
    paces: HashMap<String, Pace>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            success: 1000,
            finished: 0,
            failed_in_a_row: 0,
            busy_in_a_row: 0,
            last_failure: None,
            done_in_a_row: 0,
            times_out: 0,
            is_on_probation: false,
            out: None,
            paces: HashMap::new(),
        }
    }
}

impl Record {
    /// A job has ended there that had begun then. True: it failed so often that it is to be left out.
    pub(super) fn add(&mut self, model: &str, begun: Timestamp, ended: Ended, now: Timestamp) -> bool {
        let outcome = match ended.outcome {
            Outcome::Busy => {
                self.busy_in_a_row += 1;
                if self.busy_in_a_row < BUSY_IN_A_ROW {
                    return false;
                }
                Outcome::Failure
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Neutral | Outcome::Busy => {}
            Outcome::Success => {
                self.busy_in_a_row = 0;
                self.success = (self.success * 15 + 1000) / 16;
                self.finished = self.finished.saturating_add(1);
                self.failed_in_a_row = 0;
                self.done_in_a_row = self.done_in_a_row.saturating_add(1);
                self.is_on_probation &= self.done_in_a_row < PROBATION_JOBS;
                if self.done_in_a_row >= FORGIVEN_AFTER {
                    self.times_out = 0;
                }
                if let (Some(work), Some(took)) = (ended.work, ended.took) {
                    match self.paces.get_mut(model) {
                        Some(pace) => pace.add(work, took),
                        None => {
                            let mut pace = Pace::default();
                            pace.add(work, took);
                            self.paces.insert(model.to_owned(), pace);
                        }
                    }
                }
            }
            Outcome::Failure => {
                self.busy_in_a_row = 0;
                self.success = self.success * 15 / 16;
                self.finished = self.finished.saturating_add(1);
                self.done_in_a_row = 0;
                // What was under way when another one failed, as when a link drops, fails for the same reason.
                let is_the_same = self.last_failure.is_some_and(|last| begun < last);
                if is_the_same {
                    return false;
                }
                self.last_failure = Some(now);
                self.failed_in_a_row += 1;
                return self.out.is_none() && (self.is_on_probation || self.failed_in_a_row >= FAILURES_IN_A_ROW);
            }
        }
        false
    }

    /// Leaves it out from now on.
    pub(super) fn leave_out(&mut self, now: Timestamp) {
        self.out = Some((now, now.after(cooldown(self.times_out))));
        self.times_out = self.times_out.saturating_add(1);
    }

    /// Until when it is left out.
    pub(super) fn out_until(&self) -> Option<Timestamp> {
        self.out.map(|(_, until)| until)
    }

    /// Ends its time out if it is over, or if the clock was set back behind its begin.
    pub(super) fn let_in(&mut self, now: Timestamp) -> bool {
        let is_over = self.out.is_some_and(|(from, until)| now >= until || now < from);
        if is_over {
            self.out = None;
            self.failed_in_a_row = 0;
            self.is_on_probation = true;
        }
        is_over
    }

    pub(super) const fn is_new(&self) -> bool {
        self.finished < TRIAL_JOBS
    }

    pub(super) const fn is_on_probation(&self) -> bool {
        self.is_on_probation
    }

    /// Forgets models that the node serves no more.
    fn keep(&mut self, models: &[String]) {
        self.paces.retain(|model, _| models.contains(model));
    }
}

/// How long a node is left out that was left out so often before.
pub(super) fn cooldown(times: u32) -> Duration {
    COOLDOWN.saturating_mul(1 << times.min(16)).min(LONGEST_COOLDOWN)
}

/// Where a node stands in the groups that it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Listed {
    /// It is not in rotation.
    #[default]
    Not,
    /// All its slots are taken.
    Busy,
    /// It is left out for a while.
    Out,
    /// It has a free slot, and is new or on probation.
    Trial,
    /// It has a free slot.
    Proven,
}

/// A node in rotation, or one that still works.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) offer: Offer,
    /// The models of the offer.
    pub(super) models: Vec<String>,
    pub(super) spots: Vec<Spot>,
    pub(super) taken: u32,
    pub(super) listed: Listed,
    pub(super) record: Record,
}

impl Node {
    pub(super) fn set_offer(&mut self, offer: Offer) {
        self.models = offer.models.iter().cloned().collect();
        self.models.sort_unstable();
        self.record.keep(&self.models);
        self.spots = offer.spots();
        self.offer = offer;
    }

    pub(super) fn is_in_rotation(&self) -> bool {
        !self.models.is_empty()
    }

    /// How many jobs it gets at once as it stands.
    fn slots(&self) -> u32 {
        if self.record.is_on_probation() {
            self.offer.slots.min(1)
        } else {
            self.offer.slots
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_in_rotation() && self.record.out_until().is_none() && self.taken < self.slots()
    }

    /// Where it belongs now.
    pub(super) fn standing(&self) -> Listed {
        if !self.is_in_rotation() {
            Listed::Not
        } else if self.record.out_until().is_some() {
            Listed::Out
        } else if self.taken >= self.slots() {
            Listed::Busy
        } else if self.record.is_new() || self.record.is_on_probation() {
            Listed::Trial
        } else {
            Listed::Proven
        }
    }

    /// Higher is better: success counts twice, then how fast it is against the others, then how much of it is free.
    pub(super) fn score(&self, model: &str, others: Pace) -> u64 {
        let own = self.record.paces.get(model).copied().unwrap_or_default();
        let success = u64::from(self.record.success);
        let slots = u64::from(self.offer.slots.max(1));
        let free = slots.saturating_sub(u64::from(self.taken)) * 500 / slots;
        FULL_SCORE * success / 1000 * success / own.against(others) * (500 + free) / 1000
    }
}

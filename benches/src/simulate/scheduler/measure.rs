//! What is counted during a simulation.

use super::world::{Asker, Group, Kind, SLOTS};
use super::{Kinds, Options, Outcome, Share, Waits};

/// Askers are compared over so long.
pub(super) const WINDOW_MS: i64 = 600_000;

/// A node is new for so long, as far as the report goes.
const FIRST_HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy, Default)]
struct OfKind {
    nodes: u32,
    given: u64,
    lost: u64,
    work: u64,
    online_ms: i64,
    used_ms: i64,
}

/// One asker within the time that is measured now.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    waiting: u32,
    /// Whether it had jobs waiting all the time.
    always: bool,
    got: f64,
}

#[derive(Debug)]
pub(super) struct Measure {
    askers: Vec<Asker>,
    now: Vec<Now>,
    kinds: [OfKind; Kind::ALL.len()],
    waits: [Vec<f64>; 3],
    gave_up: [u64; 3],
    pub(super) jobs: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    lost_ms: i64,
    jain: Vec<f64>,
    /// What heavy askers got while all of them waited.
    shares: Vec<f64>,
    waiting: u64,
    busy: i64,
    online: i64,
    last: i64,
    short: (i64, i64),
    /// Time of slots, and how much of it was used: by new nodes in their first hour.
    first: (i64, i64),
}

impl Measure {
    pub(super) fn new(askers: Vec<Asker>) -> Self {
        Self {
            now: vec![Now::default(); askers.len()],
            shares: vec![0.0; askers.len()],
            askers,
            kinds: Default::default(),
            waits: Default::default(),
            gave_up: [0; 3],
            jobs: 0,
            answered: 0,
            failed: 0,
            lost_ms: 0,
            jain: Vec::new(),
            waiting: 0,
            busy: 0,
            online: 0,
            last: 0,
            short: (0, 0),
            first: (0, 0),
        }
    }

    /// Time goes on: what was so until now lasted until now.
    pub(super) fn advance(&mut self, at: i64) {
        let lasted = at - self.last;
        if self.waiting > 0 {
            self.short.0 += lasted * self.online;
            self.short.1 += lasted * self.busy;
        }
        self.last = at;
    }

    pub(super) fn node(&mut self, kind: Kind) {
        self.kinds[kind as usize].nodes += 1;
    }

    pub(super) fn came(&mut self) {
        self.online += i64::from(SLOTS);
    }

    pub(super) fn went(&mut self, kind: Kind, since: i64, at: i64) {
        self.online -= i64::from(SLOTS);
        self.kinds[kind as usize].online_ms += (at - since) * i64::from(SLOTS);
        if kind == Kind::New {
            self.first.0 += (at - since).min(FIRST_HOUR_MS) * i64::from(SLOTS);
        }
    }

    pub(super) fn waits(&mut self, asker: usize) {
        self.waiting += 1;
        self.now[asker].waiting += 1;
    }

    pub(super) fn waits_no_more(&mut self, asker: usize) {
        self.waiting -= 1;
        let now = &mut self.now[asker];
        now.waiting -= 1;
        now.always &= now.waiting > 0;
    }

    pub(super) fn gave_up(&mut self, asker: usize) {
        self.gave_up[self.askers[asker].group as usize] += 1;
    }

    /// A job got a node: for the first time after so long, or again.
    pub(super) fn given(&mut self, asker: usize, kind: Kind, waited_ms: Option<i64>) {
        self.busy += 1;
        self.kinds[kind as usize].given += 1;
        if let Some(waited) = waited_ms {
            self.waits[self.askers[asker].group as usize].push(waited as f64 / 1000.0);
        }
    }

    /// An attempt ended: with so much work done, or without a result. `joined` is when its node came.
    pub(super) fn ended(&mut self, asker: usize, kind: Kind, joined: i64, begun: i64, at: i64, work: Option<u64>) {
        self.busy -= 1;
        let of = &mut self.kinds[kind as usize];
        of.used_ms += at - begun;
        if kind == Kind::New {
            let end = at.min(joined + FIRST_HOUR_MS);
            self.first.1 += (end - begun).max(0);
        }
        match work {
            Some(work) => {
                of.work += work;
                self.answered += 1;
                self.now[asker].got += work as f64;
            }
            None => {
                of.lost += 1;
                self.lost_ms += at - begun;
            }
        }
    }

    /// The end of the time over which askers are compared.
    pub(super) fn window(&mut self) {
        let is_heavy = |asker: &Asker| asker.group == Group::Heavy;
        let compared: Vec<(usize, f64)> = (0..self.askers.len())
            .filter(|index| is_heavy(&self.askers[*index]) && self.now[*index].always)
            .map(|index| (index, self.now[index].got / f64::from(self.askers[index].weight)))
            .collect();
        if compared.len() >= 2 {
            let sum: f64 = compared.iter().map(|(_, got)| got).sum();
            let squares: f64 = compared.iter().map(|(_, got)| got * got).sum();
            if squares > 0.0 {
                self.jain.push(sum * sum / (compared.len() as f64 * squares));
            }
        }
        if compared.len() == self.askers.iter().filter(|asker| is_heavy(asker)).count() {
            for (index, _) in &compared {
                self.shares[*index] += self.now[*index].got;
            }
        }
        for now in &mut self.now {
            now.always = now.waiting > 0;
            now.got = 0.0;
        }
    }

    pub(super) fn outcome(mut self, options: &Options) -> Outcome {
        let sum = |of: fn(&OfKind) -> i64| self.kinds.iter().map(of).sum::<i64>() as f64;
        let (online, used) = (sum(|kind| kind.online_ms), sum(|kind| kind.used_ms));
        let work = sum(|kind| kind.work as i64);
        let kinds = Kind::ALL.map(|kind| {
            let of = self.kinds[kind as usize];
            Kinds {
                kind: kind.name(),
                nodes: of.nodes,
                given: of.given,
                lost: of.lost,
                work_percent: percent(of.work as f64, work),
                slots_percent: percent(of.online_ms as f64, online),
                used_percent: percent(of.used_ms as f64, of.online_ms as f64),
            }
        });
        let steady = kinds[Kind::Steady as usize].used_percent;
        let first_hour = percent(self.first.1 as f64, self.first.0 as f64);
        let waits = Group::ALL.map(|group| waits(group, &mut self.waits[group as usize], self.gave_up[group as usize]));
        let weights: u32 = self.heavy().map(|(_, asker)| asker.weight).sum();
        let got: f64 = self.shares.iter().sum();
        let shares = self.heavy().map(|(index, asker)| Share {
            asker: asker.name,
            weight: asker.weight,
            got_percent: percent(self.shares[index], got),
            due_percent: percent(f64::from(asker.weight), f64::from(weights)),
        });
        Outcome {
            seed: options.seed,
            days: options.days,
            nodes: options.nodes,
            jobs: self.jobs,
            answered: self.answered,
            failed: self.failed,
            gave_up: self.gave_up.iter().sum(),
            attempts_lost: self.kinds.iter().map(|kind| kind.lost).sum(),
            jain_mean: self.jain.iter().sum::<f64>() / self.jain.len().max(1) as f64,
            jain_worst: self.jain.iter().copied().fold(1.0, f64::min),
            jain_windows: self.jain.len() as u64,
            used_percent: percent(used, online),
            used_when_short_percent: percent(self.short.1 as f64, self.short.0 as f64),
            shares: shares.collect(),
            waits: waits.into(),
            kinds: kinds.into(),
            new_nodes_first_hour_percent: percent(first_hour, steady),
            slot_time_lost_percent: percent(self.lost_ms as f64, used),
        }
    }

    fn heavy(&self) -> impl Iterator<Item = (usize, &Asker)> {
        let all = self.askers.iter().enumerate();
        all.filter(|(_, asker)| asker.group == Group::Heavy)
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 0.0 }
}

fn waits(group: Group, waited: &mut [f64], gave_up: u64) -> Waits {
    waited.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (waited.len() as f64 * part) as usize;
        waited
            .get(index.min(waited.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    Waits {
        group: group.name(),
        jobs: waited.len() as u64,
        gave_up,
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        longest: waited.last().copied().unwrap_or_default(),
    }
}

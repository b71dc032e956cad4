//! The simulation: events in the order of their time, and the scheduler in the middle.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use resultity_core::Address;
use resultity_core::clock::{Clock, ManualClock, SeededEntropy, Timestamp};
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::Priority;
use resultity_server::flow::schedule::{
    Assignment, Decision, Ended, NextTry, Offer, Outcome as Attempt, Scheduler, Tries, Waiting, Wanted, work,
};

use super::super::luck::Luck;
use super::measure::{Measure, WINDOW_MS};
use super::world::{Asker, Group, Kind, MEAN_WORK, SLOTS, UNIT, askers, daylight, tokens};
use super::{Options, Outcome};

/// When the simulation begins: midnight of some day.
const BEGIN: i64 = 1_700_006_400_000;

const HOUR: i64 = 3_600_000;

/// How long a normal asker waits for a node, and one of bulk.
const PATIENCE: (i64, i64) = (5 * 60_000, 24 * HOUR);

/// So many nodes may fail at a job.
const MAX_ATTEMPTS: u32 = 3;

/// How often nodes that are left out are looked at.
const LOOK: i64 = 1000;

/// How long it takes until a job is given up on a node that is gone.
const GRACE: i64 = 3000;

const MODEL: &str = "model";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks(usize),
    GivesUp(JobId, u32),
    Again(JobId),
    Ends(JobId, u32),
    Comes(usize),
    Goes(usize),
    Look,
    Window,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    kind: Kind,
    since: Option<i64>,
    working: HashSet<JobId>,
}

#[derive(Debug)]
struct Job {
    asker: usize,
    created: i64,
    /// The work that it is, and the work that it may be.
    work: (u64, u64),
    tries: Tries,
    excluded: HashSet<NodeId>,
    /// Counts what happened to it: what was planned before something else happened does not count.
    step: u32,
    is_waiting: bool,
    was_given: bool,
    working: Option<Working>,
}

#[derive(Debug, Clone, Copy)]
struct Working {
    node: usize,
    begun: i64,
    joined: i64,
    fails: bool,
}

struct Simulation {
    clock: ManualClock,
    entropy: SeededEntropy,
    luck: Luck,
    scheduler: Scheduler,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    planned: u64,
    askers: Vec<Asker>,
    namespaces: Vec<NamespaceId>,
    /// Work that all nodes do in a second.
    capacity: f64,
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, usize>,
    jobs: HashMap<JobId, Job>,
    measure: Measure,
}

/// Simulates. Takes some microseconds a job.
pub fn run(options: &Options) -> Outcome {
    let end = BEGIN + i64::try_from(options.days).unwrap_or(1) * 24 * HOUR;
    let mut simulation = Simulation::new(options);
    simulation.measure.advance(BEGIN);
    while let Some(Reverse((at, _, event))) = simulation.events.pop() {
        if at >= end {
            break;
        }
        let passed = Timestamp::from_millis(at).since(simulation.clock.now());
        simulation.clock.advance(passed);
        simulation.measure.advance(at);
        simulation.handle(event, at);
    }
    simulation.measure.advance(end);
    for index in 0..simulation.nodes.len() {
        if let Some(since) = simulation.nodes[index].since {
            simulation.measure.went(simulation.nodes[index].kind, since, end);
        }
    }
    simulation.measure.outcome(options)
}

impl Simulation {
    fn new(options: &Options) -> Self {
        let clock = ManualClock::new(Timestamp::from_millis(BEGIN));
        let entropy = SeededEntropy::new(options.seed);
        let askers = askers();
        let kinds: Vec<Kind> = (0..options.nodes).map(Kind::of).collect();
        let speed = |kind: &Kind| match kind {
            Kind::Broken => 0.0,
            kind => f64::from(SLOTS) / (UNIT.as_secs_f64() * kind.pace()),
        };
        let mut simulation = Self {
            namespaces: askers.iter().map(|_| NamespaceId::new(&clock, &entropy)).collect(),
            measure: Measure::new(askers.clone()),
            capacity: kinds.iter().map(speed).sum(),
            nodes: Vec::new(),
            by_id: HashMap::new(),
            clock,
            entropy,
            luck: Luck::new(options.seed),
            scheduler: Scheduler::default(),
            events: BinaryHeap::new(),
            planned: 0,
            askers,
            jobs: HashMap::new(),
        };
        for (index, kind) in kinds.into_iter().enumerate() {
            let id = NodeId::from_address(Address::left_padding_from(&(index as u64 + 1).to_be_bytes()));
            simulation.by_id.insert(id, index);
            simulation.measure.node(kind);
            simulation.nodes.push(Node {
                id,
                kind,
                since: None,
                working: HashSet::new(),
            });
            let day = 24 * HOUR as u64;
            let comes = match kind {
                Kind::New => simulation
                    .luck
                    .between(day / 4, (day * options.days.max(1)).saturating_sub(day / 8)),
                _ => simulation.luck.between(0, 1000),
            };
            simulation.plan(BEGIN + comes as i64, Event::Comes(index));
        }
        for asker in 0..simulation.askers.len() {
            simulation.plan_next_request(asker, BEGIN);
        }
        simulation.plan(BEGIN, Event::Look);
        simulation.plan(BEGIN + WINDOW_MS, Event::Window);
        simulation
    }

    fn plan(&mut self, at: i64, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn plan_next_request(&mut self, asker: usize, at: i64) {
        let Asker { group, load, .. } = self.askers[asker];
        let seconds = ((at - BEGIN) / 1000).unsigned_abs();
        let a_second = self.capacity * load * daylight(group, seconds) / MEAN_WORK;
        let pause = -(1.0 - self.luck.share()).ln() / a_second;
        self.plan(at + (pause * 1000.0) as i64 + 1, Event::Asks(asker));
    }

    fn handle(&mut self, event: Event, at: i64) {
        match event {
            Event::Asks(asker) => {
                self.ask(asker, at);
                self.plan_next_request(asker, at);
            }
            Event::Again(job) => self.submit(job, at),
            Event::GivesUp(job, step) => self.give_up(job, step),
            Event::Ends(job, step) => self.end(job, step, at),
            Event::Comes(node) => self.come(node, at),
            Event::Goes(node) => self.go(node, at),
            Event::Look => {
                let assigned = self.scheduler.wake(self.clock.now());
                self.assign(assigned, at);
                self.plan(at + LOOK, Event::Look);
            }
            Event::Window => {
                self.measure.window();
                self.plan(at + WINDOW_MS, Event::Window);
            }
        }
    }

    fn ask(&mut self, asker: usize, at: i64) {
        let id = JobId::new(&self.clock, &self.entropy);
        let (prompt, answer) = tokens(&mut self.luck);
        let job = Job {
            asker,
            created: at,
            work: (work(prompt, answer), work(prompt, self.askers[asker].max_tokens)),
            tries: Tries::default(),
            excluded: HashSet::new(),
            step: 0,
            is_waiting: false,
            was_given: false,
            working: None,
        };
        self.jobs.insert(id, job);
        self.measure.jobs += 1;
        self.submit(id, at);
    }

    fn submit(&mut self, id: JobId, at: i64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let asker = &self.askers[job.asker];
        let is_bulk = asker.group == Group::Bulk;
        let waiting = Waiting {
            job: id,
            namespace: self.namespaces[job.asker],
            weight: asker.weight,
            model: MODEL.to_owned(),
            priority: if is_bulk { Priority::Bulk } else { Priority::Normal },
            work: job.work.1,
            since: Timestamp::from_millis(job.created),
            wanted: Wanted::default(),
            is_patient: is_bulk,
            excluded: job.excluded.clone(),
        };
        match self.scheduler.submit(waiting, self.clock.now()) {
            Decision::Assigned(node) => self.begin(id, node, at),
            Decision::Waits => {
                job.is_waiting = true;
                job.step += 1;
                let step = job.step;
                self.measure.waits(job.asker);
                let patience = if is_bulk { PATIENCE.1 } else { PATIENCE.0 };
                self.plan(at + patience, Event::GivesUp(id, step));
            }
            Decision::NoNode | Decision::TooPicky => self.fail(id),
        }
    }

    fn fail(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.measure.failed += 1;
            if job.is_waiting {
                self.measure.waits_no_more(job.asker);
            }
        }
    }

    fn give_up(&mut self, id: JobId, step: u32) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_waiting && job.step == step) else {
            return;
        };
        let asker = job.asker;
        self.jobs.remove(&id);
        self.scheduler.withdraw(id, MODEL, self.namespaces[asker]);
        self.measure.waits_no_more(asker);
        self.measure.gave_up(asker);
    }

    fn assign(&mut self, assigned: Vec<Assignment>, at: i64) {
        for Assignment { job, node } in assigned {
            self.begin(job, node, at);
        }
    }

    fn begin(&mut self, id: JobId, node: NodeId, at: i64) {
        let (Some(index), Some(job)) = (self.by_id.get(&node).copied(), self.jobs.get_mut(&id)) else {
            return;
        };
        let node = &mut self.nodes[index];
        if std::mem::take(&mut job.is_waiting) {
            self.measure.waits_no_more(job.asker);
        }
        let is_first = !std::mem::replace(&mut job.was_given, true);
        self.measure
            .given(job.asker, node.kind, is_first.then_some(at - job.created));
        let fails = self.luck.happens(node.kind.failures());
        let unit = UNIT.as_millis() as f64 * node.kind.pace() * (0.8 + 0.4 * self.luck.share());
        let whole = job.work.0 as f64 * unit;
        let takes = match (fails, node.kind) {
            (false, _) => whole as i64,
            (true, Kind::Broken) => 50,
            (true, _) => (whole * self.luck.share()) as i64,
        };
        job.step += 1;
        let step = job.step;
        let joined = node.since.unwrap_or(at);
        node.working.insert(id);
        job.working = Some(Working {
            node: index,
            begun: at,
            joined,
            fails,
        });
        self.plan(at + takes.max(1), Event::Ends(id, step));
    }

    fn end(&mut self, id: JobId, step: u32, at: i64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.step == step) else {
            return;
        };
        let Some(working) = job.working.take() else { return };
        let node = &mut self.nodes[working.node];
        node.working.remove(&id);
        let done = (!working.fails).then_some(job.work.0);
        self.measure
            .ended(job.asker, node.kind, working.joined, working.begun, at, done);
        let node = node.id;
        let took = Duration::from_millis((at - working.begun).unsigned_abs());
        let ended = match done {
            Some(done) => Ended::done(done, took),
            None => Ended::failed(),
        };
        if done.is_some() {
            self.jobs.remove(&id);
        } else {
            job.excluded.insert(node);
            match job.tries.add(Attempt::Failure, MAX_ATTEMPTS) {
                NextTry::Again(pause) => self.plan(at + pause.as_millis() as i64, Event::Again(id)),
                NextTry::GiveUp => self.fail(id),
            }
        }
        let assigned = self.scheduler.slot_freed(node, id, ended, self.clock.now());
        self.assign(assigned, at);
    }

    fn come(&mut self, index: usize, at: i64) {
        let node = &mut self.nodes[index];
        node.since = Some(at);
        let (id, kind) = (node.id, node.kind);
        self.measure.came();
        let offer = Offer {
            models: HashSet::from([MODEL.to_owned()]),
            slots: SLOTS,
            ..Offer::default()
        };
        let readied = self.scheduler.node_ready(id, offer, self.clock.now());
        self.assign(readied.assigned, at);
        if kind == Kind::Restless {
            let stays = self.luck.between(2 * HOUR as u64, 6 * HOUR as u64);
            self.plan(at + stays as i64, Event::Goes(index));
        }
    }

    fn go(&mut self, index: usize, at: i64) {
        let node = &mut self.nodes[index];
        let Some(since) = node.since.take() else { return };
        self.measure.went(node.kind, since, at);
        let mut lost: Vec<JobId> = node.working.iter().copied().collect();
        lost.sort_unstable();
        for stranded in self.scheduler.node_gone(node.id) {
            self.fail(stranded);
        }
        for id in lost {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.step += 1;
            let step = job.step;
            if let Some(working) = &mut job.working {
                working.fails = true;
            }
            self.plan(at + GRACE, Event::Ends(id, step));
        }
        self.plan(at + HOUR, Event::Comes(index));
    }
}

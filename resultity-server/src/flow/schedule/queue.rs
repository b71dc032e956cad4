//! The jobs that wait for one model. Pure.
//!
//! Within a priority class it is fair between namespaces by work and weight (start-time fair queueing): each has a mark that
//! moves on by the work of its jobs, divided by its weight, and the smallest mark is next. Work is what a job may take; when it
//! has ended, the difference to what it took is made good with the namespace's next job. Within a namespace the oldest job is first.
//!
//! A job in bulk that has waited for [`LIFTED_AFTER`] goes on among the normal ones, so that it never starves. What was
//! lifted there has a mark of its own with a quarter of the weight: its namespace's normal jobs don't wait behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::Priority;

use super::Waiting;
use super::wanted::{Offer, Wanted};

/// A job in bulk waits behind the normal ones for so long at most.
pub const LIFTED_AFTER: Duration = Duration::from_mins(10);

/// The weight of what was lifted is this part of its namespace's.
const LIFTED_PART: u64 = 4;

/// How finely marks are told apart.
const FINE: u64 = 1024;

/// Marks of those who don't wait are forgotten once there are so many.
const MANY_MARKS: usize = 256;

/// So many different wishes may wait in one class for one model: each is looked at whenever a node has a place.
const MOST_WISHES: usize = 256;

/// So many of them may be one namespace's.
const MOST_WISHES_OF_ONE: usize = 16;

/// How many classes there are.
const CLASSES: usize = 2;

/// The class of a job, from the most urgent.
pub(super) const fn class(priority: Priority) -> usize {
    match priority {
        Priority::Bulk => 1,
        _ => 0,
    }
}

/// Whose turn it is: a namespace, or what was lifted of its bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    pub(super) namespace: NamespaceId,
    pub(super) is_lifted: bool,
}

/// What a job was charged for when it got its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) class: usize,
    pub(super) turn: Turn,
    pub(super) work: u64,
    pub(super) weight: u32,
}

impl Charge {
    fn marks(&self, work: u64) -> u64 {
        let part = if self.turn.is_lifted { LIFTED_PART } else { 1 };
        work.saturating_mul(FINE * part) / u64::from(self.weight.max(1))
    }
}

#[derive(Debug, Default)]
struct Mark {
    at: u64,
    /// What is to be made good: positive is owed by the namespace.
    owed: i64,
    waiting: u32,
}

/// Jobs that need the same of their node.
#[derive(Debug, Default)]
struct Alike {
    /// By mark. One may have moved on since: it is put right when it comes first.
    order: BTreeSet<(u64, Turn)>,
    lines: HashMap<Turn, VecDeque<Waiting>>,
    /// How many of them were tried by a node already.
    tried: usize,
}

/// Jobs of one class.
#[derive(Debug, Default)]
struct Class {
    /// The mark of the last one whose turn it was: whoever comes anew starts here, without a debt or a credit from long ago.
    now: u64,
    marks: HashMap<Turn, Mark>,
    /// By what they need: see [`Wanted::needed`].
    alike: HashMap<Wanted, Alike>,
    waiting: usize,
    kept_marks: usize,
}

/// Jobs of one model.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: [Class; CLASSES],
    /// Jobs in bulk by age, with the line that they are in.
    bulk: BTreeMap<(Timestamp, JobId), (NamespaceId, Wanted)>,
}

/// A job that a node may have next.
#[derive(Debug, Clone)]
pub(super) struct Next {
    pub(super) class: usize,
    pub(super) turn: Turn,
    pub(super) job: JobId,
    wanted: Wanted,
    place: usize,
}

impl Alike {
    /// The line whose turn it is among those with a job that this node did not try yet, and the job's place in it.
    fn next(&mut self, marks: &HashMap<Turn, Mark>, node: &NodeId) -> Option<(u64, Turn, usize)> {
        let at = |turn: &Turn| marks.get(turn).map_or(0, |mark| mark.at);
        // Marks only grow: once the first is right, it is the smallest.
        while let Some((mark, turn)) = self.order.first().copied()
            && mark != at(&turn)
        {
            self.order.pop_first();
            self.order.insert((at(&turn), turn));
        }
        self.order.iter().find_map(|(_, turn)| {
            let line = self.lines.get(turn)?;
            let place = line.iter().position(|waiting| !waiting.excluded.contains(node))?;
            Some((at(turn), *turn, place))
        })
    }

    /// Takes a turn out of the order. Its entry may be older than its mark.
    fn leave(&mut self, turn: Turn, mark: Option<&Mark>) {
        let is_there = mark.is_some_and(|mark| self.order.remove(&(mark.at, turn)));
        if !is_there {
            self.order.retain(|(_, other)| *other != turn);
        }
    }
}

impl Class {
    fn push(&mut self, turn: Turn, waiting: Waiting) {
        let now = self.now;
        let mark = self.marks.entry(turn).or_default();
        if mark.waiting == 0 {
            mark.at = mark.at.max(now);
        }
        mark.waiting += 1;
        self.waiting += 1;
        let needed = waiting.wanted.needed();
        // The name of nearly all is there already.
        if !self.alike.contains_key(&*needed) {
            self.alike.insert(needed.clone().into_owned(), Alike::default());
        }
        let Some(alike) = self.alike.get_mut(&*needed) else {
            return;
        };
        alike.tried += usize::from(!waiting.excluded.is_empty());
        let line = alike.lines.entry(turn).or_default();
        if line.is_empty() {
            alike.order.insert((mark.at, turn));
        }
        // One that comes back from a node is older than those that came since.
        match line.back() {
            Some(last) if last.job > waiting.job => {
                let place = line.partition_point(|other| other.job < waiting.job);
                line.insert(place, waiting);
            }
            _ => line.push_back(waiting),
        }
    }

    /// Whether one that needs this may wait: else somebody could make every look of a node long with wishes of all kinds.
    fn has_room(&self, turn: Turn, needed: &Wanted) -> bool {
        if self.alike.is_empty() || self.alike.contains_key(needed) {
            return true;
        }
        let of_one = self.alike.values().filter(|alike| alike.lines.contains_key(&turn));
        self.alike.len() < MOST_WISHES && of_one.count() < MOST_WISHES_OF_ONE
    }

    /// Takes the job at this place of a line out.
    fn remove(&mut self, wanted: &Wanted, turn: Turn, place: usize) -> Option<Waiting> {
        let alike = self.alike.get_mut(wanted)?;
        let line = alike.lines.get_mut(&turn)?;
        let waiting = line.remove(place)?;
        alike.tried -= usize::from(!waiting.excluded.is_empty());
        if line.is_empty() {
            alike.lines.remove(&turn);
            alike.leave(turn, self.marks.get(&turn));
        }
        if alike.lines.is_empty() {
            self.alike.remove(wanted);
        }
        if let Some(mark) = self.marks.get_mut(&turn) {
            mark.waiting = mark.waiting.saturating_sub(1);
        }
        self.waiting -= 1;
        Some(waiting)
    }

    fn find(&self, wanted: &Wanted, turn: Turn, job: JobId) -> Option<usize> {
        let line = self.alike.get(wanted)?.lines.get(&turn)?;
        line.binary_search_by_key(&job, |waiting| waiting.job).ok()
    }

    /// Moves the mark of whoever has got a node.
    fn charge(&mut self, charge: &Charge) {
        let now = self.now;
        let mark = self.marks.entry(charge.turn).or_default();
        let start = if mark.waiting == 0 { mark.at.max(now) } else { mark.at };
        let due = (charge.marks(charge.work) as i64).saturating_add(mark.owed);
        mark.owed = (due - 1).min(0);
        mark.at = start.saturating_add(due.max(1) as u64);
        self.now = now.max(start);
        if self.marks.len() > MANY_MARKS.max(2 * self.kept_marks) {
            let now = self.now;
            self.marks.retain(|_, mark| mark.waiting > 0 || mark.at > now);
            self.kept_marks = self.marks.len();
        }
    }

    /// How many go before the one at this place of its own line: of every other line as many as its weight lets go first.
    fn ahead(&self, turn: Turn, weight: u32, place: usize) -> u64 {
        let mut others: HashMap<Turn, (u64, u32)> = HashMap::new();
        for (other, line) in self.alike.values().flat_map(|alike| &alike.lines) {
            if *other != turn {
                let (jobs, weight) = others.entry(*other).or_default();
                *jobs += line.len() as u64;
                *weight = line.front().map_or(1, |waiting| waiting.weight);
            }
        }
        let own = u64::from(weight.max(1)) * if turn.is_lifted { 1 } else { LIFTED_PART };
        let first = |(turn, (jobs, weight)): (Turn, (u64, u32))| {
            let weight = u64::from(weight.max(1)) * if turn.is_lifted { 1 } else { LIFTED_PART };
            jobs.min(((place as u64 + 1) * weight).div_ceil(own))
        };
        place as u64 + others.into_iter().map(first).sum::<u64>()
    }
}

impl Queue {
    /// Whether a job may wait with what it needs.
    pub(super) fn has_room(&self, waiting: &Waiting) -> bool {
        let turn = Turn {
            namespace: waiting.namespace,
            is_lifted: false,
        };
        self.classes[class(waiting.priority)].has_room(turn, &waiting.wanted.needed())
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let turn = Turn {
            namespace: waiting.namespace,
            is_lifted: false,
        };
        let class = class(waiting.priority);
        if class > 0 {
            let line = (waiting.namespace, waiting.wanted.needed().into_owned());
            self.bulk.insert((waiting.since, waiting.job), line);
        }
        self.classes[class].push(turn, waiting);
    }

    /// Lets those in bulk go on among the normal ones that have waited for long.
    pub(super) fn lift(&mut self, now: Timestamp) {
        while let Some((key, _)) = self.bulk.first_key_value()
            && now.since(key.0) >= LIFTED_AFTER
        {
            let Some(((_, job), (namespace, wanted))) = self.bulk.pop_first() else {
                return;
            };
            let turn = |is_lifted| Turn { namespace, is_lifted };
            let place = self.classes[1].find(&wanted, turn(false), job);
            let found = place.and_then(|place| self.classes[1].remove(&wanted, turn(false), place));
            if let Some(waiting) = found {
                self.classes[0].push(turn(true), waiting);
            }
        }
    }

    /// The job that this node may have next.
    pub(super) fn next(&mut self, node: &NodeId, offer: &Offer, now: Timestamp) -> Option<Next> {
        self.lift(now);
        self.classes.iter_mut().enumerate().find_map(|(class, jobs)| {
            let marks = &jobs.marks;
            let fitting = jobs.alike.iter_mut().filter(|(wanted, _)| offer.suits(wanted));
            let heads = fitting.filter_map(|(wanted, alike)| {
                let (mark, turn, place) = alike.next(marks, node)?;
                let job = alike.lines.get(&turn)?.get(place)?.job;
                Some((mark, job, turn, place, wanted))
            });
            let (_, job, turn, place, wanted) = heads.min_by_key(|(mark, job, ..)| (*mark, *job))?;
            Some(Next {
                class,
                turn,
                job,
                wanted: wanted.clone(),
                place,
            })
        })
    }

    /// Takes it out, and charges its namespace.
    pub(super) fn take(&mut self, next: &Next) -> Option<(Waiting, Charge)> {
        let class = &mut self.classes[next.class];
        let waiting = class.remove(&next.wanted, next.turn, next.place)?;
        let charge = Charge {
            class: next.class,
            turn: next.turn,
            work: waiting.work,
            weight: waiting.weight,
        };
        // It was waiting until now: its mark is where its turn was.
        if let Some(mark) = class.marks.get_mut(&next.turn) {
            mark.waiting += 1;
            class.charge(&charge);
        }
        if let Some(mark) = class.marks.get_mut(&next.turn) {
            mark.waiting -= 1;
        }
        if next.class > 0 {
            self.bulk.remove(&(waiting.since, waiting.job));
        }
        Some((waiting, charge))
    }

    /// Charges a job that got its node without having to wait.
    pub(super) fn charge(&mut self, waiting: &Waiting) -> Charge {
        let charge = Charge {
            class: class(waiting.priority),
            turn: Turn {
                namespace: waiting.namespace,
                is_lifted: false,
            },
            work: waiting.work,
            weight: waiting.weight,
        };
        self.classes[charge.class].charge(&charge);
        charge
    }

    /// Makes good the difference between what a job might have taken and what it took.
    pub(super) fn correct(&mut self, charge: &Charge, work: u64) {
        if let Some(mark) = self.classes[charge.class].marks.get_mut(&charge.turn) {
            let difference = charge.marks(work) as i64 - charge.marks(charge.work) as i64;
            mark.owed = mark.owed.saturating_add(difference);
        }
    }

    /// Takes one job out, if it is there.
    pub(super) fn withdraw(&mut self, namespace: NamespaceId, job: JobId) -> Option<Waiting> {
        let (class, wanted, turn, place) = self.find(namespace, job)?;
        let waiting = self.classes[class].remove(&wanted, turn, place)?;
        self.bulk.remove(&(waiting.since, job));
        Some(waiting)
    }

    fn find(&self, namespace: NamespaceId, job: JobId) -> Option<(usize, Wanted, Turn, usize)> {
        let turns = [false, true].map(|is_lifted| Turn { namespace, is_lifted });
        self.classes.iter().enumerate().find_map(|(class, jobs)| {
            jobs.alike.keys().find_map(|wanted| {
                let found = turns
                    .into_iter()
                    .find_map(|turn| Some((turn, jobs.find(wanted, turn, job)?)));
                found.map(|(turn, place)| (class, wanted.clone(), turn, place))
            })
        })
    }

    /// One job, if it is there, and how many are served before it: a guess.
    pub(super) fn place(&self, namespace: NamespaceId, job: JobId) -> Option<(&Waiting, u64)> {
        let (class, wanted, turn, place) = self.find(namespace, job)?;
        let jobs = &self.classes[class];
        let waiting = jobs.alike.get(&wanted)?.lines.get(&turn)?.get(place)?;
        let urgent = self.classes[..class].iter().map(|class| class.waiting as u64);
        Some((waiting, urgent.sum::<u64>() + jobs.ahead(turn, waiting.weight, place)))
    }

    /// How many would be served before a job that comes now.
    pub(super) fn ahead(&self, namespace: NamespaceId, weight: u32, priority: Priority) -> u64 {
        let class = class(priority);
        let turn = Turn {
            namespace,
            is_lifted: false,
        };
        let lines = self.classes[class].alike.values();
        let own = lines
            .filter_map(|alike| alike.lines.get(&turn))
            .map(VecDeque::len)
            .sum();
        let urgent = self.classes[..class].iter().map(|class| class.waiting as u64);
        urgent.sum::<u64>() + self.classes[class].ahead(turn, weight, own)
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.waiting).sum()
    }

    /// All that wait, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        let alike = self.classes.iter().flat_map(|class| class.alike.values());
        alike.flat_map(|alike| alike.lines.values().flatten())
    }

    /// Takes out those that no node could take: `could` is asked once for all that want the same, and `could_one` for each that
    /// was tried already.
    pub(super) fn strand(
        &mut self,
        could: impl Fn(&Wanted) -> bool,
        could_one: impl Fn(&Waiting) -> bool,
    ) -> Vec<Waiting> {
        let mut stranded = Vec::new();
        for class in &self.classes {
            for (wanted, alike) in &class.alike {
                if alike.tried > 0 || !could(wanted) {
                    let jobs = alike.lines.values().flatten().filter(|waiting| !could_one(waiting));
                    stranded.extend(jobs.map(|waiting| (waiting.namespace, waiting.job)));
                }
            }
        }
        let found = stranded.into_iter();
        found
            .filter_map(|(namespace, job)| self.withdraw(namespace, job))
            .collect()
    }
}

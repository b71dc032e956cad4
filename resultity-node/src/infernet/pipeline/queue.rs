//! Who may call a container now, and who is next. Pure: no waiting happens here.

use std::collections::BTreeMap;

use super::Lane;

/// Calls at once, over all containers and for each one, and those that wait.
///
/// Whoever waits can't go on: either the node has no room, or the container that it waits for has none. So nobody waits
/// behind a call of another container that is full.
#[derive(Debug)]
pub(super) struct Queue<W> {
    node: Room,
    containers: Vec<Room>,
    lanes: [Vec<BTreeMap<Ticket, W>>; Lane::COUNT],
    waiting: usize,
    next: u64,
}

/// The place in the queue; lower ones came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct Room {
    limit: usize,
    taken: usize,
}

impl Room {
    fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            taken: 0,
        }
    }

    fn is_free(&self) -> bool {
        self.taken < self.limit
    }
}

impl<W> Queue<W> {
    /// Room for so many calls in all, and for each container.
    pub(super) fn new(node: usize, containers: impl IntoIterator<Item = usize>) -> Self {
        let containers: Vec<_> = containers.into_iter().map(Room::new).collect();
        let lane = || containers.iter().map(|_| BTreeMap::new()).collect();
        Self {
            node: Room::new(node),
            lanes: std::array::from_fn(|_| lane()),
            containers,
            waiting: 0,
            next: 0,
        }
    }

    /// Takes a slot, if there is one.
    pub(super) fn enter(&mut self, container: usize) -> bool {
        let free = self.node.is_free() && self.containers[container].is_free();
        if free {
            self.take(container);
        }
        free
    }

    /// Gets in line, after [`enter`](Self::enter) found no slot.
    pub(super) fn wait(&mut self, lane: Lane, container: usize, waiter: W) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting += 1;
        self.lanes[lane as usize][container].insert(ticket, waiter);
        ticket
    }

    /// Leaves the line. False: it was given a slot already.
    pub(super) fn forget(&mut self, lane: Lane, container: usize, ticket: Ticket) -> bool {
        let waited = self.lanes[lane as usize][container].remove(&ticket).is_some();
        self.waiting -= usize::from(waited);
        waited
    }

    /// Gives a slot back. Gives it to who is next, if somebody can go on now.
    pub(super) fn leave(&mut self, container: usize) -> Option<W> {
        self.node.taken -= 1;
        self.containers[container].taken -= 1;
        if self.waiting == 0 {
            return None;
        }
        let free = |(container, line): (usize, &BTreeMap<Ticket, W>)| {
            let first = line.first_key_value().map(|(ticket, _)| *ticket);
            first
                .filter(|_| self.containers[container].is_free())
                .map(|ticket| (ticket, container))
        };
        // As many as there are containers are looked at, and not one more if there is room for one.
        let (lane, container) = self.lanes.iter().enumerate().find_map(|(lane, lines)| {
            let next = lines.iter().enumerate().filter_map(free).min()?;
            Some((lane, next.1))
        })?;
        let (_, waiter) = self.lanes[lane][container].pop_first()?;
        self.waiting -= 1;
        self.take(container);
        Some(waiter)
    }

    fn take(&mut self, container: usize) {
        self.node.taken += 1;
        self.containers[container].taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Come(Lane, usize),
        /// The n-th of those that hold a slot, or wait.
        Leave(usize),
        GiveUp(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let lane = prop_oneof![Just(Lane::Network), Just(Lane::Local)];
        prop_oneof![
            3 => (lane, 0..3_usize).prop_map(|(lane, container)| Step::Come(lane, container)),
            2 => any::<usize>().prop_map(Step::Leave),
            1 => any::<usize>().prop_map(Step::GiveUp),
        ]
    }

    const LIMITS: [usize; 3] = [1, 2, 100];

    /// The same rules, said plainly: a list of who waits.
    #[derive(Default)]
    struct Model {
        holding: Vec<(usize, usize)>,
        waiting: Vec<(Lane, usize, usize, Ticket)>,
    }

    impl Model {
        fn is_free(&self, container: usize) -> bool {
            let held = self.holding.iter().filter(|(_, of)| *of == container).count();
            self.holding.len() < 4 && held < LIMITS[container]
        }

        fn next(&mut self) -> Option<usize> {
            let place = [Lane::Network, Lane::Local].into_iter().find_map(|lane| {
                let can_go =
                    |(of, _, container, _): &(Lane, usize, usize, Ticket)| *of == lane && self.is_free(*container);
                self.waiting.iter().position(can_go)
            })?;
            let (_, who, container, _) = self.waiting.remove(place);
            self.holding.push((who, container));
            Some(who)
        }
    }

    proptest! {
        #[test]
        fn whoever_can_go_on_does_and_in_order(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = Queue::new(4, LIMITS);
            let mut model = Model::default();
            for (who, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Come(lane, container) => {
                        let free = model.is_free(container);
                        prop_assert_eq!(queue.enter(container), free);
                        if free {
                            model.holding.push((who, container));
                        } else {
                            let ticket = queue.wait(lane, container, who);
                            model.waiting.push((lane, who, container, ticket));
                        }
                    }
                    Step::Leave(which) if !model.holding.is_empty() => {
                        let (_, container) = model.holding.remove(which % model.holding.len());
                        let next = queue.leave(container);
                        prop_assert_eq!(next, model.next());
                    }
                    Step::GiveUp(which) if !model.waiting.is_empty() => {
                        let (lane, _, container, ticket) = model.waiting.remove(which % model.waiting.len());
                        prop_assert!(queue.forget(lane, container, ticket));
                        prop_assert!(!queue.forget(lane, container, ticket));
                    }
                    Step::Leave(_) | Step::GiveUp(_) => {}
                }
                prop_assert_eq!(queue.node.taken, model.holding.len());
                prop_assert_eq!(queue.waiting, model.waiting.len());
                let stuck = model.waiting.iter().all(|(_, _, container, _)| !model.is_free(*container));
                prop_assert!(stuck, "somebody waits who could go on");
            }
        }
    }
}

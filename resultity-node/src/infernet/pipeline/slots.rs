//! Slots for calls of containers, with waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Lane;
use super::queue::{Queue, Ticket};

/// All slots of a node.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Mutex<Queue<oneshot::Sender<()>>>>);

/// The right to call a container once. Dropping it gives the slot to who is next.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    container: usize,
}

/// Somebody in line. Dropped, it leaves the line, or gives back what it was given in between.
struct Waiting {
    slots: Slots,
    lane: Lane,
    container: usize,
    ticket: Option<Ticket>,
}

impl Slots {
    pub(super) fn new(node: usize, containers: impl IntoIterator<Item = usize>) -> Self {
        Self(Arc::new(Mutex::new(Queue::new(node, containers))))
    }

    /// Waits for a slot. Dropping the future leaves the line.
    pub(super) async fn take(&self, lane: Lane, container: usize) -> Slot {
        let (mut waiting, granted) = {
            let mut queue = self.lock();
            if queue.enter(container) {
                return self.slot(container);
            }
            let (grant, granted) = oneshot::channel();
            let ticket = Some(queue.wait(lane, container, grant));
            let waiting = Waiting {
                slots: self.clone(),
                lane,
                container,
                ticket,
            };
            (waiting, granted)
        };
        // The other end is only ever dropped by `forget`, which ends this future first.
        let _ = granted.await;
        waiting.ticket = None;
        self.slot(container)
    }

    fn slot(&self, container: usize) -> Slot {
        Slot {
            slots: self.clone(),
            container,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, container: usize) {
        let next = self.lock().leave(container);
        if let Some(grant) = next {
            // Whoever gave up meanwhile gives it back when it is dropped.
            let _ = grant.send(());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.leave(self.container);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waited = self.slots.lock().forget(self.lane, self.container, ticket);
        if !waited {
            self.slots.leave(self.container);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_no_slot_behind() {
        let slots = Slots::new(1, [1, 1]);
        let first = slots.take(Lane::Local, 0).await;
        let mut early = Box::pin(slots.take(Lane::Local, 0));
        let mut late = Box::pin(slots.take(Lane::Local, 1));
        assert!(early.as_mut().now_or_never().is_none() && late.as_mut().now_or_never().is_none());
        // It was given the slot, but never looked again.
        drop(first);
        drop(early);
        let second = late.await;
        // And here it was not.
        let mut never = Box::pin(slots.take(Lane::Network, 0));
        assert!(never.as_mut().now_or_never().is_none());
        drop(never);
        drop(second);
        assert!(slots.take(Lane::Local, 0).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_network_goes_first_and_nobody_waits_for_another_container() {
        let slots = Slots::new(2, [1, 1]);
        let held = slots.take(Lane::Local, 0).await;
        let mut local = Box::pin(slots.take(Lane::Local, 0));
        let mut network = Box::pin(slots.take(Lane::Network, 0));
        assert!(local.as_mut().now_or_never().is_none() && network.as_mut().now_or_never().is_none());
        let other = slots.take(Lane::Local, 1).now_or_never();
        assert!(other.is_some(), "container 1 is free");
        drop(held);
        assert!(local.as_mut().now_or_never().is_none());
        drop(network.now_or_never());
        assert!(local.now_or_never().is_some());
    }
}

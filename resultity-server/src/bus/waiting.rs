//! How much of what nodes said waits for the owners of jobs, in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of what nodes said may wait for one job's owner: an asker who reads slowly does not make a node's flood ours.
pub(super) const MOST_WAITING: usize = 32 * 1024 * 1024;

/// How many bytes may wait for all owners together. Beyond it only small inboxes take more.
pub(super) const MOST_WAITING_IN_ALL: usize = 512 * 1024 * 1024;

/// What an inbox may hold however much waits elsewhere: bytes.
pub(super) const SMALL_INBOX: usize = 32 * 1024;

/// What waits in one inbox: bytes. Counted for all together too, until it is taken or dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    bytes: AtomicUsize,
    in_all: Arc<AtomicUsize>,
}

impl Waiting {
    pub(super) const fn new(in_all: Arc<AtomicUsize>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            in_all,
        }
    }

    /// False: there is no room for so many bytes.
    pub(super) fn add(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let its = self.bytes.load(Ordering::Relaxed) + bytes;
        let all = self.in_all.load(Ordering::Relaxed) + bytes;
        if its > MOST_WAITING || (all > MOST_WAITING_IN_ALL && its > SMALL_INBOX) {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.in_all.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    pub(super) fn take(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.in_all.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.in_all.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

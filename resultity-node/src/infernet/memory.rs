//! How much of what is large may be in memory at once: bodies that come in, answers of containers, answers that go out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What takes no more than this is not counted: bytes.
const SMALL: usize = 16 * 1024;

/// A permit counts so many bytes: the semaphore takes 32 bits at once.
const UNIT: usize = 1024;

/// Room in memory. Clones are the same room.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    all: u32,
}

/// What one job, or one request, has of it. Dropping it gives that back.
#[derive(Debug, Default)]
pub(crate) struct Share {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// What it covers, with what came before it.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is anything to give back.
    pub(crate) const fn is_counted(&self) -> bool {
        self.permit.is_some()
    }

    /// A share of its own for what comes after so many bytes.
    pub(crate) const fn after(bytes: usize) -> Self {
        Self { bytes, permit: None }
    }

    /// Takes over the one that came after this.
    pub(crate) fn join(&mut self, next: Self) {
        self.bytes = next.bytes;
        if let Some(more) = next.permit {
            self.add(more);
        }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
    }
}

impl Memory {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let all = u32::try_from(bytes / UNIT).unwrap_or(most).clamp(1, most);
        Self {
            units: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Makes a share cover so many bytes in all, once there is room for them. What is larger than all there is gets all of it.
    pub(crate) async fn cover(&self, share: &mut Share, bytes: usize) {
        if bytes > share.bytes {
            let missing = self.units_of(bytes) - self.units_of(share.bytes);
            // It is never closed.
            if missing > 0
                && let Ok(more) = Arc::clone(&self.units).acquire_many_owned(missing).await
            {
                share.add(more);
            }
            share.bytes = bytes;
        }
    }

    /// The same, without waiting longer than this. False: there is no room.
    pub(crate) async fn cover_within(&self, patience: Duration, share: &mut Share, bytes: usize) -> bool {
        tokio::time::timeout(patience, self.cover(share, bytes)).await.is_ok()
    }

    /// Whether so many bytes are counted at all.
    pub(crate) const fn counts(bytes: usize) -> bool {
        bytes > SMALL
    }

    fn units_of(&self, bytes: usize) -> u32 {
        if !Self::counts(bytes) {
            return 0;
        }
        u32::try_from(bytes.div_ceil(UNIT)).map_or(self.all, |units| units.min(self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const KIB: usize = 1024;

    #[tokio::test(start_paused = true)]
    async fn what_is_large_waits_for_room() {
        let memory = Memory::new(100 * KIB);
        let (mut first, mut second) = (Share::default(), Share::default());
        memory.cover(&mut first, 60 * KIB).await;
        memory.cover(&mut first, 50 * KIB).await;
        assert_eq!(first.bytes(), 60 * KIB);
        memory.cover(&mut first, 80 * KIB).await;
        assert!(!memory.cover_within(Duration::from_secs(1), &mut second, 21 * KIB).await);
        assert_eq!(second.bytes(), 0);
        memory.cover(&mut second, 20 * KIB).await;
        drop(first);
        assert!(memory.cover_within(Duration::ZERO, &mut second, 100 * KIB).await);
        assert_eq!(memory.units.available_permits(), 0);
        drop(second);
        assert_eq!(memory.units.available_permits(), 100);
    }

    #[test]
    fn shares_follow_one_another() {
        let memory = Memory::new(100 * KIB);
        let mut all = Share::default();
        for kib in [10, 20, 40, 100] {
            let mut next = Share::after(all.bytes());
            memory.cover(&mut next, kib * KIB).now_or_never().unwrap();
            all.join(next);
        }
        assert_eq!((all.bytes(), memory.units.available_permits()), (100 * KIB, 0));
        drop(all);
        assert_eq!(memory.units.available_permits(), 100);
    }

    #[test]
    fn what_is_small_is_not_counted_and_what_is_too_large_gets_all() {
        let memory = Memory::new(100 * KIB);
        let (mut large, mut small) = (Share::default(), Share::default());
        memory.cover(&mut large, usize::MAX).now_or_never().unwrap();
        memory.cover(&mut small, SMALL).now_or_never().unwrap();
        assert!(memory.cover(&mut small, SMALL + 1).now_or_never().is_none());
        drop(large);
        memory.cover(&mut small, SMALL + 1).now_or_never().unwrap();
        for bytes in [0, usize::MAX] {
            let memory = Memory::new(bytes);
            memory.cover(&mut Share::default(), usize::MAX).now_or_never().unwrap();
        }
    }
}

//! How many jobs may be under way: what a node takes on, it has to hold in memory.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::infernet::{JobRequest, NodeError, NodeErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::settings::QueueSettings;

/// How long a job waits at the door. When jobs come and go quickly a place is free within moments, and a refusal with another
/// try costs both sides more than the wait.
const PATIENCE: Duration = Duration::from_millis(250);

/// When to try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a place costs in bytes, so that a permit can count them: the semaphore takes 32 bits at once.
const UNIT: usize = 256;

/// What a job's input takes in memory.
pub(super) fn bytes(request: &JobRequest) -> usize {
    let containers = request.containers.iter().map(|id| size_of::<String>() + id.len());
    request.data.get().len() + containers.sum::<usize>()
}

/// Places for jobs that have not ended.
#[derive(Debug)]
pub(super) struct Room {
    jobs: Arc<Semaphore>,
    units: Arc<Semaphore>,
    max_pending: usize,
    max_units: usize,
}

/// The place of one job; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    _job: OwnedSemaphorePermit,
    _units: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(settings: &QueueSettings) -> Self {
        let max_pending = settings.max_pending.clamp(1, Semaphore::MAX_PERMITS);
        let max_units = (settings.max_pending_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            jobs: Arc::new(Semaphore::new(max_pending)),
            units: Arc::new(Semaphore::new(max_units)),
            max_pending,
            max_units,
        }
    }

    /// A place for a job with this much input, after a short wait if need be.
    pub(super) async fn enter(&self, bytes: usize) -> Result<Place, NodeError> {
        if let Ok(place) = self.try_enter(bytes) {
            return Ok(place);
        }
        let wait = async {
            let job = Arc::clone(&self.jobs).acquire_owned().await.ok()?;
            let units = Arc::clone(&self.units)
                .acquire_many_owned(self.units_of(bytes)?)
                .await
                .ok()?;
            Some(Place {
                _job: job,
                _units: units,
            })
        };
        let place = tokio::time::timeout(PATIENCE, wait).await;
        place.ok().flatten().ok_or_else(|| self.full())
    }

    /// A place for a job with this much input, if there is one now.
    pub(super) fn try_enter(&self, bytes: usize) -> Result<Place, NodeError> {
        let job = Arc::clone(&self.jobs).try_acquire_owned();
        let units = self
            .units_of(bytes)
            .map(|units| Arc::clone(&self.units).try_acquire_many_owned(units));
        match (job, units) {
            (Ok(job), Some(Ok(units))) => Ok(Place {
                _job: job,
                _units: units,
            }),
            _ => Err(self.full()),
        }
    }

    /// Input that could never fit gets none.
    fn units_of(&self, bytes: usize) -> Option<u32> {
        let units = bytes.div_ceil(UNIT).max(1);
        u32::try_from(units).ok().filter(|_| units <= self.max_units)
    }

    fn full(&self) -> NodeError {
        NodeError::new(NodeErrorKind::Busy, "Queue is full")
            .with("max_pending", self.max_pending)
            .retry_after(RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(max_pending: usize, max_pending_bytes: usize) -> Room {
        Room::new(&QueueSettings {
            max_pending,
            max_pending_bytes,
            ..QueueSettings::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_once_its_job_has_ended() {
        let room = room(1, 1024);
        let place = room.enter(10).await.unwrap();
        let refused = room.enter(10).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.when_to_retry()),
            (NodeErrorKind::Busy, Some(RETRY_AFTER))
        );
        let (entered, ()) = tokio::join!(room.enter(10), async { drop(place) });
        assert!(entered.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_count_too() {
        let room = room(10, 1024);
        let first = room.try_enter(1000).unwrap();
        assert!(room.try_enter(1).is_err());
        drop(first);
        assert!(room.try_enter(1024).is_ok());
        assert!(room.enter(1025).await.is_err(), "it could never fit");
        assert!(room.try_enter(1024).is_ok(), "a refusal holds nothing");
    }
}

//! Room for jobs: how many may be under way and how much they may hold in memory, in all and for one namespace, so that none
//! takes what the others need.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NamespaceId;

use crate::flow::end::no_capacity;
use crate::flow::validate::ValidJob;

/// The most that may be under way at once: 20 000 jobs with half a GiB of bodies.
const MOST: Share = Share {
    jobs: 20_000,
    kept: 20_000,
    bytes: 512 * 1024 * 1024,
    told: 1024 * 1024 * 1024,
};

/// The most of one namespace.
const MOST_OF_A_NAMESPACE: Share = Share {
    jobs: 10_000,
    kept: 2_000,
    bytes: 128 * 1024 * 1024,
    told: 256 * 1024 * 1024,
};

/// What a job needs beside its body: bytes.
const BESIDE_THE_BODY: usize = 1024;

/// How long a caller is asked to wait who has too much under way.
const FULL_PAUSE: Duration = Duration::from_secs(10);

/// What is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    jobs: usize,
    /// How many of the jobs are kept.
    kept: usize,
    bytes: usize,
    /// What kept jobs under way have told so far: bytes. Those who follow one hear all of it.
    told: usize,
}

impl Share {
    fn of(request: &ValidJob, is_kept: bool) -> Self {
        Self {
            jobs: 1,
            kept: is_kept.into(),
            bytes: request.body.get().len() + BESIDE_THE_BODY,
            told: 0,
        }
    }

    const fn with(self, other: Self) -> Self {
        Self {
            jobs: self.jobs + other.jobs,
            kept: self.kept + other.kept,
            bytes: self.bytes + other.bytes,
            told: self.told + other.told,
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_sub(other.jobs),
            kept: self.kept.saturating_sub(other.kept),
            bytes: self.bytes.saturating_sub(other.bytes),
            told: self.told.saturating_sub(other.told),
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    in_all: Share,
    by_namespace: HashMap<NamespaceId, Share>,
}

/// Keeps count.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms(Arc<Mutex<Taken>>);

/// Room that a job has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    rooms: Rooms,
    namespace: NamespaceId,
    share: Share,
    told: AtomicUsize,
}

impl Room {
    /// The job, which is kept, has told so many bytes more. It may: those that want to begin may not.
    pub(super) fn tell(&self, bytes: usize) {
        self.told.fetch_add(bytes, Ordering::Relaxed);
        let more = Share {
            told: bytes,
            ..Share::default()
        };
        self.rooms.lock().add(self.namespace, more);
    }
}

impl Rooms {
    /// Room for one more job; a kept one lives on without its asker.
    ///
    /// # Errors
    /// There is none, or the namespace has its share.
    pub(super) fn take(&self, namespace: NamespaceId, request: &ValidJob, is_kept: bool) -> Result<Room, ApiError> {
        let share = Share::of(request, is_kept);
        let mut taken = self.lock();
        let in_all = taken.in_all.with(share);
        if in_all.jobs > MOST.jobs {
            return Err(no_capacity("the server has as many jobs as it can hold"));
        }
        if is_kept && in_all.told > MOST.told {
            return Err(no_capacity("the server has as many answers under way as it can hold"));
        }
        if in_all.bytes > MOST.bytes {
            return Err(no_capacity("the server has as many large requests as it can hold"));
        }
        let its = taken
            .by_namespace
            .get(&namespace)
            .copied()
            .unwrap_or_default()
            .with(share);
        let most = MOST_OF_A_NAMESPACE;
        if is_kept && its.kept > most.kept {
            return Err(full("this namespace has too many jobs in the background"));
        }
        if is_kept && its.told > most.told {
            return Err(full("this namespace has too long answers in the background under way"));
        }
        if its.jobs > most.jobs || its.bytes > most.bytes {
            return Err(full("this namespace has too many or too large requests under way"));
        }
        taken.add(namespace, share);
        drop(taken);
        Ok(self.room(namespace, share))
    }

    /// Room for a job that was accepted earlier, whether or not there is any.
    pub(super) fn take_all_the_same(&self, namespace: NamespaceId, request: &ValidJob) -> Room {
        let share = Share::of(request, true);
        self.lock().add(namespace, share);
        self.room(namespace, share)
    }

    fn room(&self, namespace: NamespaceId, share: Share) -> Room {
        Room {
            rooms: self.clone(),
            namespace,
            share,
            told: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, namespace: NamespaceId, share: Share) {
        self.in_all = self.in_all.with(share);
        let its = self.by_namespace.entry(namespace).or_default();
        *its = its.with(share);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let share = Share {
            told: self.told.load(Ordering::Relaxed),
            ..self.share
        };
        let mut taken = self.rooms.lock();
        taken.in_all = taken.in_all.without(share);
        if let Some(its) = taken.by_namespace.get_mut(&self.namespace) {
            *its = its.without(share);
            if its.jobs == 0 {
                taken.by_namespace.remove(&self.namespace);
            }
        }
    }
}

fn full(why: &str) -> ApiError {
    let message = format!("{why}: wait until some have ended");
    ApiError::new(ErrorCode::RateLimitExceeded, message).with_retry_after(FULL_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{find, model_that_can};
    use crate::flow::validate;
    use resultity_core::capability::Capability;
    use resultity_core::openai::embedding::EmbeddingRequest;
    use uuid::Uuid;

    fn request(bytes: usize) -> ValidJob {
        let model = find(model_that_can(&[Capability::Embeddings]));
        validate::embedding(EmbeddingRequest::new("m", "x".repeat(bytes)), model).unwrap()
    }

    fn namespace(number: u128) -> NamespaceId {
        NamespaceId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn one_namespace_cannot_take_all_and_what_is_dropped_is_there_again() {
        let rooms = Rooms::default();
        let large = request(10_000_000);
        let mut held = Vec::new();
        let refused = loop {
            match rooms.take(namespace(1), &large, false) {
                Ok(room) => held.push(room),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
        assert_eq!(held.len(), MOST_OF_A_NAMESPACE.bytes / 10_000_000);
        assert!(rooms.take(namespace(2), &large, true).is_ok(), "others have theirs");
        held.pop();
        held.push(rooms.take(namespace(1), &large, false).unwrap());
        held.push(rooms.take_all_the_same(namespace(1), &large));
        held.clear();
        let taken = rooms.lock();
        assert_eq!((taken.in_all, taken.by_namespace.len()), (Share::default(), 0));
    }

    #[test]
    fn long_answers_that_are_under_way_keep_others_from_beginning() {
        let rooms = Rooms::default();
        let small = request(1);
        let telling = rooms.take(namespace(1), &small, true).unwrap();
        telling.tell(MOST_OF_A_NAMESPACE.told);
        assert!(rooms.take(namespace(1), &small, true).is_ok());
        telling.tell(1);
        let refused = rooms.take(namespace(1), &small, true).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
        assert!(rooms.take(namespace(1), &small, false).is_ok(), "of it nothing is held");
        assert!(rooms.take(namespace(2), &small, true).is_ok(), "others have theirs");
        drop(telling);
        assert!(rooms.take(namespace(1), &small, true).is_ok());
        assert_eq!(rooms.lock().in_all, Share::default());
    }

    #[test]
    fn jobs_that_are_kept_and_all_jobs_are_counted() {
        let rooms = Rooms::default();
        let small = request(1);
        let kept: Vec<_> = (0..MOST_OF_A_NAMESPACE.kept)
            .map(|_| rooms.take(namespace(1), &small, true).unwrap())
            .collect();
        let refused = rooms.take(namespace(1), &small, true).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
        assert!(rooms.take(namespace(1), &small, false).is_ok());
        drop(kept);
        let all: Vec<_> = (0..MOST.jobs)
            .map(|number| rooms.take(namespace(number as u128 / 5_000), &small, false).unwrap())
            .collect();
        let refused = rooms.take(namespace(9), &small, false).unwrap_err();
        assert_eq!(refused.code, ErrorCode::NoCapacity);
        drop(all);
    }
}

//! What is kept of requests and answers, by what their namespace says.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::Retention;
use resultity_core::clock::Timestamp;
use resultity_core::id::JobId;
use resultity_core::job::JobState;
use resultity_core::openai::file::FilePurpose;

use super::Scenario;
use super::files::{file, read};
use super::world::{World, micros};
use crate::store::tenancy::{NamespaceChange, NamespaceChanged, NamespaceRecord};
use crate::store::{Admission, Idempotency, NewJob, NewPayload, Settle};

pub(super) const SCENARIOS: [(&str, Scenario); 6] = [
    ("a namespace that keeps everything keeps it for so long", |world| {
        Box::pin(everything_is_kept_for_so_long(world))
    }),
    ("a stricter retention lets go of what is kept", |world| {
        Box::pin(a_stricter_retention_lets_go(world))
    }),
    ("a namespace that keeps nothing takes nothing to keep", |world| {
        Box::pin(nothing_is_taken_to_be_kept(world))
    }),
    ("of a private job not even hashes stay", |world| {
        Box::pin(of_a_private_job_not_even_hashes_stay(world))
    }),
    ("what is under way is kept until it ends", |world| {
        Box::pin(what_is_under_way_is_kept(world))
    }),
    ("what is kept for a namespace is counted", |world| {
        Box::pin(what_is_kept_is_counted(world))
    }),
];

const DAY: Duration = Duration::from_hours(24);

async fn changed(world: &World, retention: Retention, days: Option<u32>) -> NamespaceChanged {
    let change = NamespaceChange {
        name: None,
        retention: Some(retention),
        retention_days: days,
    };
    let (account, id) = (world.key.account, world.key.namespace);
    let changed = world.store.update_namespace(account, id, change, world.audit_line());
    changed.await.expect("an answer")
}

async fn retain(world: &World, retention: Retention, days: u32) {
    let changed = changed(world, retention, Some(days)).await;
    let NamespaceChanged::Changed(record) = changed else {
        unreachable!("nothing stands against it, but: {changed:?}")
    };
    assert_eq!((record.retention, record.retention_days), (retention, days));
}

async fn namespace(world: &World) -> NamespaceRecord {
    let (account, id) = (world.key.account, world.key.namespace);
    let found = world.store.namespace(account, id, world.now()).await;
    found.expect("an answer").expect("the tenant's namespace")
}

/// A job that wants to be kept for so long after it was made.
fn wanting(world: &World, lasts: Duration) -> NewJob {
    let job = world.new_job(micros(100));
    NewJob {
        payload: Some(NewPayload {
            request: "asked".into(),
            work: String::new(),
            expires_at: job.now.after(lasts),
            most_bytes: None,
            detached: false,
            events: None,
            idempotency: None,
        }),
        ..job
    }
}

async fn admit(world: &World, job: NewJob) -> Admission {
    world.store.reserve_and_enqueue(job, None).await.expect("an answer")
}

/// One of them that was answered.
async fn answered(world: &World, lasts: Duration) -> JobId {
    let job = wanting(world, lasts);
    let id = job.id;
    assert_eq!(admit(world, job).await, Admission::Admitted);
    let lease = world.lease(id).await;
    let settle = Settle {
        answer: Some("answered".into()),
        ..world.settle_of(lease, micros(40))
    };
    world.store.settle(settle).await.expect("an end");
    id
}

/// Whether request and answer are there once what is kept no longer has been deleted at this time.
async fn is_there(world: &World, job: JobId, at: Timestamp) -> bool {
    world.store.purge(at).await.expect("an answer");
    let kept = world.store.detached_job(world.key.namespace, job).await;
    let kept = kept.expect("an answer");
    if let Some(kept) = &kept {
        assert_eq!(
            (kept.request.as_str(), kept.answer.as_deref()),
            ("asked", Some("answered"))
        );
    }
    kept.is_some()
}

async fn everything_is_kept_for_so_long(world: &World) {
    let before = answered(world, Duration::ZERO).await;
    assert!(!is_there(world, before, world.now()).await, "nobody wanted it");
    retain(world, Retention::Full, 2).await;
    let job = answered(world, Duration::ZERO).await;
    let longer = answered(world, 3 * DAY).await;
    let kept = world.store.detached_job(world.key.namespace, job).await;
    assert!(!kept.expect("an answer").expect("what is kept").is_asked);
    let made = world.now();
    assert!(is_there(world, job, made.after(Duration::from_hours(47))).await);
    assert!(!is_there(world, job, made.after(Duration::from_hours(49))).await);
    assert!(is_there(world, longer, made.after(Duration::from_hours(71))).await);
    assert!(!is_there(world, longer, made.after(Duration::from_hours(73))).await);
}

async fn a_stricter_retention_lets_go(world: &World) {
    retain(world, Retention::Full, 30).await;
    let (job, asked) = (answered(world, Duration::ZERO).await, answered(world, DAY).await);
    // More than one operation looks at.
    for _ in 0..250 {
        answered(world, Duration::ZERO).await;
    }
    let last = answered(world, Duration::ZERO).await;
    retain(world, Retention::Full, 3).await;
    assert!(is_there(world, last, world.now().after(2 * DAY)).await);
    retain(world, Retention::Metadata, 3).await;
    assert!(!is_there(world, job, world.now()).await);
    assert!(!is_there(world, last, world.now()).await);
    assert!(is_there(world, asked, world.now()).await, "its asker wants it");
    let input = file(world, FilePurpose::UserData, b"x").await;
    let key = Idempotency {
        key: "k".into(),
        request_hash: B256::ZERO,
        expires_at: world.now().after(DAY),
    };
    let mut named = wanting(world, DAY);
    named.payload = named.payload.map(|payload| NewPayload {
        idempotency: Some(key),
        ..payload
    });
    let named_id = named.id;
    admit(world, named).await;
    world
        .store
        .release(world.release_of(named_id, JobState::Failed))
        .await
        .expect("an end");
    retain(world, Retention::None, 3).await;
    assert!(read(world, input.id).await.is_none());
    assert!(!is_there(world, asked, world.now()).await);
    let known = world.store.idempotent_job(world.key.namespace, "k", world.now()).await;
    assert_eq!(known.expect("an answer"), None);
    assert_eq!(namespace(world).await.kept_bytes, 0);
}

async fn nothing_is_taken_to_be_kept(world: &World) {
    retain(world, Retention::None, 1).await;
    assert_eq!(admit(world, wanting(world, DAY)).await, Admission::NotKept);
    assert_eq!(world.balance().await.held, micros(0));
    // What only a namespace wanted, before it was changed, runs all the same.
    let job = answered(world, Duration::ZERO).await;
    assert!(!is_there(world, job, Timestamp::from_millis(0)).await);
}

async fn of_a_private_job_not_even_hashes_stay(world: &World) {
    let job = NewJob {
        request_hash: B256::ZERO,
        ..world.new_job(micros(100))
    };
    let id = job.id;
    assert_eq!(admit(world, job).await, Admission::Admitted);
    let lease = world.lease(id).await;
    let settle = world.settle_of(lease, micros(40));
    assert_ne!(settle.output_hash, B256::ZERO);
    world.store.settle(settle).await.expect("an end");
    let receipt = world.store.receipt(world.key.namespace, id).await;
    let receipt = receipt.expect("an answer").expect("what was paid");
    assert_eq!((receipt.request_hash, receipt.output_hash), (B256::ZERO, B256::ZERO));
    assert_eq!(receipt.cost, micros(40));
}

async fn what_is_under_way_is_kept(world: &World) {
    let mut job = wanting(world, DAY);
    job.payload = job.payload.map(|payload| NewPayload {
        detached: true,
        work: "work".into(),
        ..payload
    });
    let id = job.id;
    admit(world, job).await;
    assert_eq!(changed(world, Retention::None, None).await, NamespaceChanged::Busy);
    assert_eq!(namespace(world).await.retention, Retention::Metadata);
    world
        .store
        .release(world.release_of(id, JobState::Failed))
        .await
        .expect("an end");
    retain(world, Retention::None, 1).await;
    // One that somebody waits for stands against nothing, and takes what is kept of it along when it ends.
    retain(world, Retention::Metadata, 1).await;
    let waited_for = wanting(world, DAY);
    let id = waited_for.id;
    admit(world, waited_for).await;
    retain(world, Retention::None, 1).await;
    world.store.purge(world.now()).await.expect("an answer");
    let lease = world.lease(id).await;
    let settle = Settle {
        answer: Some("answered".into()),
        ..world.settle_of(lease, micros(40))
    };
    world.store.settle(settle).await.expect("an end");
    assert!(!is_there(world, id, world.now()).await);
}

async fn what_is_kept_is_counted(world: &World) {
    retain(world, Retention::Full, 1).await;
    answered(world, Duration::ZERO).await;
    let kept = ("asked".len() + "answered".len()) as u64;
    assert_eq!(namespace(world).await.kept_bytes, kept);
    let mut next = wanting(world, DAY);
    next.payload = next.payload.map(|payload| NewPayload {
        most_bytes: Some(kept + 4),
        ..payload
    });
    assert_eq!(admit(world, next.clone()).await, Admission::NoRoom);
    assert_eq!(world.balance().await.held, micros(0));
    next.payload = next.payload.map(|payload| NewPayload {
        most_bytes: Some(kept + 5),
        ..payload
    });
    let id = next.id;
    assert_eq!(admit(world, next).await, Admission::Admitted);
    // It failed, but its namespace keeps what was asked.
    world
        .store
        .release(world.release_of(id, JobState::Failed))
        .await
        .expect("an end");
    assert_eq!(namespace(world).await.kept_bytes, kept);
    world.store.purge(world.now().after(2 * DAY)).await.expect("an answer");
    assert_eq!(namespace(world).await.kept_bytes, 0);
}

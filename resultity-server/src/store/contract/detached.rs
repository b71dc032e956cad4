//! Jobs whose request and answer are kept, and what their owners read of them.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::jobs::{Feedback, Rating};
use resultity_core::clock::Timestamp;
use resultity_core::job::JobState;
use resultity_core::openai::chat::Usage;

use super::Scenario;
use super::world::{World, micros};
use crate::store::{
    Admission, Grant, Idempotency, JobFilter, NewJob, NewPayload, NewTenant, Release, Settle, UsageFilter,
};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 8] = [
    ("what is kept of a job is found, and by its owner alone", |world| {
        Box::pin(what_is_kept_is_found(world))
    }),
    ("an idempotency key stands for one job", |world| {
        Box::pin(an_idempotency_key_stands_for_one_job(world))
    }),
    ("a repeat after a failure of ours begins anew", |world| {
        Box::pin(a_repeat_after_a_failure_begins_anew(world))
    }),
    ("recovery queues jobs that go on again", |world| {
        Box::pin(recovery_queues_jobs_that_go_on(world))
    }),
    ("what is kept no longer is deleted", |world| {
        Box::pin(what_is_kept_no_longer_is_deleted(world))
    }),
    ("jobs are listed by cursor", |world| Box::pin(jobs_are_listed(world))),
    ("usage, receipt and feedback belong to their job", |world| {
        Box::pin(usage_receipt_and_feedback(world))
    }),
    ("a key's own limit bounds holds and charges", |world| {
        Box::pin(a_keys_own_limit_bounds_it(world))
    }),
];

fn payload(world: &World, key: Option<&str>) -> NewPayload {
    let expires_at = world.now().after(Duration::from_hours(24));
    NewPayload {
        request: r#"{"asked":1}"#.into(),
        work: r#"{"work":1}"#.into(),
        expires_at,
        most_bytes: None,
        detached: true,
        events: None,
        idempotency: key.map(|key| Idempotency {
            key: key.into(),
            request_hash: B256::repeat_byte(9),
            expires_at,
        }),
    }
}

fn kept_job(world: &World, key: Option<&str>) -> NewJob {
    NewJob {
        payload: Some(payload(world, key)),
        ..world.new_job(micros(100))
    }
}

async fn admit(world: &World, job: NewJob) -> Admission {
    world.store.reserve_and_enqueue(job, None).await.expect("an answer")
}

async fn what_is_kept_is_found(world: &World) {
    let job = kept_job(world, None);
    let (id, namespace) = (job.id, job.namespace);
    assert_eq!(admit(world, job).await, Admission::Admitted);
    let lease = world.lease(id).await;
    let settle = Settle {
        answer: Some(r#"{"answer":1}"#.into()),
        ..world.settle_of(lease, micros(40))
    };
    world.store.settle(settle).await.expect("an end");
    let kept = world.store.detached_job(namespace, id).await.expect("an answer");
    let kept = kept.expect("what is kept");
    assert_eq!(kept.request, r#"{"asked":1}"#);
    assert_eq!(kept.answer.as_deref(), Some(r#"{"answer":1}"#));
    assert_eq!(
        (kept.view.state, kept.view.cost),
        (JobState::Succeeded, Some(micros(40)))
    );
    let other = world
        .store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant")
        .namespace;
    assert!(world.store.detached_job(other, id).await.expect("an answer").is_none());
    assert!(!world.store.forget_payload(other, id).await.expect("an answer"));
    assert!(world.store.forget_payload(namespace, id).await.expect("an answer"));
    assert!(
        world
            .store
            .detached_job(namespace, id)
            .await
            .expect("an answer")
            .is_none()
    );
    // The record stays: it is what was paid for.
    assert!(world.store.job_view(namespace, id).await.expect("an answer").is_some());
}

async fn an_idempotency_key_stands_for_one_job(world: &World) {
    let first = kept_job(world, Some("k"));
    let id = first.id;
    assert_eq!(admit(world, first).await, Admission::Admitted);
    assert_eq!(admit(world, kept_job(world, Some("k"))).await, Admission::Existing(id));
    let mut other = kept_job(world, Some("k"));
    if let Some(idempotency) = other.payload.as_mut().and_then(|payload| payload.idempotency.as_mut()) {
        idempotency.request_hash = B256::repeat_byte(8);
    }
    assert_eq!(admit(world, other).await, Admission::IdempotencyClash);
    assert_eq!(world.balance().await.held, micros(100));
    let found = world.store.idempotent_job(world.key.namespace, "k", world.now()).await;
    assert_eq!(found.expect("an answer"), Some((id, B256::repeat_byte(9))));
    let much_later = world.now().after(Duration::from_hours(25));
    let found = world.store.idempotent_job(world.key.namespace, "k", much_later).await;
    assert_eq!(found.expect("an answer"), None);
}

async fn a_repeat_after_a_failure_begins_anew(world: &World) {
    for (repeatable, forgotten) in [(false, false), (true, true)] {
        let key = format!("k{repeatable}");
        let job = kept_job(world, Some(&key));
        let id = job.id;
        assert_eq!(admit(world, job).await, Admission::Admitted);
        let release = Release {
            repeatable,
            error_message: "why".into(),
            ..world.release_of(id, JobState::Failed)
        };
        world.store.release(release).await.expect("an end");
        let known = world.store.idempotent_job(world.key.namespace, &key, world.now()).await;
        assert_eq!(known.expect("an answer").is_none(), forgotten);
        let kept = world
            .store
            .detached_job(world.key.namespace, id)
            .await
            .expect("an answer");
        assert_eq!(kept.expect("what is kept").view.error_message.as_deref(), Some("why"));
    }
    assert_eq!(world.balance().await.held, micros(0));
}

async fn recovery_queues_jobs_that_go_on(world: &World) {
    let waiting = kept_job(world, None);
    let leased = kept_job(world, None);
    let stream = NewJob {
        stream: true,
        ..kept_job(world, None)
    };
    let attached = world.queued(micros(100)).await;
    let (waiting_id, leased_id, stream_id) = (waiting.id, leased.id, stream.id);
    for job in [waiting, leased, stream] {
        assert_eq!(admit(world, job).await, Admission::Admitted);
    }
    world.lease(leased_id).await;
    world.lease(stream_id).await;
    let recovered = world.store.recover(world.now()).await.expect("an answer");
    assert_eq!((recovered.cancelled, recovered.requeued), (2, 1));
    let resumable = world.store.resumable().await.expect("an answer");
    let ids: Vec<_> = resumable.iter().map(|job| job.id).collect();
    assert_eq!(ids, [waiting_id, leased_id]);
    assert!(resumable.iter().all(|job| job.work == r#"{"work":1}"#));
    assert_eq!(world.job(stream_id).await.state, JobState::Failed);
    assert_eq!(world.job(attached).await.state, JobState::Cancelled);
    assert_eq!(world.balance().await.held, micros(200));
}

async fn what_is_kept_no_longer_is_deleted(world: &World) {
    let (ended, open) = (kept_job(world, Some("a")), kept_job(world, Some("b")));
    let (ended_id, open_id) = (ended.id, open.id);
    admit(world, ended).await;
    admit(world, open).await;
    world
        .store
        .release(world.release_of(ended_id, JobState::Failed))
        .await
        .expect("an end");
    assert_eq!(world.store.purge(world.now()).await.expect("an answer"), 0);
    let later = world.now().after(Duration::from_hours(25));
    // The payload of the job that has ended, and the key of the one that has not.
    assert_eq!(world.store.purge(later).await.expect("an answer"), 2);
    let namespace = world.key.namespace;
    assert!(
        world
            .store
            .detached_job(namespace, ended_id)
            .await
            .expect("an answer")
            .is_none()
    );
    assert!(
        world
            .store
            .detached_job(namespace, open_id)
            .await
            .expect("an answer")
            .is_some()
    );
}

async fn jobs_are_listed(world: &World) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.queued(micros(1)).await);
        world.clock.advance(Duration::from_millis(2));
    }
    let list = async |filter| {
        let views = world
            .store
            .job_views(world.key.namespace, filter)
            .await
            .expect("a list");
        views.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let filter = JobFilter {
        limit: 2,
        ..JobFilter::default()
    };
    assert_eq!(list(filter.clone()).await, [ids[2], ids[1]]);
    let next = JobFilter {
        after: Some(ids[1]),
        ..filter.clone()
    };
    assert_eq!(list(next).await, [ids[0]]);
    let oldest = JobFilter {
        ascending: true,
        ..filter.clone()
    };
    assert_eq!(list(oldest).await, [ids[0], ids[1]]);
    let ended = JobFilter {
        state: Some(JobState::Succeeded),
        ..filter
    };
    assert!(list(ended).await.is_empty());
}

async fn usage_receipt_and_feedback(world: &World) {
    let lease = world.leased(micros(100)).await;
    let namespace = world.key.namespace;
    let feedback = Feedback {
        rating: Rating::Up,
        category: None,
        comment: Some("good".into()),
        review: false,
    };
    let keep = async || {
        let kept = world
            .store
            .keep_feedback(namespace, lease.job, feedback.clone(), world.now());
        kept.await.expect("an answer")
    };
    assert!(!keep().await, "it has not ended");
    world
        .store
        .settle(world.settle_of(lease, micros(40)))
        .await
        .expect("an end");
    let failed = world.queued(micros(10)).await;
    world
        .store
        .release(world.release_of(failed, JobState::Failed))
        .await
        .expect("an end");
    assert!(keep().await && keep().await);
    let receipt = world
        .store
        .receipt(namespace, lease.job)
        .await
        .expect("an answer")
        .expect("a receipt");
    assert_eq!((receipt.cost, receipt.usage), (micros(40), Usage::new(10, 5)));
    assert!(
        world
            .store
            .receipt(namespace, failed)
            .await
            .expect("an answer")
            .is_none()
    );
    let filter = UsageFilter {
        namespace,
        key: Some(world.key.id),
        model: None,
        from: Timestamp::from_millis(0),
        until: world.now().after(Duration::from_secs(1)),
        accepted_from: Timestamp::from_millis(0),
    };
    let rows = world.store.usage(filter.clone()).await.expect("an answer");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.requests, row.failed, row.cost), (2, 1, micros(40)));
    assert_eq!((row.prompt_tokens, row.completion_tokens), (10, 5));
    let earlier = UsageFilter {
        until: Timestamp::from_millis(1),
        ..filter
    };
    assert!(world.store.usage(earlier).await.expect("an answer").is_empty());
}

async fn a_keys_own_limit_bounds_it(world: &World) {
    let mut tenant: NewTenant = world.tenant("limited");
    tenant.key_limits.spend_limit = Some(micros(150));
    let key = world.store.ensure_tenant(tenant).await.expect("a tenant");
    let grant = Grant {
        idempotency_key: "limited".into(),
        namespace: key.namespace,
        amount: micros(1000),
        reason: "test".into(),
        now: world.now(),
    };
    world.store.grant(grant).await.expect("a grant");
    let job = || NewJob {
        key: key.id,
        namespace: key.namespace,
        ..world.new_job(micros(100))
    };
    let first = job();
    let id = first.id;
    assert_eq!(admit(world, first).await, Admission::Admitted);
    assert_eq!(admit(world, job()).await, Admission::SpendLimit { left: micros(50) });
    let lease = world.lease(id).await;
    world
        .store
        .settle(world.settle_of(lease, micros(30)))
        .await
        .expect("an end");
    assert_eq!(
        world.store.key_spent(key.id).await.expect("an answer"),
        Some(micros(30))
    );
    assert_eq!(admit(world, job()).await, Admission::Admitted);
    assert_eq!(admit(world, job()).await, Admission::SpendLimit { left: micros(20) });
    assert_eq!(world.store.key_spent(world.key.id).await.expect("an answer"), None);
}

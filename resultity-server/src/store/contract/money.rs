//! Credits: given, held, settled, given back.

use std::sync::Arc;

use futures::future::join_all;
use resultity_core::credits::Credits;
use resultity_core::id::NamespaceId;
use resultity_core::job::JobState;
use resultity_core::signing::Outcome;

use super::world::{START, World, micros};
use crate::store::{Admission, Balance, Ended, Grant, Granted, JobEnd, Settle, StoreError};

pub(super) async fn a_grant_counts_once(world: &World) {
    let more = micros(START.micros() + 5);
    assert_eq!(world.grant("payment-1", micros(5)).await, Granted::Balance(more));
    assert_eq!(world.grant("payment-1", micros(5)).await, Granted::Balance(more));
    assert_eq!(
        world.balance().await,
        Balance {
            available: more,
            held: Credits::ZERO
        }
    );
    let to_nobody = Grant {
        idempotency_key: "payment-2".to_owned(),
        namespace: NamespaceId::new(&world.clock, &world.entropy),
        amount: micros(5),
        reason: "test".to_owned(),
        now: world.now(),
    };
    assert_eq!(
        world.store.grant(to_nobody).await.expect("an answer"),
        Granted::UnknownNamespace
    );
    // Nothing of the refused one is kept: its id can still be used.
    assert_eq!(
        world.grant("payment-2", micros(5)).await,
        Granted::Balance(micros(START.micros() + 10))
    );
}

pub(super) async fn a_hold_is_taken_off_and_a_settlement_gives_the_rest_back(world: &World) {
    let lease = world.leased(micros(1_000)).await;
    assert_eq!(
        world.balance().await,
        Balance {
            available: micros(START.micros() - 1_000),
            held: micros(1_000)
        }
    );
    assert!(world.store.mark_running(lease, world.now()).await.expect("an answer"));
    let end = JobEnd {
        state: JobState::Succeeded,
        cost: micros(301),
    };
    let settle = world.settle_of(lease, micros(301));
    assert_eq!(world.store.settle(settle).await.expect("an answer"), Ended::Now(end));
    assert_eq!(
        world.balance().await,
        Balance {
            available: micros(START.micros() - 301),
            held: Credits::ZERO
        }
    );
    let job = world.job(lease.job).await;
    assert_eq!(
        (job.state, job.held, job.cost),
        (JobState::Succeeded, micros(1_000), Some(micros(301)))
    );
    assert_eq!((job.namespace, job.error_code), (world.key.namespace, None));
}

pub(super) async fn a_release_gives_all_of_the_hold_back(world: &World) {
    for state in [JobState::Failed, JobState::Expired, JobState::Cancelled] {
        let job = world.queued(micros(1_000)).await;
        let end = JobEnd {
            state,
            cost: Credits::ZERO,
        };
        let released = world
            .store
            .release(world.release_of(job, state))
            .await
            .expect("an answer");
        assert_eq!(released, Ended::Now(end));
        assert_eq!(
            world.balance().await,
            Balance {
                available: START,
                held: Credits::ZERO
            }
        );
        let job = world.job(job).await;
        assert_eq!(
            (job.state, job.cost, job.error_code.as_deref()),
            (state, Some(Credits::ZERO), Some("node_failed"))
        );
    }
}

pub(super) async fn a_partial_result_ends_as_cancelled_and_is_paid(world: &World) {
    let lease = world.leased(micros(1_000)).await;
    let settle = Settle {
        outcome: Outcome::Partial,
        ..world.settle_of(lease, micros(10))
    };
    let end = JobEnd {
        state: JobState::Cancelled,
        cost: micros(10),
    };
    assert_eq!(world.store.settle(settle).await.expect("an answer"), Ended::Now(end));
    assert_eq!(world.balance().await.available, micros(START.micros() - 10));
}

pub(super) async fn a_job_that_may_cost_nothing_is_held_and_settled(world: &World) {
    let lease = world.leased(Credits::ZERO).await;
    let settled = world
        .store
        .settle(world.settle_of(lease, Credits::ZERO))
        .await
        .expect("an answer");
    assert_eq!(
        settled,
        Ended::Now(JobEnd {
            state: JobState::Succeeded,
            cost: Credits::ZERO
        })
    );
    let job = world.queued(Credits::ZERO).await;
    world
        .store
        .release(world.release_of(job, JobState::Failed))
        .await
        .expect("an answer");
    // A settlement of all that was held leaves nothing to give back.
    let lease = world.leased(micros(7)).await;
    world
        .store
        .settle(world.settle_of(lease, micros(7)))
        .await
        .expect("an answer");
    assert_eq!(
        world.balance().await,
        Balance {
            available: micros(START.micros() - 7),
            held: Credits::ZERO
        }
    );
}

pub(super) async fn too_little_credit_changes_nothing(world: &World) {
    let job = world.new_job(micros(START.micros() + 1));
    let id = job.id;
    let admission = world
        .store
        .reserve_and_enqueue(job, Some(world.new_lease()))
        .await
        .expect("an answer");
    assert_eq!(admission, Admission::Insufficient { available: START });
    assert_eq!(world.store.job(id).await.expect("an answer"), None);
    assert_eq!(
        world.balance().await,
        Balance {
            available: START,
            held: Credits::ZERO
        }
    );
    // All of it may be spent.
    world.queued(START).await;
    let admission = world
        .store
        .reserve_and_enqueue(world.new_job(micros(1)), None)
        .await
        .expect("an answer");
    assert_eq!(
        admission,
        Admission::Insufficient {
            available: Credits::ZERO
        }
    );
}

pub(super) async fn concurrent_jobs_cannot_overdraw(world: &World) {
    // 64 at once, and credit for 40 of them.
    let hold = micros(START.micros() / 40);
    let tries = (0..64).map(|_| {
        let (store, job) = (Arc::clone(&world.store), world.new_job(hold));
        tokio::spawn(async move { store.reserve_and_enqueue(job, None).await.expect("an answer") })
    });
    let admissions = join_all(tries).await;
    let admitted = admissions
        .iter()
        .filter(|admission| matches!(admission, Ok(Admission::Admitted)))
        .count();
    assert_eq!((admissions.len(), admitted), (64, 40));
    assert_eq!(
        world.balance().await,
        Balance {
            available: Credits::ZERO,
            held: START
        }
    );
}

pub(super) async fn a_charge_above_the_hold_changes_nothing(world: &World) {
    let lease = world.leased(micros(100)).await;
    let settled = world
        .store
        .settle(world.settle_of(lease, micros(101)))
        .await
        .expect("an answer");
    assert_eq!(settled, Ended::AboveHold);
    assert_eq!(world.job(lease.job).await.state, JobState::Leased);
    let settled = world
        .store
        .settle(world.settle_of(lease, micros(100)))
        .await
        .expect("an answer");
    assert!(matches!(settled, Ended::Now(_)), "{settled:?}");
}

pub(super) async fn what_may_never_be_is_refused(world: &World) {
    let lease = world.leased(micros(100)).await;
    let refused = |error: StoreError| assert!(matches!(error, StoreError::Invalid(_)), "{error}");
    refused(
        world
            .store
            .settle(world.settle_of(lease, micros(-1)))
            .await
            .expect_err("a negative cost"),
    );
    let share = Settle {
        node_share: 10_001,
        ..world.settle_of(lease, micros(1))
    };
    refused(world.store.settle(share).await.expect_err("a share above the whole"));
    for state in [
        JobState::Queued,
        JobState::Leased,
        JobState::Running,
        JobState::Succeeded,
    ] {
        refused(
            world
                .store
                .release(world.release_of(lease.job, state))
                .await
                .expect_err("a release is an end"),
        );
    }
    refused(
        world
            .store
            .reserve_and_enqueue(world.new_job(micros(-1)), None)
            .await
            .expect_err("a negative hold"),
    );
    for amount in [0, -1] {
        let grant = Grant {
            idempotency_key: "bad".to_owned(),
            namespace: world.key.namespace,
            amount: micros(amount),
            reason: "test".to_owned(),
            now: world.now(),
        };
        refused(world.store.grant(grant).await.expect_err("a grant of nothing or less"));
    }
    assert_eq!(world.job(lease.job).await.state, JobState::Leased);
    assert_eq!(
        world.balance().await,
        Balance {
            available: micros(START.micros() - 100),
            held: micros(100)
        }
    );
}

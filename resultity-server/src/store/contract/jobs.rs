//! Leases and the life of a job.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, LeaseToken};
use resultity_core::job::{Attempt, JobState};

use super::world::{START, World, micros, node};
use crate::store::{Admission, Balance, Ended, JobEnd, LeaseRef, Leased, Settle};

const HOLD: Credits = Credits::from_micros(1_000);
const COST: Credits = Credits::from_micros(400);

pub(super) async fn a_job_is_admitted_once(world: &World) {
    let (job, lease) = (world.new_job(HOLD), world.new_lease());
    let id = job.id;
    for _ in 0..2 {
        let admission = world
            .store
            .reserve_and_enqueue(job.clone(), Some(lease))
            .await
            .expect("an answer");
        assert_eq!(admission, Admission::Admitted);
        assert_eq!(world.balance().await.held, HOLD);
        let job = world.job(id).await;
        assert_eq!(
            (job.state, job.attempt, job.node),
            (JobState::Leased, Some(Attempt::FIRST), Some(node(1)))
        );
    }
    // Even when it has ended.
    world
        .store
        .release(world.release_of(id, JobState::Failed))
        .await
        .expect("an answer");
    assert_eq!(
        world.store.reserve_and_enqueue(job, None).await.expect("an answer"),
        Admission::Admitted
    );
    assert_eq!(world.job(id).await.state, JobState::Failed);
    assert_eq!(
        world.balance().await,
        Balance {
            available: START,
            held: Credits::ZERO
        }
    );
}

pub(super) async fn the_first_end_counts(world: &World) {
    let store = &world.store;
    let settled = world.leased(HOLD).await;
    let end = JobEnd {
        state: JobState::Succeeded,
        cost: COST,
    };
    let answer = store.settle(world.settle_of(settled, COST)).await.expect("an answer");
    assert_eq!(answer, Ended::Now(end.clone()));
    let repeat = store
        .settle(world.settle_of(settled, micros(1)))
        .await
        .expect("an answer");
    assert_eq!(repeat, Ended::Before(end.clone()));
    let release = store
        .release(world.release_of(settled.job, JobState::Failed))
        .await
        .expect("an answer");
    assert_eq!(release, Ended::Before(end));

    let released = world.leased(HOLD).await;
    let end = JobEnd {
        state: JobState::Failed,
        cost: Credits::ZERO,
    };
    let answer = store
        .release(world.release_of(released.job, JobState::Failed))
        .await
        .expect("an answer");
    assert_eq!(answer, Ended::Now(end.clone()));
    let repeat = store
        .release(world.release_of(released.job, JobState::Cancelled))
        .await
        .expect("an answer");
    assert_eq!(repeat, Ended::Before(end.clone()));
    let settle = store.settle(world.settle_of(released, COST)).await.expect("an answer");
    assert_eq!(settle, Ended::Before(end));
    assert!(!store.mark_running(released, world.now()).await.expect("an answer"));
    assert!(!store.requeue(released, "late", world.now()).await.expect("an answer"));
    let lease = store
        .lease(released.job, world.new_lease(), world.now())
        .await
        .expect("an answer");
    assert_eq!(lease, Leased::NotQueued(JobState::Failed));
    assert_eq!(world.balance().await.available, micros(START.micros() - COST.micros()));

    let nobody = LeaseRef {
        job: JobId::new(&world.clock, &world.entropy),
        ..settled
    };
    assert_eq!(
        store.settle(world.settle_of(nobody, COST)).await.expect("an answer"),
        Ended::UnknownJob
    );
    let release = store
        .release(world.release_of(nobody.job, JobState::Failed))
        .await
        .expect("an answer");
    assert_eq!(release, Ended::UnknownJob);
    let lease = store
        .lease(nobody.job, world.new_lease(), world.now())
        .await
        .expect("an answer");
    assert_eq!(lease, Leased::UnknownJob);
}

pub(super) async fn concurrent_ends_give_one(world: &World) {
    let lease = world.leased(HOLD).await;
    let tries = (0..32).map(|number| {
        let store = Arc::clone(&world.store);
        let (settle, release) = (
            world.settle_of(lease, COST),
            world.release_of(lease.job, JobState::Cancelled),
        );
        tokio::spawn(async move {
            if number % 2 == 0 {
                store.settle(settle).await
            } else {
                store.release(release).await
            }
            .expect("an answer")
        })
    });
    let ends: Vec<Ended> = join_all(tries)
        .await
        .into_iter()
        .map(|end| end.expect("no panic"))
        .collect();
    let first: Vec<&JobEnd> = ends
        .iter()
        .filter_map(|end| if let Ended::Now(end) = end { Some(end) } else { None })
        .collect();
    let [first] = first[..] else {
        unreachable!("one end counts, but there are {}", first.len())
    };
    let repeats = ends.iter().filter(|end| **end == Ended::Before(first.clone())).count();
    assert_eq!(repeats, ends.len() - 1, "{ends:?}");
    let left = START.micros() - first.cost.micros();
    assert_eq!(
        world.balance().await,
        Balance {
            available: micros(left),
            held: Credits::ZERO
        }
    );
}

pub(super) async fn a_lease_is_fenced(world: &World) {
    let store = &world.store;
    let lease = world.leased(HOLD).await;
    let wrong = [
        LeaseRef {
            attempt: lease.attempt.next(),
            ..lease
        },
        LeaseRef {
            token: LeaseToken::new(&world.clock, &world.entropy),
            ..lease
        },
        LeaseRef {
            job: JobId::new(&world.clock, &world.entropy),
            ..lease
        },
    ];
    for wrong in wrong {
        assert!(!store.mark_running(wrong, world.now()).await.expect("an answer"));
        assert!(!store.requeue(wrong, "wrong", world.now()).await.expect("an answer"));
        assert!(
            store
                .renew(vec![(wrong, world.now())])
                .await
                .expect("an answer")
                .is_empty()
        );
        let settled = store.settle(world.settle_of(wrong, COST)).await.expect("an answer");
        assert!(matches!(settled, Ended::LeaseLost | Ended::UnknownJob), "{settled:?}");
    }
    let by_another = Settle {
        node: node(2),
        ..world.settle_of(lease, COST)
    };
    assert_eq!(store.settle(by_another).await.expect("an answer"), Ended::LeaseLost);
    assert_eq!(world.job(lease.job).await.state, JobState::Leased);
    // It is running once it was marked, and marking it again is harmless.
    for _ in 0..2 {
        assert!(store.mark_running(lease, world.now()).await.expect("an answer"));
        assert_eq!(world.job(lease.job).await.state, JobState::Running);
    }
    // A queued job has no lease in whose name anything could be done.
    let queued = LeaseRef {
        job: world.queued(HOLD).await,
        ..lease
    };
    assert_eq!(
        store.settle(world.settle_of(queued, COST)).await.expect("an answer"),
        Ended::LeaseLost
    );
}

pub(super) async fn a_job_that_is_queued_again_gets_the_next_attempt(world: &World) {
    let store = &world.store;
    let first = world.leased(HOLD).await;
    assert!(store.mark_running(first, world.now()).await.expect("an answer"));
    assert!(store.requeue(first, "node_lost", world.now()).await.expect("an answer"));
    assert!(
        !store
            .requeue(first, "node_lost", world.now())
            .await
            .expect("a repeat does nothing")
    );
    let job = world.job(first.job).await;
    assert_eq!(
        (job.state, job.attempt, job.node),
        (JobState::Queued, Some(Attempt::FIRST), Some(node(1)))
    );
    assert_eq!(world.balance().await.held, HOLD);

    let new_lease = world.new_lease();
    for _ in 0..2 {
        // The second time is a repeat of the same call.
        let leased = store.lease(first.job, new_lease, world.now()).await.expect("an answer");
        assert_eq!(leased, Leased::Attempt(Attempt::FIRST.next()));
    }
    let other = store
        .lease(first.job, world.new_lease(), world.now())
        .await
        .expect("an answer");
    assert_eq!(other, Leased::NotQueued(JobState::Leased));
    // The first lease is void, whatever is tried with it.
    assert_eq!(
        store.settle(world.settle_of(first, COST)).await.expect("an answer"),
        Ended::LeaseLost
    );
    let mixed = LeaseRef {
        attempt: Attempt::FIRST.next(),
        ..first
    };
    assert_eq!(
        store.settle(world.settle_of(mixed, COST)).await.expect("an answer"),
        Ended::LeaseLost
    );
    let second = LeaseRef {
        job: first.job,
        attempt: Attempt::FIRST.next(),
        token: new_lease.token,
    };
    let settled = store.settle(world.settle_of(second, COST)).await.expect("an answer");
    assert_eq!(
        settled,
        Ended::Now(JobEnd {
            state: JobState::Succeeded,
            cost: COST
        })
    );
}

pub(super) async fn leases_are_renewed_while_they_last(world: &World) {
    let (kept, lost, ended) = (
        world.leased(HOLD).await,
        world.leased(HOLD).await,
        world.leased(HOLD).await,
    );
    assert!(world.store.mark_running(kept, world.now()).await.expect("an answer"));
    assert!(
        world
            .store
            .requeue(lost, "node_lost", world.now())
            .await
            .expect("an answer")
    );
    world
        .store
        .release(world.release_of(ended.job, JobState::Failed))
        .await
        .expect("an answer");
    let later = world.now().after(Duration::from_mins(1));
    let leases = [lost, kept, ended].map(|lease| (lease, later)).to_vec();
    assert_eq!(world.store.renew(leases).await.expect("an answer"), [kept]);
    assert!(world.store.renew(Vec::new()).await.expect("an answer").is_empty());
}

/// Brings a job into the state; `None` where no verb gives a lease for it.
async fn job_in(world: &World, state: JobState) -> LeaseRef {
    let lease = if state == JobState::Queued {
        let LeaseRef { attempt, token, .. } = world.leased(HOLD).await;
        LeaseRef {
            job: world.queued(HOLD).await,
            attempt,
            token,
        }
    } else if state == JobState::Expired {
        let lease = world.leased(HOLD).await;
        assert!(
            world
                .store
                .requeue(lease, "node_lost", world.now())
                .await
                .expect("an answer")
        );
        lease
    } else {
        world.leased(HOLD).await
    };
    match state {
        JobState::Queued | JobState::Leased => {}
        JobState::Running => assert!(world.store.mark_running(lease, world.now()).await.expect("an answer")),
        JobState::Succeeded => drop(
            world
                .store
                .settle(world.settle_of(lease, COST))
                .await
                .expect("an answer"),
        ),
        JobState::Failed | JobState::Expired | JobState::Cancelled => {
            world
                .store
                .release(world.release_of(lease.job, state))
                .await
                .expect("an answer");
        }
    }
    assert_eq!(world.job(lease.job).await.state, state);
    lease
}

pub(super) async fn states_change_as_the_table_allows(world: &World) {
    for from in JobState::ALL {
        for to in JobState::ALL {
            let lease = job_in(world, from).await;
            let store = &world.store;
            let changed = match to {
                JobState::Queued => store.requeue(lease, "node_lost", world.now()).await.expect("an answer"),
                JobState::Leased => {
                    let leased = store
                        .lease(lease.job, world.new_lease(), world.now())
                        .await
                        .expect("an answer");
                    matches!(leased, Leased::Attempt(_))
                }
                // Marking what is marked is a repeat, not a change.
                JobState::Running => {
                    store.mark_running(lease, world.now()).await.expect("an answer") && from != JobState::Running
                }
                JobState::Succeeded => {
                    let settled = store.settle(world.settle_of(lease, COST)).await.expect("an answer");
                    matches!(settled, Ended::Now(_))
                }
                JobState::Failed | JobState::Expired | JobState::Cancelled => {
                    let released = store.release(world.release_of(lease.job, to)).await.expect("an answer");
                    matches!(released, Ended::Now(_))
                }
            };
            assert_eq!(changed, from.may_become(to), "{from} to {to}");
            assert_eq!(
                world.job(lease.job).await.state,
                if changed { to } else { from },
                "{from} to {to}"
            );
        }
    }
}

pub(super) async fn recovery_ends_every_open_job(world: &World) {
    let (queued, leased, running) = (
        world.queued(HOLD).await,
        world.leased(HOLD).await,
        world.leased(HOLD).await,
    );
    assert!(world.store.mark_running(running, world.now()).await.expect("an answer"));
    let settled = world.leased(HOLD).await;
    world
        .store
        .settle(world.settle_of(settled, COST))
        .await
        .expect("an answer");
    assert_eq!(world.store.audit().await.expect("an audit").open_holds, 3);
    assert_eq!(world.store.recover(world.now()).await.expect("an answer").cancelled, 3);
    for id in [queued, leased.job, running.job] {
        let job = world.job(id).await;
        assert_eq!(
            (job.state, job.error_code.as_deref()),
            (JobState::Cancelled, Some("interrupted"))
        );
    }
    assert_eq!(world.job(settled.job).await.state, JobState::Succeeded);
    let left = micros(START.micros() - COST.micros());
    assert_eq!(
        world.balance().await,
        Balance {
            available: left,
            held: Credits::ZERO
        }
    );
    assert_eq!(world.store.recover(world.now()).await.expect("an answer").cancelled, 0);
    assert_eq!(world.store.audit().await.expect("an audit").open_holds, 0);
}

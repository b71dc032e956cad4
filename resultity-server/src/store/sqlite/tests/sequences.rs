//! Random sequences of verbs on a few jobs: whatever is tried in whatever order, the books stay right.

use std::collections::HashMap;

use proptest::prelude::*;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, LeaseToken};
use resultity_core::job::{Attempt, JobState};
use resultity_core::signing::Outcome;

use super::open;
use crate::store::contract::world::{START, World, micros};
use crate::store::{Ended, JobEnd, LeaseRef, Leased, NewJob, NewLease, Settle};

/// How many jobs the verbs are tried on.
const JOBS: usize = 3;

#[derive(Debug, Clone)]
enum Verb {
    Admit { leased: bool },
    Lease,
    MarkRunning,
    Requeue,
    Renew,
    Settle { cost: i64, partial: bool },
    Release(JobState),
    Recover,
    Grant(u8),
    Restart,
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => any::<bool>().prop_map(|leased| Verb::Admit { leased }),
        4 => Just(Verb::Lease),
        2 => Just(Verb::MarkRunning),
        2 => Just(Verb::Requeue),
        1 => Just(Verb::Renew),
        4 => (0..1_200_i64, any::<bool>()).prop_map(|(cost, partial)| Verb::Settle { cost, partial }),
        2 => prop_oneof![Just(JobState::Failed), Just(JobState::Expired), Just(JobState::Cancelled)]
            .prop_map(Verb::Release),
        1 => Just(Verb::Recover),
        1 => (0..3_u8).prop_map(Verb::Grant),
        1 => Just(Verb::Restart),
    ]
}

/// What the test knows about the jobs: their last lease and their one end.
struct Model {
    jobs: Vec<NewJob>,
    leases: HashMap<JobId, LeaseRef>,
    ends: HashMap<JobId, JobEnd>,
    granted: HashMap<u8, i64>,
}

impl Model {
    /// A job ends once; every later answer tells that end.
    fn ended(&mut self, job: JobId, answer: Ended) {
        match answer {
            Ended::Now(end) => assert_eq!(self.ends.insert(job, end), None, "a second end"),
            Ended::Before(end) => assert_eq!(self.ends.get(&job), Some(&end)),
            Ended::LeaseLost | Ended::AboveHold | Ended::UnknownJob => assert_eq!(self.ends.get(&job), None),
        }
    }

    /// The job's last lease; before the first one, a lease that nobody gave.
    fn lease(&self, job: JobId) -> LeaseRef {
        let none = LeaseRef {
            job,
            attempt: Attempt::FIRST,
            token: LeaseToken::from_uuid(uuid::Uuid::nil()),
        };
        self.leases.get(&job).copied().unwrap_or(none)
    }
}

async fn run(verbs: Vec<(usize, Verb)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(open(folder.path())).await;
    let jobs = (0..JOBS).map(|_| world.new_job(micros(1_000))).collect();
    let mut model = Model {
        jobs,
        leases: HashMap::new(),
        ends: HashMap::new(),
        granted: HashMap::new(),
    };
    for (number, verb) in verbs {
        step(&mut world, &mut model, number % JOBS, verb, folder.path()).await;
    }
    check(&world, &model).await;
    world.store.recover(world.now()).await.unwrap();
    let report = world.store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::new(), 0));
}

async fn step(world: &mut World, model: &mut Model, number: usize, verb: Verb, folder: &std::path::Path) {
    let job = model.jobs[number].clone();
    let lease = model.lease(job.id);
    match verb {
        Verb::Admit { leased } => {
            let first = world.store.job(job.id).await.unwrap().is_none();
            let new: Option<NewLease> = leased.then(|| world.new_lease());
            world.store.reserve_and_enqueue(job.clone(), new).await.unwrap();
            if let (true, Some(new)) = (first, new) {
                model.leases.insert(
                    job.id,
                    LeaseRef {
                        job: job.id,
                        attempt: Attempt::FIRST,
                        token: new.token,
                    },
                );
            }
        }
        Verb::Lease => {
            let new = world.new_lease();
            if let Leased::Attempt(attempt) = world.store.lease(job.id, new, world.now()).await.unwrap() {
                let before = model.leases.insert(
                    job.id,
                    LeaseRef {
                        job: job.id,
                        attempt,
                        token: new.token,
                    },
                );
                assert_eq!(attempt, before.map_or(Attempt::FIRST, |before| before.attempt.next()));
            }
        }
        Verb::MarkRunning => drop(world.store.mark_running(lease, world.now()).await.unwrap()),
        Verb::Requeue => drop(world.store.requeue(lease, "node_lost", world.now()).await.unwrap()),
        Verb::Renew => drop(world.store.renew(vec![(lease, world.now())]).await.unwrap()),
        Verb::Settle { cost, partial } => {
            let outcome = if partial { Outcome::Partial } else { Outcome::Complete };
            let settle = Settle {
                outcome,
                ..world.settle_of(lease, micros(cost))
            };
            let answer = world.store.settle(settle).await.unwrap();
            model.ended(job.id, answer);
        }
        Verb::Release(state) => {
            let answer = world.store.release(world.release_of(job.id, state)).await.unwrap();
            model.ended(job.id, answer);
        }
        Verb::Recover => {
            world.store.recover(world.now()).await.unwrap();
            for job in &model.jobs {
                if world.store.job(job.id).await.unwrap().is_some() {
                    let end = JobEnd {
                        state: JobState::Cancelled,
                        cost: Credits::ZERO,
                    };
                    model.ends.entry(job.id).or_insert(end);
                }
            }
        }
        Verb::Grant(id) => {
            world.grant(&format!("grant-{id}"), micros(7)).await;
            model.granted.insert(id, 7);
        }
        Verb::Restart => {
            // The old one is closed when its last owner lets go of it.
            world.store = open(folder);
        }
    }
}

async fn check(world: &World, model: &Model) {
    let report = world.store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let mut available = START.micros() + model.granted.values().sum::<i64>();
    let mut held = 0;
    for job in &model.jobs {
        let Some(record) = world.store.job(job.id).await.unwrap() else {
            continue;
        };
        match model.ends.get(&job.id) {
            Some(end) => {
                assert_eq!((record.state, record.cost), (end.state, Some(end.cost)));
                available -= end.cost.micros();
            }
            None => {
                assert!(!record.state.is_final());
                available -= 1_000;
                held += 1_000;
            }
        }
    }
    let balance = world.balance().await;
    assert_eq!((balance.available.micros(), balance.held.micros()), (available, held));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_verbs_keeps_the_books_right(verbs in prop::collection::vec((0..JOBS, verb()), 1..40)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(run(verbs));
    }
}

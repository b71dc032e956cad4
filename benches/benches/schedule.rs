//! What the scheduler takes for a job: with free nodes, with ten thousand jobs waiting.

use std::collections::HashSet;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use resultity_core::Address;
use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::Priority;
use resultity_server::flow::schedule::{Decision, Ended, Offer, Scheduler, Waiting, Wanted};

const NOW: Timestamp = Timestamp::from_millis(1_763_800_000_000);

const DONE: Ended = Ended::done(90, Duration::from_secs(1));

/// Jobs of fifty namespaces.
struct Jobs {
    clock: ManualClock,
    entropy: SeededEntropy,
    namespaces: Vec<NamespaceId>,
    count: usize,
}

impl Jobs {
    fn new() -> Self {
        let (clock, entropy) = (ManualClock::new(NOW), SeededEntropy::new(1));
        Self {
            namespaces: (0..50).map(|_| NamespaceId::new(&clock, &entropy)).collect(),
            clock,
            entropy,
            count: 0,
        }
    }

    fn next(&mut self) -> Waiting {
        self.count += 1;
        Waiting {
            job: JobId::new(&self.clock, &self.entropy),
            namespace: self.namespaces[self.count % self.namespaces.len()],
            weight: 1,
            model: "m".into(),
            priority: Priority::Normal,
            work: 100,
            since: NOW,
            wanted: Wanted::default(),
            is_patient: false,
            excluded: HashSet::new(),
        }
    }
}

fn scheduler(nodes: u64) -> Scheduler {
    let mut scheduler = Scheduler::default();
    for number in 0..nodes {
        let offer = Offer {
            models: HashSet::from(["m".to_owned()]),
            slots: 8,
            ..Offer::default()
        };
        let id = NodeId::from_address(Address::left_padding_from(&number.to_be_bytes()));
        scheduler.node_ready(id, offer, NOW);
    }
    scheduler
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    for nodes in [1, 100, 2000] {
        let (mut free, mut jobs) = (scheduler(nodes), Jobs::new());
        group.bench_function(format!("a job where {nodes} nodes are free"), |bencher| {
            bencher.iter(|| {
                let waiting = jobs.next();
                let job = waiting.job;
                if let Decision::Assigned(node) = free.submit(waiting, NOW) {
                    free.slot_freed(node, job, DONE, NOW);
                }
            });
        });
        let (mut busy, mut jobs) = (scheduler(nodes), Jobs::new());
        let mut working = Vec::new();
        for _ in 0..nodes * 8 + 10_000 {
            let waiting = jobs.next();
            let job = waiting.job;
            if let Decision::Assigned(node) = busy.submit(waiting, NOW) {
                working.push((node, job));
            }
        }
        let mut turn = 0;
        group.bench_function(
            format!("a job where {nodes} nodes are busy and 10 000 wait"),
            |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % working.len();
                    let (node, job) = working[turn];
                    for given in busy.slot_freed(node, job, DONE, NOW) {
                        working[turn] = (given.node, given.job);
                    }
                    busy.submit(jobs.next(), NOW);
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, schedule);
criterion_main!(benches);

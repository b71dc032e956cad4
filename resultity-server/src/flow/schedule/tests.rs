//! What holds whatever else is decided: places, Subclouds, who may take what. Fairness and nodes have files of their own.

mod fair;
mod nodes;

use std::collections::HashSet;

use proptest::prelude::*;
use resultity_core::Address;
use resultity_core::job::Priority;
use uuid::Uuid;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_000_000_000);

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

const DONE: Ended = Ended::done(116, Duration::from_secs(1));

/// The oldest job that a node works on has ended.
fn ended(scheduler: &mut Scheduler, number: u8, ended: Ended, now: Timestamp) -> Vec<Assignment> {
    let of_node = scheduler
        .working
        .iter()
        .filter(|(_, working)| working.node == node(number));
    match of_node.map(|(job, _)| *job).min() {
        Some(job) => scheduler.slot_freed(node(number), job, ended, now),
        None => Vec::new(),
    }
}

fn freed(scheduler: &mut Scheduler, number: u8) -> Vec<Assignment> {
    ended(scheduler, number, DONE, START)
}

fn place(scheduler: &Scheduler, namespace: u128, number: u128) -> Option<u64> {
    let namespace = NamespaceId::from_uuid(Uuid::from_u128(namespace));
    let (place, _) = scheduler.place("m", namespace, job(number))?;
    Some(place)
}

fn offer(slots: u32, membership: Membership) -> Offer {
    Offer {
        models: HashSet::from(["m".to_owned()]),
        slots,
        membership,
        ..Offer::default()
    }
}

fn node(number: u8) -> NodeId {
    NodeId::from_address(Address::repeat_byte(number))
}

fn job(number: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(number))
}

fn waiting(number: u128, namespace: u128) -> Waiting {
    Waiting {
        job: job(number),
        namespace: NamespaceId::from_uuid(Uuid::from_u128(namespace)),
        weight: 1,
        model: "m".into(),
        priority: Priority::Normal,
        work: 116,
        since: START,
        wanted: Wanted::default(),
        is_patient: false,
        excluded: HashSet::new(),
    }
}

fn with_nodes(slots: &[u32]) -> Scheduler {
    let mut scheduler = Scheduler::default();
    for (number, slots) in slots.iter().enumerate() {
        scheduler.node_ready(node(number as u8 + 1), offer(*slots, Membership::default()), START);
    }
    scheduler
}

#[test]
fn without_a_node_for_the_model_there_is_none() {
    let mut scheduler = with_nodes(&[1]);
    let other = Waiting {
        model: "other".into(),
        ..waiting(1, 1)
    };
    assert_eq!(scheduler.submit(other, START), Decision::NoNode);
    let tried = Waiting {
        excluded: HashSet::from([node(1)]),
        ..waiting(2, 1)
    };
    assert_eq!(scheduler.submit(tried, START), Decision::NoNode);
}

#[test]
fn a_namespace_with_a_long_queue_does_not_starve_another() {
    let mut scheduler = with_nodes(&[1]);
    assert_eq!(scheduler.submit(waiting(0, 1), START), Decision::Assigned(node(1)));
    for number in 1..=10 {
        assert_eq!(scheduler.submit(waiting(number, 1), START), Decision::Waits);
    }
    assert_eq!(scheduler.submit(waiting(100, 2), START), Decision::Waits);
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(freed(&mut scheduler, 1).into_iter().map(|assignment| assignment.job));
    }
    // The first one's turn was when it got the node at once.
    assert_eq!(order, [job(100), job(1), job(2)]);
}

#[test]
fn bulk_jobs_wait_for_the_others() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 1), START);
    let bulk = |number| Waiting {
        priority: Priority::Bulk,
        ..waiting(number, 1)
    };
    assert_eq!(scheduler.submit(bulk(1), START), Decision::Waits);
    assert_eq!(scheduler.submit(bulk(2), START), Decision::Waits);
    assert_eq!(scheduler.submit(waiting(3, 2), START), Decision::Waits);
    assert_eq!(place(&scheduler, 1, 1), Some(1));
    let next = |scheduler: &mut Scheduler| freed(scheduler, 1)[0].job;
    assert_eq!(next(&mut scheduler), job(3));
    assert_eq!(next(&mut scheduler), job(1));
    assert_eq!(place(&scheduler, 1, 2), Some(0));
}

#[test]
fn a_patient_job_waits_for_the_first_node() {
    let mut scheduler = Scheduler::default();
    let patient = Waiting {
        is_patient: true,
        ..waiting(1, 1)
    };
    assert_eq!(scheduler.submit(patient, START), Decision::Waits);
    let given = scheduler.node_ready(node(1), offer(1, Membership::default()), START);
    assert_eq!(given.assigned.len(), 1);
    scheduler.node_gone(node(1));
    assert_eq!(scheduler.slots("m", &Wanted::default()), 0);
}

#[test]
fn a_job_is_not_given_to_a_node_that_tried_it() {
    let mut scheduler = with_nodes(&[1, 1]);
    let first = scheduler.submit(waiting(1, 1), START);
    let Decision::Assigned(first) = first else {
        panic!("{first:?}")
    };
    let again = Waiting {
        excluded: HashSet::from([first]),
        ..waiting(1, 1)
    };
    let second = scheduler.submit(again, START);
    assert!(matches!(second, Decision::Assigned(other) if other != first));
}

#[test]
fn when_the_last_node_goes_those_who_wait_are_told() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(1, 1), START);
    scheduler.submit(waiting(2, 1), START);
    assert_eq!(scheduler.node_gone(node(1)), [job(2)]);
    assert_eq!(scheduler.waiting(), 0);
    assert_eq!(scheduler.submit(waiting(3, 1), START), Decision::NoNode);
    // The slot of the job that still runs is not given away twice when the node comes back.
    scheduler.node_ready(node(1), offer(1, Membership::default()), START);
    assert_eq!(scheduler.submit(waiting(4, 1), START), Decision::Waits);
}

proptest! {
    /// Whatever happens, no node gets more than its slots, and no job is both waiting and assigned.
    #[test]
    fn slots_are_never_overdrawn(events in proptest::collection::vec((0u8..5, 1u8..4, 0u128..3), 1..200)) {
        let mut scheduler = with_nodes(&[1, 2]);
        let mut running: HashMap<NodeId, usize> = HashMap::new();
        let mut next = 0u128;
        for (event, number, namespace) in events {
            let mut assigned = Vec::new();
            match event {
                0 | 1 => {
                    next += 1;
                    if let Decision::Assigned(node) = scheduler.submit(waiting(next, namespace), START) {
                        assigned.push(Assignment { job: job(next), node });
                    }
                }
                2 => {
                    if let Some(count) = running.get_mut(&node(number)).filter(|count| **count > 0) {
                        *count -= 1;
                        assigned.extend(freed(&mut scheduler, number));
                    }
                }
                3 => { scheduler.node_gone(node(number)); }
                _ => {
                    assigned.extend(scheduler.node_ready(node(number), offer(2, Membership::default()), START).assigned);
                }
            }
            for Assignment { node, .. } in assigned {
                *running.entry(node).or_default() += 1;
            }
            prop_assert!(running.values().all(|count| *count <= 2));
        }
    }
}

fn subcloud(number: u128) -> SubcloudId {
    SubcloudId::from_uuid(Uuid::from_u128(number))
}

fn member(of: &[u128], is_isolated: bool) -> Membership {
    Membership {
        subclouds: of.iter().copied().map(subcloud).collect(),
        is_isolated,
    }
}

fn ready(scheduler: &mut Scheduler, number: u8, membership: Membership) -> Readied {
    scheduler.node_ready(node(number), offer(1, membership), START)
}

fn addressed(number: u128, to: u128) -> Waiting {
    Waiting {
        wanted: Wanted::of(Some(subcloud(to))),
        ..waiting(number, 1)
    }
}

#[test]
fn a_job_of_a_subcloud_goes_to_its_nodes_alone() {
    let mut scheduler = with_nodes(&[8]);
    assert_eq!(scheduler.submit(addressed(1, 1), START), Decision::NoNode);
    assert_eq!(scheduler.slots("m", &Wanted::of(Some(subcloud(1)))), 0);
    ready(&mut scheduler, 2, member(&[1], false));
    assert_eq!(scheduler.submit(addressed(2, 1), START), Decision::Assigned(node(2)));
    assert_eq!(scheduler.submit(addressed(3, 1), START), Decision::Waits);
    assert!(!scheduler.has_free_slot("m", &Wanted::of(Some(subcloud(1)))));
    assert_eq!(scheduler.submit(addressed(4, 2), START), Decision::NoNode);
    // The public sees what waits for the network's own nodes alone.
    let loads = scheduler.loads();
    assert_eq!((loads.waiting["m"], loads.addressed["m"]), (1, 1));
    // The other node has slots, but no say in it.
    assert_eq!(freed(&mut scheduler, 1), []);
    let given = freed(&mut scheduler, 2);
    assert_eq!(
        given,
        [Assignment {
            job: job(3),
            node: node(2)
        }]
    );
    // A member that is not isolated takes what is addressed to nobody, too.
    assert_eq!(freed(&mut scheduler, 2), []);
    scheduler.node_gone(node(1));
    assert_eq!(scheduler.submit(waiting(5, 1), START), Decision::Assigned(node(2)));
}

#[test]
fn an_isolated_node_takes_nothing_else() {
    let mut scheduler = Scheduler::default();
    ready(&mut scheduler, 1, member(&[1], true));
    assert_eq!(scheduler.submit(waiting(1, 1), START), Decision::NoNode);
    assert_eq!(
        (
            scheduler.slots("m", &Wanted::default()),
            scheduler.has_free_slot("m", &Wanted::default())
        ),
        (0, false)
    );
    assert_eq!(scheduler.served_models(None).count(), 0);
    assert_eq!(scheduler.served_models(Some(subcloud(1))).count(), 1);
    assert_eq!(scheduler.submit(addressed(2, 1), START), Decision::Assigned(node(1)));
}

#[test]
fn a_patient_job_waits_for_the_first_member() {
    let mut scheduler = with_nodes(&[8]);
    let patient = Waiting {
        is_patient: true,
        ..addressed(1, 1)
    };
    assert_eq!(scheduler.submit(patient, START), Decision::Waits);
    let given = ready(&mut scheduler, 1, member(&[1], false));
    assert_eq!(
        given.assigned,
        [Assignment {
            job: job(1),
            node: node(1)
        }]
    );
}

#[test]
fn who_leaves_strands_those_whom_nobody_else_serves() {
    let mut scheduler = Scheduler::default();
    ready(&mut scheduler, 1, member(&[1, 2], false));
    assert_eq!(scheduler.submit(waiting(1, 1), START), Decision::Assigned(node(1)));
    for (number, to) in [(2, 1), (3, 2)] {
        assert!(matches!(
            scheduler.submit(addressed(number, to), START),
            Decision::Waits
        ));
    }
    assert!(matches!(scheduler.submit(waiting(4, 1), START), Decision::Waits));
    // Another one that joins changes nothing for those who wait.
    assert_eq!(ready(&mut scheduler, 1, member(&[1, 2, 3], false)), Readied::default());
    assert_eq!(ready(&mut scheduler, 1, member(&[2], false)).stranded, [job(2)]);
    assert_eq!(ready(&mut scheduler, 1, member(&[2], true)).stranded, [job(4)]);
    let given = freed(&mut scheduler, 1);
    assert_eq!(
        given,
        [Assignment {
            job: job(3),
            node: node(1)
        }]
    );
    assert_eq!(scheduler.waiting(), 0);
}

proptest! {
    /// Whatever happens, a job is given to a node that may take it alone, and none that waits is one that nobody may take.
    #[test]
    fn whoever_gets_a_job_may_take_it(events in proptest::collection::vec((0u8..5, 1u8..4, 0u128..3, 0u8..8), 1..200)) {
        let mut scheduler = Scheduler::default();
        let mut members: HashMap<NodeId, Membership> = HashMap::new();
        let mut jobs: HashMap<JobId, Option<SubcloudId>> = HashMap::new();
        let mut next = 0u128;
        for (event, number, to, of) in events {
            let mut assigned = Vec::new();
            match event {
                0 | 1 => {
                    next += 1;
                    let wanted = Waiting {
                        wanted: Wanted::of((to > 0).then(|| subcloud(to))),
                        ..waiting(next, u128::from(number))
                    };
                    jobs.insert(wanted.job, wanted.wanted.subcloud);
                    if let Decision::Assigned(node) = scheduler.submit(wanted, START) {
                        assigned.push(Assignment { job: job(next), node });
                    }
                }
                2 => assigned.extend(freed(&mut scheduler, number)),
                3 => { scheduler.node_gone(node(number)); }
                _ => {
                    let of_both: Vec<u128> = [1, 2].into_iter().filter(|bit| of & *bit as u8 != 0).collect();
                    let membership = member(&of_both, of & 4 != 0 && !of_both.is_empty());
                    members.insert(node(number), membership.clone());
                    assigned.extend(ready(&mut scheduler, number, membership).assigned);
                }
            }
            for Assignment { job, node } in assigned {
                prop_assert!(members[&node].takes(jobs[&job]), "{job} to {node}");
            }
            let waiting = scheduler.queues.values().flat_map(queue::Queue::iter);
            for waiting in waiting {
                prop_assert!(scheduler.could_be_served(waiting), "{waiting:?}");
            }
        }
    }
}

#[test]
fn only_jobs_of_the_subcloud_that_is_gone_are_withdrawn() {
    let mut scheduler = with_nodes(&[1]);
    assert_eq!(scheduler.submit(waiting(0, 1), START), Decision::Assigned(node(1)));
    let subcloud = |number: u128| Some(SubcloudId::from_uuid(Uuid::from_u128(number)));
    for (number, of) in [(1, None), (2, subcloud(1)), (3, subcloud(2)), (4, subcloud(1))] {
        let waiting = Waiting {
            wanted: Wanted::of(of),
            is_patient: true,
            ..waiting(number, number)
        };
        assert!(matches!(scheduler.submit(waiting, START), Decision::Waits));
    }
    let mut gone = scheduler.withdraw_subcloud(SubcloudId::from_uuid(Uuid::from_u128(1)));
    gone.sort();
    assert_eq!((gone, scheduler.waiting()), (vec![job(2), job(4)], 2));
    assert_eq!(
        scheduler.withdraw_subcloud(SubcloudId::from_uuid(Uuid::from_u128(1))),
        []
    );
    assert_eq!(place(&scheduler, 1, 1), Some(1));
}

use super::*;
use proptest::prelude::*;
use resultity_core::Address;
use uuid::Uuid;

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
        model: "m".into(),
        priority: Priority::Normal,
        subcloud: None,
        is_patient: false,
        excluded: HashSet::new(),
    }
}

fn with_nodes(slots: &[u32]) -> Scheduler {
    let mut scheduler = Scheduler::default();
    for (number, slots) in slots.iter().enumerate() {
        scheduler.node_ready(
            node(number as u8 + 1),
            HashSet::from(["m".to_owned()]),
            *slots,
            Membership::default(),
        );
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
    assert_eq!(scheduler.submit(other), Decision::NoNode);
    let tried = Waiting {
        excluded: HashSet::from([node(1)]),
        ..waiting(2, 1)
    };
    assert_eq!(scheduler.submit(tried), Decision::NoNode);
}

#[test]
fn a_namespace_with_a_long_queue_does_not_starve_another() {
    let mut scheduler = with_nodes(&[1]);
    assert_eq!(scheduler.submit(waiting(0, 1)), Decision::Assigned(node(1)));
    for number in 1..=10 {
        assert_eq!(
            scheduler.submit(waiting(number, 1)),
            Decision::Waits(number as usize - 1)
        );
    }
    assert_eq!(scheduler.submit(waiting(100, 2)), Decision::Waits(10));
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(
            scheduler
                .slot_freed(node(1), Outcome::Success)
                .into_iter()
                .map(|assignment| assignment.job),
        );
    }
    assert_eq!(order, [job(1), job(100), job(2)]);
}

#[test]
fn bulk_jobs_wait_for_the_others() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 1));
    let bulk = |number| Waiting {
        priority: Priority::Bulk,
        ..waiting(number, 1)
    };
    assert_eq!(scheduler.submit(bulk(1)), Decision::Waits(0));
    assert_eq!(scheduler.submit(bulk(2)), Decision::Waits(1));
    assert_eq!(scheduler.submit(waiting(3, 2)), Decision::Waits(0));
    assert_eq!(scheduler.place("m", job(1)), Some((1, None)));
    let next = |scheduler: &mut Scheduler| scheduler.slot_freed(node(1), Outcome::Success)[0].job;
    assert_eq!(next(&mut scheduler), job(3));
    assert_eq!(next(&mut scheduler), job(1));
    assert_eq!(scheduler.place("m", job(2)), Some((0, None)));
}

#[test]
fn a_patient_job_waits_for_the_first_node() {
    let mut scheduler = Scheduler::default();
    let patient = Waiting {
        is_patient: true,
        ..waiting(1, 1)
    };
    assert_eq!(scheduler.submit(patient), Decision::Waits(0));
    let given = scheduler.node_ready(node(1), HashSet::from(["m".to_owned()]), 1, Membership::default());
    assert_eq!(given.assigned.len(), 1);
    scheduler.node_gone(node(1));
    assert_eq!(scheduler.slots("m", None), 0);
}

#[test]
fn a_job_is_not_given_to_a_node_that_tried_it() {
    let mut scheduler = with_nodes(&[1, 1]);
    let first = scheduler.submit(waiting(1, 1));
    let Decision::Assigned(first) = first else {
        panic!("{first:?}")
    };
    let again = Waiting {
        excluded: HashSet::from([first]),
        ..waiting(1, 1)
    };
    let second = scheduler.submit(again);
    assert!(matches!(second, Decision::Assigned(other) if other != first));
}

#[test]
fn when_the_last_node_goes_those_who_wait_are_told() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(1, 1));
    scheduler.submit(waiting(2, 1));
    assert_eq!(scheduler.node_gone(node(1)), [job(2)]);
    assert_eq!(scheduler.waiting(), 0);
    assert_eq!(scheduler.submit(waiting(3, 1)), Decision::NoNode);
    // The slot of the job that still runs is not given away twice when the node comes back.
    scheduler.node_ready(node(1), HashSet::from(["m".to_owned()]), 1, Membership::default());
    assert_eq!(scheduler.submit(waiting(4, 1)), Decision::Waits(0));
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
                    if let Decision::Assigned(node) = scheduler.submit(waiting(next, namespace)) {
                        assigned.push(node);
                    }
                }
                2 => {
                    if let Some(count) = running.get_mut(&node(number)).filter(|count| **count > 0) {
                        *count -= 1;
                        assigned.extend(scheduler.slot_freed(node(number), Outcome::Success).into_iter().map(|a| a.node));
                    }
                }
                3 => { scheduler.node_gone(node(number)); }
                _ => {
                    let models = HashSet::from(["m".to_owned()]);
                    assigned.extend(scheduler.node_ready(node(number), models, 2, Membership::default()).assigned.into_iter().map(|a| a.node));
                }
            }
            for node in assigned {
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
    scheduler.node_ready(node(number), HashSet::from(["m".to_owned()]), 1, membership)
}

fn addressed(number: u128, to: u128) -> Waiting {
    Waiting {
        subcloud: Some(subcloud(to)),
        ..waiting(number, 1)
    }
}

#[test]
fn a_job_of_a_subcloud_goes_to_its_nodes_alone() {
    let mut scheduler = with_nodes(&[8]);
    assert_eq!(scheduler.submit(addressed(1, 1)), Decision::NoNode);
    assert_eq!(scheduler.slots("m", Some(subcloud(1))), 0);
    ready(&mut scheduler, 2, member(&[1], false));
    assert_eq!(scheduler.submit(addressed(2, 1)), Decision::Assigned(node(2)));
    assert_eq!(scheduler.submit(addressed(3, 1)), Decision::Waits(0));
    assert!(!scheduler.has_free_slot("m", Some(subcloud(1))));
    assert_eq!(scheduler.submit(addressed(4, 2)), Decision::NoNode);
    // The other node has slots, but no say in it.
    assert_eq!(scheduler.slot_freed(node(1), Outcome::Neutral), []);
    let given = scheduler.slot_freed(node(2), Outcome::Success);
    assert_eq!(
        given,
        [Assignment {
            job: job(3),
            node: node(2)
        }]
    );
    // A member that is not isolated takes what is addressed to nobody, too.
    assert_eq!(scheduler.slot_freed(node(2), Outcome::Success), []);
    scheduler.node_gone(node(1));
    assert_eq!(scheduler.submit(waiting(5, 1)), Decision::Assigned(node(2)));
}

#[test]
fn an_isolated_node_takes_nothing_else() {
    let mut scheduler = Scheduler::default();
    ready(&mut scheduler, 1, member(&[1], true));
    assert_eq!(scheduler.submit(waiting(1, 1)), Decision::NoNode);
    assert_eq!(
        (scheduler.slots("m", None), scheduler.has_free_slot("m", None)),
        (0, false)
    );
    assert_eq!(scheduler.served_models(None).count(), 0);
    assert_eq!(scheduler.served_models(Some(subcloud(1))).count(), 1);
    assert_eq!(scheduler.submit(addressed(2, 1)), Decision::Assigned(node(1)));
}

#[test]
fn a_patient_job_waits_for_the_first_member() {
    let mut scheduler = with_nodes(&[8]);
    let patient = Waiting {
        is_patient: true,
        ..addressed(1, 1)
    };
    assert_eq!(scheduler.submit(patient), Decision::Waits(0));
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
    assert_eq!(scheduler.submit(waiting(1, 1)), Decision::Assigned(node(1)));
    for (number, to) in [(2, 1), (3, 2)] {
        assert!(matches!(scheduler.submit(addressed(number, to)), Decision::Waits(_)));
    }
    assert!(matches!(scheduler.submit(waiting(4, 1)), Decision::Waits(_)));
    // Another one that joins changes nothing for those who wait.
    assert_eq!(ready(&mut scheduler, 1, member(&[1, 2, 3], false)), Readied::default());
    assert_eq!(ready(&mut scheduler, 1, member(&[2], false)).stranded, [job(2)]);
    assert_eq!(ready(&mut scheduler, 1, member(&[2], true)).stranded, [job(4)]);
    let given = scheduler.slot_freed(node(1), Outcome::Success);
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
                        subcloud: (to > 0).then(|| subcloud(to)),
                        ..waiting(next, u128::from(number))
                    };
                    jobs.insert(wanted.job, wanted.subcloud);
                    if let Decision::Assigned(node) = scheduler.submit(wanted) {
                        assigned.push(Assignment { job: job(next), node });
                    }
                }
                2 => assigned.extend(scheduler.slot_freed(node(number), Outcome::Success)),
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
            let waiting = scheduler.queues.values().flat_map(BTreeMap::values).flatten();
            for waiting in waiting {
                prop_assert!(could_be_served(waiting, &scheduler.by_model, &scheduler.nodes), "{waiting:?}");
            }
        }
    }
}

#[test]
fn only_jobs_of_the_subcloud_that_is_gone_are_withdrawn() {
    let mut scheduler = with_nodes(&[1]);
    assert_eq!(scheduler.submit(waiting(0, 1)), Decision::Assigned(node(1)));
    let subcloud = |number: u128| Some(SubcloudId::from_uuid(Uuid::from_u128(number)));
    for (number, of) in [(1, None), (2, subcloud(1)), (3, subcloud(2)), (4, subcloud(1))] {
        let waiting = Waiting {
            subcloud: of,
            is_patient: true,
            ..waiting(number, number)
        };
        assert!(matches!(scheduler.submit(waiting), Decision::Waits(_)));
    }
    let mut gone = scheduler.withdraw_subcloud(SubcloudId::from_uuid(Uuid::from_u128(1)));
    gone.sort();
    assert_eq!((gone, scheduler.waiting()), (vec![job(2), job(4)], 2));
    assert_eq!(
        scheduler.withdraw_subcloud(SubcloudId::from_uuid(Uuid::from_u128(1))),
        []
    );
    assert_eq!(scheduler.place("m", job(1)).map(|(place, _)| place), Some(0));
}

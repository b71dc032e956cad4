//! Whose turn it is.

use super::*;
use rstest::rstest;

/// Which namespaces get so many turns of one node with one slot, if those with a weight have the same jobs waiting, each with this
/// much work.
fn turns(flows: &[(u128, u32, u64)], count: usize) -> Vec<u128> {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 99), START);
    let mut number = 0;
    let mut whose = HashMap::new();
    for (namespace, weight, work) in flows {
        for _ in 0..count {
            number += 1;
            whose.insert(job(number), *namespace);
            let wanted = Waiting {
                weight: *weight,
                work: *work,
                ..waiting(number, *namespace)
            };
            assert_eq!(scheduler.submit(wanted, START), Decision::Waits);
        }
    }
    let next = |_| {
        let given = ended(&mut scheduler, 1, Ended::cut(), START);
        whose[&given[0].job]
    };
    (0..count).map(next).collect()
}

#[rstest]
#[case::alike(&[(1, 1, 100), (2, 1, 100)], &[(1, 50), (2, 50)])]
#[case::heavier(&[(1, 3, 100), (2, 1, 100)], &[(1, 75), (2, 25)])]
#[case::long_answers_have_no_advantage(&[(1, 1, 300), (2, 1, 100)], &[(1, 25), (2, 75)])]
#[case::three(&[(1, 1, 100), (2, 2, 100), (3, 2, 200)], &[(1, 25), (2, 50), (3, 25)])]
fn work_is_shared_by_weight(#[case] flows: &[(u128, u32, u64)], #[case] expected: &[(u128, usize)]) {
    let turns = turns(flows, 100);
    for (namespace, share) in expected {
        let had = turns.iter().filter(|whose| *whose == namespace).count();
        assert!(had.abs_diff(*share) <= 1, "{namespace} had {had} of 100 turns");
    }
}

#[test]
fn what_was_not_used_is_made_good() {
    // The first asks for ten times as much as it uses.
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 99), START);
    for number in 1..=200 {
        let (namespace, work) = if number % 2 == 0 { (1, 1000) } else { (2, 100) };
        let wanted = Waiting {
            work,
            ..waiting(number, namespace)
        };
        scheduler.submit(wanted, START);
    }
    let mut turns = 0;
    for _ in 0..100 {
        let given = ended(&mut scheduler, 1, Ended::done(100, Duration::from_secs(1)), START);
        turns += usize::from(given[0].job.as_uuid().as_u128().is_multiple_of(2));
    }
    assert!((45..=55).contains(&turns), "{turns} of 100 turns");
}

#[test]
fn who_comes_anew_starts_level_with_those_who_wait() {
    let mut scheduler = with_nodes(&[1]);
    for number in 0..50 {
        scheduler.submit(waiting(number, 1), START);
    }
    for _ in 0..20 {
        freed(&mut scheduler, 1);
    }
    for number in 100..150 {
        scheduler.submit(waiting(number, 2), START);
    }
    let turns: Vec<bool> = (0..10).map(|_| freed(&mut scheduler, 1)[0].job >= job(100)).collect();
    let new = turns.iter().filter(|is_new| **is_new).count();
    assert!((4..=6).contains(&new), "{turns:?}");
}

#[test]
fn bulk_goes_among_the_normal_ones_after_its_time() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 1), START);
    let bulk = Waiting {
        priority: Priority::Bulk,
        ..waiting(1, 2)
    };
    scheduler.submit(bulk, START);
    let mut served = Vec::new();
    for number in 2..100 {
        let now = at(number * 10);
        scheduler.submit(waiting(u128::from(number), 1), now);
        let given = ended(&mut scheduler, 1, DONE, now);
        served.push((number, given[0].job));
    }
    let (number, _) = served
        .iter()
        .find(|(_, given)| *given == job(1))
        .expect("it was served");
    let waited = Duration::from_secs(number * 10);
    assert!(
        waited >= LIFTED_AFTER && waited < LIFTED_AFTER + Duration::from_mins(2),
        "{waited:?}"
    );
}

#[test]
fn lifted_bulk_takes_a_quarter_from_nobody_but_its_share() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 1), START);
    for number in 1..=200 {
        let bulk = Waiting {
            priority: Priority::Bulk,
            ..waiting(number, 1)
        };
        scheduler.submit(bulk, START);
    }
    let now = START.after(LIFTED_AFTER);
    for number in 201..=400 {
        scheduler.submit(waiting(number, 1), now);
    }
    let normal = (0..100)
        .filter(|_| ended(&mut scheduler, 1, DONE, now)[0].job > job(200))
        .count();
    assert!((78..=82).contains(&normal), "{normal} of 100 turns");
}

#[test]
fn one_that_comes_back_is_before_those_that_came_since() {
    let mut scheduler = with_nodes(&[1, 1]);
    for number in 1..=6 {
        scheduler.submit(waiting(number, 1), START);
    }
    // The first one failed on the first node, which then took the third.
    let node_of = |scheduler: &Scheduler| scheduler.working[&job(1)].node;
    let first = node_of(&scheduler);
    let given = scheduler.slot_freed(first, job(1), Ended::failed(), START);
    assert_eq!(given[0].job, job(3));
    let again = Waiting {
        excluded: HashSet::from([first]),
        ..waiting(1, 1)
    };
    assert_eq!(scheduler.submit(again, START), Decision::Waits);
    assert_eq!(place(&scheduler, 1, 1), Some(0));
    let other = scheduler.working[&job(2)].node;
    assert_eq!(scheduler.slot_freed(other, job(2), DONE, START)[0].job, job(1));
}

#[rstest]
#[case::alone(1, &[(1, 5)], 4, 4)]
#[case::between_two(1, &[(1, 5), (2, 50)], 4, 9)]
#[case::between_short_ones(1, &[(1, 5), (2, 2), (3, 1)], 4, 7)]
fn the_place_counts_the_turns_of_others(
    #[case] namespace: u128,
    #[case] lines: &[(u128, u128)],
    #[case] index: u128,
    #[case] expected: u64,
) {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(0, 99), START);
    for (of, jobs) in lines {
        for number in 0..*jobs {
            scheduler.submit(waiting(of * 1000 + number, *of), START);
        }
    }
    assert_eq!(place(&scheduler, namespace, namespace * 1000 + index), Some(expected));
}

#[test]
fn a_node_with_two_models_serves_who_had_less() {
    let mut scheduler = Scheduler::default();
    let both = Offer {
        models: HashSet::from(["m".to_owned(), "n".to_owned()]),
        ..offer(1, Membership::default())
    };
    scheduler.node_ready(node(1), both, START);
    for number in 0..50 {
        scheduler.submit(waiting(number, 1), START);
    }
    for number in 100..110 {
        let other = Waiting {
            model: "n".into(),
            ..waiting(number, 2)
        };
        scheduler.submit(other, START);
    }
    let second = (0..10).filter(|_| freed(&mut scheduler, 1)[0].job >= job(100)).count();
    assert!((4..=6).contains(&second), "{second} of 10 turns");
}

proptest! {
    /// Whatever they ask and weigh, two namespaces with jobs waiting never come further apart than their largest jobs.
    #[test]
    fn nobody_falls_behind(
        weights in (1_u32..10, 1_u32..10),
        works in proptest::collection::vec((16_u64..5000, 16_u64..5000), 50..100),
    ) {
        let mut scheduler = with_nodes(&[1]);
        scheduler.submit(waiting(0, 99), START);
        let mut all = HashMap::new();
        for (number, (first, second)) in works.iter().enumerate() {
            for (namespace, weight, work) in [(1_u128, weights.0, *first), (2, weights.1, *second)] {
                let id = 1 + 2 * number as u128 + (namespace - 1);
                all.insert(job(id), (namespace, work));
                scheduler.submit(Waiting { weight, work, ..waiting(id, namespace) }, START);
            }
        }
        let (mut had, mut left) = ([0.0, 0.0], [works.len(), works.len()]);
        let bound = 5000.0 / f64::from(weights.0) + 5000.0 / f64::from(weights.1);
        while left.iter().all(|left| *left > 0) {
            let given = ended(&mut scheduler, 1, Ended::cut(), START);
            let (namespace, work) = all[&given[0].job];
            let index = namespace as usize - 1;
            let weight = if index == 0 { weights.0 } else { weights.1 };
            had[index] += work as f64 / f64::from(weight);
            left[index] -= 1;
            prop_assert!((had[0] - had[1]).abs() <= bound + 1.0, "{had:?} with {weights:?}");
        }
    }
}

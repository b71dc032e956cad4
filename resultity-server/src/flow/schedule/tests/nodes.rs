//! Which node: scores, trial, those that fail, regions and GPUs, and why.

use super::node::{BUSY_IN_A_ROW, COOLDOWN, FAILURES_IN_A_ROW, LONGEST_COOLDOWN, PROBATION_JOBS, TRIAL_JOBS, cooldown};
use super::*;
use resultity_core::wire::Gpu;
use rstest::rstest;

/// One job after the other, each ended as this says of its node; how many each node got.
fn one_by_one(
    scheduler: &mut Scheduler,
    from: u128,
    count: u128,
    how: impl Fn(NodeId) -> Ended,
) -> HashMap<NodeId, u32> {
    let mut had = HashMap::new();
    for number in from..from + count {
        // Seconds apart, so that no failure counts as that of another job.
        let now = at(number as u64);
        scheduler.wake(now);
        if let Decision::Assigned(node) = scheduler.submit(waiting(number, 1), now) {
            *had.entry(node).or_default() += 1;
            scheduler.slot_freed(node, job(number), how(node), now.after(Duration::from_millis(1)));
        }
    }
    had
}

fn quick(_: NodeId) -> Ended {
    DONE
}

#[test]
fn the_faster_node_gets_more() {
    let mut scheduler = with_nodes(&[1, 1, 1]);
    let slow = |id: NodeId| {
        let seconds = if id == node(1) { 4 } else { 1 };
        Ended::done(116, Duration::from_secs(seconds))
    };
    one_by_one(&mut scheduler, 0, 100, slow);
    let had = one_by_one(&mut scheduler, 100, 300, slow);
    let of = |number| had.get(&node(number)).copied().unwrap_or_default();
    assert!(of(1) * 4 < of(2) && of(1) * 4 < of(3), "{had:?}");
}

#[test]
fn a_node_that_fails_now_and_then_gets_less() {
    let mut scheduler = with_nodes(&[1, 1, 1]);
    let calls = std::cell::Cell::new(0_u32);
    let shaky = |id: NodeId| {
        calls.set(calls.get() + 1);
        if id == node(1) && calls.get().is_multiple_of(2) {
            Ended::failed()
        } else {
            DONE
        }
    };
    one_by_one(&mut scheduler, 0, 100, shaky);
    let had = one_by_one(&mut scheduler, 100, 300, shaky);
    let of = |number| had.get(&node(number)).copied().unwrap_or_default();
    assert!(of(1) * 4 < of(2) && of(1) * 4 < of(3), "{had:?}");
}

/// Now and then it is nobody's fault; always, and it only keeps jobs from others.
#[test]
fn a_node_that_sends_all_jobs_back_as_busy_is_left_out() {
    let mut scheduler = with_nodes(&[1, 1]);
    let busy = |id: NodeId| {
        if id == node(1) {
            Ended::without_result(Outcome::Busy)
        } else {
            DONE
        }
    };
    let had = one_by_one(&mut scheduler, 0, 2000, busy);
    let of_one = had.get(&node(1)).copied().unwrap_or_default();
    assert!((BUSY_IN_A_ROW * FAILURES_IN_A_ROW..200).contains(&of_one), "{had:?}");
    assert!(was_left_out(&scheduler), "{had:?}");
    // With jobs done between them it is not.
    let mut scheduler = with_nodes(&[1, 1]);
    let calls = std::cell::Cell::new(0_u32);
    let mixed = |id: NodeId| {
        calls.set(calls.get() + u32::from(id == node(1)));
        if id == node(1) && !calls.get().is_multiple_of(4) {
            Ended::without_result(Outcome::Busy)
        } else {
            DONE
        }
    };
    one_by_one(&mut scheduler, 0, 400, mixed);
    assert!(calls.get() > 40 && !was_left_out(&scheduler));
}

fn was_left_out(scheduler: &Scheduler) -> bool {
    let record = &scheduler.nodes[&node(1)].record;
    record.out_until().is_some() || record.is_on_probation()
}

#[test]
fn a_node_whose_refusals_turn_out_to_be_wrong_is_left_out() {
    let mut scheduler = with_nodes(&[1, 1]);
    for number in 0..FAILURES_IN_A_ROW {
        scheduler.was_wrong(node(1), "m", at(u64::from(number)));
    }
    let now = at(u64::from(FAILURES_IN_A_ROW));
    for number in 0..2 {
        let decision = scheduler.submit(waiting(number, 1), now);
        assert_eq!(
            decision,
            [Decision::Assigned(node(2)), Decision::Waits][number as usize]
        );
    }
}

#[test]
fn a_new_node_gets_its_share_and_no_more() {
    let mut scheduler = with_nodes(&[1, 1]);
    one_by_one(&mut scheduler, 0, u128::from(TRIAL_JOBS) * 4, quick);
    scheduler.node_ready(node(3), offer(1, Membership::default()), START);
    let had = one_by_one(&mut scheduler, 1000, 100, quick);
    assert_eq!(had.get(&node(3)), Some(&(100 / pool::TRIAL_SHARE)), "{had:?}");
    let why = scheduler.decisions.of(job(1000 + u128::from(pool::TRIAL_SHARE) - 1));
    assert!(scheduler.nodes[&node(3)].record.is_new() && !why.is_empty());
    // Known by now, it is one of three.
    one_by_one(&mut scheduler, 2000, 200, quick);
    let had = one_by_one(&mut scheduler, 3000, 300, quick);
    assert!(had[&node(3)] > 60, "{had:?}");
}

/// A node with so many slots, and another one that is busy.
fn with_another(slots: u32) -> Scheduler {
    let mut scheduler = Scheduler::default();
    scheduler.node_ready(node(9), offer(1, Membership::default()), START);
    assert_eq!(
        scheduler.submit(waiting(1_000_000, 1), START),
        Decision::Assigned(node(9))
    );
    scheduler.node_ready(node(1), offer(slots, Membership::default()), START);
    scheduler
}

#[rstest]
#[case::alone(1, 0)]
#[case::one_of_two(2, 1)]
#[case::two_of_five(5, 2)]
fn no_more_than_half_are_left_out(#[case] nodes: usize, #[case] out: usize) {
    let mut scheduler = with_nodes(&vec![1; nodes]);
    for number in 0..200 {
        let now = at(number);
        if let Decision::Assigned(node) = scheduler.submit(waiting(u128::from(number), 1), now) {
            scheduler.slot_freed(node, job(u128::from(number)), Ended::failed(), now);
        }
    }
    assert_eq!(scheduler.out.len(), out);
}

#[test]
fn a_node_that_fails_again_and_again_is_left_out_for_longer_and_longer() {
    let mut scheduler = with_another(1);
    let mut now = START;
    let mut number = 0;
    for times in 0..10 {
        let failures = if times == 0 { FAILURES_IN_A_ROW } else { 1 };
        for _ in 0..failures {
            number += 1;
            now = now.after(Duration::from_secs(1));
            assert_eq!(scheduler.submit(waiting(number, 1), now), Decision::Assigned(node(1)));
            scheduler.slot_freed(node(1), job(number), Ended::failed(), now);
        }
        assert!(scheduler.has_nodes_out());
        number += 1;
        assert_eq!(
            scheduler.submit(waiting(number, 1), now),
            Decision::Waits,
            "time {times}"
        );
        let long = cooldown(times);
        assert!(long >= COOLDOWN && long <= LONGEST_COOLDOWN);
        let before = now.after(long.saturating_sub(Duration::from_millis(1)));
        assert_eq!(scheduler.wake(before), []);
        now = now.after(long);
        assert_eq!(scheduler.wake(now).len(), 1, "time {times}");
        scheduler.slot_freed(node(1), job(number), Ended::unused(), now);
    }
    assert_eq!(cooldown(9), LONGEST_COOLDOWN);
    assert!(!scheduler.has_nodes_out());
}

#[test]
fn one_that_comes_back_from_its_time_out_has_one_slot_until_it_has_shown_that_it_works() {
    let mut scheduler = with_another(4);
    let mut number = 0;
    let mut fail = |scheduler: &mut Scheduler, now| {
        number += 1;
        scheduler.submit(waiting(number, 1), now);
        scheduler.slot_freed(node(1), job(number), Ended::failed(), now);
    };
    for second in 0..u64::from(FAILURES_IN_A_ROW) {
        fail(&mut scheduler, at(second));
    }
    let now = at(3).after(COOLDOWN);
    for number in 100..110 {
        assert_eq!(scheduler.submit(waiting(number, 1), now), Decision::Waits);
    }
    assert_eq!(scheduler.wake(now).len(), 1);
    for _ in 1..PROBATION_JOBS {
        assert_eq!(ended(&mut scheduler, 1, DONE, now).len(), 1);
    }
    assert_eq!(ended(&mut scheduler, 1, DONE, now).len(), 4);
}

#[test]
fn what_fails_together_counts_once() {
    let mut scheduler = with_nodes(&[8]);
    for number in 0..8 {
        scheduler.submit(waiting(number, 1), START);
    }
    for number in 0..8 {
        scheduler.slot_freed(node(1), job(number), Ended::failed(), at(5));
    }
    assert!(!scheduler.has_nodes_out());
}

#[test]
fn a_clock_that_was_set_back_leaves_nobody_out_for_longer() {
    let mut scheduler = with_another(1);
    for number in 0..FAILURES_IN_A_ROW {
        let now = at(1000 + u64::from(number));
        scheduler.submit(waiting(u128::from(number), 1), now);
        scheduler.slot_freed(node(1), job(u128::from(number)), Ended::failed(), now);
    }
    assert!(scheduler.has_nodes_out());
    scheduler.wake(START);
    assert!(!scheduler.has_nodes_out());
}

#[test]
fn going_away_and_coming_back_wipes_nothing_out() {
    let mut scheduler = with_another(1);
    for number in 0..FAILURES_IN_A_ROW {
        scheduler.submit(waiting(u128::from(number), 1), at(u64::from(number)));
        scheduler.slot_freed(node(1), job(u128::from(number)), Ended::failed(), at(u64::from(number)));
    }
    scheduler.node_gone(node(1));
    assert!(!scheduler.has_nodes_out() && scheduler.nodes.len() == 1);
    scheduler.node_ready(node(1), offer(1, Membership::default()), at(4));
    assert_eq!(scheduler.submit(waiting(100, 1), at(4)), Decision::Waits);
}

#[test]
fn a_slot_is_given_back_once_and_by_its_job_alone() {
    let mut scheduler = with_nodes(&[1]);
    scheduler.submit(waiting(1, 1), START);
    scheduler.submit(waiting(2, 1), START);
    assert_eq!(scheduler.slot_freed(node(1), job(9), DONE, START), []);
    assert_eq!(scheduler.slot_freed(node(2), job(1), DONE, START), []);
    assert_eq!(scheduler.slot_freed(node(1), job(1), DONE, START).len(), 1);
    assert_eq!(scheduler.slot_freed(node(1), job(1), DONE, START), []);
    assert_eq!(scheduler.nodes[&node(1)].taken, 1);
}

fn located(region: &str, gpu: &str, gib: u64) -> Offer {
    Offer {
        region: Some(region.to_owned()).filter(|region| !region.is_empty()),
        gpus: vec![Gpu {
            name: gpu.to_owned(),
            memory: gib << 30,
        }],
        ..offer(1, Membership::default())
    }
}

fn constraints(region: &str, is_region_required: bool, gpu: &[&str], gib: u64) -> Constraints {
    Constraints {
        region: Some(region.to_owned()).filter(|region| !region.is_empty()),
        is_region_required,
        gpu: gpu.iter().copied().map(str::to_owned).collect(),
        gpu_memory: gib << 30,
    }
}

#[rstest]
#[case::anything(constraints("", false, &[], 0), &[1, 2, 3])]
#[case::there_first(constraints("EU", false, &[], 0), &[1])]
#[case::there_alone(constraints("EU", true, &[], 0), &[1])]
#[case::elsewhere_will_do(constraints("SEA", false, &[], 0), &[1, 2, 3])]
#[case::nobody_is_there(constraints("SEA", true, &[], 0), &[])]
#[case::such_a_gpu(constraints("", false, &["rtx", "4090"], 0), &[1, 2])]
#[case::so_much_memory(constraints("", false, &[], 40), &[3])]
#[case::both_on_one(constraints("", false, &["4090"], 40), &[])]
#[case::such_a_gpu_there(constraints("NA", true, &["4090"], 24), &[2])]
#[case::such_a_gpu_elsewhere(constraints("EU", false, &["a100"], 0), &[3])]
fn a_node_is_as_wanted(#[case] constraints: Constraints, #[case] expected: &[u8]) {
    for number in 0..20 {
        let mut scheduler = Scheduler {
            tick: number,
            ..Scheduler::default()
        };
        scheduler.node_ready(node(1), located(" eu", "NVIDIA GeForce RTX 4090", 24), START);
        scheduler.node_ready(node(2), located("NA", "NVIDIA GeForce RTX 4090", 24), START);
        scheduler.node_ready(node(3), located("NA", "NVIDIA A100", 80), START);
        let wanted = Waiting {
            wanted: Wanted {
                subcloud: None,
                constraints: constraints.clone(),
            },
            ..waiting(1, 1)
        };
        match scheduler.submit(wanted, START) {
            Decision::Assigned(given) => assert!(expected.iter().any(|number| node(*number) == given), "{given}"),
            Decision::NoNode => assert_eq!(expected, &[] as &[u8]),
            Decision::Waits | Decision::TooPicky => panic!("a node is free"),
        }
    }
}

#[test]
fn one_that_wants_a_certain_node_waits_for_it_while_others_go_on() {
    let mut scheduler = Scheduler::default();
    scheduler.node_ready(node(1), located("EU", "a", 8), START);
    scheduler.node_ready(node(2), located("NA", "b", 8), START);
    scheduler.submit(waiting(1, 1), START);
    scheduler.submit(waiting(2, 1), START);
    let wanted = Waiting {
        wanted: Wanted {
            subcloud: None,
            constraints: constraints("EU", true, &[], 0),
        },
        ..waiting(3, 1)
    };
    assert_eq!(scheduler.submit(wanted, START), Decision::Waits);
    scheduler.submit(waiting(4, 1), START);
    assert_eq!(freed(&mut scheduler, 2)[0].job, job(4));
    let why = scheduler.explain(job(3));
    let counts = Counts {
        serving: 2,
        unfit: 1,
        busy: 1,
        ..Counts::default()
    };
    assert_eq!(why.now, Now::Waiting(0, counts));
    assert_eq!(freed(&mut scheduler, 1)[0].job, job(3));
    // Its node goes, and none like it is left.
    let again = Waiting {
        wanted: Wanted {
            subcloud: None,
            constraints: constraints("EU", true, &[], 0),
        },
        ..waiting(5, 1)
    };
    assert_eq!(scheduler.submit(again, START), Decision::Waits);
    assert_eq!(scheduler.node_gone(node(1)), [job(5)]);
}

#[test]
fn wishes_of_all_kinds_do_not_make_the_queue_long_to_look_through() {
    let mut scheduler = Scheduler::default();
    scheduler.node_ready(node(1), located("EU", "a", 800), START);
    scheduler.submit(waiting(1, 1), START);
    let picky = |number: u128, namespace: u128, constraints: Constraints| Waiting {
        wanted: Wanted {
            subcloud: None,
            constraints,
        },
        ..waiting(number, namespace)
    };
    // Where a node had better be is no wish that a line is needed for.
    for number in 10..200 {
        let nice = picky(number, 1, constraints(&format!("R{number}"), false, &[], 0));
        assert_eq!(scheduler.submit(nice, START), Decision::Waits);
    }
    // What it must have is: so many for one namespace, and it alone is told so.
    let decisions: Vec<Decision> = (1_000..1_100)
        .map(|number| {
            let memory = constraints("", false, &[], (number - 999) as u64);
            scheduler.submit(picky(number, 2, memory), START)
        })
        .collect();
    let waiting_ones = decisions
        .iter()
        .filter(|decision| **decision == Decision::Waits)
        .count();
    assert_eq!(waiting_ones, 16);
    assert_eq!(decisions[99], Decision::TooPicky);
    let known = constraints("", false, &[], 1);
    assert_eq!(scheduler.submit(picky(2_000, 3, known.clone()), START), Decision::Waits);
    let other = constraints("", false, &[], 500);
    assert_eq!(scheduler.submit(picky(2_001, 3, other.clone()), START), Decision::Waits);
    // What was taken before has its place.
    assert_eq!(
        scheduler.submit_again(picky(2_002, 2, constraints("", false, &[], 600)), START),
        Decision::Waits
    );
    assert_eq!(scheduler.waiting(), 190 + 16 + 3);
    // All of them are served.
    while scheduler.waiting() > 0 {
        assert_eq!(freed(&mut scheduler, 1).len(), 1);
    }
}

#[test]
fn a_node_that_comes_and_goes_makes_the_others_past_be_forgotten_no_sooner() {
    let mut scheduler = Scheduler::default();
    let offer = || located("EU", "a", 8);
    scheduler.node_ready(node(1), offer(), START);
    scheduler.node_gone(node(1));
    for _ in 0..3 * PAST_NODES {
        scheduler.node_ready(node(2), offer(), START);
        scheduler.node_gone(node(2));
    }
    assert_eq!((scheduler.past.len(), scheduler.past_order.len()), (2, 2));
    assert!(scheduler.past.contains_key(&node(1)));
}

#[test]
fn why_is_told_from_the_first_decision_to_the_last() {
    let mut scheduler = with_nodes(&[1, 1]);
    scheduler.submit(waiting(1, 1), START);
    scheduler.submit(waiting(2, 1), START);
    let first = scheduler.explain(job(1));
    let Now::Working(given) = first.now else {
        panic!("{first:?}")
    };
    let decision = first.decisions[0];
    assert_eq!((decision.verdict, decision.node), (Verdict::Given, Some(given)));
    assert!(decision.over.is_some_and(|over| over != given) && decision.is_trial);
    assert_eq!((decision.counts.serving, decision.counts.free), (2, 2));
    scheduler.submit(waiting(3, 1), START);
    ended(&mut scheduler, 2, DONE, at(7));
    let third = scheduler.explain(job(3));
    assert_eq!(third.now, Now::Working(node(2)));
    let verdicts: Vec<Verdict> = third.decisions.iter().map(|why| why.verdict).collect();
    assert_eq!(verdicts, [Verdict::Waits, Verdict::GivenLater]);
    assert_eq!(third.decisions[0].counts.busy, 2);
    assert_eq!(third.decisions[1].waited, Duration::from_secs(7));
    // One that all have tried, and one for a model that nobody serves.
    let tried = Waiting {
        excluded: HashSet::from([node(1), node(2)]),
        ..waiting(4, 1)
    };
    assert_eq!(scheduler.submit(tried, START), Decision::NoNode);
    let why = scheduler.explain(job(4));
    assert_eq!((why.now, why.decisions[0].verdict), (Now::Elsewhere, Verdict::NoNode));
    assert_eq!(why.decisions[0].counts.tried, 2);
    let other = Waiting {
        model: "other".into(),
        ..waiting(5, 1)
    };
    assert_eq!(scheduler.submit(other, START), Decision::NoNode);
    assert_eq!(scheduler.explain(job(5)).decisions[0].counts, Counts::default());
}

#[test]
fn decisions_are_remembered_within_bounds() {
    let mut scheduler = Scheduler::default();
    for number in 0..REMEMBERED as u128 + 10 {
        scheduler.submit(waiting(number, 1), START);
    }
    assert!(scheduler.decisions.of(job(0)).is_empty());
    assert_eq!(scheduler.decisions.of(job(10)).len(), 1);
}

//! Nodes: what keeps them from work, what they did.

use std::time::Duration;

use resultity_core::api::gate::{AppealDecision, NodeFlag};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment::{Mainnet, Testnet};
use resultity_core::id::{NodeId, PenaltyId};
use resultity_core::job::JobState;
use resultity_core::wire::{Hardware, RuntimeInfo};

use super::Scenario;
use super::bindings::{audit, audited, bound, notice, other_account, record, told};
use super::world::{World, micros, node};
use crate::store::fleet::{
    Appealed, Decided, Decision, NewFlag, NewPenalty, NodeFacts, NodeFilter, NodeStanding, PenaltyRecord,
};
use crate::store::webhooks::PageOf;

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 4] = [
    ("flags keep a node from work until they end", |world| {
        Box::pin(flags_keep_a_node_from_work_until_they_end(world))
    }),
    ("an appeal is filed and decided once", |world| {
        Box::pin(an_appeal_is_filed_and_decided_once(world))
    }),
    ("nodes are listed by page", |world| {
        Box::pin(nodes_are_listed_by_page(world))
    }),
    ("what a node did is its history", |world| {
        Box::pin(what_a_node_did_is_its_history(world))
    }),
];

async fn standing(world: &World) -> NodeStanding {
    let standing = world.store.node_standing(node(1), Testnet, world.now()).await;
    standing.expect("an answer").expect("the node")
}

const fn page<I>(after: Option<I>, limit: u32) -> PageOf<I> {
    PageOf {
        after,
        ascending: false,
        limit,
    }
}

async fn flags_keep_a_node_from_work_until_they_end(world: &World) {
    let store = &world.store;
    let put = async |flag: NodeFlag, until: Option<Timestamp>| {
        let new = NewFlag {
            node: node(1),
            environment: Testnet,
            flag,
            reason: "because".to_owned(),
            until,
            audit: audit(world, "node.flag"),
            notice: flag.is_shown().then(|| notice(world, "node.flag")),
        };
        store.flag_node(new).await.expect("an answer")
    };
    assert_eq!(put(NodeFlag::Pause, None).await, None);
    bound(world).await;
    assert!(standing(world).await.may_work(world.now()));
    let until = world.now().after(Duration::from_hours(1));
    for flag in NodeFlag::ALL.into_iter().filter(|flag| flag.keeps_from_work()) {
        assert!(put(flag, Some(until)).await.is_some());
        assert!(!standing(world).await.may_work(world.now()), "{flag}");
        assert_eq!(standing(world).await.next_change(world.now()), Some(until));
        let off = |action| store.unflag_node(node(1), Testnet, flag, audit(world, action), None);
        let taken_off = off("node.unflag").await.expect("an answer");
        assert!(taken_off.expect("the node").standing.may_work(world.now()), "{flag}");
        assert_eq!(off("twice").await.expect("an answer"), None);
    }
    put(NodeFlag::Freeze, Some(until)).await;
    put(NodeFlag::Freeze, None).await;
    world.clock.advance(Duration::from_hours(2));
    assert!(!standing(world).await.may_work(world.now()), "the later one has no end");
    put(NodeFlag::Freeze, Some(world.now().after(Duration::from_hours(1)))).await;
    world.clock.advance(Duration::from_hours(2));
    assert!(standing(world).await.may_work(world.now()));
    let lines = audited(world).await;
    let of = |action: &str| lines.iter().filter(|line| *line == action).count();
    assert_eq!((of("node.flag"), of("node.unflag"), of("twice")), (6, 3, 0));
    let mut told = told(world).await;
    told.retain(|kind| kind != "node.bound");
    assert_eq!(told, ["node.flag"; 5], "a shadow is not told");
}

async fn penalise(world: &World, until: Option<Timestamp>) -> PenaltyRecord {
    let new = NewPenalty {
        id: PenaltyId::new(&world.clock, &world.entropy),
        node: node(1),
        environment: Testnet,
        reason: "wrong answers".to_owned(),
        until,
        audit: audit(world, "node.penalise"),
        notice: Some(notice(world, "node.penalty")),
    };
    let given = world.store.penalise_node(new).await.expect("an answer");
    given.expect("the node")
}

async fn an_appeal_is_filed_and_decided_once(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    bound(world).await;
    let over = penalise(world, Some(world.now().after(Duration::from_secs(1)))).await;
    world.clock.advance(Duration::from_secs(2));
    let first = penalise(world, None).await;
    assert_eq!((first.account, first.is_in_force(world.now())), (Some(account), true));
    assert!(!standing(world).await.may_work(world.now()));
    let appeal = |account, penalty: PenaltyId| {
        store.appeal_penalty(account, node(1), Testnet, penalty, "no".to_owned(), world.now())
    };
    let decide = |environment, decision| {
        let decision = Decision {
            penalty: first.id,
            decision,
            reason: "looked into".to_owned(),
            audit: audit(world, "penalty.decide"),
            notice: notice(world, "node.appeal"),
        };
        store.decide_appeal(vec![environment], decision)
    };
    let lift = AppealDecision::Lift;
    assert_eq!(decide(Testnet, lift).await.expect("an answer"), Decided::NoAppeal);
    let other = other_account(world).await;
    assert_eq!(
        appeal(other, first.id).await.expect("an answer"),
        Appealed::UnknownPenalty
    );
    assert_eq!(appeal(account, over.id).await.expect("an answer"), Appealed::Over);
    let filed = appeal(account, first.id).await.expect("an answer");
    assert!(matches!(filed, Appealed::Filed(_)), "{filed:?}");
    assert_eq!(appeal(account, first.id).await.expect("an answer"), Appealed::Already);
    let open = |open| store.appeals(Testnet, open, page(None, 10));
    assert_eq!(open(true).await.expect("an answer").len(), 1);
    assert_eq!(decide(Mainnet, lift).await.expect("an answer"), Decided::UnknownPenalty);
    let Decided::Done(decided) = decide(Testnet, lift).await.expect("an answer") else {
        unreachable!("there is an appeal")
    };
    assert!(!decided.is_in_force(world.now()));
    assert!(standing(world).await.may_work(world.now()));
    let again = decide(Testnet, AppealDecision::Uphold).await.expect("an answer");
    assert_eq!(again, Decided::Already);
    assert_eq!(open(true).await.expect("an answer"), []);
    assert_eq!(open(false).await.expect("an answer"), [*decided]);
    let all = store.node_penalties(node(1), Testnet, Some(account), page(None, 10), world.now());
    let all: Vec<_> = all.await.expect("an answer").into_iter().map(|one| one.id).collect();
    assert_eq!(all, [first.id, over.id]);
    let seen = store.node_penalties(node(1), Testnet, Some(other), page(None, 10), world.now());
    assert_eq!(
        seen.await.expect("an answer"),
        [],
        "those that are over are the old owner's"
    );
    assert_eq!(
        audited(world).await,
        ["node.bind", "node.penalise", "node.penalise", "penalty.decide"]
    );
    assert_eq!(
        told(world).await,
        ["node.bound", "node.penalty", "node.penalty", "node.appeal"]
    );
}

async fn nodes_are_listed_by_page(world: &World) {
    let store = &world.store;
    bound(world).await;
    for number in 2..=5 {
        let registered = store.register_node(node(number), Testnet, world.now()).await;
        registered.expect("a node");
    }
    store
        .register_node(node(6), Mainnet, world.now())
        .await
        .expect("a node");
    let list = async |account, unbound, flag, after, limit| {
        let filter = NodeFilter {
            environment: Testnet,
            account,
            unbound,
            flag,
            page: PageOf {
                after,
                ascending: true,
                limit,
            },
            now: world.now(),
        };
        let nodes = store.fleet_nodes(filter).await.expect("an answer");
        nodes.into_iter().map(|record| record.standing.node).collect::<Vec<_>>()
    };
    let all: Vec<_> = (1..=5).map(node).collect();
    assert_eq!(list(None, false, None, None, 10).await, all);
    assert_eq!(list(None, false, None, Some(node(2)), 2).await, all[2..4]);
    assert_eq!(list(None, true, None, None, 10).await, all[1..]);
    assert_eq!(list(Some(world.key.account), false, None, None, 10).await, all[..1]);
    assert_eq!(
        list(None, false, Some(NodeFlag::Freeze), None, 10).await,
        Vec::<NodeId>::new()
    );
    let facts = NodeFacts {
        agent_version: "0.1.0".to_owned(),
        runtime: RuntimeInfo::default(),
        hardware: Hardware::default(),
        slots: 4,
        ..NodeFacts::default()
    };
    let now = world.now();
    for (environment, seen) in [(Testnet, true), (Mainnet, false)] {
        let saw = store.saw_node(node(1), environment, facts.clone(), now).await;
        assert_eq!(saw.expect("an answer"), seen);
    }
    let there = record(world, node(1)).await;
    assert_eq!((there.facts, there.seen), (Some(facts), Some(now)));
}

async fn what_a_node_did_is_its_history(world: &World) {
    let store = &world.store;
    bound(world).await;
    let since = Timestamp::from_millis(0);
    let first = world.leased(micros(1000)).await;
    store
        .settle(world.settle_of(first, micros(500)))
        .await
        .expect("a settlement");
    let second = world.leased(micros(1000)).await;
    store.requeue(second, "timeout", world.now()).await.expect("an answer");
    let again = world.lease(second.job).await;
    store
        .settle(world.settle_of(again, micros(100)))
        .await
        .expect("a settlement");
    let third = world.leased(micros(1000)).await;
    let release = world.release_of(third.job, JobState::Failed);
    store.release(release).await.expect("a release");
    let mut seen = Vec::new();
    let mut after = None;
    // One at a time, over the two attempts of one job.
    loop {
        let part = store.node_jobs(node(1), Testnet, since, page(after, 1)).await;
        let Some(one) = part.expect("an answer").pop() else {
            break;
        };
        after = Some((one.job, one.attempt));
        seen.push((one.job, one.attempt, one.state, one.earned, one.completion_tokens));
    }
    let (done, failed) = (JobState::Succeeded, JobState::Failed);
    assert_eq!(
        seen,
        [
            (third.job, 1, failed, Credits::ZERO, None),
            (second.job, 2, done, micros(80), Some(5)),
            (second.job, 1, failed, Credits::ZERO, None),
            (first.job, 1, done, micros(400), Some(5)),
        ]
    );
    let work = store.node_work(node(1), Testnet, since, world.now()).await;
    let work = work.expect("an answer");
    assert_eq!(work.len(), 1);
    assert_eq!((work[0].jobs, work[0].earned), (2, micros(480)));
    assert_eq!((work[0].prompt_tokens, work[0].completion_tokens), (20, 10));
    assert_eq!(
        store.node_balance(node(1), Testnet).await.expect("an answer"),
        micros(480)
    );
    // Not before it was bound, not elsewhere, not another's.
    let later = world.now();
    assert_eq!(
        store
            .node_jobs(node(1), Testnet, later, page(None, 10))
            .await
            .expect("an answer"),
        []
    );
    assert_eq!(
        store
            .node_jobs(node(1), Mainnet, since, page(None, 10))
            .await
            .expect("an answer"),
        []
    );
    assert_eq!(
        store
            .node_work(node(2), Testnet, since, world.now())
            .await
            .expect("an answer"),
        []
    );
}

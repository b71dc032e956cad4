//! Nodes: who owns them, what keeps them from work, what they did.

use std::time::Duration;

use futures::future::join_all;
use resultity_core::B256;
use resultity_core::api::gate::{AppealDecision, NodeFlag};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment::{Mainnet, Testnet};
use resultity_core::id::{AccountId, AuditId, NodeId, NotificationId, PenaltyId};
use resultity_core::job::JobState;
use resultity_core::wire::{Hardware, RuntimeInfo};

use super::Scenario;
use super::world::{World, micros, node};
use crate::store::admin::{AuditFilter, NotificationFilter};
use crate::store::fleet::{
    Appealed, Decided, Decision, FleetRecord, Joined, NewFlag, NewPenalty, NodeChange, NodeFacts, NodeFilter,
    NodeOffer, NodeStanding, OwnerNotice, PenaltyRecord, Unbound,
};
use crate::store::webhooks::PageOf;
use crate::store::{Actor, AuditEntry};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 8] = [
    ("a code binds one node, once", |world| {
        Box::pin(a_code_binds_one_node_once(world))
    }),
    ("a message binds the node that it names", |world| {
        Box::pin(a_message_binds_the_node_that_it_names(world))
    }),
    ("a node has one owner at a time", |world| {
        Box::pin(a_node_has_one_owner_at_a_time(world))
    }),
    ("one code at once binds one node", |world| {
        Box::pin(one_code_at_once_binds_one_node(world))
    }),
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

const CODE: B256 = B256::repeat_byte(1);

async fn offer(world: &World, account: AccountId, hash: B256, of: Option<NodeId>) -> bool {
    let now = world.now();
    let offer = NodeOffer {
        hash,
        account,
        environment: Testnet,
        node: of,
        name: "mine".to_owned(),
        expires: now.after(Duration::from_mins(15)),
        now,
    };
    world.store.offer_node(offer, 2).await.expect("an answer")
}

async fn join(world: &World, hash: B256, who: NodeId) -> Joined {
    let joined = world.store.join_node(hash, who, Testnet, 2, world.now()).await;
    joined.expect("an answer")
}

async fn other_account(world: &World) -> AccountId {
    let tenant = world.store.ensure_tenant(world.tenant("other")).await;
    tenant.expect("a tenant").account
}

async fn record(world: &World, who: NodeId) -> FleetRecord {
    let record = world.store.fleet_node(who, Testnet, world.now()).await;
    record.expect("an answer").expect("the node")
}

async fn standing(world: &World) -> NodeStanding {
    let standing = world.store.node_standing(node(1), Testnet, world.now()).await;
    standing.expect("an answer").expect("the node")
}

/// Node 1 of the world's tenant.
async fn bound(world: &World) {
    assert!(offer(world, world.key.account, CODE, None).await);
    let joined = join(world, CODE, node(1)).await;
    assert!(matches!(joined, Joined::Bound { .. }), "{joined:?}");
}

fn audit(world: &World, action: &str) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(&world.clock, &world.entropy),
        actor: Actor::Operator,
        action: action.to_owned(),
        subject: format!("node:{}", node(1)),
        environment: Some(Testnet),
        before: None,
        after: None,
        reason: "because".to_owned(),
        now: world.now(),
    }
}

fn notice(world: &World, kind: &str) -> OwnerNotice {
    OwnerNotice {
        id: NotificationId::new(&world.clock, &world.entropy),
        kind: kind.to_owned(),
        message: "read this".to_owned(),
    }
}

async fn audited(world: &World) -> Vec<String> {
    let filter = AuditFilter {
        actor: None,
        action: None,
        subject: Some(format!("node:{}", node(1))),
        environment: None,
        seen_from: None,
        from: None,
        until: None,
        after: None,
        ascending: true,
        limit: 100,
    };
    let lines = world.store.audit_lines(filter).await.expect("an answer");
    lines.into_iter().map(|line| line.action).collect()
}

async fn told(world: &World) -> Vec<String> {
    let filter = NotificationFilter {
        account: world.key.account,
        environment: None,
        unread: false,
        after: None,
        ascending: true,
        limit: 100,
    };
    let told = world.store.notifications(filter).await.expect("an answer");
    told.into_iter().map(|one| one.notification.kind).collect()
}

const fn page<I>(after: Option<I>, limit: u32) -> PageOf<I> {
    PageOf {
        after,
        ascending: false,
        limit,
    }
}

async fn a_code_binds_one_node_once(world: &World) {
    let account = world.key.account;
    assert_eq!(join(world, CODE, node(1)).await, Joined::UnknownOffer);
    bound(world).await;
    let there = record(world, node(1)).await;
    assert_eq!(
        (there.standing.account, there.standing.name.as_str()),
        (Some(account), "mine")
    );
    assert!(there.bound.is_some());
    // It is used up.
    assert_eq!(join(world, CODE, node(2)).await, Joined::UnknownOffer);
    // The same environment, in time.
    let (second, third) = (B256::repeat_byte(2), B256::repeat_byte(3));
    assert!(offer(world, account, second, None).await && offer(world, account, third, None).await);
    assert!(!offer(world, account, CODE, None).await, "two are the most here");
    let elsewhere = world.store.join_node(second, node(2), Mainnet, 2, world.now()).await;
    assert_eq!(elsewhere.expect("an answer"), Joined::UnknownOffer);
    assert!(matches!(join(world, second, node(2)).await, Joined::Bound { .. }));
    assert_eq!(join(world, third, node(3)).await, Joined::TooMany);
    // Again the owner's own: nothing new, and no node more.
    assert!(matches!(join(world, third, node(1)).await, Joined::Bound { .. }));
    assert!(offer(world, account, CODE, None).await);
    world.clock.advance(Duration::from_mins(15));
    assert_eq!(join(world, CODE, node(1)).await, Joined::UnknownOffer);
    assert!(
        offer(world, account, CODE, None).await,
        "those that expired do not count"
    );
}

async fn a_message_binds_the_node_that_it_names(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let other = other_account(world).await;
    assert!(offer(world, account, CODE, Some(node(1))).await);
    let place = Some((node(1), Testnet));
    let claim = |account| store.claim_node(CODE, account, 2, world.now());
    // A node that was never here is not made by it.
    let unknown = claim(account).await.expect("an answer");
    assert_eq!(unknown, (Joined::UnknownOffer, place));
    store
        .register_node(node(1), Testnet, world.now())
        .await
        .expect("a node");
    assert_eq!(claim(other).await.expect("an answer"), (Joined::UnknownOffer, None));
    // It is no code.
    assert_eq!(join(world, CODE, node(1)).await, Joined::UnknownOffer);
    let (joined, at) = claim(account).await.expect("an answer");
    assert!(matches!(joined, Joined::Bound { .. }) && at == place, "{joined:?}");
    assert_eq!(claim(account).await.expect("an answer"), (Joined::UnknownOffer, None));
}

async fn a_node_has_one_owner_at_a_time(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let other = other_account(world).await;
    bound(world).await;
    assert!(offer(world, other, CODE, None).await);
    assert_eq!(join(world, CODE, node(1)).await, Joined::Taken);
    let change = NodeChange {
        name: Some("theirs".to_owned()),
        paused: Some(true),
    };
    let changed = store.update_node(other, node(1), Testnet, change.clone(), world.now());
    assert_eq!(changed.await.expect("an answer"), None);
    let changed = store.update_node(account, node(1), Testnet, change, world.now()).await;
    let changed = changed.expect("an answer").expect("the node").standing;
    assert!(changed.name == "theirs" && changed.paused.is_some());
    let unbind = |account| store.unbind_node(account, node(1), Testnet, audit(world, "node.unbind"));
    assert_eq!(unbind(other).await.expect("an answer"), Unbound::UnknownNode);
    // What it earned is its owner's.
    let lease = world.leased(micros(1000)).await;
    let settle = world.settle_of(lease, micros(500));
    store.settle(settle).await.expect("a settlement");
    assert_eq!(
        unbind(account).await.expect("an answer"),
        Unbound::HasEarnings(micros(400))
    );
    assert_eq!(audited(world).await, Vec::<String>::new());
    let lost = NodeId::from_address(resultity_core::Address::repeat_byte(9));
    assert!(offer(world, account, B256::repeat_byte(9), None).await);
    join(world, B256::repeat_byte(9), lost).await;
    let done = store
        .unbind_node(account, lost, Testnet, audit(world, "node.unbind"))
        .await;
    assert_eq!(done.expect("an answer"), Unbound::Done);
    assert_eq!(audited(world).await, ["node.unbind"]);
    let left = record(world, lost).await.standing;
    assert_eq!((left.account, left.name.as_str(), left.paused), (None, "", None));
    assert!(matches!(join(world, CODE, lost).await, Joined::Bound { account, .. } if account == other));
}

async fn one_code_at_once_binds_one_node(world: &World) {
    assert!(offer(world, world.key.account, CODE, None).await);
    let joined = join_all((1..=8).map(|number| join(world, CODE, node(number)))).await;
    let bound = joined.iter().filter(|joined| matches!(joined, Joined::Bound { .. }));
    assert_eq!(bound.count(), 1, "{joined:?}");
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
    for flag in NodeFlag::ALL {
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
    assert_eq!(told(world).await, ["node.flag"; 5], "a shadow is not told");
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
        ["node.penalise", "node.penalise", "penalty.decide"]
    );
    assert_eq!(told(world).await, ["node.penalty", "node.penalty", "node.appeal"]);
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

//! Checks of nodes: what is written together, once, and what comes of it.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment::{Mainnet, Testnet};
use resultity_core::id::{AuditId, JobId, NotificationId, PenaltyId};

use super::Scenario;
use super::bindings::{audit, audited, bound, notice, other_account, told};
use super::world::{World, micros, node};
use crate::store::NewTenant;
use crate::store::fleet::{NewFlag, PenaltyRecord, Unbound};
use crate::store::trust::{CheckKind, Checked, FundChecks, NewCheck};
use crate::trust::evidence::{Aspect, Evidence, Finding};
use crate::trust::{MilliNats, Reputation, Rules};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
    ("a check counts once", |world| Box::pin(a_check_counts_once(world))),
    ("lies lead to longer and longer exclusions", |world| {
        Box::pin(lies_lead_to_longer_and_longer_exclusions(world))
    }),
    ("nodes that nobody trusts exclude nobody", |world| {
        Box::pin(nodes_that_nobody_trusts_exclude_nobody(world))
    }),
    ("a node is trusted for its owner", |world| {
        Box::pin(a_node_is_trusted_for_its_owner(world))
    }),
    ("a new key of an account is no new beginning", |world| {
        Box::pin(a_new_key_of_an_account_is_no_new_beginning(world))
    }),
    ("checks are paid from fees, and issued in testnet alone", |world| {
        Box::pin(checks_are_paid_from_fees_and_issued_in_testnet_alone(world))
    }),
    ("a node that nobody knows has no checks", |world| {
        Box::pin(a_node_that_nobody_knows_has_no_checks(world))
    }),
];

fn check(world: &World, thousandths: i64) -> NewCheck {
    let weight = MilliNats::new(thousandths);
    let evidence = Evidence::new(vec![Finding {
        aspect: Aspect::Text,
        weight,
    }]);
    let now = world.now();
    NewCheck {
        node: node(1),
        environment: Testnet,
        model: "m".to_owned(),
        job: JobId::new(&world.clock, &world.entropy),
        kind: CheckKind::Sampled,
        evidence,
        ended: now,
        rules: Rules::default(),
        penalty: PenaltyId::new(&world.clock, &world.entropy),
        audit: AuditId::new(&world.clock, &world.entropy),
        notice: NotificationId::new(&world.clock, &world.entropy),
        now,
    }
}

async fn checked(world: &World, check: NewCheck) -> (Reputation, Option<PenaltyRecord>) {
    let done = match world.store.record_check(check).await.expect("an answer") {
        Checked::Done(reputation, penalty) => Some((reputation, penalty.map(|penalty| *penalty))),
        _ => None,
    };
    done.expect("a first check counts")
}

async fn a_check_counts_once(world: &World) {
    bound(world).await;
    let first = check(world, -1_000);
    let (reputation, penalty) = checked(world, first.clone()).await;
    assert_eq!((reputation.passed, reputation.checks, penalty), (1, 1, None));
    let again = world.store.record_check(first.clone()).await.expect("an answer");
    assert_eq!(again, Checked::Nothing(reputation.clone()));
    let store = &world.store;
    let kept = store.reputations_of(node(1), Testnet).await.expect("an answer");
    assert_eq!(kept, [("m".to_owned(), reputation.clone())]);
    let all = store.reputations(Testnet).await.expect("an answer");
    assert_eq!(all, [(node(1), "m".to_owned(), reputation)]);
    assert_eq!(store.reputations(Mainnet).await.expect("an answer"), []);
    checked(world, check(world, 500)).await;
    let list = store.node_checks(node(1), Testnet, None, 10).await.expect("an answer");
    assert_eq!(
        list.iter().map(|check| check.weight.get()).collect::<Vec<_>>(),
        [500, -1_000]
    );
    assert_eq!((list[1].job, &list[1].evidence), (first.job, &first.evidence));
    let before = Some(list[0].seq);
    let rest = store
        .node_checks(node(1), Testnet, before, 10)
        .await
        .expect("an answer");
    assert_eq!(rest, list[1..]);
}

async fn lies_lead_to_longer_and_longer_exclusions(world: &World) {
    bound(world).await;
    let hours = [Some(1), Some(24), Some(168), None, None];
    for (round, expected) in hours.into_iter().enumerate() {
        let mut penalty = None;
        for _ in 0..2 {
            assert_eq!(penalty, None, "in round {round}");
            world.clock.advance(Duration::from_mins(1));
            penalty = checked(world, check(world, 6_000)).await.1;
            // On probation one more lie is enough.
            if round > 0 {
                break;
            }
        }
        let penalty = penalty.expect("a penalty");
        let lasts = penalty.until.map(|until| until.since(penalty.created).as_secs() / 3600);
        assert_eq!(lasts, expected, "in round {round}");
        assert!(penalty.reason.contains(Aspect::Text.told()), "{}", penalty.reason);
        let standing = world.store.node_standing(node(1), Testnet, world.now()).await;
        assert!(!standing.expect("an answer").expect("the node").may_work(world.now()));
        let (message, _) = (told(world).await, audited(world).await);
        assert!(!message.is_empty());
        // A job that ended before the exclusion changes nothing.
        let late = NewCheck {
            ended: Timestamp::from_millis(1),
            ..check(world, 6_000)
        };
        let nothing = world.store.record_check(late).await.expect("an answer");
        assert!(matches!(nothing, Checked::Nothing(_)), "{nothing:?}");
        world.clock.advance(Duration::from_hours(24 * 10));
    }
}

async fn nodes_that_nobody_trusts_exclude_nobody(world: &World) {
    bound(world).await;
    let threshold = Rules::default().threshold;
    // At once, as from many accounts.
    let compared: Vec<_> = (0..12)
        .map(|_| {
            world.store.record_check(NewCheck {
                kind: CheckKind::Agreement,
                ..check(world, 6_000)
            })
        })
        .collect();
    for done in futures::future::join_all(compared).await {
        let Checked::Done(reputation, None) = done.expect("an answer") else {
            unreachable!("it was excluded");
        };
        assert!(reputation.parted <= threshold.half(), "{reputation:?}");
        assert_eq!(reputation.evidence(), MilliNats::ZERO);
    }
    // Nor do they add to what a trusted node says.
    let (reputation, penalty) = checked(world, check(world, 6_000)).await;
    assert_eq!((reputation.evidence().get(), penalty), (6_000, None));
    assert!(checked(world, check(world, 6_000)).await.1.is_some());
}

async fn trust(world: &World) {
    let flag = NewFlag {
        node: node(1),
        environment: Testnet,
        flag: NodeFlag::Trusted,
        reason: "ours".to_owned(),
        until: None,
        audit: audit(world, "node.flag"),
        notice: None,
    };
    let flagged = world.store.flag_node(flag).await.expect("an answer").expect("the node");
    assert!(flagged.standing.is_trusted(world.now()));
}

async fn is_trusted(world: &World) -> bool {
    let standing = world.store.node_standing(node(1), Testnet, world.now()).await;
    standing.expect("an answer").expect("the node").is_trusted(world.now())
}

async fn a_node_is_trusted_for_its_owner(world: &World) {
    let store = &world.store;
    // Before it has an owner it is nobody whom anyone could trust.
    store
        .register_node(node(1), Testnet, world.now())
        .await
        .expect("an answer");
    trust(world).await;
    bound(world).await;
    assert!(!is_trusted(world).await, "bound by a code");
    trust(world).await;
    let farewell = notice(world, "node.unbound");
    let unbound = store.unbind_node(
        world.key.account,
        node(1),
        Testnet,
        audit(world, "node.unbind"),
        farewell,
    );
    assert_eq!(unbound.await.expect("an answer"), Unbound::Done);
    assert!(!is_trusted(world).await, "unbound");
    trust(world).await;
    let other = other_account(world).await;
    let bound = store.bind_node(node(1), Testnet, other, world.now()).await;
    assert!(
        bound.expect("an answer").is_some() && !is_trusted(world).await,
        "bound by the server"
    );
}

async fn a_new_key_of_an_account_is_no_new_beginning(world: &World) {
    bound(world).await;
    let account = world.key.account;
    for _ in 0..2 {
        checked(world, check(world, 6_000)).await;
    }
    let other = node(2);
    let store = &world.store;
    store
        .register_node(other, Testnet, world.now())
        .await
        .expect("an answer");
    store
        .bind_node(other, Testnet, account, world.now())
        .await
        .expect("an answer");
    let of_other = |world: &World| NewCheck {
        node: other,
        ..check(world, 6_000)
    };
    checked(world, of_other(world)).await;
    let penalty = checked(world, of_other(world)).await.1.expect("a penalty");
    let lasts = penalty.until.map(|until| until.since(penalty.created).as_secs() / 3600);
    assert_eq!(lasts, Some(24));
}

async fn checks_are_paid_from_fees_and_issued_in_testnet_alone(world: &World) {
    let store = &world.store;
    let fund = |namespace, environment| FundChecks {
        namespace,
        environment,
        at_least: micros(50),
        up_to: micros(400),
        now: world.now(),
    };
    // A job leaves fees behind; they are used up first, and only what is missing.
    world.grant("g", micros(10_000)).await;
    let lease = world.leased(micros(1_000)).await;
    store
        .settle(world.settle_of(lease, micros(1_000)))
        .await
        .expect("an answer");
    let fees = store.totals(Testnet, world.now()).await.expect("an answer").fees;
    assert!(fees > micros(0) && fees < micros(400), "{fees}");
    let asker = |environment| NewTenant {
        environment,
        key_hash: B256::with_last_byte(environment as u8 + 1),
        ..world.tenant("network")
    };
    let own = store.ensure_tenant(asker(Testnet)).await.expect("an answer").namespace;
    for _ in 0..2 {
        let has = store.fund_checks(fund(own, Testnet)).await.expect("an answer");
        assert_eq!(has, micros(400));
    }
    let fees = store.totals(Testnet, world.now()).await.expect("an answer").fees;
    assert_eq!(fees, micros(0));
    // No fees, no credits.
    let there = store.ensure_tenant(asker(Mainnet)).await.expect("an answer").namespace;
    let has = store.fund_checks(fund(there, Mainnet)).await.expect("an answer");
    assert_eq!(has, micros(0));
    assert_eq!(store.audit().await.expect("an answer").problems, Vec::<String>::new());
}

async fn a_node_that_nobody_knows_has_no_checks(world: &World) {
    let unknown = world.store.record_check(check(world, 0)).await.expect("an answer");
    assert_eq!(unknown, Checked::UnknownNode);
    let none = world.store.node_checks(node(1), Testnet, None, 10).await;
    assert_eq!(none.expect("an answer"), []);
}

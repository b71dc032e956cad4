//! Who owns a node: codes, messages of wallets, unbinding, and what suspending the owner does.

use std::time::Duration;

use futures::future::join_all;
use resultity_core::B256;
use resultity_core::environment::Environment::{self, Mainnet, Testnet};
use resultity_core::id::{AccountId, AuditId, NodeId, NotificationId, TransferId};

use super::Scenario;
use super::world::{World, micros, node};
use crate::store::admin::{AuditFilter, NotificationFilter};
use crate::store::admin_accounts::{AccountChange, AccountChanged};
use crate::store::fleet::{BoundBy, FleetRecord, Joined, NewBinding, NodeChange, NodeOffer, OwnerNotice, Unbound};
use crate::store::funds::{NewPayout, PaidOut};
use crate::store::{Actor, AuditEntry};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
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
    ("the node's own word counts more than a wallet", |world| {
        Box::pin(the_nodes_own_word_counts_more_than_a_wallet(world))
    }),
    ("a wallet takes nothing from a node's consent", |world| {
        Box::pin(a_wallet_takes_nothing_from_a_nodes_consent(world))
    }),
    ("a node of a suspended account may not work", |world| {
        Box::pin(a_node_of_a_suspended_account_may_not_work(world))
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
    let joined = world.store.join_node(hash, who, Testnet, binding(world)).await;
    joined.expect("an answer")
}

/// What is written beside a binding; two nodes are the most here.
fn binding(world: &World) -> NewBinding {
    NewBinding {
        most: 2,
        audit: audit(world, "node.bind"),
        notice: notice(world, "node.bound"),
        farewell: notice(world, "node.unbound"),
    }
}

pub(super) async fn other_account(world: &World) -> AccountId {
    let tenant = world.store.ensure_tenant(world.tenant("other")).await;
    tenant.expect("a tenant").account
}

pub(super) async fn record(world: &World, who: NodeId) -> FleetRecord {
    let record = world.store.fleet_node(who, Testnet, world.now()).await;
    record.expect("an answer").expect("the node")
}

/// Node 1 of the world's tenant.
pub(super) async fn bound(world: &World) {
    assert!(offer(world, world.key.account, CODE, None).await);
    let joined = join(world, CODE, node(1)).await;
    assert!(matches!(joined, Joined::Bound { .. }), "{joined:?}");
}

pub(super) fn audit(world: &World, action: &str) -> AuditEntry {
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

pub(super) fn notice(world: &World, kind: &str) -> OwnerNotice {
    OwnerNotice {
        id: NotificationId::new(&world.clock, &world.entropy),
        kind: kind.to_owned(),
        message: "read this".to_owned(),
    }
}

pub(super) async fn audited(world: &World) -> Vec<String> {
    audited_of(world, node(1)).await
}

async fn audited_of(world: &World, node: NodeId) -> Vec<String> {
    let filter = AuditFilter {
        actor: None,
        action: None,
        subject: Some(format!("node:{node}")),
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

pub(super) async fn told(world: &World) -> Vec<String> {
    told_to(world, world.key.account).await
}

async fn told_to(world: &World, account: AccountId) -> Vec<String> {
    let filter = NotificationFilter {
        account,
        environment: None,
        unread: false,
        after: None,
        ascending: true,
        limit: 100,
    };
    let told = world.store.notifications(filter).await.expect("an answer");
    told.into_iter().map(|one| one.notification.kind).collect()
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
    let elsewhere = world.store.join_node(second, node(2), Mainnet, binding(world)).await;
    assert_eq!(elsewhere.expect("an answer"), Joined::UnknownOffer);
    assert!(matches!(join(world, second, node(2)).await, Joined::Bound { .. }));
    assert_eq!(join(world, third, node(3)).await, Joined::TooMany);
    let left = world.store.fleet_node(node(3), Testnet, world.now()).await;
    assert!(
        left.expect("an answer").is_none(),
        "nothing is kept of what came to nothing"
    );
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
    let claim = |account| store.claim_node(CODE, account, vec![Testnet], binding(world));
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
    let unbind = |account| {
        let notice = notice(world, "node.unbound");
        store.unbind_node(account, node(1), Testnet, audit(world, "node.unbind"), notice)
    };
    assert_eq!(unbind(other).await.expect("an answer"), Unbound::UnknownNode);
    // What it earned is its owner's.
    let lease = world.leased(micros(1000)).await;
    let settle = world.settle_of(lease, micros(500));
    store.settle(settle).await.expect("a settlement");
    assert_eq!(
        unbind(account).await.expect("an answer"),
        Unbound::HasEarnings(micros(400))
    );
    assert_eq!(audited(world).await, ["node.bind"]);
    let lost = NodeId::from_address(resultity_core::Address::repeat_byte(9));
    assert!(offer(world, account, B256::repeat_byte(9), None).await);
    join(world, B256::repeat_byte(9), lost).await;
    let line = AuditEntry {
        subject: format!("node:{lost}"),
        ..audit(world, "node.unbind")
    };
    let farewell = notice(world, "node.unbound");
    let done = store.unbind_node(account, lost, Testnet, line, farewell).await;
    assert_eq!(done.expect("an answer"), Unbound::Done);
    assert_eq!(audited_of(world, lost).await, ["node.bind", "node.unbind"]);
    assert_eq!(told(world).await, ["node.bound", "node.bound", "node.unbound"]);
    let left = record(world, lost).await;
    assert_eq!(left.bound_by, None);
    let left = left.standing;
    assert_eq!((left.account, left.name.as_str(), left.paused), (None, "", None));
    assert!(matches!(join(world, CODE, lost).await, Joined::Bound { account, .. } if account == other));
}

async fn one_code_at_once_binds_one_node(world: &World) {
    assert!(offer(world, world.key.account, CODE, None).await);
    let joined = join_all((1..=8).map(|number| join(world, CODE, node(number)))).await;
    let bound = joined.iter().filter(|joined| matches!(joined, Joined::Bound { .. }));
    assert_eq!(bound.count(), 1, "{joined:?}");
}

/// Node 1, bound by a wallet of this account.
async fn claimed(world: &World, account: AccountId) {
    let registered = world.store.register_node(node(1), Testnet, world.now()).await;
    registered.expect("a node");
    assert!(offer(world, account, CODE, Some(node(1))).await);
    let everywhere = Environment::ALL.to_vec();
    let claimed = world.store.claim_node(CODE, account, everywhere, binding(world)).await;
    let (joined, _) = claimed.expect("an answer");
    assert!(matches!(joined, Joined::Bound { .. }), "{joined:?}");
    assert_eq!(record(world, node(1)).await.bound_by, Some(BoundBy::Wallet));
}

async fn the_nodes_own_word_counts_more_than_a_wallet(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let other = other_account(world).await;
    claimed(world, other).await;
    let pause = NodeChange {
        name: Some("theirs".to_owned()),
        paused: Some(true),
    };
    let changed = store.update_node(other, node(1), Testnet, pause, world.now()).await;
    assert!(changed.expect("an answer").is_some());
    let lease = world.leased(micros(1000)).await;
    store
        .settle(world.settle_of(lease, micros(500)))
        .await
        .expect("a settlement");
    // A wallet of another one takes nothing, a code that the node signs all.
    let (message, code) = (B256::repeat_byte(2), B256::repeat_byte(3));
    assert!(offer(world, account, message, Some(node(1))).await);
    let claim = store.claim_node(message, account, vec![Testnet], binding(world)).await;
    assert_eq!(claim.expect("an answer").0, Joined::Taken);
    assert!(offer(world, account, code, None).await);
    let joined = join(world, code, node(1)).await;
    assert!(
        matches!(joined, Joined::Bound { account: owner, .. } if owner == account),
        "{joined:?}"
    );
    let there = record(world, node(1)).await;
    let standing = there.standing;
    assert_eq!(
        (standing.account, standing.name.as_str(), standing.paused),
        (Some(account), "mine", None)
    );
    assert_eq!(there.bound_by, Some(BoundBy::Code));
    assert_eq!(audited(world).await, ["node.bind", "node.bind"]);
    assert_eq!(told_to(world, other).await, ["node.bound", "node.unbound"]);
    assert_eq!(told(world).await, ["node.bound"]);
    // What it earned is its owner's now, once.
    assert_eq!(
        store.node_balance(node(1), Testnet).await.expect("an answer"),
        micros(400)
    );
    let pay = |account| NewPayout {
        id: TransferId::new(&world.clock, &world.entropy),
        account,
        node: node(1),
        environment: Testnet,
        namespace: world.key.namespace,
        amount: None,
        now: world.now(),
    };
    let refused = store.payout(pay(other)).await.expect("an answer");
    assert!(!matches!(refused, PaidOut::Done { .. }), "{refused:?}");
    let paid = store.payout(pay(account)).await.expect("an answer");
    assert!(matches!(paid, PaidOut::Done { .. }), "{paid:?}");
    // And nobody outdoes that: neither a wallet nor another code.
    let third = B256::repeat_byte(4);
    assert!(offer(world, other, third, None).await);
    assert_eq!(join(world, third, node(1)).await, Joined::Taken);
}

async fn a_wallet_takes_nothing_from_a_nodes_consent(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    bound(world).await;
    // Its owner's wallet says it once more: the node's consent stays.
    assert!(offer(world, account, CODE, Some(node(1))).await);
    let claim = |environments| store.claim_node(CODE, account, environments, binding(world));
    // Who sees another environment does not use the message up.
    let unseen = claim(vec![Mainnet]).await.expect("an answer");
    assert_eq!(unseen, (Joined::UnknownOffer, None));
    let (joined, _) = claim(vec![Testnet]).await.expect("an answer");
    assert!(matches!(joined, Joined::Bound { .. }), "{joined:?}");
    assert_eq!(record(world, node(1)).await.bound_by, Some(BoundBy::Code));
    assert_eq!(audited(world).await, ["node.bind"]);
    // And the other way round a code confirms what a wallet bound, without moving anything.
    let farewell = notice(world, "node.unbound");
    let unbound = store.unbind_node(account, node(1), Testnet, audit(world, "node.unbind"), farewell);
    assert_eq!(unbound.await.expect("an answer"), Unbound::Done);
    claimed(world, account).await;
    assert!(offer(world, account, CODE, None).await);
    assert!(matches!(join(world, CODE, node(1)).await, Joined::Bound { .. }));
    assert_eq!(record(world, node(1)).await.bound_by, Some(BoundBy::Code));
    assert_eq!(
        audited(world).await,
        ["node.bind", "node.unbind", "node.bind", "node.bind"]
    );
    assert_eq!(told(world).await, ["node.bound", "node.unbound", "node.bound"]);
}

async fn a_node_of_a_suspended_account_may_not_work(world: &World) {
    bound(world).await;
    for suspended in [true, false] {
        let change = AccountChange {
            id: world.key.account,
            suspended: Some(suspended),
            role: None,
            audit: audit(world, "account.change"),
        };
        let changed = world.store.change_account(change).await.expect("an answer");
        assert!(matches!(changed, AccountChanged::Done(_)), "{changed:?}");
        let standing = world.store.node_standing(node(1), Testnet, world.now()).await;
        let standing = standing.expect("an answer").expect("the node");
        assert_eq!(
            (standing.suspended, standing.may_work(world.now())),
            (suspended, !suspended)
        );
    }
}

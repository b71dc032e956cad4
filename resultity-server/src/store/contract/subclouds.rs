//! Subclouds, and which nodes are in them.

use resultity_core::B256;
use resultity_core::api::gate::{AccessPolicy, JoinPolicy};
use resultity_core::environment::Environment::{Mainnet, Testnet};
use resultity_core::id::{AccountId, NodeId, SubcloudId};

use super::Scenario;
use super::bindings::notice;
use super::world::{World, node};
use crate::store::fleet::Unbound;
use crate::store::subclouds::{
    Joining, Leaver, SubcloudChange, SubcloudChanged, SubcloudJoined, SubcloudMade, SubcloudMembership, SubcloudRecord,
    SubcloudRef, TokenSet,
};
use crate::store::webhooks::PageOf;

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 3] = [
    ("a subcloud is its owner's, and its name is its own", |world| {
        Box::pin(a_subcloud_is_its_owners(world))
    }),
    ("a node joins by the rules and leaves", |world| {
        Box::pin(a_node_joins_by_the_rules_and_leaves(world))
    }),
    ("what a subcloud promised to nodes of others stays", |world| {
        Box::pin(what_was_promised_stays(world))
    }),
];

const TOKEN: B256 = B256::repeat_byte(7);

fn new(world: &World, name: &str) -> SubcloudRecord {
    SubcloudRecord {
        id: SubcloudId::new(&world.clock, &world.entropy),
        environment: Testnet,
        account: world.key.account,
        name: name.to_owned(),
        description: "for tests".to_owned(),
        models: vec!["m".to_owned()],
        join: JoinPolicy::Open,
        token_hash: None,
        access: AccessPolicy::Members,
        namespaces: vec![world.key.namespace],
        isolated: false,
        created: world.now(),
    }
}

async fn made(world: &World, record: &SubcloudRecord) -> SubcloudMade {
    world.store.create_subcloud(record.clone(), 2).await.expect("an answer")
}

async fn found(world: &World, wanted: SubcloudRef) -> Option<SubcloudRecord> {
    world.store.subcloud(wanted).await.expect("an answer")
}

async fn changed(world: &World, account: AccountId, id: SubcloudId, change: SubcloudChange) -> SubcloudChanged {
    let changed = world.store.update_subcloud(account, id, change).await;
    changed.expect("an answer")
}

async fn other_account(world: &World) -> AccountId {
    let tenant = world.store.ensure_tenant(world.tenant("other")).await;
    tenant.expect("a tenant").account
}

async fn bound(world: &World, who: NodeId, account: AccountId) {
    let now = world.now();
    world.store.register_node(who, Testnet, now).await.expect("an answer");
    world
        .store
        .bind_node(who, Testnet, account, now)
        .await
        .expect("an answer");
}

async fn join(world: &World, subcloud: SubcloudId, who: (NodeId, AccountId), token: Option<B256>) -> SubcloudJoined {
    let joining = Joining {
        subcloud,
        node: who.0,
        account: who.1,
        token_hash: token,
        most: 2,
        now: world.now(),
    };
    world.store.join_subcloud(joining).await.expect("an answer")
}

async fn leave(world: &World, subcloud: SubcloudId, who: NodeId, by: Leaver) -> bool {
    world.store.leave_subcloud(subcloud, who, by).await.expect("an answer")
}

async fn in_standing(world: &World, who: NodeId) -> Vec<SubcloudMembership> {
    let standing = world.store.node_standing(who, Testnet, world.now()).await;
    standing.expect("an answer").expect("the node").subclouds
}

async fn a_subcloud_is_its_owners(world: &World) {
    let (mine, other) = (world.key.account, other_account(world).await);
    let farm = new(world, "farm");
    assert_eq!(made(world, &farm).await, SubcloudMade::Made);
    assert_eq!(made(world, &new(world, "farm")).await, SubcloudMade::NameTaken);
    let elsewhere = SubcloudRecord {
        environment: Mainnet,
        ..new(world, "farm")
    };
    assert_eq!(made(world, &elsewhere).await, SubcloudMade::Made);
    let lab = new(world, "lab");
    assert_eq!(made(world, &lab).await, SubcloudMade::Made);
    assert_eq!(made(world, &new(world, "third")).await, SubcloudMade::TooMany);

    assert_eq!(found(world, SubcloudRef::Id(farm.id)).await, Some(farm.clone()));
    let by_name = SubcloudRef::Name(Testnet, "farm".to_owned());
    assert_eq!(found(world, by_name.clone()).await, Some(farm.clone()));
    let there = SubcloudRef::Name(Mainnet, "farm".to_owned());
    assert_eq!(found(world, there).await, Some(elsewhere));
    let page = |after| PageOf {
        after,
        ascending: true,
        limit: 10,
    };
    let own = world.store.subclouds(mine, Testnet, page(None)).await;
    assert_eq!(own.expect("an answer"), [farm.clone(), lab.clone()]);
    let rest = world.store.subclouds(mine, Testnet, page(Some(farm.id))).await;
    assert_eq!(rest.expect("an answer").as_slice(), std::slice::from_ref(&lab));
    let others = world.store.subclouds(other, Testnet, page(None)).await;
    assert_eq!(others.expect("an answer"), []);

    let rename = |name: &str| SubcloudChange {
        name: Some(name.to_owned()),
        ..SubcloudChange::default()
    };
    assert_eq!(
        changed(world, other, farm.id, rename("x")).await,
        SubcloudChanged::Unknown
    );
    assert_eq!(
        changed(world, mine, farm.id, rename("lab")).await,
        SubcloudChanged::NameTaken
    );
    let renamed = SubcloudRecord {
        name: "field".to_owned(),
        ..farm.clone()
    };
    let done = SubcloudChanged::Done(Box::new(renamed.clone()), Vec::new());
    assert_eq!(changed(world, mine, farm.id, rename("field")).await, done);
    assert_eq!(found(world, SubcloudRef::Id(farm.id)).await, Some(renamed));
    assert_eq!(found(world, by_name).await, None);

    assert_eq!(
        world.store.delete_subcloud(other, farm.id).await.expect("an answer"),
        None
    );
    let gone = world.store.delete_subcloud(mine, farm.id).await;
    assert_eq!(gone.expect("an answer"), Some(Vec::new()));
    assert_eq!(found(world, SubcloudRef::Id(farm.id)).await, None);
    assert_eq!(
        world.store.delete_subcloud(mine, farm.id).await.expect("an answer"),
        None
    );
}

async fn a_node_joins_by_the_rules_and_leaves(world: &World) {
    let (mine, other) = (world.key.account, other_account(world).await);
    bound(world, node(1), other).await;
    bound(world, node(2), mine).await;
    let closed = SubcloudRecord {
        join: JoinPolicy::Closed,
        ..new(world, "closed")
    };
    let open = new(world, "open");
    assert_eq!(made(world, &closed).await, SubcloudMade::Made);
    assert_eq!(made(world, &open).await, SubcloudMade::Made);

    // It has no token yet: then nothing is one.
    let stranger = (node(1), other);
    for token in [None, Some(TOKEN), Some(B256::ZERO)] {
        assert_eq!(
            join(world, closed.id, stranger, token).await,
            SubcloudJoined::WrongToken
        );
    }
    let set = |account, id, token| world.store.set_subcloud_token(account, id, token);
    assert_eq!(
        set(other, closed.id, TOKEN).await.expect("an answer"),
        TokenSet::Unknown
    );
    assert_eq!(set(mine, open.id, TOKEN).await.expect("an answer"), TokenSet::Open);
    let done = set(mine, closed.id, TOKEN).await.expect("an answer");
    assert!(matches!(done, TokenSet::Done(record) if record.token_hash == Some(TOKEN)));
    let wrong = Some(B256::repeat_byte(8));
    for token in [None, wrong] {
        assert_eq!(
            join(world, closed.id, stranger, token).await,
            SubcloudJoined::WrongToken
        );
    }
    assert_eq!(
        join(world, closed.id, stranger, Some(TOKEN)).await,
        SubcloudJoined::Joined
    );
    // Its owner's nodes need none; the token is asked of nobody who is in.
    assert_eq!(
        join(world, closed.id, (node(2), mine), None).await,
        SubcloudJoined::Joined
    );
    assert!(matches!(
        set(mine, closed.id, B256::repeat_byte(9)).await,
        Ok(TokenSet::Done(_))
    ));
    assert_eq!(join(world, closed.id, stranger, None).await, SubcloudJoined::Joined);
    assert_eq!(
        join(world, closed.id, (node(2), other), None).await,
        SubcloudJoined::UnknownNode
    );
    assert_eq!(
        join(world, closed.id, (node(3), other), None).await,
        SubcloudJoined::UnknownNode
    );

    assert_eq!(join(world, open.id, stranger, None).await, SubcloudJoined::Joined);
    let third = SubcloudRecord {
        account: other,
        ..new(world, "third")
    };
    assert_eq!(made(world, &third).await, SubcloudMade::Made);
    assert_eq!(join(world, third.id, stranger, None).await, SubcloudJoined::TooMany);
    let of_node: Vec<SubcloudId> = in_standing(world, node(1)).await.iter().map(|of| of.subcloud).collect();
    assert_eq!(of_node, [closed.id, open.id]);
    let shown = world.store.node_subclouds(node(1), Testnet).await.expect("an answer");
    assert_eq!(shown.iter().map(|record| record.id).collect::<Vec<_>>(), of_node);

    let page = PageOf {
        after: None,
        ascending: true,
        limit: 10,
    };
    let nodes = world.store.subcloud_nodes(closed.id, page, world.now()).await;
    let nodes: Vec<NodeId> = nodes
        .expect("an answer")
        .iter()
        .map(|one| one.record.standing.node)
        .collect();
    assert_eq!(nodes, [node(1), node(2)]);

    for nobody in [Leaver::OfNode(mine), Leaver::OfSubcloud(other)] {
        assert!(!leave(world, closed.id, node(1), nobody).await);
    }
    assert!(leave(world, closed.id, node(1), Leaver::OfSubcloud(mine)).await);
    assert!(!leave(world, closed.id, node(1), Leaver::OfSubcloud(mine)).await);
    assert!(leave(world, open.id, node(1), Leaver::OfNode(other)).await);
    assert_eq!(in_standing(world, node(1)).await, []);

    // Who gives a node up takes it out of everything.
    assert_eq!(join(world, open.id, stranger, None).await, SubcloudJoined::Joined);
    let unbound = world
        .store
        .unbind_node(
            other,
            node(1),
            Testnet,
            world.audit_line(),
            notice(world, "node.unbound"),
        )
        .await;
    assert_eq!(unbound.expect("an answer"), Unbound::Done);
    assert_eq!(in_standing(world, node(1)).await, []);
    let gone = world.store.delete_subcloud(mine, closed.id).await;
    assert_eq!(gone.expect("an answer"), Some(vec![node(2)]));
    assert_eq!(in_standing(world, node(2)).await, []);
}

async fn what_was_promised_stays(world: &World) {
    let (mine, other) = (world.key.account, other_account(world).await);
    bound(world, node(1), other).await;
    bound(world, node(2), mine).await;
    let farm = SubcloudRecord {
        join: JoinPolicy::Closed,
        token_hash: Some(TOKEN),
        ..new(world, "farm")
    };
    assert_eq!(made(world, &farm).await, SubcloudMade::Made);
    assert_eq!(
        join(world, farm.id, (node(1), other), Some(TOKEN)).await,
        SubcloudJoined::Joined
    );
    assert_eq!(
        join(world, farm.id, (node(2), mine), None).await,
        SubcloudJoined::Joined
    );
    let isolate = || SubcloudChange {
        isolated: Some(true),
        ..SubcloudChange::default()
    };
    assert_eq!(
        changed(world, mine, farm.id, isolate()).await,
        SubcloudChanged::HasNodesOfOthers
    );
    assert!(leave(world, farm.id, node(1), Leaver::OfNode(other)).await);
    let done = changed(world, mine, farm.id, isolate()).await;
    assert!(matches!(done, SubcloudChanged::Done(record, nodes) if record.isolated && nodes == [node(2)]));
    let isolated = SubcloudMembership {
        subcloud: farm.id,
        isolated: true,
    };
    assert_eq!(in_standing(world, node(2)).await, [isolated]);
    // Once it is open its token is worth nothing, also when it is closed again.
    for join in [JoinPolicy::Open, JoinPolicy::Closed] {
        let change = SubcloudChange {
            join: Some(join),
            ..SubcloudChange::default()
        };
        let done = changed(world, mine, farm.id, change).await;
        assert!(matches!(done, SubcloudChanged::Done(record, _) if record.token_hash.is_none() && record.join == join));
    }
    assert_eq!(
        join(world, farm.id, (node(1), other), Some(TOKEN)).await,
        SubcloudJoined::WrongToken
    );
}

//! Nodes.

use resultity_core::api::gate::NodeFlag;
use resultity_core::environment::Environment::{Mainnet, Testnet};

use super::world::{World, micros, node};
use crate::store::NodeRecord;
use crate::store::fleet::NewFlag;

pub(super) async fn a_node_is_bound_once(world: &World) {
    let store = &world.store;
    let owner = world.key.account;
    let other = store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant")
        .account;
    assert_eq!(
        store
            .bind_node(node(1), Testnet, owner, world.now())
            .await
            .expect("an answer"),
        None
    );
    let unbound = NodeRecord {
        id: node(1),
        environment: Testnet,
        account: None,
        banned: false,
    };
    let bound = NodeRecord {
        account: Some(owner),
        ..unbound.clone()
    };
    for _ in 0..2 {
        assert_eq!(
            store
                .register_node(node(1), Testnet, world.now())
                .await
                .expect("an answer"),
            unbound
        );
    }
    for account in [owner, owner, other] {
        let record = store
            .bind_node(node(1), Testnet, account, world.now())
            .await
            .expect("an answer");
        assert_eq!(record.as_ref(), Some(&bound));
    }
    assert_eq!(
        store
            .register_node(node(1), Testnet, world.now())
            .await
            .expect("an answer"),
        bound
    );
    // The other environment knows nothing of it.
    let mainnet = store
        .register_node(node(1), Mainnet, world.now())
        .await
        .expect("an answer");
    assert_eq!((mainnet.environment, mainnet.account), (Mainnet, None));
}

pub(super) async fn nodes_that_are_nobodys_are_forgotten(world: &World) {
    let store = &world.store;
    let places = [
        (1, Testnet),
        (2, Testnet),
        (3, Testnet),
        (4, Testnet),
        (5, Testnet),
        (4, Mainnet),
    ];
    for (number, environment) in places {
        let registered = store.register_node(node(number), environment, world.now()).await;
        registered.expect("an answer");
    }
    // One has a history, one an owner, one a flag.
    let lease = world.leased(micros(1000)).await;
    store.requeue(lease, "timeout", world.now()).await.expect("an answer");
    let bound = store.bind_node(node(2), Testnet, world.key.account, world.now()).await;
    assert!(bound.expect("an answer").is_some());
    let flag = NewFlag {
        node: node(3),
        environment: Testnet,
        flag: NodeFlag::Freeze,
        reason: "because".to_owned(),
        until: None,
        audit: world.audit_line(),
        notice: None,
    };
    assert!(store.flag_node(flag).await.expect("an answer").is_some());
    let unseen_since = world.now();
    let late = store.register_node(node(6), Testnet, world.now()).await;
    late.expect("an answer");

    for expected in [1, 1, 0] {
        let forgotten = store.forget_nodes(Testnet, unseen_since, 1).await;
        assert_eq!(forgotten.expect("an answer"), expected);
    }
    let mut left = Vec::new();
    for number in 1..=6 {
        let record = store.fleet_node(node(number), Testnet, world.now()).await;
        left.extend(record.expect("an answer").map(|_| number));
    }
    assert_eq!(left, [1, 2, 3, 6]);
    let elsewhere = store.fleet_node(node(4), Mainnet, world.now()).await;
    assert!(elsewhere.expect("an answer").is_some());
}

//! Nodes.

use resultity_core::environment::Environment::{Mainnet, Testnet};

use super::world::{World, node};
use crate::store::NodeRecord;

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

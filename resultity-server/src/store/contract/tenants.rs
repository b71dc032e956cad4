//! Accounts, namespaces and keys.

use std::num::NonZeroU32;

use resultity_core::environment::Environment;
use resultity_core::id::{KeyId, NamespaceId};
use resultity_core::{B256, id::JobId};

use super::world::{START, World, micros};
use crate::store::{Admission, KeyLimits, NewTenant};

pub(super) async fn a_tenant_is_made_once(world: &World) {
    let store = &world.store;
    let first = world.tenant("other");
    let record = store.ensure_tenant(first.clone()).await.expect("a tenant");
    assert_eq!(
        (record.id, record.namespace, record.account, record.revoked),
        (first.key, first.namespace, first.account, false)
    );
    // Other ids, but the same names and hash: what is there is what counts.
    let again = NewTenant {
        key_label: "renamed".to_owned(),
        ..world.tenant("other")
    };
    assert_eq!(store.ensure_tenant(again).await.expect("an answer"), record);
    assert_eq!(
        store.key(first.key_hash).await.expect("an answer"),
        Some(record.clone())
    );
    assert_eq!(store.key(B256::repeat_byte(0xff)).await.expect("an answer"), None);
    // A second key of the same namespace; the same names in the other environment are another namespace.
    let second = NewTenant {
        key_hash: B256::repeat_byte(9),
        ..world.tenant("other")
    };
    let second = store.ensure_tenant(second).await.expect("a second key");
    assert_eq!((second.namespace, second.account), (record.namespace, record.account));
    assert_ne!(second.id, record.id);
    let mainnet = NewTenant {
        environment: Environment::Mainnet,
        key_hash: B256::repeat_byte(8),
        ..world.tenant("other")
    };
    let mainnet = store
        .ensure_tenant(mainnet)
        .await
        .expect("a namespace of the other environment");
    assert_eq!(
        (mainnet.account, mainnet.environment),
        (record.account, Environment::Mainnet)
    );
    assert_ne!(mainnet.namespace, record.namespace);
    let balance = store.balance(mainnet.namespace).await.expect("an answer");
    assert_eq!(balance, Some(crate::store::Balance::default()));
    let nobody = NamespaceId::new(&world.clock, &world.entropy);
    assert_eq!(store.balance(nobody).await.expect("an answer"), None);
}

pub(super) async fn the_limits_of_a_key_are_kept_as_they_were_when_it_was_made(world: &World) {
    let store = &world.store;
    assert_eq!(*world.key.limits, KeyLimits::default());
    let limits = KeyLimits {
        requests_per_minute: NonZeroU32::new(u32::MAX),
        tokens_per_minute: NonZeroU32::new(1),
        spend_limit: Some(micros(0)),
        expires_at: Some(world.now()),
        models: Some(vec!["a".to_owned(), "b \"quoted\"".to_owned()]),
        ..KeyLimits::default()
    };
    let limited = NewTenant {
        key_limits: limits.clone(),
        ..world.tenant("limited")
    };
    let hash = limited.key_hash;
    let record = store.ensure_tenant(limited).await.expect("a tenant");
    assert_eq!(*record.limits, limits);
    let again = store.ensure_tenant(world.tenant("limited")).await.expect("an answer");
    assert_eq!(again, record);
    assert_eq!(store.key(hash).await.expect("an answer"), Some(record));
}

pub(super) async fn a_revoked_key_admits_nothing(world: &World) {
    let store = &world.store;
    let before = world.queued(micros(5)).await;
    assert!(store.revoke_key(world.key.id, world.now()).await.expect("an answer"));
    assert!(
        store
            .revoke_key(world.key.id, world.now())
            .await
            .expect("a repeat is harmless")
    );
    let nobody = KeyId::new(&world.clock, &world.entropy);
    assert!(!store.revoke_key(nobody, world.now()).await.expect("an answer"));
    let hash = world.tenant("main").key_hash;
    assert!(
        store
            .key(hash)
            .await
            .expect("an answer")
            .expect("the key is still known")
            .revoked
    );
    let job = world.new_job(micros(5));
    let id = job.id;
    assert_eq!(
        store.reserve_and_enqueue(job, None).await.expect("an answer"),
        Admission::KeyRevoked
    );
    assert_eq!(store.job(id).await.expect("an answer"), None);
    assert_eq!(world.balance().await.held, micros(5));
    // What was admitted before goes on.
    world.lease(before).await;
}

pub(super) async fn a_key_of_another_namespace_admits_nothing(world: &World) {
    let store = &world.store;
    let other = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let with_others_key = crate::store::NewJob {
        key: other.id,
        ..world.new_job(micros(1))
    };
    let in_mainnet = crate::store::NewJob {
        environment: Environment::Mainnet,
        ..world.new_job(micros(1))
    };
    for job in [with_others_key, in_mainnet] {
        let id: JobId = job.id;
        assert_eq!(
            store.reserve_and_enqueue(job, None).await.expect("an answer"),
            Admission::KeyRevoked
        );
        assert_eq!(store.job(id).await.expect("an answer"), None);
    }
    assert_eq!(world.balance().await.available, START);
}

//! Namespaces and API keys, as their owners manage them.

use std::num::NonZeroU32;
use std::time::Duration;

use resultity_core::api::gate::{Change, KeyStatus};
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, KeyId, NamespaceId};
use resultity_core::networks::Networks;

use super::Scenario;
use super::world::{START, World, micros};
use crate::store::tenancy::{
    KeyChange, KeyChanged, KeyDetails, KeyFilter, KeyMade, KeyRotated, NamespaceChange, NamespaceChanged,
    NamespaceDeletion, NamespaceMade, NewKey, NewNamespace, NewSecret,
};
use crate::store::webhooks::PageOf;
use crate::store::{Actor, Admission, AuditEntry, Grant, Granted, KeyHash, KeyLimits, NewJob};

pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
    ("namespaces have names of their own", |world| {
        Box::pin(namespaces_have_names_of_their_own(world))
    }),
    ("a namespace is deleted when it has nothing", |world| {
        Box::pin(a_namespace_is_deleted_when_it_has_nothing(world))
    }),
    ("what belongs to another account is not there", |world| {
        Box::pin(what_belongs_to_another_account_is_not_there(world))
    }),
    ("a key has one or two secrets", |world| {
        Box::pin(a_key_has_one_or_two_secrets(world))
    }),
    ("keys are listed and revoked", |world| {
        Box::pin(keys_are_listed_and_revoked(world))
    }),
    ("a key is changed", |world| Box::pin(a_key_is_changed(world))),
    ("a limit that comes later counts from then on", |world| {
        Box::pin(a_limit_that_comes_later_counts_from_then_on(world))
    }),
];

fn named(name: &str) -> NamespaceChange {
    NamespaceChange {
        name: Some(name.to_owned()),
        ..NamespaceChange::default()
    }
}

fn audit(world: &World, action: &str) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(&world.clock, &world.entropy),
        actor: Actor::Account(world.key.account),
        action: action.to_owned(),
        subject: "test".to_owned(),
        environment: None,
        before: None,
        after: None,
        reason: String::new(),
        now: world.now(),
    }
}

async fn make_namespace(world: &World, name: &str, environment: Environment, most: u32) -> NamespaceMade {
    let namespace = NewNamespace {
        id: NamespaceId::new(&world.clock, &world.entropy),
        account: world.key.account,
        name: name.to_owned(),
        environment,
        now: world.now(),
    };
    let audit = audit(world, "namespace.create");
    world
        .store
        .create_namespace(namespace, most, audit)
        .await
        .expect("an answer")
}

async fn namespace(world: &World, name: &str) -> NamespaceId {
    match make_namespace(world, name, Environment::Testnet, 100).await {
        NamespaceMade::Made(record) => record.id,
        other => unreachable!("the name is free, but: {other:?}"),
    }
}

fn new_key(world: &World, namespace: NamespaceId, hash: u8) -> NewKey {
    NewKey {
        id: KeyId::new(&world.clock, &world.entropy),
        namespace,
        hash: KeyHash::repeat_byte(hash),
        hint: "rk_test_…abcd".to_owned(),
        label: "label".to_owned(),
        limits: KeyLimits::default(),
        now: world.now(),
    }
}

async fn made(world: &World, key: NewKey) -> KeyDetails {
    let audit = audit(world, "key.create");
    let made = world.store.create_key(world.key.account, key, 100, audit).await;
    match made.expect("an answer") {
        KeyMade::Made(key) => *key,
        other => unreachable!("there is room for it, but: {other:?}"),
    }
}

async fn update(world: &World, id: KeyId, change: KeyChange) -> KeyDetails {
    let audit = audit(world, "key.update");
    let changed = world.store.update_key(world.key.account, id, change, audit).await;
    match changed.expect("an answer") {
        KeyChanged::Changed(key) => *key,
        other => unreachable!("the key can be changed, but: {other:?}"),
    }
}

const fn first_page<I>() -> PageOf<I> {
    PageOf {
        after: None,
        ascending: true,
        limit: 100,
    }
}

async fn namespaces_have_names_of_their_own(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let NamespaceMade::Made(first) = make_namespace(world, "a", Environment::Testnet, 3).await else {
        unreachable!("there is room for it")
    };
    let NamespaceMade::Made(mainnet) = make_namespace(world, "a", Environment::Mainnet, 3).await else {
        unreachable!("the environments have nothing to do with each other")
    };
    assert_eq!(
        make_namespace(world, "a", Environment::Testnet, 3).await,
        NamespaceMade::NameTaken
    );
    namespace(world, "b").await;
    // The tenant's own one is there, too.
    assert_eq!(
        make_namespace(world, "c", Environment::Testnet, 3).await,
        NamespaceMade::TooMany
    );
    let balance = store.balance(first.id).await.expect("an answer");
    assert_eq!(balance, Some(crate::store::Balance::default()));

    let listed = store
        .namespaces(account, Environment::Testnet, first_page(), world.now())
        .await;
    let names: Vec<String> = listed
        .expect("a list")
        .into_iter()
        .map(|namespace| namespace.name)
        .collect();
    assert_eq!(names, ["default", "a", "b"]);
    let after = PageOf {
        after: Some(first.id),
        limit: 1,
        ..first_page()
    };
    let listed = store
        .namespaces(account, Environment::Testnet, after, world.now())
        .await
        .expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "b");

    let renamed = |id, name: &str| store.update_namespace(account, id, named(name), audit(world, "rename"));
    assert_eq!(
        renamed(first.id, "b").await.expect("an answer"),
        NamespaceChanged::NameTaken
    );
    let same = renamed(first.id, "a").await.expect("an answer");
    assert!(matches!(same, NamespaceChanged::Changed(_)), "{same:?}");
    let changed = renamed(first.id, "z").await.expect("an answer");
    assert!(matches!(changed, NamespaceChanged::Changed(record) if record.name == "z"));
    let found = store
        .namespace_named(account, Environment::Testnet, "z")
        .await
        .expect("an answer");
    assert_eq!(found, Some(first.id));
    let found = store
        .namespace_named(account, Environment::Mainnet, "a")
        .await
        .expect("an answer");
    assert_eq!(found, Some(mainnet.id));
}

async fn a_namespace_is_deleted_when_it_has_nothing(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let delete = |id| store.delete_namespace(account, id, audit(world, "namespace.delete"));
    let kept = delete(world.key.namespace).await.expect("an answer");
    assert!(matches!(kept, NamespaceDeletion::NotEmpty { balance } if balance.available == START));

    let id = namespace(world, "gone").await;
    let key = made(world, new_key(world, id, 7)).await;
    // A job that holds nothing is a job.
    let job = NewJob {
        namespace: id,
        key: key.id,
        ..world.new_job(micros(0))
    };
    let open = job.id;
    assert_eq!(
        store.reserve_and_enqueue(job, None).await.expect("an answer"),
        Admission::Admitted
    );
    let busy = delete(id).await.expect("an answer");
    assert!(matches!(busy, NamespaceDeletion::NotEmpty { .. }), "{busy:?}");
    let release = world.release_of(open, resultity_core::job::JobState::Cancelled);
    store.release(release).await.expect("an answer");

    let deleted = delete(id).await.expect("an answer");
    let expected = NamespaceDeletion::Deleted {
        keys: 1,
        hashes: vec![key.hash],
    };
    assert_eq!(deleted, expected);
    assert_eq!(delete(id).await.expect("an answer"), NamespaceDeletion::Unknown);
    assert_eq!(
        store.namespace(account, id, world.now()).await.expect("an answer"),
        None
    );
    assert!(
        store
            .key(key.hash)
            .await
            .expect("an answer")
            .is_some_and(|key| key.revoked)
    );
    let grant = Grant {
        idempotency_key: "late".to_owned(),
        namespace: id,
        amount: micros(1),
        reason: "test".to_owned(),
        now: world.now(),
    };
    assert_eq!(store.grant(grant).await.expect("an answer"), Granted::UnknownNamespace);
    let refused = store
        .create_key(account, new_key(world, id, 8), 100, audit(world, "key.create"))
        .await;
    assert_eq!(refused.expect("an answer"), KeyMade::UnknownNamespace);
    // Its name is free.
    namespace(world, "gone").await;
}

async fn what_belongs_to_another_account_is_not_there(world: &World) {
    let store = &world.store;
    let other = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let (account, now) = (world.key.account, world.now());
    let audit = || audit(world, "test");
    assert_eq!(
        store.namespace(account, other.namespace, now).await.expect("an answer"),
        None
    );
    let renamed = store
        .update_namespace(account, other.namespace, named("x"), audit())
        .await;
    assert_eq!(renamed.expect("an answer"), NamespaceChanged::Unknown);
    let deleted = store.delete_namespace(account, other.namespace, audit()).await;
    assert_eq!(deleted.expect("an answer"), NamespaceDeletion::Unknown);
    let made = store
        .create_key(account, new_key(world, other.namespace, 9), 100, audit())
        .await;
    assert_eq!(made.expect("an answer"), KeyMade::UnknownNamespace);
    assert_eq!(
        store.key_details(Some(account), other.id).await.expect("an answer"),
        None
    );
    let changed = store.update_key(account, other.id, KeyChange::default(), audit()).await;
    assert_eq!(changed.expect("an answer"), KeyChanged::Unknown);
    let secret = NewSecret {
        hash: KeyHash::repeat_byte(9),
        hint: String::new(),
        previous_until: now,
    };
    let rotated = store.rotate_key(account, other.id, secret, audit()).await;
    assert_eq!(rotated.expect("an answer"), KeyRotated::Unknown);
    assert_eq!(
        store
            .revoke_key_of(Some(account), other.id, audit())
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        store.key(other_hash(world)).await.expect("an answer"),
        Some(other.clone())
    );
    // Whoever has the server's shell may revoke any.
    let revoked = store.revoke_key_of(None, other.id, audit()).await.expect("an answer");
    assert!(revoked.is_some_and(|key| key.revoked.is_some()));
    let nobody = NewNamespace {
        id: NamespaceId::new(&world.clock, &world.entropy),
        account: AccountId::new(&world.clock, &world.entropy),
        name: "x".to_owned(),
        environment: Environment::Testnet,
        now,
    };
    let made = store.create_namespace(nobody, 10, audit()).await.expect("an answer");
    assert_eq!(made, NamespaceMade::UnknownAccount);
}

fn other_hash(world: &World) -> KeyHash {
    world.tenant("other").key_hash
}

async fn a_key_has_one_or_two_secrets(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let key = made(world, new_key(world, world.key.namespace, 1)).await;
    let rotate = async |hash: u8, overlap: u64| {
        let secret = NewSecret {
            hash: KeyHash::repeat_byte(hash),
            hint: "rk_test_…new".to_owned(),
            previous_until: world.now().after(Duration::from_secs(overlap)),
        };
        let mut entry = audit(world, "key.rotate");
        if overlap == 0 {
            entry.now = secret.previous_until;
        }
        match store
            .rotate_key(account, key.id, secret, entry)
            .await
            .expect("an answer")
        {
            KeyRotated::Rotated { key, outdated } => (*key, outdated),
            other => unreachable!("the key can be rotated, but: {other:?}"),
        }
    };
    let known = async |hash: u8| store.key(KeyHash::repeat_byte(hash)).await.expect("an answer");
    let (rotated, outdated) = rotate(2, 60).await;
    assert_eq!((rotated.id, outdated.as_slice()), (key.id, [key.hash].as_slice()));
    let until = rotated.previous.map(|(_, until)| until);
    let (old, new) = (
        known(1).await.expect("the old one"),
        known(2).await.expect("the new one"),
    );
    assert_eq!((old.id, old.replaced_at), (key.id, until));
    assert_eq!((new.id, new.replaced_at), (key.id, None));
    // What is admitted with either is under one key.
    let job = NewJob {
        key: old.id,
        ..world.new_job(micros(1))
    };
    assert_eq!(
        store.reserve_and_enqueue(job, None).await.expect("an answer"),
        Admission::Admitted
    );
    // The one before the one before ends.
    let (_, outdated) = rotate(3, 60).await;
    assert_eq!(outdated, [KeyHash::repeat_byte(2), KeyHash::repeat_byte(1)]);
    assert_eq!(known(1).await, None);
    let (rotated, _) = rotate(4, 0).await;
    assert_eq!(rotated.previous, None);
    assert_eq!((known(2).await, known(3).await), (None, None));
    assert!(known(4).await.is_some());
}

async fn keys_are_listed_and_revoked(world: &World) {
    let (store, account) = (&world.store, world.key.account);
    let namespace = namespace(world, "keys").await;
    let first = made(world, new_key(world, namespace, 1)).await;
    let expired = NewKey {
        limits: KeyLimits {
            expires_at: Some(world.now()),
            ..KeyLimits::default()
        },
        ..new_key(world, namespace, 2)
    };
    let expired = made(world, expired).await;
    let third = made(world, new_key(world, namespace, 3)).await;
    let revoked = store
        .revoke_key_of(Some(account), third.id, audit(world, "key.revoke"))
        .await;
    let revoked = revoked.expect("an answer").expect("the key");
    let again = store
        .revoke_key_of(Some(account), third.id, audit(world, "key.revoke"))
        .await;
    assert_eq!(again.expect("an answer"), Some(revoked));
    let list = async |namespace, status| {
        let filter = KeyFilter {
            account,
            environment: Environment::Testnet,
            namespace,
            status,
            now: world.now(),
        };
        let keys = store.keys(filter, first_page()).await.expect("a list");
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, [world.key.id, first.id, expired.id, third.id]);
    assert_eq!(list(Some(namespace), None).await, [first.id, expired.id, third.id]);
    assert_eq!(list(Some(namespace), Some(KeyStatus::Active)).await, [first.id]);
    assert_eq!(list(Some(namespace), Some(KeyStatus::Expired)).await, [expired.id]);
    assert_eq!(list(None, Some(KeyStatus::Revoked)).await, [third.id]);
    let record = store
        .namespace(account, namespace, world.now())
        .await
        .expect("an answer");
    assert_eq!(record.map(|namespace| namespace.keys), Some(1));
    // Revoked ones take no room.
    let too_many = store
        .create_key(account, new_key(world, namespace, 4), 2, audit(world, "key.create"))
        .await;
    assert_eq!(too_many.expect("an answer"), KeyMade::TooMany);
    let fits = store
        .create_key(account, new_key(world, namespace, 4), 3, audit(world, "key.create"))
        .await;
    assert!(matches!(fits.expect("an answer"), KeyMade::Made(_)));
    let labels = store
        .key_labels(vec![first.id, KeyId::new(&world.clock, &world.entropy)])
        .await;
    assert_eq!(labels.expect("an answer"), [(first.id, "label".to_owned())]);
    let refused = store
        .update_key(account, third.id, KeyChange::default(), audit(world, "key.update"))
        .await;
    assert_eq!(refused.expect("an answer"), KeyChanged::Revoked);
}

async fn a_key_is_changed(world: &World) {
    let networks = Networks::parse(["10.0.0.0/8"]).expect("a network");
    let change = KeyChange {
        label: Some("new".to_owned()),
        expires_at: Change::Set(world.now()),
        requests_per_minute: Change::Set(NonZeroU32::MIN),
        tokens_per_minute: Change::Set(NonZeroU32::MAX),
        models: Change::Set(vec!["m".to_owned()]),
        addresses: Change::Set(networks.clone()),
        ..KeyChange::default()
    };
    let changed = update(world, world.key.id, change).await;
    assert_eq!(changed.label, "new");
    assert_eq!(changed.limits.addresses, Some(networks));
    assert!(changed.limits.is_capped, "its owner chose the rates");
    let record = world
        .store
        .key(changed.hash)
        .await
        .expect("an answer")
        .expect("the key");
    assert_eq!(record.limits.models, changed.limits.models);
    assert_eq!(record.limits.requests_per_minute, Some(NonZeroU32::MIN));
    let change = KeyChange {
        expires_at: Change::Clear,
        requests_per_minute: Change::Clear,
        tokens_per_minute: Change::Clear,
        models: Change::Clear,
        addresses: Change::Clear,
        ..KeyChange::default()
    };
    let cleared = update(world, world.key.id, change).await;
    let expected = KeyLimits {
        is_capped: true,
        ..KeyLimits::default()
    };
    assert_eq!((cleared.label.as_str(), cleared.limits), ("new", expected));
}

async fn a_limit_that_comes_later_counts_from_then_on(world: &World) {
    let store = &world.store;
    // What ended before does not count; what is held does.
    let before = world.leased(micros(10)).await;
    store
        .settle(world.settle_of(before, micros(10)))
        .await
        .expect("an answer");
    let open = world.leased(micros(30)).await;
    let limit = |amount| KeyChange {
        spend_limit: amount,
        ..KeyChange::default()
    };
    let limited = update(world, world.key.id, limit(Change::Set(micros(50)))).await;
    assert_eq!(limited.spent, micros(30));
    let refused = store.reserve_and_enqueue(world.new_job(micros(21)), None).await;
    assert_eq!(refused.expect("an answer"), Admission::SpendLimit { left: micros(20) });
    store.settle(world.settle_of(open, micros(5))).await.expect("an answer");
    let spent = store.key_spent(world.key.id).await.expect("an answer");
    assert_eq!(spent, Some(micros(5)));
    // Another limit changes nothing about what was spent, and may be below it.
    let lowered = update(world, world.key.id, limit(Change::Set(micros(3)))).await;
    assert_eq!(lowered.spent, micros(5));
    let refused = store.reserve_and_enqueue(world.new_job(micros(1)), None).await;
    assert_eq!(refused.expect("an answer"), Admission::SpendLimit { left: micros(0) });
    update(world, world.key.id, limit(Change::Clear)).await;
    let admitted = store.reserve_and_enqueue(world.new_job(micros(7)), None).await;
    assert_eq!(admitted.expect("an answer"), Admission::Admitted);
    let again = update(world, world.key.id, limit(Change::Set(micros(50)))).await;
    assert_eq!(again.spent, micros(7));
}

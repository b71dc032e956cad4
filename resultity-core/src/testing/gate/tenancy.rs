//! Namespaces and API keys.

use std::num::NonZeroU32;

use super::GateSetting;
use crate::api::gate::{
    ApiKey, Change, CreateKey, CreateNamespace, GateApi, InEnvironment, KeyQuery, KeyStatus, NamespaceQuery, RotateKey,
    UpdateKey, UpdateNamespace,
};
use crate::api::usage::UsageQuery;
use crate::credits::Credits;
use crate::environment::Environment;
use crate::error::ErrorCode;
use crate::id::{KeyId, NamespaceId};

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};
const ANYWHERE: InEnvironment = InEnvironment { environment: None };

/// All of it, in testnet.
pub async fn all(api: &dyn GateApi, setting: &GateSetting<'_>) {
    eprintln!("gate: a namespace is made, renamed and deleted");
    a_namespace_is_made_renamed_and_deleted(api).await;
    eprintln!("gate: a key is made, changed, rotated and revoked");
    a_key_is_made_changed_rotated_and_revoked(api, setting).await;
    eprintln!("gate: what is nobody's is not found");
    what_is_nobodys_is_not_found(api, setting).await;
}

async fn a_namespace_is_made_renamed_and_deleted(api: &dyn GateApi) {
    let request = CreateNamespace::new("contract").environment(Environment::Testnet);
    let made = api.create_namespace(request.clone()).await.expect("a namespace");
    assert_eq!(
        (made.name.as_str(), made.environment, made.keys),
        ("contract", Environment::Testnet, 0)
    );
    let again = api
        .create_namespace(request.clone())
        .await
        .expect_err("the name is taken");
    assert_eq!(again.code, ErrorCode::Conflict);
    for name in ["", "a b", "a/b"] {
        let refused = api.create_namespace(CreateNamespace::new(name)).await.expect_err(name);
        assert_eq!(
            (refused.code, refused.param.as_deref()),
            (ErrorCode::InvalidValue, Some("name"))
        );
    }
    assert_eq!(api.namespace(made.id, ANYWHERE).await.expect("it is there"), made);
    let listed = api
        .namespaces(NamespaceQuery::of(Environment::Testnet))
        .await
        .expect("a page");
    assert!(listed.data.contains(&made));

    let renamed = api.update_namespace(made.id, TESTNET, UpdateNamespace::name("renamed"));
    assert_eq!(renamed.await.expect("another name").name, "renamed");
    let key = api.create_key(CreateKey::of(made.id)).await.expect("a key");
    assert_eq!(api.namespace(made.id, TESTNET).await.expect("it is there").keys, 1);
    let deleted = api.delete_namespace(made.id, TESTNET).await.expect("it has nothing");
    assert!(deleted.deleted && deleted.keys_revoked == 1);
    let gone = api.namespace(made.id, ANYWHERE).await.expect_err("it is gone");
    assert_eq!(gone.code, ErrorCode::NotFound);
    let key = api.key(key.key.id, ANYWHERE).await.expect("it is still known");
    assert_eq!(key.status, KeyStatus::Revoked);
    // Its name is free.
    let again = api.create_namespace(request).await.expect("another one");
    api.delete_namespace(again.id, ANYWHERE).await.expect("it has nothing");
}

async fn a_key_is_made_changed_rotated_and_revoked(api: &dyn GateApi, setting: &GateSetting<'_>) {
    let request = CreateNamespace::new("keys").environment(Environment::Testnet);
    let namespace = api.create_namespace(request).await.expect("a namespace").id;
    let ends = setting.clock.now().as_seconds() + 3600;
    let request = CreateKey::of(namespace)
        .label("first")
        .expires_at(ends)
        .requests_per_minute(NonZeroU32::MIN)
        .spend_limit(Credits::from_whole(5))
        .models(["m"])
        .ip_addresses(["10.0.0.1/8", "::1"]);
    let made = api.create_key(request).await.expect("a key");
    assert!(made.secret.starts_with("rk_test_"));
    assert!(!format!("{made:?}").contains(&made.secret), "a secret is not for logs");
    let key = made.key;
    let hint_ends = key.hint.rsplit('…').next().expect("the last characters");
    assert!(
        made.secret.ends_with(hint_ends) && key.hint.len() < made.secret.len() / 2,
        "{}",
        key.hint
    );
    assert_eq!((key.namespace, key.environment), (namespace, Environment::Testnet));
    assert_eq!((key.label.as_str(), key.status), ("first", KeyStatus::Active));
    assert_eq!(
        (key.expires_at, key.requests_per_minute),
        (Some(ends), Some(NonZeroU32::MIN))
    );
    assert_eq!(
        (key.spend_limit, key.spent),
        (Some(Credits::from_whole(5)), Some(Credits::ZERO))
    );
    assert_eq!(
        key.ip_addresses.as_deref(),
        Some(["10.0.0.0/8".to_owned(), "::1".to_owned()].as_slice())
    );
    assert_eq!(api.key(key.id, TESTNET).await.expect("it is there"), key);
    let of_namespace = |status| KeyQuery {
        status,
        ..KeyQuery::of(Environment::Testnet, namespace)
    };
    let listed = async |status| api.keys(of_namespace(status)).await.expect("a page").data;
    assert_eq!(listed(None).await, std::slice::from_ref(&key));
    assert_eq!(listed(Some(KeyStatus::Revoked)).await, Vec::<ApiKey>::new());

    let mut update = UpdateKey::label("second");
    update.models = Change::Clear;
    update.spend_limit = Change::Set(Credits::from_whole(7));
    let changed = api.update_key(key.id, TESTNET, update).await.expect("a change");
    let expected = ApiKey {
        label: "second".into(),
        models: None,
        spend_limit: Some(Credits::from_whole(7)),
        ..key.clone()
    };
    assert_eq!(changed, expected);

    let rotated = api
        .rotate_key(key.id, TESTNET, RotateKey::overlap_seconds(60))
        .await
        .expect("a new secret");
    assert_ne!(rotated.secret, made.secret);
    assert_eq!(rotated.key.id, key.id);
    assert!(rotated.key.previous_secret_expires_at.is_some());
    let rotated = api
        .rotate_key(key.id, TESTNET, RotateKey::overlap_seconds(0))
        .await
        .expect("a new secret");
    assert_eq!(rotated.key.previous_secret_expires_at, None);
    let refused = api
        .rotate_key(key.id, TESTNET, RotateKey::overlap_seconds(604_801))
        .await;
    assert_eq!(refused.expect_err("too long").param.as_deref(), Some("overlap_seconds"));

    let usage = api
        .key_usage(key.id, TESTNET, UsageQuery::default())
        .await
        .expect("a report");
    assert_eq!((usage.data.len(), usage.total.requests), (0, 0));

    let revoked = api.revoke_key(key.id, TESTNET).await.expect("it is revoked");
    assert!(revoked.status == KeyStatus::Revoked && revoked.revoked_at.is_some());
    assert_eq!(api.revoke_key(key.id, ANYWHERE).await.expect("a repeat"), revoked);
    assert_eq!(listed(Some(KeyStatus::Revoked)).await, [revoked]);
    let refused = api.update_key(key.id, TESTNET, UpdateKey::label("third")).await;
    assert_eq!(refused.expect_err("it is revoked").code, ErrorCode::Conflict);
    let refused = api.rotate_key(key.id, TESTNET, RotateKey::default()).await;
    assert_eq!(refused.expect_err("it is revoked").code, ErrorCode::Conflict);
    api.delete_namespace(namespace, TESTNET).await.expect("it has nothing");
}

async fn what_is_nobodys_is_not_found(api: &dyn GateApi, setting: &GateSetting<'_>) {
    let namespace = NamespaceId::new(setting.clock, setting.entropy);
    let key = KeyId::new(setting.clock, setting.entropy);
    let label = || UpdateKey::label("x");
    let codes = [
        api.namespace(namespace, ANYWHERE).await.expect_err("a namespace").code,
        api.update_namespace(namespace, ANYWHERE, UpdateNamespace::name("x"))
            .await
            .expect_err("a namespace")
            .code,
        api.delete_namespace(namespace, ANYWHERE)
            .await
            .expect_err("a namespace")
            .code,
        api.create_key(CreateKey::of(namespace))
            .await
            .expect_err("a namespace")
            .code,
        api.key(key, ANYWHERE).await.expect_err("a key").code,
        api.update_key(key, ANYWHERE, label()).await.expect_err("a key").code,
        api.revoke_key(key, ANYWHERE).await.expect_err("a key").code,
        api.rotate_key(key, ANYWHERE, RotateKey::default())
            .await
            .expect_err("a key")
            .code,
        api.key_usage(key, ANYWHERE, UsageQuery::default())
            .await
            .expect_err("a key")
            .code,
    ];
    assert_eq!(codes, [ErrorCode::NotFound; 9]);
    let query = KeyQuery::of(Environment::Testnet, namespace);
    assert_eq!(
        api.keys(query).await.expect_err("a namespace").code,
        ErrorCode::NotFound
    );
}

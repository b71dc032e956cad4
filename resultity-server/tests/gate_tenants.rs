//! Namespaces and API keys over the Gate API, and what they do on the Cloud API: a key that is changed, rotated or revoked,
//! one for certain addresses alone; other people's ids, the other environment, many at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use harness::api::{Api, chat};
use harness::gate::{account, client_with, door, door_client, new_account, session_of, sign_in};
use harness::node::TestNode;
use harness::wallet::totp;
use harness::{CREDITS, TestServer, model, soon};
use resultity_client::GateClient;
use resultity_core::api::gate::{
    ApiKeyWithSecret, Change, CreateKey, CreateNamespace, CreateToken, InEnvironment, KeyQuery, KeysApi,
    NamespaceQuery, NamespacesApi, Role, RotateKey, Scope, TokensApi, UpdateKey, UpdateNamespace,
};
use resultity_core::api::usage::{UsageQuery, UsageScope};
use resultity_core::clock::{Clock, ManualClock, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AuditId, KeyId, NamespaceId};
use resultity_core::networks::Networks;
use resultity_core::testing::gate::{GateSetting, tenancy};
use resultity_server::assemble::Offer;
use resultity_server::store::{Actor, AuditEntry, Grant, TenancyStore as _};
use rstest::rstest;
use serde_json::{Value, json};

const ANYWHERE: InEnvironment = InEnvironment { environment: None };

fn code<T>(answer: Result<T, ApiError>) -> Option<ErrorCode> {
    answer.err().map(|error| error.code)
}

fn in_environment(environment: Environment) -> InEnvironment {
    environment.into()
}

/// A server of both environments, with a clock of its own.
async fn both() -> (TestServer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let offer = Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer.clone(), |options| {
        options.networks.push((Environment::Mainnet, offer));
        options.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
        options.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    });
    (server.await, clock)
}

async fn namespace(gate: &impl NamespacesApi, name: &str) -> NamespaceId {
    let request = CreateNamespace::new(name).environment(Environment::Testnet);
    gate.create_namespace(request).await.unwrap().id
}

/// Gives a namespace credits.
async fn fund(server: &TestServer, namespace: NamespaceId) {
    let grant = Grant {
        idempotency_key: format!("test:{namespace}"),
        namespace,
        amount: CREDITS,
        reason: "test".into(),
        now: SystemClock.now(),
    };
    server.store.grant(grant).await.unwrap();
}

/// A key of a namespace of its own that has credits.
async fn funded_key(
    server: &TestServer,
    gate: &GateClient,
    change: impl FnOnce(CreateKey) -> CreateKey,
) -> ApiKeyWithSecret {
    let namespace = namespace(gate, "app").await;
    fund(server, namespace).await;
    gate.create_key(change(CreateKey::of(namespace))).await.unwrap()
}

fn api_of(server: &TestServer, secret: &str) -> Api {
    let mut api = Api::new(server);
    secret.clone_into(&mut api.key);
    api
}

/// What a chat with this secret is answered.
async fn asked(server: &TestServer, secret: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let api = api_of(server, secret);
    let call = api.call(reqwest::Method::POST, "/v1/chat/completions", headers, Some(chat()));
    let said = soon("an answer", call).await;
    (said.status.as_u16(), said.json())
}

/// A node that answers everything, until it is dropped.
async fn busy_node(server: &TestServer) -> tokio::task::JoinHandle<()> {
    let mut node = TestNode::ready(&server.io_url(), "m", 8).await;
    server.until_served("m").await;
    tokio::spawn(async move {
        loop {
            let job = node.next_job().await;
            node.answer(&job, "yes").await;
        }
    })
}

#[tokio::test]
async fn the_contract_holds_in_process_and_over_http() {
    let server = TestServer::start().await;
    let (_, session, _) = account(&server, "in-process").await;
    let (_, _, client) = account(&server, "over-http").await;
    let (door, door_client) = (door(&server), door_client(&server));
    let setting = GateSetting {
        door: &door,
        clock: &SystemClock,
        entropy: &SystemEntropy,
        totp: &|secret, steps| totp(secret, &SystemClock, steps),
    };
    tenancy::all(&session, &setting).await;
    let setting = GateSetting {
        door: &door_client,
        ..setting
    };
    tenancy::all(&client, &setting).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_its_job_in_flight_is_settled() {
    let (server, _) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.label("app")).await;
    let mut node = TestNode::ready(&server.io_url(), "m", 8).await;
    server.until_served("m").await;
    let api = api_of(&server, &key.secret);
    let in_flight = tokio::spawn(async move { api.post("/v1/chat/completions", chat()).await });
    let job = soon("the job", node.next_job()).await;

    gate.revoke_key(key.key.id, ANYWHERE).await.unwrap();
    let (status, body) = asked(&server, &key.secret, &[]).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")));
    let listed = api_of(&server, &key.secret)
        .call(reqwest::Method::GET, "/v1/models", &[], None)
        .await;
    assert_eq!(listed.status, 401);

    node.answer(&job, "yes").await;
    let said = soon("the answer", in_flight).await.unwrap();
    assert_eq!(said.status, 200, "{}", said.body);
    server.until_idle().await;
    let usage = gate
        .key_usage(key.key.id, ANYWHERE, UsageQuery::default())
        .await
        .unwrap();
    assert_eq!(usage.total.requests, 1);
    assert!(usage.total.cost > Credits::ZERO);
    assert_eq!(server.store.audit().await.unwrap().problems, Vec::<String>::new());
}

/// The shell is another process: this server's memory of the key is not told.
#[tokio::test]
async fn a_key_revoked_by_another_process_admits_nothing() {
    let (server, _) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key).await;
    let node = busy_node(&server).await;
    assert_eq!(asked(&server, &key.secret, &[]).await.0, 200);
    let clock = SystemClock;
    let audit = AuditEntry {
        id: AuditId::new(&clock, &SystemEntropy),
        actor: Actor::Operator,
        action: "key.revoke".into(),
        subject: format!("key:{}", key.key.id),
        environment: None,
        before: None,
        after: None,
        reason: "test".into(),
        now: clock.now(),
    };
    let other = resultity_server::assemble::open_store(server.data_dir.path(), None).unwrap();
    other.revoke_key_of(None, key.key.id, audit).await.unwrap();
    let (status, body) = asked(&server, &key.secret, &[]).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")));
    node.abort();
}

#[tokio::test]
async fn two_secrets_work_until_the_overlap_is_over() {
    let (server, clock) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let first = funded_key(&server, &gate, |key| key.spend_limit(Credits::from_whole(900))).await;
    let node = busy_node(&server).await;
    assert_eq!(asked(&server, &first.secret, &[]).await.0, 200);
    let id = first.key.id;
    let second = gate
        .rotate_key(id, ANYWHERE, RotateKey::overlap_seconds(60))
        .await
        .unwrap();
    for secret in [&first.secret, &second.secret] {
        assert_eq!(asked(&server, secret, &[]).await.0, 200);
    }
    clock.advance(Duration::from_mins(1));
    let (status, body) = asked(&server, &first.secret, &[]).await;
    assert_eq!(status, 401);
    assert!(
        body["error"]["message"].as_str().unwrap().contains("replaced"),
        "{body}"
    );
    assert_eq!(asked(&server, &second.secret, &[]).await.0, 200);
    // Without an overlap the old one ends at once.
    let third = gate
        .rotate_key(id, ANYWHERE, RotateKey::overlap_seconds(0))
        .await
        .unwrap();
    assert_eq!(asked(&server, &second.secret, &[]).await.0, 401);
    assert_eq!(asked(&server, &third.secret, &[]).await.0, 200);
    server.until_idle().await;
    // All of it is one key's.
    let query = UsageQuery {
        group_by: Some("key".into()),
        ..UsageQuery::default()
    };
    let usage = gate.key_usage(id, ANYWHERE, query).await.unwrap();
    assert_eq!((usage.data.len(), usage.total.requests), (1, 5));
    assert_eq!(
        (usage.data[0].key, usage.data[0].key_label.as_deref()),
        (Some(id), Some(""))
    );
    assert_eq!(gate.key(id, ANYWHERE).await.unwrap().spent, Some(usage.total.cost));
    node.abort();
}

#[tokio::test]
async fn a_change_counts_at_once() {
    let (server, clock) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.label("app")).await;
    let node = busy_node(&server).await;
    let ask = async || {
        let (status, body) = asked(&server, &key.secret, &[]).await;
        (status, body["error"]["code"].as_str().map(str::to_owned))
    };
    let is = |status: u16, code: &str| (status, Some(code.to_owned()));
    let update = async |change: &dyn Fn(&mut UpdateKey)| {
        let mut update = UpdateKey::default();
        change(&mut update);
        gate.update_key(key.key.id, ANYWHERE, update).await.unwrap()
    };
    assert_eq!(ask().await, (200, None));
    update(&|update| update.models = Change::Set(vec!["other".into()])).await;
    assert_eq!(ask().await, is(403, "permission_denied"));
    update(&|update| update.models = Change::Clear).await;
    update(&|update| update.ip_addresses = Change::Set(vec!["10.0.0.0/8".into()])).await;
    assert_eq!(ask().await, is(403, "permission_denied"));
    update(&|update| update.ip_addresses = Change::Clear).await;
    update(&|update| update.spend_limit = Change::Set(Credits::ZERO)).await;
    assert_eq!(ask().await, is(402, "insufficient_quota"));
    update(&|update| update.spend_limit = Change::Clear).await;
    assert_eq!(ask().await, (200, None));
    let soon = clock.now().as_seconds() + 5;
    update(&|update| update.expires_at = Change::Set(soon)).await;
    assert_eq!(ask().await, (200, None));
    clock.advance(Duration::from_secs(6));
    assert_eq!(ask().await, is(401, "invalid_api_key"));
    update(&|update| update.expires_at = Change::Clear).await;
    assert_eq!(ask().await, (200, None));
    server.until_idle().await;
    assert_eq!(server.store.audit().await.unwrap().problems, Vec::<String>::new());
    node.abort();
}

/// An owner can lower the rates of a key, but not raise them above what the network allows each key.
#[tokio::test]
async fn an_owner_raises_no_rate() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.limits.key.requests_per_minute = NonZeroU32::new(2).unwrap();
    });
    let server = server.await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.requests_per_minute(NonZeroU32::MAX)).await;
    let node = busy_node(&server).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(asked(&server, &key.secret, &[]).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
    node.abort();
}

#[rstest]
#[case::no_proxy_in_between(&[], 200)]
#[case::inside(&[("x-forwarded-for", "203.0.113.9")], 200)]
#[case::inside_behind_what_the_asker_claims(&[("x-forwarded-for", "8.8.8.8, 203.0.113.9")], 200)]
#[case::outside(&[("x-forwarded-for", "203.0.114.9")], 403)]
#[case::the_asker_claims_to_be_inside(&[("x-forwarded-for", "203.0.113.9, 8.8.8.8")], 403)]
#[case::the_proxy_names_nobody(&[("via", "1.1 proxy")], 403)]
#[case::rubbish(&[("x-forwarded-for", "inside")], 403)]
#[tokio::test]
async fn a_key_is_for_certain_addresses_alone(#[case] headers: &[(&str, &str)], #[case] expected: u16) {
    let (server, _) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.ip_addresses(["203.0.113.0/24", "127.0.0.1"])).await;
    let said = api_of(&server, &key.secret)
        .call(reqwest::Method::GET, "/v1/models", headers, None)
        .await;
    assert_eq!(said.status.as_u16(), expected, "{}", said.body);
    if expected == 403 {
        assert_eq!(said.json()["error"]["code"], "permission_denied");
    }
}

/// Nobody but a configured proxy is believed.
#[tokio::test]
async fn a_stranger_is_where_its_connection_is() {
    let server = TestServer::start().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.ip_addresses(["203.0.113.0/24"])).await;
    let headers = [("x-forwarded-for", "203.0.113.9")];
    let said = api_of(&server, &key.secret)
        .call(reqwest::Method::GET, "/v1/models", &headers, None)
        .await;
    assert_eq!(said.status, 403, "{}", said.body);
}

#[tokio::test]
async fn other_peoples_objects_are_not_found() {
    let (server, _) = both().await;
    let (_, _, alice) = account(&server, "alice").await;
    let key = funded_key(&server, &alice, |key| key).await.key;
    let (_, session, mallory) = account(&server, "mallory").await;
    let parts: [(&dyn KeysApi, &dyn NamespacesApi); 2] = [(&session, &session), (&mallory, &mallory)];
    for (keys, namespaces) in parts {
        let label = UpdateNamespace::name("mine");
        let codes = [
            code(namespaces.namespace(key.namespace, ANYWHERE).await),
            code(namespaces.update_namespace(key.namespace, ANYWHERE, label).await),
            code(namespaces.delete_namespace(key.namespace, ANYWHERE).await),
            code(keys.create_key(CreateKey::of(key.namespace)).await),
            code(keys.keys(KeyQuery::of(Environment::Testnet, key.namespace)).await),
            code(keys.key(key.id, ANYWHERE).await),
            code(keys.update_key(key.id, ANYWHERE, UpdateKey::label("mine")).await),
            code(keys.revoke_key(key.id, ANYWHERE).await),
            code(keys.rotate_key(key.id, ANYWHERE, RotateKey::default()).await),
            code(keys.key_usage(key.id, ANYWHERE, UsageQuery::default()).await),
        ];
        assert_eq!(codes, [Some(ErrorCode::NotFound); 10]);
        assert_eq!(keys.keys(KeyQuery::default()).await.unwrap().data, []);
    }
    assert_eq!(alice.key(key.id, ANYWHERE).await.unwrap(), key);
}

#[tokio::test]
async fn the_other_environment_has_nothing_of_it() {
    let (server, _) = both().await;
    let (id, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key).await.key;
    let mainnet = in_environment(Environment::Mainnet);
    let codes = [
        code(gate.namespace(key.namespace, mainnet).await),
        code(
            gate.update_namespace(key.namespace, mainnet, UpdateNamespace::name("x"))
                .await,
        ),
        code(gate.delete_namespace(key.namespace, mainnet).await),
        code(
            gate.create_key(CreateKey::of(key.namespace).environment(Environment::Mainnet))
                .await,
        ),
        code(gate.keys(KeyQuery::of(Environment::Mainnet, key.namespace)).await),
        code(gate.key(key.id, mainnet).await),
        code(gate.update_key(key.id, mainnet, UpdateKey::label("x")).await),
        code(gate.revoke_key(key.id, mainnet).await),
        code(gate.rotate_key(key.id, mainnet, RotateKey::default()).await),
        code(gate.key_usage(key.id, mainnet, UsageQuery::default()).await),
    ];
    assert_eq!(codes, [Some(ErrorCode::NotFound); 10]);
    assert_eq!(
        gate.namespaces(NamespaceQuery::of(Environment::Mainnet))
            .await
            .unwrap()
            .data,
        []
    );
    // A key of mainnet has its own prefix, and the namespace that is meant where none is named is made.
    let real = CreateKey::default().environment(Environment::Mainnet);
    let (one, two) = tokio::join!(gate.create_key(real.clone()), gate.create_key(real));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.secret.starts_with("rk_live_"));
    assert_eq!(one.key.namespace, two.key.namespace);
    let default = gate.namespace(one.key.namespace, mainnet).await.unwrap();
    assert_eq!((default.name.as_str(), default.keys), ("default", 2));

    // A token for testnet sees testnet alone.
    let session = session_of(&server, &sign_in(&server, id).await).await;
    let request = CreateToken::new("t", [Scope::Read, Scope::Keys]).environment(Environment::Testnet);
    let token = session.create_token(request).await.unwrap().secret;
    let bound = client_with(&server, &token);
    assert_eq!(bound.key(key.id, ANYWHERE).await.unwrap().id, key.id);
    let codes = [
        code(bound.key(one.key.id, ANYWHERE).await),
        code(bound.revoke_key(one.key.id, mainnet).await),
        code(bound.namespace(default.id, ANYWHERE).await),
        code(bound.namespaces(NamespaceQuery::of(Environment::Mainnet)).await),
        code(bound.create_key(CreateKey::of(default.id)).await),
    ];
    assert_eq!(codes, [Some(ErrorCode::NotFound); 5]);
}

#[tokio::test]
async fn a_token_without_the_scope_changes_nothing() {
    let (server, _) = both().await;
    let (_, session, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key).await.key;
    let token = session
        .create_token(CreateToken::new("t", [Scope::Read]))
        .await
        .unwrap()
        .secret;
    let reader = client_with(&server, &token);
    assert_eq!(reader.key(key.id, ANYWHERE).await.unwrap(), key);
    let codes = [
        code(reader.create_namespace(CreateNamespace::new("x")).await),
        code(
            reader
                .update_namespace(key.namespace, ANYWHERE, UpdateNamespace::name("x"))
                .await,
        ),
        code(reader.delete_namespace(key.namespace, ANYWHERE).await),
        code(reader.create_key(CreateKey::of(key.namespace)).await),
        code(reader.update_key(key.id, ANYWHERE, UpdateKey::label("x")).await),
        code(reader.revoke_key(key.id, ANYWHERE).await),
        code(reader.rotate_key(key.id, ANYWHERE, RotateKey::default()).await),
    ];
    assert_eq!(codes, [Some(ErrorCode::PermissionDenied); 7]);
    // The operator's token has no account, and so no keys.
    let operator = client_with(&server, "admin");
    assert_eq!(
        code(operator.keys(KeyQuery::default()).await),
        Some(ErrorCode::PermissionDenied)
    );
    let nobody = client_with(&server, "rs_nobody");
    assert_eq!(
        code(nobody.keys(KeyQuery::default()).await),
        Some(ErrorCode::NotSignedIn)
    );
}

#[rstest]
#[case(json!({"label": "x".repeat(101)}), "label")]
#[case(json!({"label": "a\nb"}), "label")]
#[case(json!({"expires_at": 1}), "expires_at")]
#[case(json!({"expires_at": i64::MAX}), "expires_at")]
#[case(json!({"requests_per_minute": 0}), "requests_per_minute")]
#[case(json!({"tokens_per_minute": -1}), "tokens_per_minute")]
#[case(json!({"spend_limit": "-1"}), "spend_limit")]
#[case(json!({"spend_limit": 1.5}), "spend_limit")]
#[case(json!({"models": []}), "models")]
#[case(json!({"models": [""]}), "models[0]")]
#[case(json!({"ip_addresses": ["10.0.0.0/33"]}), "ip_addresses[0]")]
#[case(json!({"ip_addresses": []}), "ip_addresses")]
#[case(json!({"namespace": "x"}), "namespace")]
#[case(json!({"secret": "rk_test_mine"}), "secret")]
#[tokio::test]
async fn what_is_wrong_with_a_key_is_named(#[case] body: Value, #[case] param: &str) {
    let server = TestServer::start().await;
    let id = new_account(&server, "alice", Role::User).await;
    let api = api_of(&server, &sign_in(&server, id).await);
    let said = api.post("/gate/v1/keys", body).await;
    assert_eq!(said.status, 400, "{}", said.body);
    assert_eq!(said.json()["error"]["param"], param, "{}", said.body);
}

#[tokio::test]
async fn hostile_paths_and_queries_are_refused() {
    let server = TestServer::start().await;
    let id = new_account(&server, "alice", Role::User).await;
    let api = api_of(&server, &sign_in(&server, id).await);
    let key = KeyId::new(&SystemClock, &SystemEntropy);
    for (method, path, expected) in [
        ("GET", "/gate/v1/keys/x".to_owned(), 404),
        ("GET", "/gate/v1/keys/..%2F..%2Fadmin".to_owned(), 404),
        ("DELETE", "/gate/v1/namespaces/'%20OR%201=1--".to_owned(), 404),
        ("GET", format!("/gate/v1/keys/{key}?environment=moon"), 400),
        ("GET", "/gate/v1/keys?status=asleep".to_owned(), 400),
        ("GET", "/gate/v1/keys?namespace=x".to_owned(), 400),
        ("GET", "/gate/v1/keys?limit=0".to_owned(), 400),
        ("GET", "/gate/v1/namespaces?after=x".to_owned(), 400),
        ("GET", "/gate/v1/namespaces?environment=mainnet".to_owned(), 404),
        ("PUT", format!("/gate/v1/keys/{key}"), 405),
        ("GET", format!("/gate/v1/keys/{key}/usage?scope=namespace"), 400),
    ] {
        let said = api.call(method.parse().unwrap(), &path, &[], None).await;
        assert_eq!(said.status.as_u16(), expected, "{method} {path}: {}", said.body);
    }
}

#[tokio::test]
async fn a_namespace_with_credits_stays() {
    let (server, _) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key).await;
    let refused = gate.delete_namespace(key.key.namespace, ANYWHERE).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.to_string().contains("1000 credits"), "{refused}");
    assert_eq!(asked_models(&server, &key.secret).await, 200);
    // One that has nothing takes its keys with it, at once.
    let empty = namespace(&gate, "empty").await;
    let key = gate.create_key(CreateKey::of(empty)).await.unwrap();
    assert_eq!(asked_models(&server, &key.secret).await, 200);
    gate.delete_namespace(empty, ANYWHERE).await.unwrap();
    assert_eq!(asked_models(&server, &key.secret).await, 401);
}

async fn asked_models(server: &TestServer, secret: &str) -> u16 {
    let said = api_of(server, secret)
        .call(reqwest::Method::GET, "/v1/models", &[], None)
        .await;
    said.status.as_u16()
}

/// Of many who make the last ones at once, no more than there is room for succeed; of many who rotate, all secrets but the last
/// two are dead.
#[tokio::test]
async fn many_at_once_leave_it_right() {
    let (server, _) = both().await;
    let (_, session, gate) = account(&server, "alice").await;
    let made = futures::future::join_all((0..60).map(|number| {
        let session = session.clone();
        async move {
            session
                .create_namespace(CreateNamespace::new(format!("n{number}")))
                .await
        }
    }));
    let made = made.await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 50);
    assert!(
        made.into_iter()
            .filter_map(code)
            .all(|code| code == ErrorCode::Conflict)
    );

    let page = gate.namespaces(NamespaceQuery::default()).await.unwrap();
    let key = gate.create_key(CreateKey::of(page.data[0].id)).await.unwrap();
    let rotated = futures::future::join_all((0..10).map(|_| {
        let session = session.clone();
        async move {
            session
                .rotate_key(key.key.id, ANYWHERE, RotateKey::default())
                .await
                .unwrap()
                .secret
        }
    }));
    let mut secrets = rotated.await;
    secrets.push(key.secret);
    let mut working = 0;
    for secret in &secrets {
        working += u32::from(asked_models(&server, secret).await == 200);
    }
    assert_eq!(working, 2);
}

#[tokio::test]
async fn usage_names_keys_by_their_labels() {
    let (server, _) = both().await;
    let (_, _, gate) = account(&server, "alice").await;
    let key = funded_key(&server, &gate, |key| key.label("the app, \"mine\"")).await;
    let node = busy_node(&server).await;
    assert_eq!(asked(&server, &key.secret, &[]).await.0, 200);
    server.until_idle().await;
    let api = api_of(&server, &key.secret);
    let report = api.get("/v1/usage?group_by=key").await;
    assert_eq!(report["data"][0]["key_label"], "the app, \"mine\"");
    let id = new_account(&server, "bob", Role::User).await;
    let csv = async |secret: &str| {
        let path = format!("/gate/v1/keys/{}/usage?group_by=key&format=csv", key.key.id);
        api_of(&server, secret)
            .call(reqwest::Method::GET, &path, &[], None)
            .await
    };
    let session = gate_token(&gate).await;
    let said = csv(&session).await;
    assert_eq!(said.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = said.body.lines().collect();
    assert!(
        lines[0].starts_with("day,model,endpoint,key,key_label,requests,"),
        "{lines:?}"
    );
    assert!(lines[1].contains(",\"the app, \"\"mine\"\"\",1,"), "{lines:?}");
    assert_eq!(csv(&sign_in(&server, id).await).await.status, 404);
    let query = UsageQuery {
        scope: Some(UsageScope::Namespace),
        ..UsageQuery::default()
    };
    let refused = gate.key_usage(key.key.id, ANYWHERE, query).await.unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("scope"));
    node.abort();
}

/// An access token of the client's account.
async fn gate_token(gate: &GateClient) -> String {
    gate.create_token(CreateToken::new("csv", [Scope::Read]))
        .await
        .unwrap()
        .secret
}

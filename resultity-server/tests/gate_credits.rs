//! Credits over the Gate API: the contract, in-process and over HTTP; what attackers would try; a job's way through the reports.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use harness::gate::{self, ADDRESS, Outbox, account, administrator, client_with, door_client, session_of, sign_in};
use harness::node::TestNode;
use harness::{TestServer, model, soon};
use reqwest::StatusCode;
use resultity_client::GateClient;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{
    AccountUsageQuery, CreateVoucher, CreditGrant, CreditQuery, CreditsApi, GrantApi, InEnvironment, NewTransfer,
    Payment, PaymentsApi, RedeemVoucher, ReportsApi, Role, Scope, SetCreditAlert, VouchersApi,
};
use resultity_core::api::page::PageQuery;
use resultity_core::api::webhooks::{CreateWebhook, WebhooksApi};
use resultity_core::clock::{Clock, ManualClock, SeededEntropy, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{NamespaceId, TokenId};
use resultity_core::ledger::PostingKind;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::testing::gate::credits::{self, Namespaces};
use resultity_core::webhook::{EventType, SigningSecret};
use resultity_server::assemble::Offer;
use resultity_server::session::{Authority, Caller, GateSession, Keys, new_key};
use resultity_server::store::admin::AuditFilter;
use resultity_server::store::epochs::epoch_of;
use resultity_server::tenant::{self, Tenant};
use secrecy::ExposeSecret;
use serde_json::json;

/// A namespace of this account, which is made if it is not there; its first key is forgotten.
async fn namespace(server: &TestServer, account: &str, name: &str) -> NamespaceId {
    let tenant = Tenant {
        account,
        namespace: name,
        key_label: "=cmd",
        environment: Environment::Testnet,
    };
    let key = new_key(Environment::Testnet, &SystemEntropy);
    let record = tenant::ensure(&*server.store, tenant, &key, &SystemClock, &SystemEntropy).await;
    record.unwrap().namespace
}

async fn namespaces(server: &TestServer) -> Namespaces {
    Namespaces {
        full: server.principal.namespace,
        other: namespace(server, "tester", "second").await,
        strangers: namespace(server, "stranger", "default").await,
    }
}

/// The tester, signed in.
async fn tester(server: &TestServer) -> (GateSession, GateClient) {
    let token = sign_in(server, server.principal.account).await;
    (session_of(server, &token).await, client_with(server, &token))
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> ErrorCode {
    result.expect_err("it should have been refused").code
}

async fn assert_audited(server: &TestServer) {
    assert_eq!(server.store.audit().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn the_contract_in_process() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let (_, admin, _) = administrator(&server, "root").await;
    let (session, _) = tester(&server).await;
    soon("the contract", credits::all(&session, &admin, of)).await;
    assert_audited(&server).await;
}

#[tokio::test]
async fn the_contract_over_http() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let (_, _, admin) = administrator(&server, "root").await;
    let (_, client) = tester(&server).await;
    soon("the contract", credits::all(&client, &admin, of)).await;
    assert_audited(&server).await;
}

#[tokio::test]
async fn concurrent_transfers_spend_nothing_twice() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let (_, client) = tester(&server).await;
    // 40 at once, and credits for 10 of them.
    let part = Credits::from_whole(100);
    let tries = (0..40).map(|_| {
        let client = client.clone();
        async move { client.transfer_credits(NewTransfer::new(of.full, of.other, part)).await }
    });
    let answers = join_all(tries).await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(done, 10);
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, ErrorCode::InsufficientQuota, "{error}");
    }
    // The same one, 20 times at once: once.
    let back = NewTransfer::new(of.other, of.full, part).idempotency_key("back");
    let answers = join_all((0..20).map(|_| client.transfer_credits(back.clone()))).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first));
    let credits = client.credits(InEnvironment::default()).await.unwrap();
    assert_eq!(credits.available, harness::CREDITS);
    assert_audited(&server).await;
}

#[tokio::test]
async fn a_grant_that_is_repeated_is_given_once() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let (_, _, admin) = administrator(&server, "root").await;
    let (_, _, other) = administrator(&server, "other").await;
    let five = Credits::from_whole(5);
    let grant = || CreditGrant::to_namespace(of.other, five).idempotency_key("invoice 7");
    let answers = join_all((0..20).map(|_| admin.grant_credits(grant()))).await;
    for answer in answers {
        let given = answer.unwrap();
        assert_eq!((given.granted, given.balance), (five, five));
    }
    // As a header too; for something else it is refused; another administrator's keys are their own.
    let token = sign_in(&server, gate::new_account(&server, "third", Role::Admin).await).await;
    let post = async || {
        let url = format!("{}/gate/v1/admin/credits", server.base_url());
        let request = reqwest::Client::new().post(url).bearer_auth(&token);
        let body = json!({"namespace": of.other, "credits": "5"});
        let sent = request.header("Idempotency-Key", "h").json(&body).send().await;
        sent.unwrap().status()
    };
    assert_eq!((post().await, post().await), (StatusCode::OK, StatusCode::OK));
    let more = CreditGrant::to_namespace(of.other, Credits::from_whole(6)).idempotency_key("invoice 7");
    assert_eq!(code(admin.grant_credits(more).await), ErrorCode::Conflict);
    let elsewhere = CreditGrant::to_namespace(of.full, five).idempotency_key("invoice 7");
    assert_eq!(code(admin.grant_credits(elsewhere).await), ErrorCode::Conflict);
    let bad = CreditGrant::to_namespace(of.other, five).idempotency_key("\n");
    assert_eq!(code(admin.grant_credits(bad).await), ErrorCode::InvalidValue);
    other.grant_credits(grant()).await.unwrap();
    let balance = server.store.balance(of.other).await.unwrap().unwrap();
    assert_eq!(balance.available, Credits::from_whole(15));
    let lines = AuditFilter {
        action: Some("credits.grant".to_owned()),
        ascending: true,
        limit: 100,
        ..AuditFilter::default()
    };
    assert_eq!(server.store.audit_lines(lines).await.unwrap().len(), 3);
    assert_audited(&server).await;
}

#[tokio::test]
async fn a_voucher_is_not_redeemed_more_often_than_it_may_be() {
    let server = TestServer::start().await;
    let (_, admin, _) = administrator(&server, "root").await;
    let voucher = CreateVoucher::new(Credits::from_whole(1), "a test").max_uses(3);
    let code = admin.create_voucher(voucher).await.unwrap().code;
    let mut redemptions = Vec::new();
    for number in 0..8 {
        let name = format!("user{number}");
        let (id, _, client) = account(&server, &name).await;
        // The shell knows it by its id.
        let namespace = namespace(&server, &id.to_string(), "default").await;
        for _ in 0..2 {
            let (client, request) = (client.clone(), RedeemVoucher::new(&code, namespace));
            redemptions.push(async move { client.redeem_voucher(request).await });
        }
    }
    let answers = join_all(redemptions).await;
    // Each of three accounts got the first outcome twice.
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 6);
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
    let vouchers = admin.vouchers(CreditQuery::default()).await.unwrap().data;
    assert_eq!((vouchers[0].uses, vouchers[0].max_uses), (3, 3));
    assert_audited(&server).await;
}

#[tokio::test]
async fn codes_of_vouchers_cannot_be_tried_out() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let (session, _) = tester(&server).await;
    let mut codes = Vec::new();
    for number in 0..20 {
        let request = RedeemVoucher::new(format!("{number:020}"), of.full);
        codes.push(code(session.redeem_voucher(request).await));
    }
    let refused = codes.iter().filter(|code| **code == ErrorCode::RateLimitExceeded);
    assert!(refused.count() >= 5, "{codes:?}");
    assert!(codes.contains(&ErrorCode::NotFound), "{codes:?}");
}

#[tokio::test]
async fn a_voucher_that_has_expired_is_worth_nothing() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let shared = Arc::clone(&clock);
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| options.clock = shared).await;
    let (_, admin, _) = administrator(&server, "root").await;
    let (session, _) = tester(&server).await;
    let expires = clock.now().as_seconds() + 60;
    let voucher = CreateVoucher::new(Credits::from_whole(1), "a test").expires_at(expires);
    let made = admin.create_voucher(voucher).await.unwrap();
    clock.advance(Duration::from_secs(61));
    let request = RedeemVoucher::new(made.code, server.principal.namespace);
    assert_eq!(code(session.redeem_voucher(request).await), ErrorCode::NotFound);
    let past = CreateVoucher::new(Credits::from_whole(1), "a test").expires_at(expires);
    let error = admin.create_voucher(past).await.unwrap_err();
    assert_eq!(error.param.as_deref(), Some("expires_at"));
}

#[tokio::test]
async fn a_payment_counts_once_and_only_if_it_is_signed() {
    let secret = SigningSecret::generate(&SeededEntropy::new(1));
    let shared = secret.clone();
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.gate.payment_secret = Some(shared);
    })
    .await;
    let (door, namespace, now) = (door_client(&server), server.principal.namespace, SystemClock.now());
    let payment = |id: &str, amount| Payment::new(id, namespace, Environment::Testnet, Credits::from_whole(amount));
    let sign = |payment: &Payment| payment.sign("msg_1", &secret, now).unwrap();
    let before = server.balance().await.available;

    // The provider sends it again, and sixteen at once: once.
    let signed = sign(&payment("pay_1", 5));
    let answers = join_all((0..16).map(|_| door.receive_payment(signed.clone()))).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.balance.micros(), before.micros() + 5_000_000);
    }
    assert_eq!(
        code(door.receive_payment(sign(&payment("pay_1", 6))).await),
        ErrorCode::Conflict
    );

    // Not signed, changed, or sent too late or too early.
    let good = sign(&payment("pay_2", 5));
    let mut changed = good.clone();
    changed.body = String::from_utf8(changed.body)
        .unwrap()
        .replace("\"5\"", "\"500\"")
        .into();
    let mut stranger = good.clone();
    stranger.signature = payment("pay_2", 5)
        .sign("msg_1", &SigningSecret::generate(&SeededEntropy::new(2)), now)
        .unwrap()
        .signature;
    let mut renamed = good.clone();
    renamed.id = "msg_2".into();
    let mut unsigned = good.clone();
    unsigned.signature = "v1,".into();
    let old = payment("pay_2", 5)
        .sign(
            "msg_1",
            &secret,
            resultity_core::clock::Timestamp::from_millis(now.as_millis() - 301_000),
        )
        .unwrap();
    let early = payment("pay_2", 5)
        .sign("msg_1", &secret, now.after(Duration::from_secs(330)))
        .unwrap();
    for bad in [changed, stranger, renamed, unsigned, old, early] {
        assert_eq!(code(door.receive_payment(bad).await), ErrorCode::InvalidCredentials);
    }
    // Signed, but not what can be.
    let mainnet = Payment::new("pay_2", namespace, Environment::Mainnet, Credits::from_whole(5));
    assert_eq!(code(door.receive_payment(sign(&mainnet)).await), ErrorCode::NotFound);
    for bad in [
        payment("pay_2", 0),
        payment("pay_2", -5),
        payment("", 5),
        payment("a b", 5),
    ] {
        assert_eq!(code(door.receive_payment(sign(&bad)).await), ErrorCode::InvalidValue);
    }
    let mut nonsense = good.clone();
    nonsense.body = b"{".to_vec();
    nonsense.signature = secret.sign("msg_1", now.as_seconds(), b"{");
    assert_eq!(code(door.receive_payment(nonsense).await), ErrorCode::InvalidJson);
    let after = server.balance().await.available;
    assert_eq!(after.micros(), before.micros() + 5_000_000);
    assert_audited(&server).await;

    let without = TestServer::start().await;
    let answer = door_client(&without).receive_payment(good).await;
    assert_eq!(code(answer), ErrorCode::NotImplemented);
}

#[tokio::test]
async fn malformed_requests_are_refused_with_the_field() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let token = sign_in(&server, server.principal.account).await;
    let post = |path: &str, body: String| {
        let request = reqwest::Client::new().post(format!("{}/gate/v1{path}", server.base_url()));
        let request = request.bearer_auth(&token).header("content-type", "application/json");
        request.body(body).send()
    };
    let (from, to) = (of.full, of.other);
    for (path, body, param) in [
        (
            "/transfers",
            json!({"from": from, "to": to, "amount": 1}),
            Some("amount"),
        ),
        (
            "/transfers",
            json!({"from": from, "to": to, "amount": "1e3"}),
            Some("amount"),
        ),
        (
            "/transfers",
            json!({"from": from, "to": to, "amount": "0.0000001"}),
            Some("amount"),
        ),
        (
            "/transfers",
            json!({"from": from, "to": to, "amount": "99999999999999999999"}),
            Some("amount"),
        ),
        (
            "/transfers",
            json!({"from": from, "to": "x", "amount": "1"}),
            Some("to"),
        ),
        ("/transfers", json!({"from": from, "amount": "1"}), Some("to")),
        (
            "/transfers",
            json!({"from": from, "to": to, "amount": "1", "memo": "x"}),
            Some("memo"),
        ),
        (
            "/faucet",
            json!({"namespace": from, "amount": "1000000"}),
            Some("amount"),
        ),
        ("/vouchers/redeem", json!({"code": 5, "namespace": from}), Some("code")),
    ] {
        let answer = post(path, body.to_string()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path} {body}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["param"].as_str(), param, "{path} {body}: {answer}");
    }
    for body in ["", "[]", "{", "null", "\u{0}"] {
        let answer = post("/transfers", body.into()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    // The header and the body name two keys.
    let body = json!({"from": from, "to": to, "amount": "1", "idempotency_key": "a"});
    let request = reqwest::Client::new().post(format!("{}/gate/v1/transfers", server.base_url()));
    let request = request.bearer_auth(&token).header("idempotency-key", "b").json(&body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    for path in ["/namespaces/x/ledger", "/namespaces/../ledger", "/namespaces/%00/holds"] {
        let url = format!("{}/gate/v1{path}", server.base_url());
        let answer = reqwest::Client::new()
            .get(url)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
    assert_eq!(server.balance().await.available, harness::CREDITS);
}

#[tokio::test]
async fn a_token_sees_its_environment_and_does_what_it_may() {
    let server = TestServer::start().await;
    let of = namespaces(&server).await;
    let session = |scopes: &[Scope], environment| {
        let caller = Caller {
            account: Some(server.principal.account),
            role: Role::User,
            authority: Authority::Token {
                id: TokenId::new(&SystemClock, &SystemEntropy),
                scopes: scopes.to_vec(),
                environment,
            },
            environment: Environment::Testnet,
            address: ADDRESS,
        };
        GateSession::new(gate::gate(&server), caller)
    };
    let one = Credits::from_micros(1);
    let transfer = || NewTransfer::new(of.full, of.other, one);
    let read = session(&[Scope::Read], None);
    assert!(read.ledger(of.full, CreditQuery::default()).await.is_ok());
    assert_eq!(
        code(read.transfer_credits(transfer()).await),
        ErrorCode::PermissionDenied
    );
    let alert = SetCreditAlert::below(one);
    let set = read.set_credit_alert(of.full, InEnvironment::default(), alert).await;
    assert_eq!(code(set), ErrorCode::PermissionDenied);
    let spend = session(&[Scope::Credits], Some(Environment::Testnet));
    assert_eq!(
        code(spend.credits(InEnvironment::default()).await),
        ErrorCode::PermissionDenied
    );
    assert!(spend.transfer_credits(transfer()).await.is_ok());
    let elsewhere = session(&[Scope::Read, Scope::Credits], Some(Environment::Mainnet));
    assert_eq!(code(elsewhere.transfer_credits(transfer()).await), ErrorCode::NotFound);
    assert_eq!(
        code(elsewhere.ledger(of.full, CreditQuery::default()).await),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(elsewhere.rewards(InEnvironment::default()).await),
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn a_job_is_in_ledger_holds_and_usage() {
    let week = || epoch_of(SystemClock.now());
    let begun = week();
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let (_, gate) = tester(&server).await;
    let (namespace, client) = (server.principal.namespace, server.client());
    let asked = tokio::spawn(async move {
        let request = ChatRequest::new("m", [Message::user("hello")]).max_tokens(10);
        client.chat(request).await
    });
    let job = node.next_job().await;
    let holds = gate.holds(namespace, CreditQuery::default()).await.unwrap().data;
    assert_eq!((holds.len(), holds[0].job), (1, job.job_id));
    let credits = gate.credits(InEnvironment::default()).await.unwrap();
    assert_eq!((credits.held, credits.total), (holds[0].held, harness::CREDITS));
    node.answer(&job, "hi there").await;
    let cost = soon("the answer", asked).await.unwrap().unwrap().meta.cost.unwrap();
    server.until_idle().await;

    let lines = gate.ledger(namespace, CreditQuery::default()).await.unwrap().data;
    let kinds: Vec<PostingKind> = lines.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [PostingKind::Settle, PostingKind::Hold, PostingKind::Grant]);
    let of_job = lines[0].amount.micros() + lines[1].amount.micros();
    assert_eq!((lines[0].job, -of_job), (Some(job.job_id), cost.micros()));
    let query = AccountUsageQuery {
        group_by: Some("namespace,key,model".into()),
        ..AccountUsageQuery::default()
    };
    let usage = gate.account_usage(query.clone()).await.unwrap();
    let row = &usage.data[0];
    assert_eq!((usage.data.len(), row.counts.requests, usage.total.cost), (1, 1, cost));
    assert_eq!(
        (row.namespace, row.key, row.model.as_deref()),
        (Some(namespace), Some(server.principal.key), Some("m"))
    );
    let table = gate.account_usage_csv(query).await.unwrap();
    let mut rows = table.lines();
    assert!(
        rows.next()
            .unwrap()
            .starts_with("day,namespace,namespace_name,key,key_label")
    );
    assert!(rows.next().unwrap().ends_with(&cost.to_string()));
    let rewards = gate.rewards(InEnvironment::default()).await.unwrap();
    // They are those of a week that may have ended meanwhile.
    if week() == begun {
        assert_eq!(rewards.points, 5);
    }
    assert!(rewards.payable > Credits::ZERO && rewards.payable < cost);
}

#[tokio::test]
async fn whoever_has_little_left_is_told_once() {
    let letters = tempfile::tempdir().unwrap();
    let (outbox, mail) = Outbox::options(letters.path());
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| options.gate.mail = mail).await;
    // An account with an address, and a key that makes a webhook.
    let (id, _, gate) = account(&server, "alice").await;
    let alice = id.to_string();
    let key = server
        .another_key(&alice, resultity_server::store::KeyLimits::default())
        .await;
    let principal = Keys::new(Arc::clone(&server.store))
        .principal(Some(key.expose_secret()), SystemClock.now())
        .await
        .unwrap();
    let second = namespace(&server, &alice, "second").await;
    let cloud = server.client_with(key.expose_secret());
    let webhook = CreateWebhook::new("https://receiver.invalid/").events([EventType::CreditsLow]);
    let webhook = cloud.create_webhook(webhook).await.unwrap().body.webhook.id;
    let limit = Credits::from_whole(500);
    let alert = SetCreditAlert::below(limit);
    gate.set_credit_alert(principal.namespace, InEnvironment::default(), alert)
        .await
        .unwrap();
    for amount in [500, 1, 10] {
        let transfer = NewTransfer::new(principal.namespace, second, Credits::from_whole(amount));
        gate.transfer_credits(transfer).await.unwrap();
    }
    let deliveries = cloud
        .webhook_deliveries(webhook, PageQuery::default())
        .await
        .unwrap()
        .body
        .data;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].event.kind, EventType::CreditsLow);
    assert!(deliveries[0].event.data.id.starts_with("ntf_"));
    let activity = gate.activity(CreditQuery::first(100)).await.unwrap().data;
    let told: Vec<_> = activity
        .iter()
        .filter(|activity| activity.kind == "credits.low")
        .collect();
    assert_eq!((told.len(), &told[0].subject), (1, &principal.namespace.to_string()));
    let letter = outbox.letter("alice@example.org", 0).await;
    assert!(letter.contains("default") && letter.contains("500"), "{letter}");
    assert_eq!(outbox.letters("alice@example.org").len(), 1);
}

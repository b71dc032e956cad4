//! Wallets that sign in: the contract, in-process and over HTTP, and what attackers would try.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use harness::gate::{self, ADDRESS, account, client_with, door, door_client};
use harness::wallet::{TestWallet, totp};
use harness::{TestServer, model, soon};
use reqwest::StatusCode;
use resultity_core::api::gate::{AskWallet, LoginsApi, Scope, WalletSignIn, WalletSignInApi, WalletsApi};
use resultity_core::clock::{Clock, ManualClock, SystemClock, SystemEntropy};
use resultity_core::error::ErrorCode;
use resultity_core::id::TokenId;
use resultity_core::signing::Signature;
use resultity_core::testing::gate::{GateSetting, wallets};
use resultity_server::assemble::Offer;
use resultity_server::session::{Authority, Caller, GateSession};
use serde_json::json;

async fn with_clock() -> (TestServer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let shared = Arc::clone(&clock);
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| options.clock = shared).await;
    (server, clock)
}

fn code<T: std::fmt::Debug>(result: Result<T, resultity_core::error::ApiError>) -> ErrorCode {
    result.expect_err("it should have been refused").code
}

#[tokio::test]
async fn the_contract_in_process() {
    let server = TestServer::start().await;
    let (_, session, _) = account(&server, "alice").await;
    let setting = GateSetting {
        door: &door(&server),
        clock: &SystemClock,
        entropy: &SystemEntropy,
        totp: &|secret, steps| totp(secret, &SystemClock, steps),
    };
    soon("the contract", wallets::all(&session, &setting)).await;
}

#[tokio::test]
async fn the_contract_over_http() {
    let server = TestServer::start().await;
    let (_, _, client) = account(&server, "alice").await;
    let setting = GateSetting {
        door: &door_client(&server),
        clock: &SystemClock,
        entropy: &SystemEntropy,
        totp: &|secret, steps| totp(secret, &SystemClock, steps),
    };
    soon("the contract", wallets::all(&client, &setting)).await;
}

#[tokio::test]
async fn a_message_counts_for_ten_minutes() {
    let (server, clock) = with_clock().await;
    let (door, wallet) = (door(&server), TestWallet::new());
    let (early, late) = (wallet.to_sign_in(&door).await, wallet.to_sign_in(&door).await);
    clock.advance(Duration::from_secs(599));
    door.wallet_sign_in(early).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(code(door.wallet_sign_in(late).await), ErrorCode::InvalidCredentials);
}

/// A message may name a later time of its own; the nonce's counts all the same.
#[tokio::test]
async fn a_message_does_not_make_its_nonce_last_longer() {
    let (server, clock) = with_clock().await;
    let (door, wallet) = (door(&server), TestWallet::new());
    let challenge = door.wallet_challenge(AskWallet::new(&*wallet.address)).await.unwrap();
    clock.advance(Duration::from_mins(9));
    let mut message: resultity_core::signing::SiweMessage = challenge.message.parse().unwrap();
    message.issued_at = clock.now().into();
    message.expiration_time = Some(clock.now().after(Duration::from_hours(1)).into());
    let signed = wallet.sign(&message.to_string());
    clock.advance(Duration::from_mins(2));
    assert_eq!(code(door.wallet_sign_in(signed).await), ErrorCode::InvalidCredentials);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sign_ins_with_one_message_one_counts() {
    let server = TestServer::start().await;
    let (client, wallet) = (door_client(&server), TestWallet::new());
    let signed = wallet.to_sign_in(&client).await;
    // No more than a new account may be asked for at once: the throttle's refusals are not the subject.
    let at_once = (0..10).map(|_| client.wallet_sign_in(signed.clone()));
    let answers = soon("answers", join_all(at_once)).await;
    let (entered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(entered.len(), 1, "{refused:#?}");
    for answer in refused {
        assert_eq!(code(answer), ErrorCode::InvalidCredentials);
    }
}

#[tokio::test]
async fn the_last_credential_stays() {
    let server = TestServer::start().await;
    let (client, first, second) = (door_client(&server), TestWallet::new(), TestWallet::new());
    let signed_in = client.wallet_sign_in(first.to_sign_in(&client).await).await.unwrap();
    let account = client_with(&server, &signed_in.token.unwrap());
    assert_eq!(code(account.unlink_wallet(&first.address).await), ErrorCode::Conflict);
    account.link_wallet(second.to_link(&account).await).await.unwrap();
    account.unlink_wallet(&first.address.to_lowercase()).await.unwrap();
    assert_eq!(code(account.unlink_wallet(&second.address).await), ErrorCode::Conflict);
    // The session is still the account's, and the other wallet signs in to it.
    let again = client.wallet_sign_in(second.to_sign_in(&client).await).await.unwrap();
    assert_eq!(again.account, signed_in.account);
}

#[tokio::test]
async fn another_accounts_wallet_is_not_there() {
    let server = TestServer::start().await;
    let (_, alice, _) = account(&server, "alice").await;
    let (_, _, bob) = account(&server, "bob").await;
    let wallet = TestWallet::new();
    alice.link_wallet(wallet.to_link(&alice).await).await.unwrap();
    assert_eq!(bob.wallets().await.unwrap().data, []);
    assert_eq!(code(bob.unlink_wallet(&wallet.address).await), ErrorCode::NotFound);
    assert_eq!(code(bob.unlink_wallet("nonsense").await), ErrorCode::NotFound);
    // A message that one account asked for links to no other, even if the wallet signs it.
    let stolen = TestWallet::new();
    let for_alice = stolen.to_link(&alice).await;
    assert_eq!(code(bob.link_wallet(for_alice).await), ErrorCode::InvalidValue);
}

#[tokio::test]
async fn a_token_without_the_scope_changes_no_wallets() {
    let server = TestServer::start().await;
    let (id, _, _) = account(&server, "alice").await;
    let caller = Caller {
        account: Some(id),
        role: resultity_core::api::gate::Role::User,
        authority: Authority::Token {
            id: TokenId::new(&SystemClock, &SystemEntropy),
            scopes: vec![Scope::Read, Scope::Keys, Scope::Admin],
            environment: None,
        },
        environment: resultity_core::environment::Environment::Testnet,
        address: ADDRESS,
    };
    let session = GateSession::new(gate::gate(&server), caller);
    assert_eq!(session.wallets().await.unwrap().data, []);
    let asked = AskWallet::new(TestWallet::new().address);
    assert_eq!(
        code(session.wallet_link_challenge(asked).await),
        ErrorCode::PermissionDenied
    );
    assert_eq!(
        code(session.unlink_wallet(&TestWallet::new().address).await),
        ErrorCode::PermissionDenied
    );
}

#[tokio::test]
async fn where_nobody_signs_up_known_wallets_still_sign_in() {
    let offer = Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer, |options| options.gate.no_sign_up = true).await;
    let (_, alice, _) = account(&server, "alice").await;
    let (known, unknown) = (TestWallet::new(), TestWallet::new());
    alice.link_wallet(known.to_link(&alice).await).await.unwrap();
    let door = door(&server);
    door.wallet_sign_in(known.to_sign_in(&door).await).await.unwrap();
    let refused = door.wallet_sign_in(unknown.to_sign_in(&door).await).await;
    assert_eq!(code(refused), ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn only_the_operators_domains_count_whatever_the_host_is_said_to_be() {
    let offer = Offer::new(vec![model("m")]);
    let server = TestServer::with_options(offer, |options| {
        options.gate.wallets.domains = vec!["account.example.org".into(), "other.example.org".into()];
    })
    .await;
    let (door, wallet) = (door(&server), TestWallet::new());
    let asked = AskWallet::new(&*wallet.address);
    let message = door.wallet_challenge(asked.clone()).await.unwrap().message;
    assert!(message.starts_with("account.example.org wants you"), "{message}");
    let other = door.wallet_challenge(asked.clone().domain("other.example.org")).await;
    let other = other.unwrap().message;
    assert!(other.contains("\nURI: https://other.example.org\n"), "{other}");
    for bad in ["localhost", "evil.example.org", "account.example.org:8443", ""] {
        let refused = door.wallet_challenge(asked.clone().domain(bad)).await.unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("domain"), "{bad}");
    }
    let for_localhost = message.replace("account.example.org", "localhost");
    let refused = door.wallet_sign_in(wallet.sign(&for_localhost)).await.unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("message"), "{refused}");
    // The header of a request decides nothing.
    let answer = reqwest_client()
        .post(format!("{}/gate/v1/wallet/challenge", server.base_url()))
        .header("host", "evil.example.org")
        .json(&asked)
        .send();
    let answer: serde_json::Value = soon("an answer", answer).await.unwrap().json().await.unwrap();
    let text = answer["message"].as_str().unwrap();
    assert!(text.starts_with("account.example.org wants you"), "{text}");
    door.wallet_sign_in(wallet.sign(&message)).await.unwrap();
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_browsers_session_is_in_its_cookie_alone() {
    let server = TestServer::start().await;
    let wallet = TestWallet::new();
    let signed = wallet.to_sign_in(&door_client(&server)).await.with_cookie();
    let answer = reqwest_client()
        .post(format!("{}/gate/v1/wallet/sign-in", server.base_url()))
        .json(&signed)
        .send();
    let answer = soon("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body.get("token"), None, "{body}");
    assert!(body["csrf_token"].is_string(), "{body}");
}

#[tokio::test]
async fn a_second_factor_is_asked_for_before_the_message_is_used_up() {
    use resultity_core::api::gate::{ConfirmTotp, SecondFactor, SecondFactorApi};
    let (server, clock) = with_clock().await;
    let (id, session, _) = account(&server, "alice").await;
    let (door, wallet) = (door(&server), TestWallet::new());
    session.link_wallet(wallet.to_link(&session).await).await.unwrap();
    let secret = session.set_up_totp().await.unwrap().secret;
    let confirm = ConfirmTotp::new(totp(&secret, &*clock, 0));
    session.confirm_totp(confirm).await.unwrap();

    let signed = wallet.to_sign_in(&door).await;
    let refused = door.wallet_sign_in(signed.clone()).await;
    assert_eq!(code(refused), ErrorCode::SecondFactorRequired);
    let wrong = SecondFactor::Totp("000000".into());
    let refused = door.wallet_sign_in(signed.clone().with_second_factor(wrong)).await;
    assert_eq!(code(refused), ErrorCode::InvalidCredentials);
    let right = SecondFactor::Totp(totp(&secret, &*clock, 1));
    let signed = signed.with_second_factor(right);
    assert_eq!(door.wallet_sign_in(signed.clone()).await.unwrap().account, id);
    // Both the message and the code are used now.
    assert_eq!(code(door.wallet_sign_in(signed).await), ErrorCode::InvalidCredentials);
}

/// n - s is the other value of s that the curve's equation accepts.
fn with_high_s(signature: &str) -> String {
    let mut bytes = *signature.parse::<Signature>().unwrap().as_bytes();
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
    let mut borrow = 0i16;
    for index in (0..32).rev() {
        let digit = i16::from(order[index]) - i16::from(bytes[32 + index]) - borrow;
        borrow = i16::from(digit < 0);
        bytes[32 + index] = digit.rem_euclid(256) as u8;
    }
    bytes[64] = 27 + 28 - bytes[64];
    Signature::from_bytes(bytes).to_string()
}

#[tokio::test]
async fn a_signature_has_one_form() {
    let server = TestServer::start().await;
    let (door, wallet) = (door(&server), TestWallet::new());
    let signed = wallet.to_sign_in(&door).await;
    let high = WalletSignIn::new(&*signed.message, with_high_s(&signed.signature));
    assert_eq!(code(door.wallet_sign_in(high).await), ErrorCode::InvalidCredentials);
    door.wallet_sign_in(signed).await.unwrap();
}

#[tokio::test]
async fn malformed_requests_are_refused_with_the_field() {
    let server = TestServer::start().await;
    let http = reqwest_client();
    let message = TestWallet::new().to_sign_in(&door_client(&server)).await.message;
    let long = "x".repeat(100_000);
    let cases = [
        ("challenge", json!({}), "address"),
        ("challenge", json!({"address": 5}), "address"),
        ("challenge", json!({"address": "0x1234"}), "address"),
        ("challenge", json!({"address": "vitalik.eth"}), "address"),
        ("challenge", json!({"address": long}), "address"),
        (
            "challenge",
            json!({"address": "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756CC2"}),
            "address",
        ),
        (
            "challenge",
            json!({"address": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", "chain_id": 137}),
            "chain_id",
        ),
        (
            "challenge",
            json!({"address": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", "chain_id": -1}),
            "chain_id",
        ),
        (
            "challenge",
            json!({"address": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", "domain": "evil.org\nURI: x"}),
            "domain",
        ),
        ("sign-in", json!({"message": message}), "signature"),
        ("sign-in", json!({"message": message, "signature": "0x"}), "signature"),
        ("sign-in", json!({"message": message, "signature": long}), "signature"),
        ("sign-in", json!({"message": long, "signature": "0x"}), "message"),
        ("sign-in", json!({"message": "\u{0}", "signature": "0x"}), "message"),
        (
            "sign-in",
            json!({"message": message, "signature": "0x", "admin": true}),
            "admin",
        ),
    ];
    for (path, body, param) in cases {
        let url = format!("{}/gate/v1/wallet/{path}", server.base_url());
        let answer = soon("an answer", http.post(url).json(&body).send()).await.unwrap();
        let status = answer.status();
        let said: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(
            (status, &said["error"]["param"]),
            (StatusCode::BAD_REQUEST, &json!(param)),
            "{path}: {said}"
        );
    }
}

#[tokio::test]
async fn challenges_are_throttled_by_address() {
    let server = TestServer::start().await;
    let door = door(&server);
    let mut asked = 0;
    let refused = loop {
        match door.wallet_challenge(AskWallet::new(TestWallet::new().address)).await {
            Ok(_) => asked += 1,
            Err(error) => break error,
        }
        assert!(asked < 1000, "nobody is held back");
    };
    assert_eq!(refused.code, ErrorCode::RateLimitExceeded);
    assert!(refused.retry_after.is_some());
    // An account that is signed in is not kept out by that.
    let (_, alice, _) = account(&server, "alice").await;
    alice.session().await.unwrap();
}

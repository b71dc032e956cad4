//! The second factor: the contract, in-process and over HTTP, and what attackers would try.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use harness::gate::{account, door, door_client};
use harness::wallet::{TestWallet, totp};
use harness::{TestServer, model, soon};
use resultity_core::api::gate::{ConfirmTotp, SecondFactor, SecondFactorApi, SignedIn, WalletSignInApi, WalletsApi};
use resultity_core::clock::{Clock, ManualClock, SystemClock, SystemEntropy};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::testing::gate::{GateSetting, second_factor};
use resultity_server::assemble::Offer;
use resultity_server::session::GateSession;

async fn with_clock() -> (TestServer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let shared = Arc::clone(&clock);
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| options.clock = shared).await;
    (server, clock)
}

/// An account with a wallet and a second factor.
struct Guarded {
    session: GateSession,
    wallet: TestWallet,
    secret: String,
    recovery_codes: Vec<String>,
}

impl Guarded {
    async fn new(server: &TestServer, clock: &dyn Clock, name: &str) -> Self {
        let (_, session, _) = account(server, name).await;
        let wallet = TestWallet::new();
        session.link_wallet(wallet.to_link(&session).await).await.unwrap();
        let secret = session.set_up_totp().await.unwrap().secret;
        let confirm = ConfirmTotp::new(totp(&secret, clock, 0));
        let recovery_codes = session.confirm_totp(confirm).await.unwrap().recovery_codes;
        Self {
            session,
            wallet,
            secret,
            recovery_codes,
        }
    }

    async fn sign_in(&self, door: &dyn WalletSignInApi, proof: SecondFactor) -> Result<SignedIn, ApiError> {
        let signed = self.wallet.to_sign_in(door).await;
        door.wallet_sign_in(signed.with_second_factor(proof)).await
    }
}

fn wrong() -> SecondFactor {
    SecondFactor::RecoveryCode("aaaa-aaaa-aaaa-aaaa".into())
}

#[tokio::test]
async fn the_contract_in_process_and_over_http() {
    let (server, clock) = with_clock().await;
    let shown = |secret: &str, steps: u64| totp(secret, &*clock, steps);
    let (_, session, client) = account(&server, "alice").await;
    let (door, door_client) = (door(&server), door_client(&server));
    let mut setting = GateSetting {
        door: &door,
        clock: &*clock,
        entropy: &SystemEntropy,
        totp: &shown,
    };
    soon("the contract", second_factor::all(&session, &setting)).await;
    setting.door = &door_client;
    clock.advance(Duration::from_mins(5));
    soon("the contract", second_factor::all(&client, &setting)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sign_ins_with_one_code_one_counts() {
    let (server, clock) = with_clock().await;
    let guarded = Guarded::new(&server, &*clock, "alice").await;
    let door = door(&server);
    for proof in [
        SecondFactor::Totp(totp(&guarded.secret, &*clock, 1)),
        SecondFactor::RecoveryCode(guarded.recovery_codes[0].clone()),
    ] {
        clock.advance(Duration::from_millis(1));
        let at_once = (0..4).map(|_| guarded.sign_in(&door, proof.clone()));
        let answers = soon("answers", join_all(at_once)).await;
        let entered = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(entered, 1, "{answers:#?}");
    }
}

#[tokio::test]
async fn codes_are_not_guessed() {
    let (server, clock) = with_clock().await;
    let guarded = Guarded::new(&server, &*clock, "alice").await;
    let door = door(&server);
    let mut tried = 0;
    let refused = loop {
        let error = guarded.sign_in(&door, wrong()).await.unwrap_err();
        if error.code == ErrorCode::RateLimitExceeded {
            break error;
        }
        assert_eq!(error.code, ErrorCode::InvalidCredentials);
        tried += 1;
        assert!(tried < 100, "nobody is held back");
    };
    assert!(tried <= 6, "{tried}");
    assert!(refused.retry_after.is_some());
    // The right one does not help either while the wait lasts, and tells nothing.
    let code = |steps| SecondFactor::Totp(totp(&guarded.secret, &*clock, steps));
    let error = guarded.sign_in(&door, code(1)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimitExceeded);
    // Another account has its own count.
    let other = Guarded::new(&server, &*clock, "bob").await;
    let shown = SecondFactor::Totp(totp(&other.secret, &*clock, 1));
    other.sign_in(&door, shown).await.unwrap();
    // Whoever waits long enough between the guesses has to wait ever longer.
    let mut waits = Vec::new();
    for _ in 0..8 {
        clock.advance(Duration::from_mins(2));
        let error = guarded.sign_in(&door, wrong()).await.unwrap_err();
        waits.extend(error.retry_after);
    }
    assert!(waits.iter().any(|wait| *wait > Duration::from_mins(2)), "{waits:?}");
    clock.advance(Duration::from_hours(12));
    guarded.sign_in(&door, code(0)).await.unwrap();
    // And starts anew after that.
    let error = guarded.sign_in(&door, wrong()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidCredentials);
    guarded.sign_in(&door, code(1)).await.unwrap();
}

#[tokio::test]
async fn one_accounts_codes_are_nothing_to_another() {
    let (server, clock) = with_clock().await;
    let (alice, bob) = (
        Guarded::new(&server, &*clock, "alice").await,
        Guarded::new(&server, &*clock, "bob").await,
    );
    let door = door(&server);
    for proof in [
        SecondFactor::Totp(totp(&bob.secret, &*clock, 1)),
        SecondFactor::RecoveryCode(bob.recovery_codes[0].clone()),
    ] {
        let error = alice.sign_in(&door, proof.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidCredentials);
        let error = alice.session.remove_totp(proof.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidCredentials);
        bob.sign_in(&door, proof).await.unwrap();
    }
}

#[tokio::test]
async fn a_recovery_code_signs_in_when_the_app_is_lost_and_removes_it() {
    let (server, clock) = with_clock().await;
    let guarded = Guarded::new(&server, &*clock, "alice").await;
    let door = door(&server);
    let typed = guarded.recovery_codes[0].to_uppercase().replace('-', " ");
    guarded.sign_in(&door, SecondFactor::RecoveryCode(typed)).await.unwrap();
    let left = guarded.session.second_factor().await.unwrap().recovery_codes as usize;
    assert_eq!(left, guarded.recovery_codes.len() - 1);
    let proof = SecondFactor::RecoveryCode(guarded.recovery_codes[1].clone());
    guarded.session.remove_totp(proof).await.unwrap();
    let signed = guarded.wallet.to_sign_in(&door).await;
    door.wallet_sign_in(signed).await.unwrap();
}

#[tokio::test]
async fn nothing_of_it_is_stored_in_clear() {
    let (server, clock) = with_clock().await;
    let guarded = Guarded::new(&server, &*clock, "alice").await;
    let secret = totp_rs::Secret::try_from_base32(&guarded.secret).unwrap();
    let code = guarded.recovery_codes[0].clone();
    let needles = [
        secret.as_bytes().to_vec(),
        guarded.secret.clone().into_bytes(),
        code.replace('-', "").into_bytes(),
        code.into_bytes(),
    ];
    let mut read = 0;
    for entry in std::fs::read_dir(server.data_dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        read += bytes.len();
        for needle in &needles {
            let is_there = bytes.windows(needle.len()).any(|part| part == needle.as_slice());
            assert!(!is_there, "a secret is in {}", path.display());
        }
    }
    assert!(read > 10_000, "the database is somewhere else");
}

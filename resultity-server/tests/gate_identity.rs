//! Signing up and in, sessions, access tokens: over HTTP and in-process, as it should be and under attack.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::gate::{Outbox, account, administrator, client_with, door_client, new_account, session_of};
use harness::{TestServer, model, soon};
use resultity_core::api::gate::{
    AccountApi, ChangeEmail, ChangePassword, ConfirmEmail, ConfirmReset, ConfirmSignUp, CreateToken, LoginsApi,
    ResetPassword, Role, Scope, SignIn, SignInApi, SignUp, SwitchEnvironment, TokensApi, UpdateAccount,
};
use resultity_core::api::page::PageQuery;
use resultity_core::clock::{ManualClock, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_server::assemble::Offer;
use serde_json::json;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse battery";

/// A server that leaves its letters in a directory, and whose time the test moves.
struct World {
    server: TestServer,
    outbox: Outbox,
    clock: Arc<ManualClock>,
    _letters: TempDir,
}

impl World {
    async fn new() -> Self {
        let letters = tempfile::tempdir().unwrap();
        let (outbox, mail) = Outbox::options(letters.path());
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let time = Arc::clone(&clock);
        let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
            options.clock = time;
            options.gate.mail = mail;
            options
                .networks
                .push((Environment::Mainnet, Offer::new(vec![model("m")])));
        })
        .await;
        Self {
            server,
            outbox,
            clock,
            _letters: letters,
        }
    }

    /// Signs up over HTTP; gives the token.
    async fn sign_up(&self, email: &str) -> String {
        let door = door_client(&self.server);
        let sent = door.sign_up(SignUp::new(email, PASSWORD)).await.unwrap();
        let code = self.outbox.code(&email.to_lowercase(), 0).await;
        let signed_in = door
            .confirm_sign_up(ConfirmSignUp::new(sent.ticket, code))
            .await
            .unwrap();
        signed_in.token.unwrap()
    }

    /// Time goes on, and with it every throttle opens.
    fn later(&self) {
        self.clock.advance(Duration::from_mins(10));
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> ErrorCode {
    result.unwrap_err().code
}

#[tokio::test]
async fn an_account_is_made_by_a_code_that_is_mailed_and_signs_in() {
    let world = World::new().await;
    let token = world.sign_up("Ada@Example.org").await;
    let ada = client_with(&world.server, &token);
    let account = ada.own_account().await.unwrap();
    assert_eq!(account.email.as_deref(), Some("ada@example.org"));
    assert!(account.has_password && account.last_sign_in_at.is_some());
    assert_eq!(account.role, Role::User);

    let door = door_client(&world.server);
    let signed_in = door.sign_in(SignIn::new("ADA@example.org", PASSWORD)).await.unwrap();
    assert_eq!((signed_in.account, signed_in.csrf_token), (account.id, None));
    let again = client_with(&world.server, &signed_in.token.unwrap());
    assert_eq!(again.logins(PageQuery::default()).await.unwrap().data.len(), 2);

    // The first session ends the second, which counts at once.
    assert_eq!(ada.end_other_logins().await.unwrap().ended, 1);
    assert_eq!(refused(again.session().await), ErrorCode::NotSignedIn);
    ada.sign_out().await.unwrap();
    assert_eq!(refused(ada.session().await), ErrorCode::NotSignedIn);
}

#[tokio::test]
async fn nothing_tells_whether_an_address_has_an_account() {
    let world = World::new().await;
    world.sign_up("ada@example.org").await;
    let door = door_client(&world.server);
    world.later();

    // Signing up again looks the same, and its ticket leads nowhere.
    let known = door.sign_up(SignUp::new("ada@example.org", PASSWORD)).await.unwrap();
    let unknown = door.sign_up(SignUp::new("bob@example.org", PASSWORD)).await.unwrap();
    assert_eq!(known.ticket.len(), unknown.ticket.len());
    let letter = world.outbox.letter("ada@example.org", 1).await;
    assert!(letter.contains("has one already"), "{letter}");
    for ticket in [&known.ticket, &"0".repeat(64)] {
        let error = door
            .confirm_sign_up(ConfirmSignUp::new(ticket, "00000000"))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some("code"))
        );
    }

    // A wrong password and no account are one answer.
    let wrong = door
        .sign_in(SignIn::new("ada@example.org", "a wrong password"))
        .await
        .unwrap_err();
    let nobody = door
        .sign_in(SignIn::new("eve@example.org", "a wrong password"))
        .await
        .unwrap_err();
    assert_eq!(
        (wrong.code, &wrong.message),
        (ErrorCode::InvalidCredentials, &nobody.message)
    );
    assert_eq!(wrong.code, nobody.code);

    // So are resets; only who has an account gets a letter.
    let known = door
        .reset_password(ResetPassword::new("ada@example.org"))
        .await
        .unwrap();
    let unknown = door
        .reset_password(ResetPassword::new("eve@example.org"))
        .await
        .unwrap();
    assert_eq!(known.ticket.len(), unknown.ticket.len());
    world.outbox.letter("ada@example.org", 2).await;
    assert!(world.outbox.letters("eve@example.org").is_empty());
    let reset = ConfirmReset::new(unknown.ticket, "00000000", PASSWORD);
    assert_eq!(refused(door.confirm_reset(reset).await), ErrorCode::InvalidValue);
}

#[tokio::test]
async fn a_code_counts_once_with_its_ticket_for_a_while_and_a_few_times() {
    let world = World::new().await;
    let door = door_client(&world.server);
    let sent = door.sign_up(SignUp::new("ada@example.org", PASSWORD)).await.unwrap();
    let code = world.outbox.code("ada@example.org", 0).await;

    // Somebody else asks for the same address: the code of the owner's letter does not fit their ticket.
    let other = door
        .sign_up(SignUp::new("ada@example.org", "another's password"))
        .await
        .unwrap();
    let stolen = ConfirmSignUp::new(&other.ticket, &code);
    assert_eq!(refused(door.confirm_sign_up(stolen).await), ErrorCode::InvalidValue);

    // Five wrong ones use a ticket up, even if the right one comes then.
    let third = door.sign_up(SignUp::new("ada@example.org", PASSWORD)).await.unwrap();
    let right = world.outbox.code("ada@example.org", 2).await;
    for _ in 0..5 {
        let wrong = ConfirmSignUp::new(&third.ticket, "00000000");
        assert_eq!(refused(door.confirm_sign_up(wrong).await), ErrorCode::InvalidValue);
    }
    let late = door.confirm_sign_up(ConfirmSignUp::new(&third.ticket, right)).await;
    assert!(late.is_err());

    // Two at once make one account.
    let confirm = || door.confirm_sign_up(ConfirmSignUp::new(&sent.ticket, &code));
    let (first, second) = tokio::join!(confirm(), confirm());
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);

    // After a quarter of an hour it is over.
    world.later();
    let sent = door.sign_up(SignUp::new("bob@example.org", PASSWORD)).await.unwrap();
    let code = world.outbox.code("bob@example.org", 0).await;
    world.clock.advance(Duration::from_mins(15));
    let late = ConfirmSignUp::new(sent.ticket, code);
    assert_eq!(refused(door.confirm_sign_up(late).await), ErrorCode::InvalidValue);
    assert!(
        world
            .server
            .store
            .account_by_email("bob@example.org")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn guessing_is_throttled_for_the_account_and_for_the_address() {
    let world = World::new().await;
    world.sign_up("ada@example.org").await;
    world.later();
    let door = door_client(&world.server);
    let mut refusals = 0;
    for _ in 0..12 {
        let error = door
            .sign_in(SignIn::new("ada@example.org", "a wrong password"))
            .await
            .unwrap_err();
        if error.code == ErrorCode::RateLimitExceeded {
            assert!(error.retry_after.is_some());
            refusals += 1;
        }
    }
    assert_eq!(refusals, 2, "ten at once");
    // Now even the right one waits, so that the answer tells nothing.
    let right = || door.sign_in(SignIn::new("ada@example.org", PASSWORD));
    assert_eq!(refused(right().await), ErrorCode::RateLimitExceeded);
    world.later();
    let ada = client_with(&world.server, &right().await.unwrap().token.unwrap());
    soon("the attempts", async {
        loop {
            let events = ada.sign_ins(PageQuery::first(100)).await.unwrap().data;
            if events.iter().filter(|event| !event.succeeded).count() == 10 {
                assert!(events[0].succeeded);
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;

    // From one address, other accounts are throttled too.
    world.later();
    let mut refusals = 0;
    for number in 0..61 {
        let guess = SignIn::new(format!("somebody{number}@example.org"), "a wrong password");
        refusals += u32::from(refused(door.sign_in(guess).await) == ErrorCode::RateLimitExceeded);
    }
    assert_eq!(refusals, 1, "60 at once");
    assert_eq!(refused(right().await), ErrorCode::RateLimitExceeded);
}

#[tokio::test]
async fn a_password_is_reset_by_mail_which_ends_all_sessions_and_tokens() {
    let world = World::new().await;
    let session = client_with(&world.server, &world.sign_up("ada@example.org").await);
    let secret = session
        .create_token(CreateToken::new("ci", [Scope::Read]))
        .await
        .unwrap()
        .secret;
    let token = client_with(&world.server, &secret);
    assert!(token.own_account().await.is_ok());

    let door = door_client(&world.server);
    let sent = door
        .reset_password(ResetPassword::new("ada@example.org"))
        .await
        .unwrap();
    let code = world.outbox.code("ada@example.org", 1).await;
    let reset = ConfirmReset::new(&sent.ticket, &code, "short");
    assert_eq!(
        door.confirm_reset(reset).await.unwrap_err().param.as_deref(),
        Some("password")
    );
    let reset = ConfirmReset::new(&sent.ticket, &code, "a new password");
    door.confirm_reset(reset.clone()).await.unwrap();
    assert_eq!(
        refused(door.confirm_reset(reset).await),
        ErrorCode::InvalidValue,
        "it counts once"
    );
    assert_eq!(refused(session.session().await), ErrorCode::NotSignedIn);
    assert_eq!(refused(token.session().await), ErrorCode::NotSignedIn);
    assert_eq!(
        refused(door.sign_in(SignIn::new("ada@example.org", PASSWORD)).await),
        ErrorCode::InvalidCredentials
    );
    door.sign_in(SignIn::new("ada@example.org", "a new password"))
        .await
        .unwrap();
    let told = world.outbox.letter("ada@example.org", 2).await;
    assert!(told.contains("password"), "{told}");
}

#[tokio::test]
async fn nobody_is_flooded_with_codes_and_whoever_asks_is_not_told() {
    let world = World::new().await;
    let door = door_client(&world.server);
    let reset = async |email: &str| {
        for _ in 0..12 {
            let sent = door.reset_password(ResetPassword::new(email)).await;
            assert!(!sent.unwrap().ticket.is_empty());
            world.later();
        }
    };
    world.sign_up("ada@example.org").await;
    world.sign_up("bob@example.org").await;
    reset("ada@example.org").await;
    // Letters leave in their order, some at once: once the last one is there, Ada's are.
    let sent = door.reset_password(ResetPassword::new("bob@example.org")).await;
    sent.unwrap();
    world.outbox.letter("bob@example.org", 1).await;
    world.outbox.letter("ada@example.org", 9).await;
    assert_eq!(world.outbox.letters("ada@example.org").len(), 10);
    world.clock.advance(Duration::from_hours(24));
    reset("ada@example.org").await;
    world.outbox.letter("ada@example.org", 19).await;
}

#[tokio::test]
async fn password_and_address_change_for_those_who_know_the_password() {
    let world = World::new().await;
    let ada = client_with(&world.server, &world.sign_up("ada@example.org").await);
    world.sign_up("bob@example.org").await;
    let door = door_client(&world.server);
    let other = door.sign_in(SignIn::new("ada@example.org", PASSWORD)).await.unwrap();
    let other = client_with(&world.server, &other.token.unwrap());
    let wanted = CreateToken::new("ci", [Scope::Read]);
    let token = client_with(&world.server, &other.create_token(wanted).await.unwrap().secret);
    assert!(token.own_account().await.is_ok());
    world.later();

    let error = ada
        .change_password(ChangePassword::new("a wrong password", "a new password"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::InvalidCredentials, Some("current_password"))
    );
    ada.change_password(ChangePassword::new(PASSWORD, "a new password"))
        .await
        .unwrap();
    assert!(ada.session().await.is_ok(), "the session that asks stays");
    assert_eq!(refused(other.session().await), ErrorCode::NotSignedIn);
    assert_eq!(refused(token.session().await), ErrorCode::NotSignedIn);

    // Another account's address: no code, and the same answer.
    let sent = ada
        .change_email(ChangeEmail::new("bob@example.org", "a new password"))
        .await
        .unwrap();
    let letter = world.outbox.letter("bob@example.org", 1).await;
    assert!(letter.contains("another account has it"), "{letter}");
    assert_eq!(
        refused(ada.confirm_email(ConfirmEmail::new(sent.ticket, "00000000")).await),
        ErrorCode::InvalidValue
    );

    let sent = ada
        .change_email(ChangeEmail::new("lovelace@example.org", "a new password"))
        .await
        .unwrap();
    let code = world.outbox.code("lovelace@example.org", 0).await;
    // Somebody else's session can't give it back.
    let (_, _, eve) = account(&world.server, "eve").await;
    let confirm = ConfirmEmail::new(&sent.ticket, &code);
    assert_eq!(refused(eve.confirm_email(confirm).await), ErrorCode::InvalidValue);
    let sent = ada
        .change_email(ChangeEmail::new("lovelace@example.org", "a new password"))
        .await
        .unwrap();
    let code = world.outbox.code("lovelace@example.org", 1).await;
    let changed = ada.confirm_email(ConfirmEmail::new(sent.ticket, code)).await.unwrap();
    assert_eq!(changed.email.as_deref(), Some("lovelace@example.org"));
    assert_eq!(
        refused(door.sign_in(SignIn::new("ada@example.org", "a new password")).await),
        ErrorCode::InvalidCredentials
    );
    door.sign_in(SignIn::new("lovelace@example.org", "a new password"))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_mail_signing_up_says_so() {
    let server = TestServer::start().await;
    let door = door_client(&server);
    let error = door
        .sign_up(SignUp::new("ada@example.org", PASSWORD))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NotImplemented);
    let error = door
        .reset_password(ResetPassword::new("ada@example.org"))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::NotImplemented);
}

#[tokio::test]
async fn where_nobody_may_sign_up_nobody_can() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| options.gate.no_sign_up = true).await;
    let error = door_client(&server)
        .sign_up(SignUp::new("ada@example.org", PASSWORD))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn a_session_slides_and_ends_in_any_case() {
    let world = World::new().await;
    let token = world.sign_up("ada@example.org").await;
    let ada = client_with(&world.server, &token);
    let day = Duration::from_hours(24);
    for _ in 0..6 {
        world.clock.advance(day * 13);
        assert!(ada.session().await.is_ok(), "it was used two weeks ago at most");
    }
    world.clock.advance(day * 13);
    assert_eq!(
        refused(ada.session().await),
        ErrorCode::NotSignedIn,
        "after 90 days it ends"
    );

    let token = {
        let door = door_client(&world.server);
        door.sign_in(SignIn::new("ada@example.org", PASSWORD))
            .await
            .unwrap()
            .token
            .unwrap()
    };
    world.clock.advance(day * 14);
    assert_eq!(
        refused(client_with(&world.server, &token).session().await),
        ErrorCode::NotSignedIn
    );
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_in_its_environment_until_it_ends() {
    let world = World::new().await;
    let (_, _, ada) = account(&world.server, "ada").await;
    let make = |request: CreateToken| async { ada.create_token(request).await.unwrap() };
    let reading = make(CreateToken::new("reading", [Scope::Read])).await;
    let client = client_with(&world.server, &reading.secret);
    assert!(client.own_account().await.is_ok());
    for refusal in [
        refused(client.update_account(UpdateAccount::default()).await),
        refused(client.end_other_logins().await.map(drop)),
        refused(client.create_token(CreateToken::new("x", [Scope::Read])).await),
        refused(
            client
                .switch_environment(SwitchEnvironment::to(Environment::Mainnet))
                .await,
        ),
    ] {
        assert_eq!(refusal, ErrorCode::PermissionDenied);
    }

    // Even one that may change the account makes no other.
    let changing = make(CreateToken::new("changing", [Scope::Account])).await;
    let client = client_with(&world.server, &changing.secret);
    assert_eq!(
        refused(client.own_account().await),
        ErrorCode::PermissionDenied,
        "it may not read"
    );
    assert_eq!(
        refused(client.create_token(CreateToken::new("x", [Scope::Account])).await),
        ErrorCode::PermissionDenied
    );
    // It can end itself.
    client.sign_out().await.unwrap();
    assert_eq!(refused(client.session().await), ErrorCode::NotSignedIn);

    let bound = make(CreateToken::new("bound", [Scope::Read]).environment(Environment::Mainnet)).await;
    let session = client_with(&world.server, &bound.secret).session().await.unwrap();
    assert_eq!(
        (session.environment, session.environments),
        (Environment::Mainnet, vec![Environment::Mainnet])
    );

    // A user has nothing to gain from the scope of administrators.
    let request = CreateToken::new("x", [Scope::Admin]);
    assert_eq!(
        refused(ada.create_token(request.clone()).await),
        ErrorCode::PermissionDenied
    );
    let (_, _, root) = administrator(&world.server, "root").await;
    assert!(root.create_token(request).await.is_ok());

    world.clock.advance(Duration::from_hours(24 * 90));
    let client = client_with(&world.server, &reading.secret);
    assert_eq!(refused(client.session().await), ErrorCode::NotSignedIn);
}

#[tokio::test]
async fn no_more_than_fifty_tokens_at_once_even_if_all_are_asked_for_together() {
    let world = World::new().await;
    let (_, session, _) = account(&world.server, "ada").await;
    let made = futures::future::join_all((0..60).map(|_| session.create_token(CreateToken::new("x", [Scope::Read]))));
    let made = made.await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 50);
    assert!(
        made.iter()
            .filter_map(|made| made.as_ref().err())
            .all(|error| error.code == ErrorCode::Conflict)
    );
}

#[tokio::test]
async fn sessions_and_tokens_of_others_are_not_found() {
    let world = World::new().await;
    let (_, _, ada) = account(&world.server, "ada").await;
    let (_, _, eve) = account(&world.server, "eve").await;
    let login = ada.session().await.unwrap().login.unwrap();
    let token = ada
        .create_token(CreateToken::new("ci", [Scope::Read]))
        .await
        .unwrap()
        .token
        .id;
    assert_eq!(refused(eve.end_login(login).await), ErrorCode::NotFound);
    assert_eq!(refused(eve.delete_token(token).await), ErrorCode::NotFound);
    assert!(eve.tokens(PageQuery::default()).await.unwrap().data.is_empty());
    assert!(
        eve.logins(PageQuery::default())
            .await
            .unwrap()
            .data
            .iter()
            .all(|found| found.id != login)
    );
    assert!(ada.session().await.is_ok());
    assert_eq!(ada.tokens(PageQuery::default()).await.unwrap().data.len(), 1);
}

#[tokio::test]
async fn a_suspended_account_is_stopped_at_once() {
    let world = World::new().await;
    let token = world.sign_up("ada@example.org").await;
    let ada = client_with(&world.server, &token);
    let secret = ada
        .create_token(CreateToken::new("ci", [Scope::Read]))
        .await
        .unwrap()
        .secret;
    let id = ada.own_account().await.unwrap().id;
    suspend(&world.server, &id.to_string());
    for secret in [&token, &secret] {
        assert_eq!(
            refused(client_with(&world.server, secret).session().await),
            ErrorCode::AccountSuspended
        );
    }
    let door = door_client(&world.server);
    assert_eq!(
        refused(door.sign_in(SignIn::new("ada@example.org", PASSWORD)).await),
        ErrorCode::AccountSuspended
    );
    assert_eq!(
        refused(door.sign_in(SignIn::new("ada@example.org", "a wrong password")).await),
        ErrorCode::InvalidCredentials,
        "only who knows the password is told"
    );
}

/// As another process would, such as the shell.
fn suspend(server: &TestServer, account: &str) {
    let database = resultity_server::assemble::database_path(server.data_dir.path());
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    let changed = connection.execute("UPDATE accounts SET suspended_at = 1 WHERE id = ?1", [account]);
    assert_eq!(changed.unwrap(), 1);
}

#[tokio::test]
async fn an_account_calls_as_often_as_it_may() {
    let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
        options.gate.accounts.calls_per_minute = 60.try_into().unwrap();
    })
    .await;
    let (_, _, ada) = account(&server, "ada").await;
    let mut refusal = None;
    for _ in 0..40 {
        if let Err(error) = ada.session().await {
            refusal = Some(error);
            break;
        }
    }
    let refusal = refusal.expect("half a minute's calls at once");
    assert_eq!(refusal.code, ErrorCode::RateLimitExceeded);
    assert!(refusal.retry_after.is_some());
    let id = new_account(&server, "bob", Role::User).await;
    let token = harness::gate::sign_in(&server, id).await;
    assert!(
        session_of(&server, &token).await.session().await.is_ok(),
        "another account is not concerned"
    );
}

/// What a browser and others who know no client send.
#[tokio::test]
async fn a_browser_signs_in_by_cookie_and_shows_that_its_own_page_asks() {
    let world = World::new().await;
    world.sign_up("ada@example.org").await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}/gate/v1{path}", world.server.base_url());
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "cookie": true});
    let response = http.post(url("/sign-in")).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"));
    let signed_in: serde_json::Value = response.json().await.unwrap();
    assert!(signed_in.get("token").is_none(), "it is in the cookie alone");
    let csrf = signed_in["csrf_token"].as_str().unwrap();
    let pair = cookie.split(';').next().unwrap();

    let session = http.get(url("/session")).header("cookie", pair).send().await.unwrap();
    assert_eq!(session.status(), 200);
    let session: serde_json::Value = session.json().await.unwrap();
    assert_eq!(session["csrf_token"], csrf, "a page that is loaded anew gets it");

    let name = |headers: &[(&'static str, &str)]| {
        let mut request = http.post(url("/account")).json(&json!({"name": "Ada"}));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(name(&[("cookie", pair)]).await, 403, "any page could send this");
    assert_eq!(name(&[("cookie", pair), ("x-csrf-token", "x")]).await, 403);
    let cross = [
        ("cookie", pair),
        ("x-csrf-token", csrf),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(name(&cross).await, 403);
    assert_eq!(name(&[("cookie", pair), ("x-csrf-token", csrf)]).await, 200);
    let two = format!("{pair}; {pair}");
    assert_eq!(name(&[("cookie", &two), ("x-csrf-token", csrf)]).await, 401);

    // The cookie is no token, and a token no cookie.
    let token = pair.split_once('=').unwrap().1;
    assert_eq!(name(&[("authorization", &format!("Bearer {token}"))]).await, 401);
    let command = door_client(&world.server)
        .sign_in(SignIn::new("ada@example.org", PASSWORD))
        .await
        .unwrap();
    let command = format!("resultity_session={}", command.token.unwrap());
    assert_eq!(name(&[("cookie", &command), ("x-csrf-token", csrf)]).await, 401);
    // A header that is no good does not fall back on the cookie.
    assert_eq!(
        name(&[("authorization", "Basic x"), ("cookie", pair), ("x-csrf-token", csrf)]).await,
        401
    );

    let out = http
        .delete(url("/session"))
        .header("cookie", pair)
        .header("x-csrf-token", csrf);
    let out = out.send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(name(&[("cookie", pair), ("x-csrf-token", csrf)]).await, 401);
}

#[tokio::test]
async fn hostile_requests_get_a_plain_answer() {
    let world = World::new().await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}/gate/v1{path}", world.server.base_url());
    let long = "x".repeat(100_000);
    for (path, body) in [
        ("/sign-in", json!({"email": long, "password": long})),
        ("/sign-in", json!({"email": "a@b.c", "password": "x\u{0}"})),
        ("/sign-in", json!({"email": "a@b.c' OR 1=1 --", "password": "x"})),
        ("/sign-in", json!({"email": "a@b.c"})),
        ("/sign-in", json!({"email": "a@b.c", "password": "p", "admin": true})),
        ("/sign-in", json!({"email": ["a@b.c"], "password": {"$ne": ""}})),
        (
            "/sign-up",
            json!({"email": "a@b.c\r\nBcc: x@y.z", "password": PASSWORD}),
        ),
        ("/sign-up", json!({"email": "a@b.c", "password": long})),
        ("/sign-up/confirm", json!({"ticket": long, "code": long})),
        (
            "/password/reset/confirm",
            json!({"ticket": "", "code": "", "password": PASSWORD}),
        ),
        ("/password/reset", json!([])),
    ] {
        let response = http.post(url(path)).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let error: serde_json::Value = response.json().await.unwrap();
        assert!([400, 401].contains(&status), "{path} {status} {error}");
        assert!(error["error"]["message"].is_string());
    }
    for token in ["", "x", "rs_", "rt_x", &format!("rs_{long}"), "rs_\u{e4}"] {
        let request = http
            .get(url("/account"))
            .header("authorization", format!("Bearer {token}"));
        let Ok(response) = request.send().await else { continue };
        assert!([401, 431].contains(&response.status().as_u16()), "{token:.10}");
    }
    for path in ["/account", "/session", "/sessions", "/tokens", "/account/sign-ins"] {
        let response = http.get(url(path)).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    let admin = http.get(url("/account")).bearer_auth("admin").send().await.unwrap();
    assert_eq!(admin.status(), 403, "the operator has no account");
    let (_, _, ada) = account(&world.server, "ada").await;
    assert!(ada.own_account().await.is_ok());
}

mod contract {
    //! The contract of the account, in-process and over HTTP.

    use resultity_core::clock::{SystemClock, SystemEntropy};
    use resultity_core::testing::gate::{GateSetting, account as contract};

    use super::harness::gate::{account, door, door_client};
    use super::*;

    #[tokio::test]
    async fn the_account_keeps_its_contract_in_process_and_over_http() {
        let server = TestServer::start().await;
        let (_, session, _) = account(&server, "ada").await;
        let (_, _, client) = account(&server, "eve").await;
        let (door, door_client) = (door(&server), door_client(&server));
        let setting = |door| GateSetting {
            door,
            clock: &SystemClock,
            entropy: &SystemEntropy,
            totp: &|_, _| unreachable!("these scenarios have no second factor"),
        };
        contract::all(&session, &setting(&door)).await;
        contract::all(&client, &setting(&door_client)).await;
    }
}

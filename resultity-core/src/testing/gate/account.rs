//! The contract of [`AccountApi`], [`LoginsApi`], [`TokensApi`] and [`SignInApi`]: for an account with an e-mail address,
//! without a wallet, that is signed in.
//!
//! [`AccountApi`]: crate::api::gate::AccountApi
//! [`LoginsApi`]: crate::api::gate::LoginsApi
//! [`TokensApi`]: crate::api::gate::TokensApi
//! [`SignInApi`]: crate::api::gate::SignInApi

use super::GateSetting;
use crate::api::gate::{
    ConfirmReset, ConfirmSignUp, CreateToken, DoorApi, GateApi, Scope, SignIn, SwitchEnvironment, UpdateAccount,
};
use crate::api::page::PageQuery;
use crate::error::ErrorCode;
use crate::id::{LoginId, TokenId};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn GateApi, setting: &GateSetting<'_>) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: account: {}", stringify!($scenario));
            $scenario(api).await;
        )*};
    }
    run! {
        an_account_is_called_what_its_owner_says
        a_session_says_who_asks_and_what_they_see
        the_session_that_asks_is_in_the_list
        an_access_token_is_shown_once_and_ends
        access_tokens_say_what_is_wrong
        the_last_credential_stays
    }
    eprintln!("contract: account: what_is_guessed_tells_nothing");
    what_is_guessed_tells_nothing(setting.door).await;
}

/// The name changes, within bounds, and nothing else. Panics if not.
pub async fn an_account_is_called_what_its_owner_says(api: &dyn GateApi) {
    let before = api.own_account().await.expect("the account");
    let named = api
        .update_account(UpdateAccount::name("  Ada L. "))
        .await
        .expect("a name");
    assert_eq!((named.name.as_str(), named.id), ("Ada L.", before.id));
    assert_eq!(
        api.update_account(UpdateAccount::default())
            .await
            .expect("nothing")
            .name,
        "Ada L."
    );
    for bad in ["x".repeat(101), "two\nlines".to_owned()] {
        let error = api.update_account(UpdateAccount::name(bad)).await.expect_err("no name");
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some("name"))
        );
    }
    assert_eq!(api.own_account().await.expect("the account").name, "Ada L.");
}

/// The session names its account, and looks at an environment that it can see. Panics if not.
pub async fn a_session_says_who_asks_and_what_they_see(api: &dyn GateApi) {
    let (session, account) = (
        api.session().await.expect("a session"),
        api.own_account().await.expect("the account"),
    );
    assert_eq!((session.account, session.role), (Some(account.id), account.role));
    assert!(session.environments.contains(&session.environment));
    for environment in crate::environment::Environment::ALL {
        let switched = api.switch_environment(SwitchEnvironment::to(environment)).await;
        if session.environments.contains(&environment) {
            assert_eq!(switched.expect("it is served").environment, environment);
        } else {
            assert_eq!(switched.expect_err("it is not served").code, ErrorCode::NotFound);
        }
    }
    let back = api.switch_environment(SwitchEnvironment::to(session.environment)).await;
    assert_eq!(back.expect("it is served"), session);
}

/// The session that asks is marked in the list, and what is not in the list does not end. Panics if not.
pub async fn the_session_that_asks_is_in_the_list(api: &dyn GateApi) {
    let current = api
        .session()
        .await
        .expect("a session")
        .login
        .expect("a session, not a token");
    let logins = api.logins(PageQuery::first(100)).await.expect("a list").data;
    let marked: Vec<LoginId> = logins
        .iter()
        .filter(|login| login.current)
        .map(|login| login.id)
        .collect();
    assert_eq!(marked, [current]);
    let error = api
        .end_login(LoginId::from_uuid(uuid::Uuid::nil()))
        .await
        .expect_err("no session");
    assert_eq!(error.code, ErrorCode::NotFound);
    let events = api.sign_ins(PageQuery::first(1)).await.expect("a list").data;
    assert!(events.iter().all(|event| event.succeeded) && events.len() == 1);
    let error = api.logins(PageQuery::first(0)).await.expect_err("no page");
    assert_eq!(error.param.as_deref(), Some("limit"));
    let error = api.logins(PageQuery::default().after("x")).await.expect_err("no page");
    assert_eq!(error.param.as_deref(), Some("after"));
}

/// A token is in the list without its secret until it is ended. Panics if not.
pub async fn an_access_token_is_shown_once_and_ends(api: &dyn GateApi) {
    let request = CreateToken::new("ci", [Scope::Keys, Scope::Read, Scope::Keys]);
    let made = api.create_token(request).await.expect("a token");
    assert!(made.secret.starts_with("rt_"));
    assert_eq!(made.token.scopes, [Scope::Read, Scope::Keys]);
    assert!(made.token.expires_at > made.token.created_at);
    assert!(!format!("{made:?}").contains(&made.secret));
    let listed = api.tokens(PageQuery::default()).await.expect("a list").data;
    assert_eq!(listed.iter().filter(|token| **token == made.token).count(), 1);
    api.delete_token(made.token.id).await.expect("it ends");
    let error = api.delete_token(made.token.id).await.expect_err("it has ended");
    assert_eq!(error.code, ErrorCode::NotFound);
    let listed = api.tokens(PageQuery::default()).await.expect("a list").data;
    assert!(listed.iter().all(|token| token.id != made.token.id));
    let error = api
        .delete_token(TokenId::from_uuid(uuid::Uuid::nil()))
        .await
        .expect_err("no token");
    assert_eq!(error.code, ErrorCode::NotFound);
}

/// What can't be a token is refused by the name of the field. Panics if not.
pub async fn access_tokens_say_what_is_wrong(api: &dyn GateApi) {
    for (request, param) in [
        (CreateToken::new("", [Scope::Read]), "name"),
        (CreateToken::new("x".repeat(101), [Scope::Read]), "name"),
        (CreateToken::new("x", []), "scopes"),
        (CreateToken::new("x", [Scope::Read]).expires_at(1), "expires_at"),
        (CreateToken::new("x", [Scope::Read]).expires_at(i64::MAX), "expires_at"),
        (CreateToken::new("x", [Scope::Read]).expires_at(i64::MIN), "expires_at"),
    ] {
        let error = api.create_token(request.clone()).await.expect_err("no token");
        assert_eq!(error.param.as_deref(), Some(param), "{request:?}: {error}");
    }
}

/// An address can't be removed where nothing else is left. Panics if it can.
pub async fn the_last_credential_stays(api: &dyn GateApi) {
    let account = api.own_account().await.expect("the account");
    assert_eq!(account.wallets, 0, "the scenario is for an account without a wallet");
    let error = api.remove_email().await.expect_err("nothing else is left");
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(api.own_account().await.expect("the account"), account);
}

/// Wrong passwords, codes and tickets are refused alike. Panics if not.
pub async fn what_is_guessed_tells_nothing(door: &dyn DoorApi) {
    let error = door
        .sign_in(SignIn::new("nobody@example.org", "a wrong password"))
        .await
        .expect_err("nobody");
    assert_eq!(error.code, ErrorCode::InvalidCredentials);
    let error = door
        .confirm_sign_up(ConfirmSignUp::new("x", "12345678"))
        .await
        .expect_err("no code");
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::InvalidValue, Some("code"))
    );
    let reset = ConfirmReset::new("x", "12345678", "a good password");
    let error = door.confirm_reset(reset).await.expect_err("no code");
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::InvalidValue, Some("code"))
    );
}

//! Promises about accounts, sessions and access tokens.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::{LoginKind, Role, Scope, SignInMethod};
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, LoginId, SignInId, TokenId};

use super::Scenario;
use super::world::World;
use crate::store::admin::{Actor, AuditEntry};
use crate::store::admin_accounts::{AccountChange, AccountChanged};
use crate::store::identity::{
    AccountMade, AdministratorMade, NewAccount, NewLogin, NewToken, PasswordHash, SignInRecord,
};
use crate::store::webhooks::PageOf;

pub(super) const SCENARIOS: [(&str, Scenario); 6] = [
    ("an address has one account", |world| {
        Box::pin(an_address_has_one_account(world))
    }),
    ("an administrator is made or promoted", |world| {
        Box::pin(an_administrator_is_made_or_promoted(world))
    }),
    ("a session lasts until it ends", |world| {
        Box::pin(a_session_lasts_until_it_ends(world))
    }),
    ("sessions and attempts are bounded", |world| {
        Box::pin(sessions_and_attempts_are_bounded(world))
    }),
    ("an access token lasts until it ends", |world| {
        Box::pin(an_access_token_lasts_until_it_ends(world))
    }),
    ("suspending an account ends what signs in to it", |world| {
        Box::pin(suspending_an_account_ends_what_signs_in_to_it(world))
    }),
];

pub(super) fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

pub(super) fn password(text: &str) -> PasswordHash {
    PasswordHash(text.to_owned())
}

pub(super) fn first<I>(limit: u32) -> PageOf<I> {
    PageOf {
        after: None,
        ascending: false,
        limit,
    }
}

/// An account with the address `<name>@example.org`, to be made.
fn new_account(world: &World, name: &str) -> NewAccount {
    NewAccount {
        id: AccountId::new(&world.clock, &world.entropy),
        name: name.to_owned(),
        role: Role::User,
        email: Some(format!("{name}@example.org")),
        password: Some(password("old")),
        now: world.now(),
    }
}

pub(super) async fn account(world: &World, name: &str) -> AccountId {
    let account = new_account(world, name);
    let id = account.id;
    assert_eq!(
        world.store.create_account(account).await.expect("an answer"),
        AccountMade::Made
    );
    id
}

fn new_login(world: &World, account: AccountId, secret: u8) -> NewLogin {
    let now = world.now();
    NewLogin {
        id: LoginId::new(&world.clock, &world.entropy),
        account,
        hash: hash(secret),
        kind: LoginKind::Command,
        method: SignInMethod::Password,
        address: "192.0.2.1".to_owned(),
        user_agent: "test".to_owned(),
        now,
        expires_at: now.after(Duration::from_mins(10)),
        ends_at: now.after(Duration::from_hours(1)),
    }
}

pub(super) async fn sign_in(world: &World, account: AccountId, secret: u8) -> LoginId {
    let login = new_login(world, account, secret);
    let id = login.id;
    let sign_in = SignInId::new(&world.clock, &world.entropy);
    assert!(world.store.open_login(login, sign_in, 5).await.expect("an answer"));
    id
}

pub(super) fn new_token(world: &World, account: AccountId, secret: u8) -> NewToken {
    let now = world.now();
    NewToken {
        id: TokenId::new(&world.clock, &world.entropy),
        account,
        hash: hash(secret),
        name: "ci".to_owned(),
        scopes: vec![Scope::Read, Scope::Keys],
        environment: Some(Environment::Mainnet),
        now,
        expires_at: now.after(Duration::from_mins(10)),
    }
}

async fn an_address_has_one_account(world: &World) {
    let ada = account(world, "ada").await;
    let second = world
        .store
        .create_account(new_account(world, "ada"))
        .await
        .expect("an answer");
    assert_eq!(second, AccountMade::EmailTaken);
    let found = world
        .store
        .account_by_email("ada@example.org")
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(
        (found.id, found.role, found.password),
        (ada, Role::User, Some(password("old")))
    );
    assert_eq!(
        world
            .store
            .account_by_email("Ada@example.org")
            .await
            .expect("an answer"),
        None
    );
    // Accounts without an address don't stand in each other's way.
    for name in ["x", "y"] {
        let mut account = new_account(world, name);
        account.email = None;
        assert_eq!(
            world.store.create_account(account).await.expect("an answer"),
            AccountMade::Made
        );
    }
    assert!(
        world
            .store
            .rename_account(ada, "Ada".to_owned())
            .await
            .expect("an answer")
    );
    let summary = world
        .store
        .account_summary(ada)
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!((summary.account.name.as_str(), summary.wallets), ("Ada", 0));
    assert_eq!((summary.second_factor, summary.last_sign_in_at), (false, None));
}

async fn an_administrator_is_made_or_promoted(world: &World) {
    let audit = || AuditEntry {
        id: AuditId::new(&world.clock, &world.entropy),
        actor: Actor::Operator,
        action: "account.make_administrator".to_owned(),
        subject: String::new(),
        environment: None,
        before: None,
        after: None,
        reason: "test".to_owned(),
        now: world.now(),
    };
    let root = new_account(world, "root");
    let made = world
        .store
        .make_administrator(root.clone(), audit())
        .await
        .expect("an answer");
    assert_eq!(made, AdministratorMade::Made(root.id));
    let ada = account(world, "ada").await;
    let mut again = new_account(world, "ada");
    again.password = None;
    let made = world.store.make_administrator(again, audit()).await.expect("an answer");
    assert_eq!(made, AdministratorMade::Promoted(ada));
    let found = world
        .store
        .account_record(ada)
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!((found.role, found.password), (Role::Admin, Some(password("old"))));
}

async fn a_session_lasts_until_it_ends(world: &World) {
    let (ada, eve) = (account(world, "ada").await, account(world, "eve").await);
    let id = sign_in(world, ada, 1).await;
    let store = &world.store;
    let found = store
        .login(hash(1), world.now())
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(
        (found.id, found.account, found.role, found.suspended),
        (id, ada, Role::User, false)
    );
    assert_eq!(store.login(hash(2), world.now()).await.expect("an answer"), None);
    assert!(store.switch_login(id, Environment::Mainnet).await.expect("an answer"));
    // Used, it lasts longer, but not beyond its end.
    let later = world.now().after(Duration::from_mins(9));
    store
        .touch_login(id, later, later.after(Duration::from_mins(10)))
        .await
        .expect("an answer");
    let found = store
        .login(hash(1), later.after(Duration::from_mins(9)))
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(
        (found.environment, found.last_used_at),
        (Some(Environment::Mainnet), later)
    );
    assert_eq!(
        store
            .login(hash(1), later.after(Duration::from_mins(10)))
            .await
            .expect("an answer"),
        None
    );
    store
        .touch_login(id, later, Timestamp::from_millis(i64::MAX))
        .await
        .expect("an answer");
    assert_eq!(
        store
            .login(hash(1), later.after(Duration::from_hours(1)))
            .await
            .expect("an answer"),
        None
    );

    assert!(
        !store.end_login(eve, id).await.expect("an answer"),
        "it is another account's"
    );
    let other = sign_in(world, ada, 3).await;
    assert_eq!(
        store
            .logins(ada, first(10), world.now())
            .await
            .expect("an answer")
            .len(),
        2
    );
    assert_eq!(store.end_logins(ada, Some(other)).await.expect("an answer"), 1);
    assert_eq!(store.login(hash(1), world.now()).await.expect("an answer"), None);
    assert!(store.end_login(ada, other).await.expect("an answer"));
    assert!(!store.end_login(ada, other).await.expect("an answer"));
    let nobody = AccountId::new(&world.clock, &world.entropy);
    let sign_in = SignInId::new(&world.clock, &world.entropy);
    assert!(
        !store
            .open_login(new_login(world, nobody, 9), sign_in, 5)
            .await
            .expect("an answer")
    );
}

async fn sessions_and_attempts_are_bounded(world: &World) {
    let ada = account(world, "ada").await;
    for secret in 1..=7 {
        sign_in(world, ada, secret).await;
    }
    let now = world.now();
    assert_eq!(
        world.store.logins(ada, first(100), now).await.expect("an answer").len(),
        5
    );
    assert_eq!(
        world.store.login(hash(2), now).await.expect("an answer"),
        None,
        "the oldest have ended"
    );
    assert!(world.store.login(hash(7), now).await.expect("an answer").is_some());
    for _ in 0..105 {
        let record = SignInRecord {
            id: SignInId::new(&world.clock, &world.entropy),
            account: ada,
            method: SignInMethod::Password,
            succeeded: false,
            address: "192.0.2.1".to_owned(),
            user_agent: String::new(),
            at: world.now(),
        };
        world.store.record_sign_in(record).await.expect("an answer");
    }
    let kept = world.store.sign_ins(ada, first(1000)).await.expect("an answer");
    let (in_, out): (Vec<_>, Vec<_>) = kept.iter().partition(|record| record.succeeded);
    assert_eq!(
        (in_.len(), out.len()),
        (7, 100),
        "attempts don't push out who was there"
    );
    let summary = world
        .store
        .account_summary(ada)
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(summary.last_sign_in_at, Some(in_[0].at));
    let after = PageOf {
        after: Some(kept[2].id),
        ascending: false,
        limit: 2,
    };
    assert_eq!(world.store.sign_ins(ada, after).await.expect("an answer"), kept[3..5]);
}

async fn an_access_token_lasts_until_it_ends(world: &World) {
    let (ada, eve) = (account(world, "ada").await, account(world, "eve").await);
    let store = &world.store;
    let token = new_token(world, ada, 1);
    assert!(store.create_token(token.clone(), 2).await.expect("an answer"));
    assert!(
        store
            .create_token(new_token(world, ada, 2), 2)
            .await
            .expect("an answer")
    );
    assert!(
        !store
            .create_token(new_token(world, ada, 3), 2)
            .await
            .expect("an answer")
    );
    let found = store
        .token(hash(1), world.now())
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!((found.id, found.account), (token.id, ada));
    assert_eq!(
        (found.scopes, found.environment),
        (token.scopes.clone(), token.environment)
    );
    let used = world.now();
    store.touch_token(token.id, used).await.expect("an answer");
    let listed = store.tokens(ada, first(10), world.now()).await.expect("an answer");
    assert_eq!((listed.len(), listed[1].last_used_at), (2, Some(used)));
    assert!(!store.delete_token(eve, token.id).await.expect("an answer"));
    assert!(store.delete_token(ada, token.id).await.expect("an answer"));
    assert_eq!(store.token(hash(1), world.now()).await.expect("an answer"), None);
    assert_eq!(
        store
            .token(hash(2), token.expires_at.after(Duration::from_mins(1)))
            .await
            .expect("an answer"),
        None
    );
}

async fn suspending_an_account_ends_what_signs_in_to_it(world: &World) {
    let store = &world.store;
    let ada = account(world, "ada").await;
    let bob = account(world, "bob").await;
    for (account, secret) in [(ada, 1), (bob, 3)] {
        sign_in(world, account, secret).await;
        let token = new_token(world, account, secret + 1);
        assert!(store.create_token(token, 5).await.expect("an answer"));
    }
    let count = async |byte: u8| {
        let login = store.login(hash(byte), world.now()).await.expect("an answer");
        let token = store.token(hash(byte + 1), world.now()).await.expect("an answer");
        (login.is_some(), token.is_some())
    };
    let change = async |suspended: bool| {
        let change = AccountChange {
            id: ada,
            suspended: Some(suspended),
            role: None,
            audit: world.audit_line(),
        };
        let changed = store.change_account(change).await.expect("an answer");
        assert!(matches!(changed, AccountChanged::Done(_)), "{changed:?}");
    };
    assert_eq!(count(1).await, (true, true));
    change(true).await;
    let token = new_token(world, ada, 5);
    assert!(!store.create_token(token, 5).await.expect("an answer"));
    change(false).await;
    assert_eq!(count(1).await, (false, false), "they are not revived");
    assert_eq!(count(3).await, (true, true), "nobody else's are ended");
}

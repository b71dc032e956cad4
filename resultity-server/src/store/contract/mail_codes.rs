//! Promises about codes that are sent by mail, and what they change.

use std::time::Duration;

use resultity_core::id::AccountId;

use super::Scenario;
use super::identity::{account, first, hash, new_token, password, sign_in};
use super::world::World;
use crate::store::identity::{CodePurpose, EmailRemoved, GivenCode, NewCode};

pub(super) const SCENARIOS: [(&str, Scenario); 3] = [
    ("a code counts once, for a while and a few times", |world| {
        Box::pin(a_code_counts_once_for_a_while_and_a_few_times(world))
    }),
    ("a reset ends sessions and tokens", |world| {
        Box::pin(a_reset_ends_sessions_and_tokens(world))
    }),
    ("an address changes and goes", |world| {
        Box::pin(an_address_changes_and_goes(world))
    }),
];

fn new_code(world: &World, purpose: CodePurpose, email: &str, ticket: u8) -> NewCode {
    let now = world.now();
    NewCode {
        ticket: hash(ticket),
        code: hash(ticket + 100),
        purpose,
        email: email.to_owned(),
        account: None,
        password: Some(password("new")),
        attempts: 3,
        now,
        expires_at: now.after(Duration::from_mins(15)),
    }
}

fn given(world: &World, ticket: u8, code: u8) -> GivenCode {
    GivenCode {
        ticket: hash(ticket),
        code: hash(code),
        now: world.now(),
    }
}

async fn a_code_counts_once_for_a_while_and_a_few_times(world: &World) {
    let store = &world.store;
    let id = || AccountId::new(&world.clock, &world.entropy);
    let keep = |ticket| store.keep_code(new_code(world, CodePurpose::SignUp, "ada@example.org", ticket));
    for ticket in 1..=4 {
        assert!(!keep(ticket).await.expect("an answer"));
    }
    // Three wrong ones, and the right one is too late; a code fits its own ticket and purpose alone.
    for code in [9, 9, 102, 101] {
        assert!(
            !store
                .redeem_sign_up(given(world, 1, code), id())
                .await
                .expect("an answer")
        );
    }
    assert_eq!(
        store
            .redeem_reset(given(world, 2, 102), password("x"))
            .await
            .expect("an answer"),
        None
    );
    let mut late = given(world, 2, 102);
    late.now = late.now.after(Duration::from_mins(15));
    assert!(!store.redeem_sign_up(late, id()).await.expect("an answer"));
    let ada = id();
    let (first, second) = tokio::join!(
        store.redeem_sign_up(given(world, 2, 102), ada),
        store.redeem_sign_up(given(world, 2, 102), ada),
    );
    assert_eq!((first.expect("an answer"), second.expect("an answer")), (true, false));
    assert!(
        !store
            .redeem_sign_up(given(world, 3, 103), id())
            .await
            .expect("an answer"),
        "the others went with it"
    );
    let made = store
        .account_by_email("ada@example.org")
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!((made.id, made.password), (ada, Some(password("new"))));
    assert!(keep(5).await.expect("an answer"), "the address has an account now");
    assert!(
        !store
            .redeem_sign_up(given(world, 5, 105), id())
            .await
            .expect("an answer")
    );
}

async fn a_reset_ends_sessions_and_tokens(world: &World) {
    let store = &world.store;
    let ada = account(world, "ada").await;
    sign_in(world, ada, 1).await;
    assert!(
        store
            .create_token(new_token(world, ada, 2), 5)
            .await
            .expect("an answer")
    );
    assert!(
        store
            .keep_code(new_code(world, CodePurpose::Reset, "ada@example.org", 3))
            .await
            .expect("an answer")
    );
    assert!(
        !store
            .keep_code(new_code(world, CodePurpose::Reset, "eve@example.org", 4))
            .await
            .expect("an answer")
    );
    assert_eq!(
        store
            .redeem_reset(given(world, 4, 104), password("x"))
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        store
            .redeem_reset(given(world, 3, 103), password("x"))
            .await
            .expect("an answer"),
        Some(ada)
    );
    assert_eq!(
        store
            .redeem_reset(given(world, 3, 103), password("y"))
            .await
            .expect("an answer"),
        None
    );
    let found = store
        .account_record(ada)
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(found.password, Some(password("x")));
    assert_eq!(store.login(hash(1), world.now()).await.expect("an answer"), None);
    assert_eq!(store.token(hash(2), world.now()).await.expect("an answer"), None);

    let (stays, _) = (sign_in(world, ada, 5).await, sign_in(world, ada, 6).await);
    assert!(
        store
            .set_password(ada, password("z"), Some(stays))
            .await
            .expect("an answer")
    );
    let logins = store.logins(ada, first(10), world.now()).await.expect("an answer");
    assert_eq!(logins.iter().map(|login| login.id).collect::<Vec<_>>(), [stays]);
}

async fn an_address_changes_and_goes(world: &World) {
    let store = &world.store;
    let (ada, eve) = (account(world, "ada").await, account(world, "eve").await);
    let code = |email: &str, ticket| NewCode {
        account: Some(ada),
        ..new_code(world, CodePurpose::Email, email, ticket)
    };
    assert!(!store.keep_code(code("new@example.org", 1)).await.expect("an answer"));
    assert!(store.keep_code(code("eve@example.org", 2)).await.expect("an answer"));
    assert!(
        !store.redeem_email(given(world, 2, 102), ada).await.expect("an answer"),
        "it is taken"
    );
    assert!(!store.keep_code(code("new@example.org", 3)).await.expect("an answer"));
    assert!(
        !store.redeem_email(given(world, 3, 103), eve).await.expect("an answer"),
        "it is another's code"
    );
    assert!(!store.keep_code(code("new@example.org", 4)).await.expect("an answer"));
    assert!(store.redeem_email(given(world, 4, 104), ada).await.expect("an answer"));
    let found = store
        .account_by_email("new@example.org")
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!(
        (found.id, found.password.clone()),
        (ada, Some(password("old"))),
        "a password that is there stays"
    );
    assert_eq!(
        store.account_by_email("ada@example.org").await.expect("an answer"),
        None
    );
    assert_eq!(
        store.remove_email(ada).await.expect("an answer"),
        EmailRemoved::LastCredential
    );
    assert_eq!(store.account_record(ada).await.expect("an answer"), Some(found));
}

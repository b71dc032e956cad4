//! Wallets that sign in, and second factors.

use std::time::Duration;

use resultity_core::api::gate::Role;
use resultity_core::id::{AccountId, NotificationId};
use resultity_core::{Address, B256};

use super::Scenario;
use super::world::World;
use crate::store::NewNotification;
use crate::store::identity::{NewAccount, PasswordHash};
use crate::store::wallets::{
    SecondFactorChange, SecondFactorProof, SignedOnce, WalletEntered, WalletLinked, WalletUnlinked,
};

/// Every scenario with its name.
pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
    ("a wallet enters the account that it made", |world| {
        Box::pin(a_wallet_enters_the_account_that_it_made(world))
    }),
    ("what a wallet signed counts once", |world| {
        Box::pin(what_a_wallet_signed_counts_once(world))
    }),
    ("a wallet belongs to one account", |world| {
        Box::pin(a_wallet_belongs_to_one_account(world))
    }),
    ("the last credential stays", |world| {
        Box::pin(the_last_credential_stays(world))
    }),
    ("a second factor counts once it is confirmed", |world| {
        Box::pin(a_second_factor_counts_once_it_is_confirmed(world))
    }),
    ("no code of a second factor counts twice", |world| {
        Box::pin(no_code_of_a_second_factor_counts_twice(world))
    }),
    ("wrong codes of a second factor are counted", |world| {
        Box::pin(wrong_codes_of_a_second_factor_are_counted(world))
    }),
];

fn signed(world: &World, address: u8, nonce: &str) -> SignedOnce {
    let now = world.now();
    SignedOnce {
        address: Address::repeat_byte(address),
        nonce: nonce.to_owned(),
        expires_at: now.after(Duration::from_mins(10)),
        now,
    }
}

fn told(world: &World, account: AccountId) -> NewNotification {
    NewNotification {
        id: NotificationId::new(&world.clock, &world.entropy),
        account,
        environment: None,
        kind: "account.test".to_owned(),
        subject: String::new(),
        message: "Something happened.".to_owned(),
        now: world.now(),
    }
}

async fn enter(world: &World, signed: SignedOnce, new_account: Option<AccountId>) -> WalletEntered {
    let entered = world.store.enter_by_wallet(signed, new_account).await;
    entered.expect("an answer")
}

/// An account with a wallet of this number and nothing else.
async fn account(world: &World, wallet: u8) -> AccountId {
    let id = AccountId::new(&world.clock, &world.entropy);
    let nonce = format!("account{wallet}");
    let entered = enter(world, signed(world, wallet, &nonce), Some(id)).await;
    assert_eq!(entered, WalletEntered::Account(id));
    id
}

async fn link(world: &World, account: AccountId, wallet: u8, nonce: &str, most: u32) -> WalletLinked {
    let linked = world
        .store
        .link_wallet(account, signed(world, wallet, nonce), most, told(world, account));
    linked.await.expect("an answer")
}

async fn unlink(world: &World, account: AccountId, wallet: u8) -> WalletUnlinked {
    let address = Address::repeat_byte(wallet);
    let unlinked = world.store.unlink_wallet(account, address, told(world, account));
    unlinked.await.expect("an answer")
}

async fn addresses(world: &World, account: AccountId) -> Vec<Address> {
    let wallets = world.store.wallets(account).await.expect("wallets");
    wallets.into_iter().map(|wallet| wallet.address).collect()
}

pub(super) async fn a_wallet_enters_the_account_that_it_made(world: &World) {
    assert_eq!(enter(world, signed(world, 1, "a"), None).await, WalletEntered::Unknown);
    let id = account(world, 1).await;
    let another = AccountId::new(&world.clock, &world.entropy);
    for (nonce, new_account) in [("b", Some(another)), ("c", None)] {
        let entered = enter(world, signed(world, 1, nonce), new_account).await;
        assert_eq!(entered, WalletEntered::Account(id));
    }
    let address = Address::repeat_byte(1);
    assert_eq!(world.store.wallet_account(address).await.expect("an answer"), Some(id));
    let wallets = world.store.wallets(id).await.expect("wallets");
    assert_eq!(wallets.len(), 1);
    assert!(wallets[0].last_used_at.is_some_and(|used| used > wallets[0].created_at));
    let record = world.store.account_record(id).await.expect("an answer");
    assert_eq!(record.expect("the account").role, Role::User);
    assert_eq!(world.store.account_record(another).await.expect("an answer"), None);
}

pub(super) async fn what_a_wallet_signed_counts_once(world: &World) {
    let id = account(world, 1).await;
    assert_eq!(
        enter(world, signed(world, 1, "one"), None).await,
        WalletEntered::Account(id)
    );
    assert_eq!(
        enter(world, signed(world, 1, "one"), None).await,
        WalletEntered::Replayed
    );
    assert_eq!(link(world, id, 2, "one", 9).await, WalletLinked::Replayed);
    // Nor if many come at once.
    let at_once = (0..16).map(|_| world.store.enter_by_wallet(signed(world, 1, "many"), None));
    let entered = futures::future::join_all(at_once).await;
    let accepted = entered
        .into_iter()
        .filter(|entered| matches!(entered, Ok(WalletEntered::Account(_))));
    assert_eq!(accepted.count(), 1);
    // It is forgotten only once nobody would believe it any more.
    world.clock.advance(Duration::from_secs(599));
    enter(world, signed(world, 1, "later"), None).await;
    assert_eq!(
        enter(world, signed(world, 1, "many"), None).await,
        WalletEntered::Replayed
    );
}

pub(super) async fn a_wallet_belongs_to_one_account(world: &World) {
    let (mine, yours) = (account(world, 1).await, account(world, 2).await);
    assert!(matches!(link(world, mine, 3, "a", 3).await, WalletLinked::Linked(_)));
    // Again is no change.
    assert!(matches!(link(world, mine, 3, "b", 3).await, WalletLinked::Linked(_)));
    assert_eq!(link(world, yours, 3, "c", 3).await, WalletLinked::Taken);
    assert_eq!(link(world, yours, 1, "d", 3).await, WalletLinked::Taken);
    assert_eq!(addresses(world, mine).await, [1, 3].map(Address::repeat_byte));
    assert!(matches!(link(world, mine, 4, "e", 3).await, WalletLinked::Linked(_)));
    assert_eq!(link(world, mine, 5, "f", 3).await, WalletLinked::TooMany);
    assert_eq!(unlink(world, yours, 3).await, WalletUnlinked::NotThere);
    assert_eq!(unlink(world, mine, 3).await, WalletUnlinked::Unlinked);
    assert_eq!(unlink(world, mine, 3).await, WalletUnlinked::NotThere);
    assert!(matches!(link(world, yours, 3, "g", 3).await, WalletLinked::Linked(_)));
}

pub(super) async fn the_last_credential_stays(world: &World) {
    let id = account(world, 1).await;
    assert_eq!(unlink(world, id, 1).await, WalletUnlinked::LastCredential);
    link(world, id, 2, "a", 9).await;
    // Of two that are unlinked at once, one stays.
    let (one, other) = tokio::join!(unlink(world, id, 1), unlink(world, id, 2));
    assert_ne!(one, other);
    assert_eq!(addresses(world, id).await.len(), 1);
    // An address with a password is a credential, too.
    let with_email = AccountId::new(&world.clock, &world.entropy);
    let new = NewAccount {
        id: with_email,
        name: String::new(),
        role: Role::User,
        email: Some("a@example.org".to_owned()),
        password: Some(PasswordHash("hash".to_owned())),
        now: world.now(),
    };
    world.store.create_account(new).await.expect("an account");
    link(world, with_email, 7, "b", 9).await;
    assert_eq!(unlink(world, with_email, 7).await, WalletUnlinked::Unlinked);
}

async fn use_step(world: &World, account: AccountId, step: u64, change: SecondFactorChange) -> bool {
    let used = world
        .store
        .use_second_factor(account, SecondFactorProof::Step(step), change);
    used.await.expect("an answer")
}

async fn use_code(world: &World, account: AccountId, code: u8) -> bool {
    let proof = SecondFactorProof::RecoveryCode(B256::repeat_byte(code));
    let used = world.store.use_second_factor(account, proof, SecondFactorChange::None);
    used.await.expect("an answer")
}

async fn confirm(world: &World, account: AccountId, secret: u8, step: u64) -> bool {
    let codes = vec![B256::repeat_byte(1), B256::repeat_byte(2)];
    let confirmed = world
        .store
        .confirm_second_factor(account, vec![secret], step, codes, told(world, account));
    confirmed.await.expect("an answer")
}

pub(super) async fn a_second_factor_counts_once_it_is_confirmed(world: &World) {
    let store = &world.store;
    let id = account(world, 1).await;
    assert_eq!(store.second_factor(id).await.expect("an answer"), None);
    assert!(!confirm(world, id, 1, 10).await);
    assert!(
        store
            .begin_second_factor(id, vec![1], world.now())
            .await
            .expect("an answer")
    );
    assert!(
        store
            .begin_second_factor(id, vec![2], world.now())
            .await
            .expect("an answer")
    );
    let pending = store.second_factor(id).await.expect("an answer").expect("a secret");
    assert_eq!((pending.secret, pending.confirmed_at), (vec![2], None));
    // Nothing that is pending lets anybody in.
    assert!(!use_step(world, id, 11, SecondFactorChange::None).await);
    // The secret that is confirmed is the one whose code was checked.
    assert!(!confirm(world, id, 1, 10).await);
    assert!(confirm(world, id, 2, 10).await);
    assert!(!confirm(world, id, 2, 11).await);
    assert!(
        !store
            .begin_second_factor(id, vec![3], world.now())
            .await
            .expect("an answer")
    );
    let set = store.second_factor(id).await.expect("an answer").expect("a secret");
    assert!(set.confirmed_at.is_some());
    assert_eq!((set.secret, set.recovery_codes), (vec![2], 2));
    let remove = SecondFactorChange::Remove(told(world, id));
    assert!(!use_step(world, id, 10, remove.clone()).await);
    assert!(use_step(world, id, 11, remove).await);
    assert_eq!(store.second_factor(id).await.expect("an answer"), None);
    assert!(!use_code(world, id, 1).await);
}

pub(super) async fn no_code_of_a_second_factor_counts_twice(world: &World) {
    let (id, other) = (account(world, 1).await, account(world, 2).await);
    for account in [id, other] {
        let begun = world.store.begin_second_factor(account, vec![1], world.now());
        assert!(begun.await.expect("an answer"));
        assert!(confirm(world, account, 1, 10).await);
    }
    assert!(!use_step(world, id, 10, SecondFactorChange::None).await);
    assert!(use_step(world, id, 12, SecondFactorChange::None).await);
    assert!(!use_step(world, id, 12, SecondFactorChange::None).await);
    assert!(!use_step(world, id, 11, SecondFactorChange::None).await);
    let at_once = (0..8).map(|_| use_step(world, id, 13, SecondFactorChange::None));
    let used = futures::future::join_all(at_once).await;
    assert_eq!(used.into_iter().filter(|used| *used).count(), 1);
    assert!(use_code(world, id, 1).await);
    assert!(!use_code(world, id, 1).await);
    assert!(!use_code(world, id, 9).await);
    let renew = SecondFactorChange::RecoveryCodes(vec![B256::repeat_byte(5)]);
    assert!(use_step(world, id, 14, renew).await);
    assert!(!use_code(world, id, 2).await);
    assert!(use_code(world, id, 5).await);
    // What one account used, another still has.
    assert!(use_code(world, other, 1).await);
    assert!(use_step(world, other, 12, SecondFactorChange::None).await);
}

pub(super) async fn wrong_codes_of_a_second_factor_are_counted(world: &World) {
    let id = account(world, 1).await;
    world
        .store
        .begin_second_factor(id, vec![1], world.now())
        .await
        .expect("an answer");
    assert!(confirm(world, id, 1, 10).await);
    for failures in 1..=4 {
        let failed = world.store.fail_second_factor(id, 3, told(world, id));
        failed.await.expect("an answer");
        let record = world.store.second_factor(id).await.expect("an answer");
        let record = record.expect("the second factor");
        assert_eq!(record.failures, failures);
        assert!(record.failed_at.is_some());
    }
    assert!(use_step(world, id, 11, SecondFactorChange::None).await);
    let record = world.store.second_factor(id).await.expect("an answer");
    let record = record.expect("the second factor");
    assert_eq!((record.failures, record.failed_at), (0, None));
}

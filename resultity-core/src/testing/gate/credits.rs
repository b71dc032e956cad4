//! The contract of credits: for an account with some in one namespace of testnet, and an administrator. Nobody else uses either
//! meanwhile.

use crate::api::gate::{
    AccountUsageQuery, AskFaucet, CreateVoucher, CreditGrant, CreditQuery, GateApi, InEnvironment, LedgerLine,
    NewCorrection, NewTransfer, RedeemVoucher, SetCreditAlert,
};
use crate::clock::{Clock as _, SystemClock};
use crate::credits::Credits;
use crate::environment::Environment;
use crate::error::{ApiError, ErrorCode};
use crate::id::NamespaceId;
use crate::ledger::PostingKind;

/// Two namespaces of the account in testnet, and one of somebody else.
#[derive(Debug, Clone, Copy)]
pub struct Namespaces {
    /// Has at least 10 credits.
    pub full: NamespaceId,
    /// Need not have any.
    pub other: NamespaceId,
    /// Of another account, in testnet.
    pub strangers: NamespaceId,
}

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that fails.
pub async fn all(api: &dyn GateApi, admin: &dyn GateApi, namespaces: Namespaces) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: credits: {}", stringify!($scenario));
            $scenario(api, admin, namespaces).await;
        )*};
    }
    run! {
        a_transfer_is_seen_on_both_sides
        the_faucet_gives_once_a_day
        a_voucher_counts_once
        a_correction_is_seen_with_its_reason
        an_alert_is_set_and_ended
        what_is_not_ones_own_is_not_found
        bad_amounts_name_the_field
        reports_are_there
        an_account_may_do_nothing_of_an_administrators
    }
}

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};

fn code<T: std::fmt::Debug>(answer: Result<T, ApiError>) -> (ErrorCode, Option<String>) {
    let error = answer.expect_err("it should have been refused");
    (error.code, error.param)
}

async fn available(api: &dyn GateApi, namespace: NamespaceId) -> Credits {
    let credits = api.credits(TESTNET).await.expect("credits can be asked for");
    let found = credits.namespaces.iter().find(|found| found.namespace == namespace);
    found.expect("the namespace is listed").available
}

async fn newest(api: &dyn GateApi, namespace: NamespaceId) -> LedgerLine {
    let page = api.ledger(namespace, CreditQuery::first(1)).await;
    let page = page.expect("a ledger can be read");
    page.data.into_iter().next().expect("something happened")
}

fn plus(amount: Credits, more: i64) -> Credits {
    Credits::from_micros(amount.micros() + more)
}

/// What one side loses the other gains; a repeat does nothing, another transfer under its key is refused. Panics if not.
pub async fn a_transfer_is_seen_on_both_sides(api: &dyn GateApi, _admin: &dyn GateApi, of: Namespaces) {
    let (full, other) = (available(api, of.full).await, available(api, of.other).await);
    let amount = Credits::from_micros(1_500_000);
    let transfer = NewTransfer::new(of.full, of.other, amount).idempotency_key("contract");
    let done = api.transfer_credits(transfer.clone()).await.expect("there is enough");
    assert_eq!((done.from, done.to, done.amount), (of.full, of.other, amount));
    assert_eq!(api.transfer_credits(transfer).await.expect("the first outcome"), done);
    assert_eq!(available(api, of.full).await, plus(full, -1_500_000));
    assert_eq!(available(api, of.other).await, plus(other, 1_500_000));
    let line = newest(api, of.full).await;
    assert_eq!(
        (line.kind, line.amount, line.job),
        (PostingKind::Transfer, -amount, None)
    );
    assert_eq!(newest(api, of.other).await.amount, amount);
    let clash = NewTransfer::new(of.full, of.other, plus(amount, 1)).idempotency_key("contract");
    assert_eq!(code(api.transfer_credits(clash).await).0, ErrorCode::Conflict);
    let all = plus(available(api, of.full).await, 1);
    let too_much = NewTransfer::new(of.full, of.other, all);
    assert_eq!(
        code(api.transfer_credits(too_much).await).0,
        ErrorCode::InsufficientQuota
    );
    let to_itself = NewTransfer::new(of.full, of.full, amount);
    assert_eq!(code(api.transfer_credits(to_itself).await).1.as_deref(), Some("to"));
}

/// The second time of a day is refused, with the time of the next. Panics if not.
pub async fn the_faucet_gives_once_a_day(api: &dyn GateApi, _admin: &dyn GateApi, of: Namespaces) {
    let today = || SystemClock.now().as_seconds() / 86_400;
    let (begun, before) = (today(), available(api, of.full).await);
    let gave = api
        .ask_faucet(AskFaucet::new(of.full))
        .await
        .expect("the day's credits");
    assert_eq!(gave.balance, plus(before, gave.received.micros()));
    let again = match api.ask_faucet(AskFaucet::new(of.other)).await {
        // A day has ended meanwhile: this was the next one's first.
        Ok(_) if today() != begun => api.ask_faucet(AskFaucet::new(of.other)).await,
        again => again,
    };
    let again = again.expect_err("once a day");
    assert_eq!(again.code, ErrorCode::RateLimitExceeded);
    assert!(again.retry_after.is_some(), "tomorrow");
}

/// A code is good for one account once, and for nobody once it is revoked. Panics if not.
pub async fn a_voucher_counts_once(api: &dyn GateApi, admin: &dyn GateApi, of: Namespaces) {
    let worth = Credits::from_whole(3);
    let make = || {
        let voucher = CreateVoucher::new(worth, "a test").environment(Environment::Testnet);
        admin.create_voucher(voucher.label("contract").max_uses(2))
    };
    let made = make().await.expect("a voucher");
    assert_eq!((made.voucher.credits, made.voucher.uses), (worth, 0));
    let before = available(api, of.full).await;
    let typed = made.code.to_lowercase().replace('-', " ");
    let redeem = |code: &str, namespace| api.redeem_voucher(RedeemVoucher::new(code, namespace));
    let redeemed = redeem(&typed, of.full).await.expect("the code is good");
    assert_eq!(
        (redeemed.received, redeemed.balance),
        (worth, plus(before, worth.micros()))
    );
    assert_eq!(redeem(&made.code, of.full).await.expect("the first outcome"), redeemed);
    assert_eq!(code(redeem(&made.code, of.other).await).0, ErrorCode::Conflict);
    assert_eq!(available(api, of.full).await, redeemed.balance);
    assert_eq!(
        code(redeem("00000-00000-00000-00000", of.full).await).0,
        ErrorCode::NotFound
    );

    let revoked = make().await.expect("a voucher");
    let gone = admin.revoke_voucher(revoked.voucher.id, TESTNET).await;
    assert!(gone.expect("it is there").revoked_at.is_some());
    assert_eq!(code(redeem(&revoked.code, of.full).await).0, ErrorCode::NotFound);
    let query = CreditQuery {
        environment: Some(Environment::Testnet),
        ..CreditQuery::first(2)
    };
    let listed = admin.vouchers(query).await.expect("vouchers can be listed").data;
    assert_eq!(listed[0].id, revoked.voucher.id);
    assert_eq!((listed[1].id, listed[1].uses), (made.voucher.id, 1));
    let elsewhere = InEnvironment::from(Environment::Mainnet);
    let missed = admin.revoke_voucher(made.voucher.id, elsewhere).await;
    assert_eq!(code(missed).0, ErrorCode::NotFound);
}

/// Administrators give, take and undo; the owner sees why. Panics if not.
pub async fn a_correction_is_seen_with_its_reason(api: &dyn GateApi, admin: &dyn GateApi, of: Namespaces) {
    let before = available(api, of.full).await;
    let grant = CreditGrant::to_namespace(of.full, Credits::from_whole(2)).because("a present");
    admin.grant_credits(grant).await.expect("a grant");
    let line = newest(api, of.full).await;
    assert_eq!((line.kind, line.reason.as_str()), (PostingKind::Grant, "a present"));
    let undo = |reason: &str| admin.correct(NewCorrection::of_transaction(line.id.clone(), reason));
    let undone = undo("not for you").await.expect("it can be undone");
    assert_eq!(undone.undoes.as_ref(), Some(&line.id));
    assert_eq!(undone.entries.len(), 2);
    assert_eq!(undo("again").await.expect("the first outcome"), undone);
    assert_eq!(available(api, of.full).await, before);
    assert_eq!(newest(api, of.full).await.reason, "not for you");
    let taken = NewCorrection::of_namespace(of.full, Credits::from_micros(-1), "one less");
    admin.correct(taken).await.expect("there is enough");
    assert_eq!(available(api, of.full).await, plus(before, -1));
    let too_much = NewCorrection::of_namespace(of.full, -before, "all and more");
    assert_eq!(code(admin.correct(too_much).await).0, ErrorCode::Conflict);
    for bad in [
        NewCorrection::default(),
        NewCorrection::of_transaction("x", "why"),
        NewCorrection::of_transaction("1", ""),
        NewCorrection::of_namespace(of.full, Credits::ZERO, "nothing"),
    ] {
        assert_eq!(code(admin.correct(bad).await).0, ErrorCode::InvalidValue);
    }
    let unknown = NewCorrection::of_transaction("999999999999", "why");
    assert_eq!(code(admin.correct(unknown).await).0, ErrorCode::NotFound);
    let seen = admin.ledger_of(of.full, CreditQuery::first(1)).await.expect("a ledger");
    assert_eq!(seen.data[0], newest(api, of.full).await);
}

/// Panics if an alert is not what was set.
pub async fn an_alert_is_set_and_ended(api: &dyn GateApi, _admin: &dyn GateApi, of: Namespaces) {
    let set = |request| api.set_credit_alert(of.full, TESTNET, request);
    let limit = Credits::from_whole(1);
    let alert = set(SetCreditAlert::below(limit)).await.expect("it can be set").alert;
    let alert = alert.expect("it is set");
    assert_eq!((alert.below, alert.armed), (limit, true));
    let zero = set(SetCreditAlert::below(Credits::ZERO)).await;
    assert_eq!(code(zero).1.as_deref(), Some("below"));
    let off = set(SetCreditAlert::off()).await.expect("it can be ended");
    assert_eq!(off.alert, None);
}

/// Panics if another account's namespace, or one of another environment, is there for the caller.
pub async fn what_is_not_ones_own_is_not_found(api: &dyn GateApi, admin: &dyn GateApi, of: Namespaces) {
    let one = Credits::from_micros(1);
    let voucher = CreateVoucher::new(one, "a test").environment(Environment::Testnet);
    let voucher = admin.create_voucher(voucher).await.expect("a voucher");
    let alert = SetCreditAlert::below(one);
    let not_found = [
        code(api.ledger(of.strangers, CreditQuery::default()).await).0,
        code(api.holds(of.strangers, CreditQuery::default()).await).0,
        code(api.set_credit_alert(of.strangers, TESTNET, alert).await).0,
        code(api.transfer_credits(NewTransfer::new(of.strangers, of.full, one)).await).0,
        code(api.transfer_credits(NewTransfer::new(of.full, of.strangers, one)).await).0,
        code(api.ask_faucet(AskFaucet::new(of.strangers)).await).0,
        code(api.redeem_voucher(RedeemVoucher::new(voucher.code, of.strangers)).await).0,
    ];
    assert_eq!(not_found, [ErrorCode::NotFound; 7]);
    let elsewhere = CreditQuery {
        environment: Some(Environment::Mainnet),
        ..CreditQuery::default()
    };
    let mainnet = InEnvironment::from(Environment::Mainnet);
    let not_found = [
        code(api.ledger(of.full, elsewhere.clone()).await).0,
        code(api.holds(of.full, elsewhere.clone()).await).0,
        code(admin.ledger_of(of.full, elsewhere).await).0,
        code(api.set_credit_alert(of.full, mainnet, SetCreditAlert::off()).await).0,
    ];
    assert_eq!(not_found, [ErrorCode::NotFound; 4]);
}

/// Panics if an amount that can't be is taken, or the field is not named.
pub async fn bad_amounts_name_the_field(api: &dyn GateApi, admin: &dyn GateApi, of: Namespaces) {
    let wrong = |field: &str| (ErrorCode::InvalidValue, Some(field.to_owned()));
    for micros in [0, -1, i64::MIN + 1, i64::MAX] {
        let amount = Credits::from_micros(micros);
        let moved = api.transfer_credits(NewTransfer::new(of.full, of.other, amount)).await;
        assert_eq!(code(moved), wrong("amount"), "{micros}");
        let made = admin.create_voucher(CreateVoucher::new(amount, "a test")).await;
        assert_eq!(code(made), wrong("credits"), "{micros}");
    }
    let long = "x".repeat(256);
    for key in ["", "a\nb", "é", long.as_str()] {
        let transfer = NewTransfer::new(of.full, of.other, Credits::from_micros(1)).idempotency_key(key);
        let refused = code(api.transfer_credits(transfer).await);
        assert_eq!(refused, wrong("idempotency_key"), "{key:?}");
    }
    let after = code(api.ledger(of.full, CreditQuery::default().after("x")).await);
    assert_eq!(after, wrong("after"));
    let limit = code(api.holds(of.full, CreditQuery::first(101)).await);
    assert_eq!(limit, wrong("limit"));
}

/// Panics if a report is missing, or what was done is not in it.
pub async fn reports_are_there(api: &dyn GateApi, _admin: &dyn GateApi, of: Namespaces) {
    let query = AccountUsageQuery {
        group_by: Some("day,namespace,key,model,endpoint".into()),
        namespace: Some(of.full),
        ..AccountUsageQuery::default()
    };
    let usage = api.account_usage(query.clone()).await.expect("usage can be asked for");
    assert_eq!(
        (usage.object.as_str(), usage.environment),
        ("usage", Environment::Testnet)
    );
    let bad = AccountUsageQuery {
        group_by: Some("colour".into()),
        ..query.clone()
    };
    assert_eq!(code(api.account_usage(bad).await).1.as_deref(), Some("group_by"));
    let strangers = AccountUsageQuery {
        namespace: Some(of.strangers),
        ..query
    };
    assert_eq!(code(api.account_usage(strangers).await).0, ErrorCode::NotFound);

    let mut seen = Vec::new();
    let mut query = CreditQuery::first(3);
    loop {
        let page = api.activity(query.clone()).await.expect("activity can be asked for");
        seen.extend(page.data);
        let (true, Some(last)) = (page.has_more, page.last_id) else {
            break;
        };
        query = query.after(last);
    }
    for kind in ["transfer", "faucet", "voucher", "grant", "correction"] {
        assert!(seen.iter().any(|activity| activity.kind == kind), "{kind}: {seen:?}");
    }
    assert!(
        seen.windows(2).all(|pair| pair[0].id > pair[1].id),
        "newest first, each once"
    );
    let rewards = api.rewards(TESTNET).await.expect("rewards can be asked for");
    let credits = api.credits(TESTNET).await.expect("credits can be asked for");
    assert_eq!((rewards.credits, rewards.earned), (credits.available, Credits::ZERO));
}

/// Panics if it may.
pub async fn an_account_may_do_nothing_of_an_administrators(api: &dyn GateApi, admin: &dyn GateApi, of: Namespaces) {
    let one = Credits::from_micros(1);
    let voucher = CreateVoucher::new(one, "a test").environment(Environment::Testnet);
    let voucher = admin.create_voucher(voucher.clone()).await.expect("a voucher");
    let correction = NewCorrection::of_namespace(of.full, one, "mine");
    let denied = [
        code(api.create_voucher(CreateVoucher::new(one, "a test")).await).0,
        code(api.vouchers(CreditQuery::default()).await).0,
        code(api.revoke_voucher(voucher.voucher.id, TESTNET).await).0,
        code(api.correct(correction).await).0,
        code(api.ledger_of(of.full, CreditQuery::default()).await).0,
        code(api.grant_credits(CreditGrant::to_namespace(of.full, one)).await).0,
    ];
    assert_eq!(denied, [ErrorCode::PermissionDenied; 6]);
}

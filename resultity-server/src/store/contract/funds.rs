//! Credits beside jobs: transfers, faucet, vouchers, payments, corrections, payouts, alerts, statements.

use std::sync::Arc;

use futures::future::join_all;
use resultity_core::B256;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{NamespaceId, TransferId, VoucherId};
use resultity_core::ledger::PostingKind;

use super::Scenario;
use super::world::{START, World, micros, node};
use crate::store::funds::{
    Corrected, Corrects, FaucetClaim, FaucetGave, NewCorrection, NewPayment, NewPayout, NewTransfer, NewVoucher,
    PaidOut, PaymentReceived, Redeemed, Redemption, Transferred, VoucherRecord,
};
use crate::store::statements::{LedgerRecord, StatementPage};
use crate::store::{KeyRecord, NewTenant};

/// The scenarios with their names.
pub(super) const SCENARIOS: [(&str, Scenario); 7] = [
    ("a transfer moves once and never overdraws", |world| {
        Box::pin(a_transfer_moves_once_and_never_overdraws(world))
    }),
    ("a transfer stays within account and environment", |world| {
        Box::pin(a_transfer_stays_within_account_and_environment(world))
    }),
    ("the faucet gives once a day", |world| {
        Box::pin(the_faucet_gives_once_a_day(world))
    }),
    ("a voucher is redeemed as often as it may be", |world| {
        Box::pin(a_voucher_is_redeemed_as_often_as_it_may_be(world))
    }),
    ("a payment counts once", |world| Box::pin(a_payment_counts_once(world))),
    ("a correction undoes and never overdraws", |world| {
        Box::pin(a_correction_undoes_and_never_overdraws(world))
    }),
    ("a payout is of one's own node", |world| {
        Box::pin(a_payout_is_of_ones_own_node(world))
    }),
];

/// Another namespace of the tenant.
pub(super) async fn second(world: &World) -> KeyRecord {
    let tenant = NewTenant {
        namespace_name: "second".to_owned(),
        key_hash: B256::left_padding_from(b"second"),
        ..world.tenant("main")
    };
    world.store.ensure_tenant(tenant).await.expect("a namespace")
}

pub(super) async fn available(world: &World, namespace: NamespaceId) -> Credits {
    let balance = world.store.balance(namespace).await.expect("an answer");
    balance.expect("the namespace").available
}

pub(super) fn transfer(world: &World, from: NamespaceId, to: NamespaceId, amount: i64, key: &str) -> NewTransfer {
    NewTransfer {
        id: TransferId::new(&world.clock, &world.entropy),
        account: world.key.account,
        from,
        to,
        amount: micros(amount),
        idempotency_key: key.to_owned(),
        now: world.now(),
    }
}

async fn a_transfer_moves_once_and_never_overdraws(world: &World) {
    let (from, to) = (world.key.namespace, second(world).await.namespace);
    let move_it = |amount, key| world.store.transfer(transfer(world, from, to, amount, key));
    let first = move_it(10, "a").await.expect("an answer");
    let Transferred::Done(record) = &first else {
        unreachable!("there is enough: {first:?}")
    };
    assert_eq!((record.from, record.to, record.amount), (from, to, micros(10)));
    // Again: the first outcome. Under the same key something else: nothing.
    assert_eq!(move_it(10, "a").await.expect("an answer"), first);
    assert_eq!(move_it(11, "a").await.expect("an answer"), Transferred::Conflict);
    assert_eq!(available(world, from).await, micros(START.micros() - 10));
    let left = micros(START.micros() - 10);
    assert_eq!(
        move_it(START.micros(), "b").await.expect("an answer"),
        Transferred::Insufficient { available: left }
    );
    // 64 at once, and credit for 40 of them.
    let part = left.micros() / 40;
    let tries = (0..64).map(|number| {
        let (store, transfer) = (
            Arc::clone(&world.store),
            transfer(world, from, to, part, &format!("many-{number}")),
        );
        tokio::spawn(async move { store.transfer(transfer).await.expect("an answer") })
    });
    let done = join_all(tries).await;
    let done = done
        .iter()
        .filter(|moved| matches!(moved, Ok(Transferred::Done(_))))
        .count();
    assert_eq!(done, 40);
    assert_eq!(available(world, to).await, micros(10 + 40 * part));
    world
        .store
        .transfer(transfer(world, to, from, 0, "zero"))
        .await
        .expect_err("a transfer of nothing");
}

async fn a_transfer_stays_within_account_and_environment(world: &World) {
    let own = world.key.namespace;
    let stranger = world
        .store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant");
    let mainnet = NewTenant {
        environment: Environment::Mainnet,
        key_hash: B256::left_padding_from(b"main-main"),
        ..world.tenant("main")
    };
    let mainnet = world.store.ensure_tenant(mainnet).await.expect("a namespace");
    let unknown = NamespaceId::new(&world.clock, &world.entropy);
    let cases = [
        (stranger.namespace, own, Transferred::UnknownSource),
        (own, stranger.namespace, Transferred::UnknownTarget),
        (unknown, own, Transferred::UnknownSource),
        (own, unknown, Transferred::UnknownTarget),
        (own, own, Transferred::UnknownTarget),
        (own, mainnet.namespace, Transferred::OtherEnvironment),
    ];
    for (number, (from, to, expected)) in cases.into_iter().enumerate() {
        let moved = world
            .store
            .transfer(transfer(world, from, to, 1, &number.to_string()))
            .await;
        assert_eq!(moved.expect("an answer"), expected);
    }
    assert_eq!(available(world, own).await, START);
}

async fn the_faucet_gives_once_a_day(world: &World) {
    let claim = |namespace, day| FaucetClaim {
        account: world.key.account,
        namespace,
        amount: micros(7),
        day,
        now: world.now(),
    };
    let (own, other) = (world.key.namespace, second(world).await.namespace);
    let claims = (0..8).map(|number| {
        let (store, claim) = (
            Arc::clone(&world.store),
            claim(if number % 2 == 0 { own } else { other }, 1),
        );
        tokio::spawn(async move { store.claim_faucet(claim).await.expect("an answer") })
    });
    let gave = join_all(claims).await;
    let refused = gave.iter().filter(|gave| matches!(gave, Ok(FaucetGave::AlreadyToday)));
    assert_eq!(refused.count(), 7);
    let before = available(world, own).await;
    let next = world.store.claim_faucet(claim(own, 2)).await.expect("an answer");
    assert_eq!(next, FaucetGave::Balance(micros(before.micros() + 7)));
    let mainnet = NewTenant {
        environment: Environment::Mainnet,
        key_hash: B256::left_padding_from(b"main-main"),
        ..world.tenant("main")
    };
    let mainnet = world.store.ensure_tenant(mainnet).await.expect("a namespace");
    let stranger = world
        .store
        .ensure_tenant(world.tenant("other"))
        .await
        .expect("a tenant");
    for namespace in [mainnet.namespace, stranger.namespace] {
        let gave = world.store.claim_faucet(claim(namespace, 3)).await.expect("an answer");
        assert_eq!(gave, FaucetGave::UnknownNamespace);
    }
}

async fn voucher(world: &World, code: u8, max_uses: u32) -> VoucherRecord {
    let voucher = NewVoucher {
        id: VoucherId::new(&world.clock, &world.entropy),
        hash: B256::repeat_byte(code),
        environment: Environment::Testnet,
        amount: micros(100),
        max_uses,
        label: "test".to_owned(),
        expires: None,
        now: world.now(),
    };
    let made = world.store.create_voucher(voucher, world.audit_line()).await;
    made.expect("a voucher")
}

async fn a_voucher_is_redeemed_as_often_as_it_may_be(world: &World) {
    let made = voucher(world, 1, 3).await;
    assert_eq!((made.uses, made.max_uses, made.revoked), (0, 3, None));
    let mut redemptions = Vec::new();
    for number in 0..8 {
        let tenant = world.tenant(&format!("tenant-{number}"));
        let tenant = world.store.ensure_tenant(tenant).await.expect("a tenant");
        redemptions.push(Redemption {
            hash: B256::repeat_byte(1),
            account: tenant.account,
            namespace: tenant.namespace,
            now: world.now(),
        });
    }
    let tries = redemptions.iter().map(|redemption| {
        let (store, redemption) = (Arc::clone(&world.store), *redemption);
        tokio::spawn(async move { store.redeem_voucher(redemption).await.expect("an answer") })
    });
    let mut winner = None;
    let mut won = 0;
    for (redeemed, redemption) in join_all(tries).await.into_iter().zip(&redemptions) {
        match redeemed.expect("an answer") {
            Redeemed::Done { amount, balance } => {
                assert_eq!((amount, balance), (micros(100), micros(100)));
                won += 1;
                winner = Some(*redemption);
            }
            other => assert_eq!(other, Redeemed::Invalid),
        }
    }
    assert_eq!(won, 3);
    // Whoever had it gets the first outcome again, and nobody anything more.
    let winner = winner.expect("somebody");
    let again = world.store.redeem_voucher(winner).await.expect("an answer");
    let first = Redeemed::Done {
        amount: micros(100),
        balance: micros(100),
    };
    assert_eq!(again, first);

    // One that was revoked or has expired is worth nothing, and other namespaces are no way around it.
    let own = Redemption {
        hash: B256::repeat_byte(2),
        account: world.key.account,
        namespace: world.key.namespace,
        now: world.now(),
    };
    assert_eq!(
        world.store.redeem_voucher(own).await.expect("an answer"),
        Redeemed::Invalid
    );
    let other = voucher(world, 2, 5).await;
    let elsewhere = Redemption {
        namespace: winner.namespace,
        ..own
    };
    assert_eq!(
        world.store.redeem_voucher(elsewhere).await.expect("an answer"),
        Redeemed::UnknownNamespace
    );
    let missed = world
        .store
        .revoke_voucher(other.id, vec![Environment::Mainnet], world.audit_line())
        .await;
    assert_eq!(missed.expect("an answer"), None);
    let all = vec![Environment::Testnet, Environment::Mainnet];
    let revoked = world
        .store
        .revoke_voucher(other.id, all.clone(), world.audit_line())
        .await;
    let revoked = revoked.expect("an answer").expect("the voucher");
    assert!(revoked.revoked.is_some());
    assert_eq!(
        world.store.redeem_voucher(own).await.expect("an answer"),
        Redeemed::Invalid
    );
    let again = world.store.revoke_voucher(other.id, all, world.audit_line()).await;
    assert_eq!(again.expect("an answer"), Some(revoked));
}

async fn a_payment_counts_once(world: &World) {
    let payment = |id: &str, amount| NewPayment {
        id: id.to_owned(),
        environment: Environment::Testnet,
        namespace: world.key.namespace,
        amount: micros(amount),
        now: world.now(),
    };
    let tries = (0..8).map(|_| {
        let (store, payment) = (Arc::clone(&world.store), payment("p1", 50));
        tokio::spawn(async move { store.receive_payment(payment).await.expect("an answer") })
    });
    let after = PaymentReceived::Balance(micros(START.micros() + 50));
    for received in join_all(tries).await {
        assert_eq!(received.expect("an answer"), after);
    }
    let receive = |payment| world.store.receive_payment(payment);
    assert_eq!(
        receive(payment("p1", 51)).await.expect("an answer"),
        PaymentReceived::Conflict
    );
    let elsewhere = NewPayment {
        environment: Environment::Mainnet,
        ..payment("p2", 5)
    };
    assert_eq!(
        receive(elsewhere).await.expect("an answer"),
        PaymentReceived::UnknownNamespace
    );
    assert_eq!(available(world, world.key.namespace).await, micros(START.micros() + 50));
}

fn correction(world: &World, what: Corrects, key: &str) -> NewCorrection {
    NewCorrection {
        only: None,
        what,
        idempotency_key: key.to_owned(),
        reason: "a mistake".to_owned(),
        now: world.now(),
    }
}

pub(super) async fn ledger(world: &World, namespace: NamespaceId) -> Vec<LedgerRecord> {
    let page = StatementPage {
        after: None,
        ascending: false,
        limit: 100,
    };
    let lines = world.store.ledger(namespace, page).await.expect("an answer");
    lines.expect("no line to go on from was named")
}

async fn a_correction_undoes_and_never_overdraws(world: &World) {
    let namespace = world.key.namespace;
    let correct = |what, key: &'static str| world.store.correct(correction(world, what, key), world.audit_line());
    // A settlement: the payer has back what it cost.
    let lease = world.leased(micros(1_000)).await;
    world
        .store
        .settle(world.settle_of(lease, micros(500)))
        .await
        .expect("an answer");
    let lines = ledger(world, namespace).await;
    let settled = lines
        .iter()
        .find(|line| line.kind == PostingKind::Settle)
        .expect("a settlement");
    let done = correct(Corrects::Transaction(settled.transaction), "a")
        .await
        .expect("an answer");
    assert!(
        matches!(&done, Corrected::Done { entries, .. } if entries.len() == 3),
        "{done:?}"
    );
    assert_eq!(available(world, namespace).await, START);
    // Again, whatever the key: the first outcome.
    assert_eq!(
        correct(Corrects::Transaction(settled.transaction), "b")
            .await
            .expect("an answer"),
        done
    );
    let hold = lines
        .iter()
        .find(|line| line.kind == PostingKind::Hold)
        .expect("a hold");
    assert_eq!(
        correct(Corrects::Transaction(hold.transaction), "c")
            .await
            .expect("an answer"),
        Corrected::NotCompensable
    );
    assert_eq!(
        correct(Corrects::Transaction(999_999), "d").await.expect("an answer"),
        Corrected::UnknownTransaction
    );
    // The first grant cannot be taken back when it is spent in part.
    world.queued(micros(1)).await;
    let grant = lines.last().expect("the grant").transaction;
    assert!(matches!(
        correct(Corrects::Transaction(grant), "e").await.expect("an answer"),
        Corrected::Insufficient { available, .. } if available == micros(START.micros() - 1)
    ));
    let more = Corrects::Namespace(namespace, micros(5));
    assert!(matches!(
        correct(more, "f").await.expect("an answer"),
        Corrected::Done { .. }
    ));
    assert!(matches!(
        correct(more, "f").await.expect("an answer"),
        Corrected::Done { .. }
    ));
    let other = Corrects::Namespace(namespace, micros(6));
    assert_eq!(correct(other, "f").await.expect("an answer"), Corrected::Conflict);
    assert_eq!(available(world, namespace).await, micros(START.micros() + 4));
    let too_much = Corrects::Namespace(namespace, -micros(START.micros() + 5));
    assert!(matches!(
        correct(too_much, "g").await.expect("an answer"),
        Corrected::Insufficient { .. }
    ));
    let all = Corrects::Namespace(namespace, -micros(START.micros() + 4));
    assert!(matches!(
        correct(all, "h").await.expect("an answer"),
        Corrected::Done { .. }
    ));
    let nobody = Corrects::Namespace(NamespaceId::new(&world.clock, &world.entropy), micros(1));
    assert_eq!(
        correct(nobody, "i").await.expect("an answer"),
        Corrected::UnknownNamespace
    );
}

async fn a_payout_is_of_ones_own_node(world: &World) {
    let (store, account, namespace) = (&world.store, world.key.account, world.key.namespace);
    let payout = |amount: Option<i64>| NewPayout {
        id: TransferId::new(&world.clock, &world.entropy),
        account,
        node: node(1),
        environment: Environment::Testnet,
        namespace,
        amount: amount.map(micros),
        now: world.now(),
    };
    let lease = world.leased(micros(1_000)).await;
    store
        .settle(world.settle_of(lease, micros(1_000)))
        .await
        .expect("an answer");
    assert_eq!(
        store.payout(payout(None)).await.expect("an answer"),
        PaidOut::UnknownNode
    );
    store
        .register_node(node(1), Environment::Testnet, world.now())
        .await
        .expect("a node");
    store
        .bind_node(node(1), Environment::Testnet, account, world.now())
        .await
        .expect("a binding");
    let earned = store.earned(account, Environment::Testnet).await.expect("an answer");
    let earned = earned.nodes.first().expect("the node").payable;
    assert!(earned > Credits::ZERO && earned < micros(1_000));

    let first = payout(Some(10));
    let before = available(world, namespace).await;
    let done = PaidOut::Done {
        amount: micros(10),
        left: micros(earned.micros() - 10),
        balance: micros(before.micros() + 10),
    };
    assert_eq!(store.payout(first.clone()).await.expect("an answer"), done);
    assert_eq!(store.payout(first.clone()).await.expect("an answer"), done);
    let other = NewPayout {
        amount: Some(micros(11)),
        ..first
    };
    assert_eq!(store.payout(other).await.expect("an answer"), PaidOut::Conflict);
    let stranger = store.ensure_tenant(world.tenant("other")).await.expect("a tenant");
    let to_stranger = NewPayout {
        namespace: stranger.namespace,
        ..payout(None)
    };
    assert_eq!(
        store.payout(to_stranger).await.expect("an answer"),
        PaidOut::UnknownNamespace
    );
    let by_stranger = NewPayout {
        account: stranger.account,
        ..payout(None)
    };
    assert_eq!(
        store.payout(by_stranger).await.expect("an answer"),
        PaidOut::UnknownNode
    );
    let available = micros(earned.micros() - 10);
    assert_eq!(
        store.payout(payout(Some(earned.micros()))).await.expect("an answer"),
        PaidOut::Insufficient { available }
    );
    // All of it, eight times at once: once.
    let tries = (0..8).map(|_| {
        let (store, payout) = (Arc::clone(store), payout(None));
        tokio::spawn(async move { store.payout(payout).await.expect("an answer") })
    });
    let done = join_all(tries).await;
    let done = done.iter().filter(|paid| matches!(paid, Ok(PaidOut::Done { .. })));
    assert_eq!(done.count(), 1);
    let now = store.earned(account, Environment::Testnet).await.expect("an answer");
    assert_eq!((now.paid_out, now.nodes[0].payable), (earned, Credits::ZERO));
}

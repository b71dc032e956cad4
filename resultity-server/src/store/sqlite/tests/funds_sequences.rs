//! Random sequences of everything that moves credits, on two accounts: whatever is tried in whatever order, the books stay right
//! and are what a plain count says.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_core::id::{NamespaceId, TransferId, VoucherId};
use resultity_core::job::JobState;

use super::open;
use crate::store::contract::world::{START, World, micros, node};
use crate::store::funds::{
    Corrected, Corrects, FaucetClaim, FaucetGave, NewCorrection, NewPayment, NewPayout, NewTransfer, NewVoucher,
    PaidOut, PaymentReceived, Redeemed, Redemption, Transferred,
};
use crate::store::statements::StatementPage;
use crate::store::{KeyRecord, LeaseRef, NewTenant};

/// How many namespaces the verbs are tried on: two of each account.
const NAMESPACES: usize = 4;

#[derive(Debug, Clone)]
enum Verb {
    Transfer { to: usize, amount: i64, key: u8 },
    Faucet { day: i64 },
    Redeem { voucher: u8 },
    Payment { id: u8, amount: i64 },
    Correct { amount: i64, key: u8 },
    Undo { back: usize },
    Payout { amount: Option<i64>, id: u8 },
    Alert { below: Option<i64> },
    Job { cost: Option<i64> },
    Restart,
}

fn verb() -> impl Strategy<Value = Verb> {
    let some_amount = || 1..1_500_000_i64;
    prop_oneof![
        4 => (0..NAMESPACES, some_amount(), 0..6_u8).prop_map(|(to, amount, key)| Verb::Transfer { to, amount, key }),
        1 => (0..3_i64).prop_map(|day| Verb::Faucet { day }),
        2 => (0..3_u8).prop_map(|voucher| Verb::Redeem { voucher }),
        2 => (0..4_u8, 1..3_i64).prop_map(|(id, amount)| Verb::Payment { id, amount }),
        2 => (-2_000_000..2_000_000_i64, 0..4_u8).prop_map(|(amount, key)| Verb::Correct { amount, key }),
        3 => (0..12_usize).prop_map(|back| Verb::Undo { back }),
        2 => (prop::option::of(some_amount()), 0..5_u8).prop_map(|(amount, id)| Verb::Payout { amount, id }),
        1 => prop::option::of(some_amount()).prop_map(|below| Verb::Alert { below }),
        4 => prop::option::of(0..=50_000_i64).prop_map(|cost| Verb::Job { cost }),
        1 => Just(Verb::Restart),
    ]
}

/// What a plain count says.
struct Model {
    owners: Vec<KeyRecord>,
    balances: HashMap<NamespaceId, i64>,
    nodes: i64,
    corrected: HashSet<i64>,
}

impl Model {
    fn add(&mut self, namespace: NamespaceId, amount: i64) {
        *self.balances.entry(namespace).or_default() += amount;
    }
}

async fn set_up(world: &World) -> Model {
    let mut owners = vec![world.key.clone()];
    for (account, namespace) in [("main", "second"), ("other", "default"), ("other", "second")] {
        let tenant = NewTenant {
            namespace_name: namespace.into(),
            key_hash: resultity_core::canonical::sha256(format!("{account}:{namespace}")),
            ..world.tenant(account)
        };
        owners.push(world.store.ensure_tenant(tenant).await.unwrap());
    }
    for number in 0..3 {
        let voucher = NewVoucher {
            id: VoucherId::new(&world.clock, &world.entropy),
            hash: B256::repeat_byte(number),
            environment: Environment::Testnet,
            amount: micros(1_000),
            max_uses: u32::from(number) + 1,
            label: String::new(),
            expires: None,
            now: world.now(),
        };
        world.store.create_voucher(voucher, world.audit_line()).await.unwrap();
    }
    let (store, testnet) = (&world.store, Environment::Testnet);
    store.register_node(node(1), testnet, world.now()).await.unwrap();
    store
        .bind_node(node(1), testnet, world.key.account, world.now())
        .await
        .unwrap();
    Model {
        balances: HashMap::from([(world.key.namespace, START.micros())]),
        owners,
        nodes: 0,
        corrected: HashSet::new(),
    }
}

/// What a transaction is known by when it is repeated.
fn transfer_id(text: &str) -> TransferId {
    let hash = resultity_core::canonical::sha256(text);
    TransferId::from_uuid(uuid::Uuid::from_slice(&hash[..16]).unwrap())
}

#[derive(Default)]
struct Seen {
    transfers: HashMap<(bool, u8), (NamespaceId, NamespaceId, i64)>,
    payments: HashMap<u8, (NamespaceId, i64)>,
    payouts: HashMap<u8, (NamespaceId, i64)>,
    corrections: HashMap<u8, (NamespaceId, i64)>,
    redeemed: HashMap<(u8, bool), NamespaceId>,
    faucet: HashSet<(bool, i64)>,
}

async fn step(world: &mut World, model: &mut Model, seen: &mut Seen, at: usize, verb: Verb, folder: &std::path::Path) {
    let owner = model.owners[at].clone();
    let is_main = owner.account == world.key.account;
    let has = model.balances.get(&owner.namespace).copied().unwrap_or_default();
    let store = world.store.clone();
    match verb {
        Verb::Transfer { to, amount, key } => {
            let to = model.owners[to].clone();
            let transfer = NewTransfer {
                id: TransferId::new(&world.clock, &world.entropy),
                account: owner.account,
                from: owner.namespace,
                to: to.namespace,
                amount: micros(amount),
                idempotency_key: key.to_string(),
                now: world.now(),
            };
            let moved = store.transfer(transfer).await.unwrap();
            let this = (owner.namespace, to.namespace, amount);
            match seen.transfers.get(&(is_main, key)) {
                Some(before) if *before == this => assert!(matches!(moved, Transferred::Done(_))),
                Some(_) => assert_eq!(moved, Transferred::Conflict),
                None if to.account != owner.account || to.namespace == owner.namespace => {
                    assert_eq!(moved, Transferred::UnknownTarget);
                }
                None if has < amount => assert_eq!(moved, Transferred::Insufficient { available: micros(has) }),
                None => {
                    assert!(matches!(moved, Transferred::Done(_)));
                    seen.transfers.insert((is_main, key), this);
                    model.add(owner.namespace, -amount);
                    model.add(to.namespace, amount);
                }
            }
        }
        Verb::Faucet { day } => {
            let claim = FaucetClaim {
                account: owner.account,
                namespace: owner.namespace,
                amount: micros(77),
                day,
                now: world.now(),
            };
            let gave = store.claim_faucet(claim).await.unwrap();
            if seen.faucet.insert((is_main, day)) {
                assert_eq!(gave, FaucetGave::Balance(micros(has + 77)));
                model.add(owner.namespace, 77);
            } else {
                assert_eq!(gave, FaucetGave::AlreadyToday);
            }
        }
        Verb::Redeem { voucher } => {
            let redemption = Redemption {
                hash: B256::repeat_byte(voucher),
                account: owner.account,
                namespace: owner.namespace,
                now: world.now(),
            };
            let redeemed = store.redeem_voucher(redemption).await.unwrap();
            let uses = seen.redeemed.keys().filter(|(number, _)| *number == voucher).count();
            match seen.redeemed.get(&(voucher, is_main)) {
                Some(before) if *before == owner.namespace => assert!(matches!(redeemed, Redeemed::Done { .. })),
                Some(_) => assert_eq!(redeemed, Redeemed::RedeemedBefore),
                None if uses > usize::from(voucher) => assert_eq!(redeemed, Redeemed::Invalid),
                None => {
                    assert!(matches!(redeemed, Redeemed::Done { .. }));
                    seen.redeemed.insert((voucher, is_main), owner.namespace);
                    model.add(owner.namespace, 1_000);
                }
            }
        }
        Verb::Payment { id, amount } => {
            let payment = NewPayment {
                id: id.to_string(),
                environment: Environment::Testnet,
                namespace: owner.namespace,
                amount: micros(amount),
                now: world.now(),
            };
            let received = store.receive_payment(payment).await.unwrap();
            match seen.payments.get(&id) {
                Some(before) if *before == (owner.namespace, amount) => {
                    assert_eq!(received, PaymentReceived::Balance(micros(has)));
                }
                Some(_) => assert_eq!(received, PaymentReceived::Conflict),
                None => {
                    assert_eq!(received, PaymentReceived::Balance(micros(has + amount)));
                    seen.payments.insert(id, (owner.namespace, amount));
                    model.add(owner.namespace, amount);
                }
            }
        }
        Verb::Correct { amount, key } => {
            let correction = NewCorrection {
                only: None,
                what: Corrects::Namespace(owner.namespace, micros(amount)),
                idempotency_key: key.to_string(),
                reason: "test".into(),
                now: world.now(),
            };
            let corrected = store.correct(correction, world.audit_line()).await.unwrap();
            match seen.corrections.get(&key) {
                _ if amount == 0 => assert_eq!(corrected, Corrected::NotCompensable),
                Some(before) if *before == (owner.namespace, amount) => {
                    assert!(matches!(corrected, Corrected::Done { .. }));
                }
                Some(_) => assert_eq!(corrected, Corrected::Conflict),
                None if has + amount < 0 => assert!(matches!(corrected, Corrected::Insufficient { .. })),
                None => {
                    assert!(matches!(corrected, Corrected::Done { .. }));
                    seen.corrections.insert(key, (owner.namespace, amount));
                    model.add(owner.namespace, amount);
                }
            }
        }
        Verb::Undo { back } => undo(world, model, &owner, back).await,
        Verb::Payout { amount, id } => {
            let payout = NewPayout {
                id: transfer_id(&id.to_string()),
                account: owner.account,
                node: node(1),
                environment: Environment::Testnet,
                namespace: owner.namespace,
                amount: amount.map(micros),
                now: world.now(),
            };
            let paid = store.payout(payout).await.unwrap();
            let wanted = amount.unwrap_or(model.nodes);
            match seen.payouts.get(&id) {
                Some((namespace, before))
                    if *namespace == owner.namespace && amount.is_none_or(|amount| amount == *before) =>
                {
                    assert!(matches!(paid, PaidOut::Done { .. }));
                }
                Some(_) => assert_eq!(paid, PaidOut::Conflict),
                None if !is_main => assert_eq!(paid, PaidOut::UnknownNode),
                None if wanted == 0 || wanted > model.nodes => assert!(matches!(paid, PaidOut::Insufficient { .. })),
                None => {
                    assert!(matches!(paid, PaidOut::Done { .. }), "{paid:?}");
                    seen.payouts.insert(id, (owner.namespace, wanted));
                    model.nodes -= wanted;
                    model.add(owner.namespace, wanted);
                }
            }
        }
        Verb::Alert { below } => {
            let set = store
                .set_credit_alert(owner.account, owner.namespace, below.map(micros))
                .await;
            assert!(set.unwrap());
        }
        Verb::Job { cost } if is_main && owner.namespace == world.key.namespace && has >= 50_000 => {
            let lease: LeaseRef = world.leased(micros(50_000)).await;
            let Some(cost) = cost else {
                let release = world.release_of(lease.job, JobState::Failed);
                store.release(release).await.unwrap();
                return;
            };
            let settle = world.settle_of(lease, micros(cost));
            model.nodes += settle.cost.share(settle.node_share).micros();
            store.settle(settle).await.unwrap();
            model.add(owner.namespace, -cost);
        }
        Verb::Job { .. } => {}
        Verb::Restart => world.store = open(folder),
    }
}

/// Undoes a transaction of the owner's ledger, unless it can't be.
async fn undo(world: &World, model: &mut Model, owner: &KeyRecord, back: usize) {
    let page = StatementPage {
        after: None,
        ascending: false,
        limit: 50,
    };
    let lines = world.store.ledger(owner.namespace, page).await.unwrap().unwrap();
    let Some(line) = lines.get(back) else { return };
    let correction = NewCorrection {
        only: None,
        what: Corrects::Transaction(line.transaction),
        idempotency_key: "ignored".into(),
        reason: "test".into(),
        now: world.now(),
    };
    let corrected = world.store.correct(correction, world.audit_line()).await.unwrap();
    let Corrected::Done { entries, .. } = corrected else {
        return;
    };
    if !model.corrected.insert(line.transaction) {
        return;
    }
    for entry in entries {
        use resultity_core::ledger::LedgerAccount::{Namespace, Node};
        match entry.account {
            Namespace(namespace) => model.add(namespace, entry.amount.micros()),
            Node(..) => model.nodes += entry.amount.micros(),
            _ => {}
        }
    }
}

async fn run(verbs: Vec<(usize, Verb)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(open(folder.path())).await;
    let mut model = set_up(&world).await;
    let mut seen = Seen::default();
    for (at, verb) in verbs {
        step(&mut world, &mut model, &mut seen, at, verb, folder.path()).await;
    }
    let report = world.store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::new(), 0));
    for owner in &model.owners {
        let expected = model.balances.get(&owner.namespace).copied().unwrap_or_default();
        let balance = world.store.balance(owner.namespace).await.unwrap().unwrap();
        assert_eq!(balance.available.micros(), expected);
    }
    let earned = world
        .store
        .earned(world.key.account, Environment::Testnet)
        .await
        .unwrap();
    assert_eq!(earned.nodes[0].payable.micros(), model.nodes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_movements_keeps_the_books_right(
        verbs in prop::collection::vec((0..NAMESPACES, verb()), 1..50),
    ) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(run(verbs));
    }
}

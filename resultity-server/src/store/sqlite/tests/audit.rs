//! An audit has to find what somebody did to the file behind the store's back.

use rstest::rstest;
use rusqlite::Connection;

use super::open;
use crate::store::batches::NewBatch;
use crate::store::contract::world::{World, micros, node};
use crate::store::files::{FinishedFile, NewChunk, NewFile};
use crate::store::funds::{
    Corrects, FaucetClaim, NewCorrection, NewPayment, NewPayout, NewTransfer, NewVoucher, Redemption,
};
use crate::store::statements::StatementPage;
use crate::store::webhooks::NewWebhook;
use crate::store::{Idempotency, NewJob, NewPayload, NewTenant, Store};
use resultity_core::B256;
use resultity_core::id::{BatchId, FileId, TransferId, VoucherId, WebhookId};
use resultity_core::job::{Endpoint, JobState};
use resultity_core::openai::file::FilePurpose;

/// What lets a tampering hand write what the schema forbids.
const UNLOCK: &str = "DROP TRIGGER ledger_entries_no_update; DROP TRIGGER ledger_entries_no_delete;
                      DROP TRIGGER ledger_transactions_no_update; DROP TRIGGER ledger_transactions_no_delete;
                      PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0;";

/// A transfer, a day of the faucet, a voucher, a payment, a payout and two corrections.
async fn move_more(world: &World) {
    let (store, now, key) = (&world.store, world.now(), &world.key);
    let other = NewTenant {
        namespace_name: "second".into(),
        key_hash: B256::repeat_byte(9),
        ..world.tenant("main")
    };
    let other = store.ensure_tenant(other).await.unwrap();
    let transfer = NewTransfer {
        id: TransferId::new(&world.clock, &world.entropy),
        account: key.account,
        from: key.namespace,
        to: other.namespace,
        amount: micros(20),
        idempotency_key: "t".into(),
        now,
    };
    store.transfer(transfer).await.unwrap();
    let claim = FaucetClaim {
        account: key.account,
        namespace: key.namespace,
        amount: micros(30),
        day: 1,
        now,
    };
    store.claim_faucet(claim).await.unwrap();
    let voucher = NewVoucher {
        id: VoucherId::new(&world.clock, &world.entropy),
        hash: B256::repeat_byte(1),
        environment: key.environment,
        amount: micros(40),
        max_uses: 5,
        label: String::new(),
        expires: None,
        now,
    };
    store.create_voucher(voucher, world.audit_line()).await.unwrap();
    let redemption = Redemption {
        hash: B256::repeat_byte(1),
        account: key.account,
        namespace: key.namespace,
        now,
    };
    store.redeem_voucher(redemption).await.unwrap();
    let payment = NewPayment {
        id: "pay-1".into(),
        environment: key.environment,
        namespace: key.namespace,
        amount: micros(60),
        now,
    };
    store.receive_payment(payment).await.unwrap();
    store.register_node(node(1), key.environment, now).await.unwrap();
    store
        .bind_node(node(1), key.environment, key.account, now)
        .await
        .unwrap();
    let payout = NewPayout {
        id: TransferId::new(&world.clock, &world.entropy),
        account: key.account,
        node: node(1),
        environment: key.environment,
        namespace: key.namespace,
        amount: Some(micros(5)),
        now,
    };
    store.payout(payout).await.unwrap();
    // The first transaction is the tenant's grant; the transfer is the newest of the second namespace.
    let page = StatementPage {
        after: None,
        ascending: false,
        limit: 1,
    };
    let lines = store.ledger(other.namespace, page).await.unwrap().unwrap();
    for what in [
        Corrects::Transaction(lines[0].transaction),
        Corrects::Namespace(key.namespace, micros(-3)),
    ] {
        let correction = NewCorrection {
            only: None,
            what,
            idempotency_key: "c".into(),
            reason: "test".into(),
            now,
        };
        store.correct(correction, world.audit_line()).await.unwrap();
    }
}

/// A kept job, a webhook, and a batch with its file.
async fn keep_more(world: &World) {
    let (store, now, namespace) = (&world.store, world.now(), world.key.namespace);
    let payload = NewPayload {
        request: "{}".into(),
        work: "{}".into(),
        expires_at: now,
        most_bytes: None,
        detached: true,
        events: None,
        idempotency: None,
    };
    let kept = NewJob {
        payload: Some(payload),
        ..world.new_job(micros(0))
    };
    store.reserve_and_enqueue(kept, None).await.unwrap();
    let webhook = NewWebhook {
        id: WebhookId::new(&world.clock, &world.entropy),
        namespace,
        environment: world.key.environment,
        url: "https://receiver.example".into(),
        description: String::new(),
        events: Vec::new(),
        enabled: true,
        secret: vec![1],
        now,
    };
    store.create_webhook(webhook, 1).await.unwrap();
    let id = FileId::new(&world.clock, &world.entropy);
    let file = NewFile {
        id,
        namespace,
        now,
        most_files: None,
    };
    store.begin_file(file).await.unwrap();
    let chunk = NewChunk {
        file: id,
        place: 0,
        content: "abc".into(),
        now,
        most_bytes: None,
    };
    store.append_to_file(chunk).await.unwrap();
    let finished = FinishedFile {
        id,
        filename: "a".into(),
        purpose: FilePurpose::Batch,
        expires_at: None,
        now,
    };
    store.finish_file(finished).await.unwrap();
    let batch = NewBatch {
        id: BatchId::new(&world.clock, &world.entropy),
        environment: world.key.environment,
        namespace,
        key: world.key.id,
        endpoint: Endpoint::Embeddings,
        input_file: id,
        metadata: None,
        output_ttl: None,
        now,
        expires_at: now,
        most_open: 1,
        most_files: u64::MAX,
        most_bytes: u64::MAX,
        most_kept: u64::MAX,
        idempotency: Some(Idempotency {
            key: "key:b".into(),
            request_hash: B256::ZERO,
            expires_at: now,
        }),
    };
    store.create_batch(batch).await.unwrap();
}

#[rstest]
#[case::nothing("", &[])]
#[case::an_amount("UPDATE ledger_entries SET amount = amount + 1 WHERE account GLOB 'node:*'", &["sums to", "balance of node:", "was paid"])]
#[case::an_entry_deleted("DELETE FROM ledger_entries WHERE account GLOB 'network:*'", &["sums to", "balance of network:fees:testnet is", "was paid"])]
#[case::a_balance("UPDATE balances SET balance = balance + 1 WHERE account GLOB 'namespace:*'", &["balance of namespace:"])]
#[case::a_balance_gone("DELETE FROM balances WHERE account GLOB 'namespace:*'", &["missing"])]
#[case::a_balance_from_nowhere("INSERT INTO balances VALUES ('namespace:x', 5)", &["has no entries"])]
#[case::a_negative_balance("UPDATE balances SET balance = -1 WHERE account GLOB 'namespace:*'", &["negative"])]
#[case::a_hold_whose_job_is_gone("DELETE FROM jobs WHERE state = 'queued'", &["belongs to no job"])]
#[case::a_job_without_a_hold("UPDATE jobs SET id = 'copy' WHERE state = 'queued' AND detached = 0", &["has 0 in escrow", "has 0 holds", "belongs to no job"])]
#[case::a_hold_left_behind("UPDATE jobs SET state = 'failed', cost = 0, finished_at = 1 WHERE state = 'queued'", &["instead of 0", "0 settlements and 0 releases"])]
#[case::another_hold_than_the_job_says("UPDATE jobs SET held = held + 1 WHERE state = 'queued'", &["in escrow instead of", "has a hold of"])]
#[case::a_transaction_deleted("DELETE FROM ledger_transactions WHERE kind = 'settle'", &["belongs to no transaction", "0 settlements"])]
#[case::a_whole_settlement_deleted("DELETE FROM ledger_entries WHERE transaction_id IN (SELECT id FROM ledger_transactions WHERE kind = 'settle');
    DELETE FROM ledger_transactions WHERE kind = 'settle'", &["0 settlements", "in escrow instead of 0", "has a receipt, but was not settled"])]
#[case::a_second_settlement("INSERT INTO ledger_transactions (id, kind, reference, environment, job, reason, created_at)
    SELECT 1000, kind, reference || '-again', environment, job, reason, created_at FROM ledger_transactions WHERE kind = 'settle';
    INSERT INTO ledger_entries SELECT 1000, account, amount FROM ledger_entries WHERE transaction_id =
        (SELECT id FROM ledger_transactions WHERE kind = 'settle' AND id < 1000)", &["2 settlements", "in escrow instead of 0"])]
#[case::settled_and_released("INSERT INTO ledger_transactions (kind, reference, environment, job, reason, created_at)
    SELECT 'release', reference, environment, job, reason, created_at FROM ledger_transactions WHERE kind = 'settle'", &["1 settlements and 1 releases"])]
#[case::a_cost("UPDATE jobs SET cost = cost - 1 WHERE state = 'succeeded'", &["was paid", "receipt"])]
#[case::a_receipt_deleted("DELETE FROM receipts", &["receipt"])]
#[case::a_transfer("UPDATE transfers SET amount = amount + 1", &["the transfer"])]
#[case::a_transfer_deleted("DELETE FROM transfers", &["that was never made"])]
#[case::a_transfer_to_a_stranger("UPDATE transfers SET account = 'x'", &["not between namespaces of its account"])]
#[case::the_faucet("UPDATE faucet_claims SET day = 2", &["the faucet", "that was never made"])]
#[case::a_use_of_a_voucher("UPDATE vouchers SET uses = 2", &["counts 2 uses of 5, but there are 1"])]
#[case::a_voucher("UPDATE vouchers SET amount = 41", &["the voucher", "is not in the ledger as it was made"])]
#[case::a_redemption_deleted("DELETE FROM voucher_redemptions", &["that was never made", "counts 1 uses"])]
#[case::a_payment("UPDATE payments SET id = 'pay-2'", &["the payment pay-2 is not in the ledger", "a payment pay-1"])]
#[case::a_payment_deleted("DELETE FROM payments", &["that was never made"])]
#[case::a_payout("UPDATE payouts SET node = 'x'", &["the payout"])]
#[case::a_payout_to_a_stranger("UPDATE payouts SET account = 'x'", &["to a namespace of another account"])]
#[case::a_correction("UPDATE ledger_entries SET amount = amount * 2 WHERE transaction_id =
    (SELECT id FROM ledger_transactions WHERE reference GLOB 'transaction:*')", &["does not undo transaction"])]
#[case::a_correction_of_nothing("UPDATE ledger_transactions SET reference = 'transaction:9999' WHERE reference GLOB 'transaction:*'",
    &["is not there or cannot be undone"])]
#[case::an_unknown_kind("UPDATE ledger_transactions SET kind = 'gift' WHERE kind = 'grant'", &["is a gift without a job"])]
#[case::a_hold_without_a_job("UPDATE ledger_transactions SET job = NULL WHERE kind = 'hold'", &["is a hold without a job"])]
#[case::a_line_that_is_not_shown("DELETE FROM namespace_moves", &["is not shown where it belongs"])]
#[case::a_line_that_is_shown_twice("UPDATE namespace_moves SET namespace = 'x' WHERE place = (SELECT min(place) FROM namespace_moves)", &["is shown in the ledger of namespace:x"])]
#[case::points("UPDATE epoch_points SET points = points + 1", &["points, the epochs have"])]
#[case::tokens_of_a_receipt("UPDATE receipts SET completion_tokens = completion_tokens + 1", &["points, the epochs have"])]
#[case::environments_mixed("UPDATE ledger_entries SET account = replace(account, 'testnet', 'mainnet') WHERE account GLOB 'node:*'", &["has an entry of node:mainnet"])]
#[case::a_namespace_moved("UPDATE namespaces SET environment = 'mainnet'", &["has an entry of namespace:", "of another"])]
#[case::a_key_that_spent_less("UPDATE keys SET spent = 1, spend_limit = 5000", &["has spent 1, its jobs say 550"])]
#[case::what_is_kept_of_no_job("UPDATE payloads SET job = 'x'", &["belongs to no job", "is not kept"])]
#[case::what_a_job_needs("UPDATE payloads SET work = ''", &["is not kept"])]
#[case::a_key_of_no_job("INSERT INTO idempotency_keys SELECT namespace, 'k', request_hash, 'x', 1 FROM jobs LIMIT 1", &["stands for no job"])]
#[case::a_key_of_another_namespaces_job("INSERT INTO idempotency_keys SELECT 'x', 'k', request_hash, id, 1 FROM jobs LIMIT 1", &["stands for no job"])]
#[case::kept_for_somebody_else("UPDATE payloads SET namespace = 'x'", &["counts for another namespace", "bytes, but there are 0"])]
#[case::kept_bytes("UPDATE namespaces SET kept_bytes = 1", &["keeps 1 bytes, but there are"])]
#[case::pending_deliveries("UPDATE webhooks SET pending = 7", &["has 7 pending deliveries, but there are 0"])]
#[case::a_file_cut_short("UPDATE files SET bytes = 9", &["has 9 bytes in 1 chunks, but there are 3 in 1"])]
#[case::a_file_of_somebody_else("UPDATE files SET namespace = 'x'", &["of another one"])]
#[case::the_counts_of_a_batch("UPDATE batches SET total = 5, completed = 2", &["counts 2 answers and 0 errors, but has 0 and 0"])]
#[tokio::test]
async fn an_audit_finds(#[case] tampering: &str, #[case] told: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(open(folder.path())).await;
    world.queued(micros(50)).await;
    let lease = world.leased(micros(1_000)).await;
    world.store.settle(world.settle_of(lease, micros(500))).await.unwrap();
    let failed = world.leased(micros(1_000)).await;
    world
        .store
        .release(world.release_of(failed.job, JobState::Failed))
        .await
        .unwrap();
    keep_more(&world).await;
    move_more(&world).await;
    drop(world);

    let raw = Connection::open(folder.path().join("store.db")).unwrap();
    raw.execute_batch(UNLOCK).unwrap();
    raw.execute_batch(tampering).unwrap();
    drop(raw);

    let report = open(folder.path()).audit().await.unwrap();
    assert_eq!((report.transactions > 0, report.jobs > 0), (true, true));
    assert_eq!(report.problems.is_empty(), told.is_empty(), "{:#?}", report.problems);
    for part in told {
        assert!(
            report.problems.iter().any(|problem| problem.contains(part)),
            "no {part:?} in {:#?}",
            report.problems
        );
    }
}

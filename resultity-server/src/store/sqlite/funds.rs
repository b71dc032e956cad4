//! Transfers, faucet, payments, payouts, corrections, grants of administrators.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId};
use resultity_core::ledger::{LedgerAccount, Posting, PostingKind};
use rusqlite::{Connection, Row};
use serde_json::json;

use super::ledger::About;
use super::movements::{self, Posted};
use super::rows::{credits, execute, first, parsed};
use super::{audit_log, tenants};
use crate::store::funds::{
    Corrected, Corrects, FaucetClaim, FaucetGave, NewCorrection, NewPayment, NewPayout, NewTransfer, PaidOut,
    PaymentReceived, TransferRecord, Transferred,
};
use crate::store::{AuditEntry, Grant, Granted, StoreError};

/// Where a namespace counts; of this account, if one is named.
pub(super) fn environment_of(
    connection: &Connection,
    account: Option<AccountId>,
    namespace: NamespaceId,
) -> Result<Option<Environment>, StoreError> {
    first(
        connection,
        "SELECT environment FROM namespaces WHERE id = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR account = ?2)",
        &[&namespace.to_string(), &account.map(|account| account.to_string())],
        |row| parsed(row, 0),
    )
}

/// What a namespace may spend.
pub(super) fn available(connection: &Connection, namespace: NamespaceId) -> Result<Credits, StoreError> {
    movements::balance(connection, LedgerAccount::Namespace(namespace))
}

/// An amount that is more than zero.
fn positive(amount: Credits, what: &str) -> Result<(), StoreError> {
    if amount > Credits::ZERO {
        return Ok(());
    }
    Err(StoreError::Invalid(format!("a {what} of {amount}")))
}

/// Gives credits, and writes down who did.
pub(super) fn grant(connection: &Connection, grant: &Grant, audit: &AuditEntry) -> Result<Granted, StoreError> {
    let reference = &grant.idempotency_key;
    let environment = environment_of(connection, None, grant.namespace)?;
    let known = movements::find(connection, PostingKind::Grant.as_str(), reference)?;
    if let (Some(transaction), Some(environment)) = (known, environment) {
        let posting = Posting::grant(environment, grant.namespace, grant.amount)?;
        if !movements::is_same(connection, transaction, &posting)? {
            return Ok(Granted::Conflict);
        }
    }
    let before = available(connection, grant.namespace)?;
    let granted = tenants::grant(connection, grant)?;
    if let (Granted::Balance(after), true) = (granted, known.is_none()) {
        let entry = AuditEntry {
            environment,
            before: Some(json!({ "available": before.to_string() })),
            after: Some(json!({ "granted": grant.amount.to_string(), "available": after.to_string() })),
            ..audit.clone()
        };
        audit_log::append(connection, &entry)?;
    }
    Ok(granted)
}

/// Moves credits between namespaces of one account.
pub(super) fn transfer(connection: &Connection, transfer: &NewTransfer) -> Result<Transferred, StoreError> {
    positive(transfer.amount, "transfer")?;
    let account = transfer.account.to_string();
    let known = first(
        connection,
        "SELECT id, environment, source, target, amount, created_at FROM transfers
         WHERE account = ?1 AND idempotency_key = ?2",
        &[&account, &transfer.idempotency_key],
        transfer_record,
    )?;
    if let Some(known) = known {
        let same = (known.from, known.to, known.amount) == (transfer.from, transfer.to, transfer.amount);
        return Ok(if same {
            Transferred::Done(known)
        } else {
            Transferred::Conflict
        });
    }
    let owner = Some(transfer.account);
    let Some(environment) = environment_of(connection, owner, transfer.from)? else {
        return Ok(Transferred::UnknownSource);
    };
    match environment_of(connection, owner, transfer.to)? {
        Some(_) if transfer.from == transfer.to => return Ok(Transferred::UnknownTarget),
        Some(other) if other == environment => {}
        Some(_) => return Ok(Transferred::OtherEnvironment),
        None => return Ok(Transferred::UnknownTarget),
    }
    let posting = Posting::between(
        PostingKind::Transfer,
        LedgerAccount::Namespace(transfer.from),
        LedgerAccount::Namespace(transfer.to),
        transfer.amount,
    )?;
    let about = about(&transfer.id, environment, "moved between namespaces", transfer.now);
    match movements::post(connection, &posting, &about.of())? {
        Posted::Insufficient { available, .. } => return Ok(Transferred::Insufficient { available }),
        Posted::Before { .. } => return Ok(Transferred::Conflict),
        Posted::Now => {}
    }
    execute(
        connection,
        "INSERT INTO transfers (id, account, environment, source, target, amount, idempotency_key, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &[
            &transfer.id.to_string(),
            &account,
            &environment.as_str(),
            &transfer.from.to_string(),
            &transfer.to.to_string(),
            &transfer.amount.micros(),
            &transfer.idempotency_key,
            &transfer.now.as_millis(),
        ],
    )?;
    Ok(Transferred::Done(TransferRecord {
        id: transfer.id,
        environment,
        from: transfer.from,
        to: transfer.to,
        amount: transfer.amount,
        created: transfer.now,
    }))
}

fn transfer_record(row: &Row<'_>) -> rusqlite::Result<TransferRecord> {
    Ok(TransferRecord {
        id: parsed(row, 0)?,
        environment: parsed(row, 1)?,
        from: parsed(row, 2)?,
        to: parsed(row, 3)?,
        amount: credits(row, 4)?,
        created: row.get(5).map(Timestamp::from_millis)?,
    })
}

/// Gives the day's credits of the testnet.
pub(super) fn claim_faucet(connection: &Connection, claim: &FaucetClaim) -> Result<FaucetGave, StoreError> {
    positive(claim.amount, "gift of the faucet")?;
    let found = environment_of(connection, Some(claim.account), claim.namespace)?;
    if found != Some(Environment::Testnet) {
        return Ok(FaucetGave::UnknownNamespace);
    }
    let first_today = execute(
        connection,
        "INSERT INTO faucet_claims (account, day, namespace, amount, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, day) DO NOTHING",
        &[
            &claim.account.to_string(),
            &claim.day,
            &claim.namespace.to_string(),
            &claim.amount.micros(),
            &claim.now.as_millis(),
        ],
    )?;
    if first_today == 0 {
        return Ok(FaucetGave::AlreadyToday);
    }
    let reference = format!("{}:{}", claim.account, claim.day);
    let about = about(
        &reference,
        Environment::Testnet,
        "the day's credits of testnet",
        claim.now,
    );
    issue(connection, PostingKind::Faucet, claim.namespace, claim.amount, &about)?;
    Ok(FaucetGave::Balance(available(connection, claim.namespace)?))
}

/// Credits a payment.
pub(super) fn receive_payment(connection: &Connection, payment: &NewPayment) -> Result<PaymentReceived, StoreError> {
    positive(payment.amount, "payment")?;
    let known = first(
        connection,
        "SELECT environment = ?2 AND namespace = ?3 AND amount = ?4 FROM payments WHERE id = ?1",
        &[
            &payment.id,
            &payment.environment.as_str(),
            &payment.namespace.to_string(),
            &payment.amount.micros(),
        ],
        |row| row.get::<_, bool>(0),
    )?;
    match known {
        Some(true) => return Ok(PaymentReceived::Balance(available(connection, payment.namespace)?)),
        Some(false) => return Ok(PaymentReceived::Conflict),
        None => {}
    }
    if environment_of(connection, None, payment.namespace)? != Some(payment.environment) {
        return Ok(PaymentReceived::UnknownNamespace);
    }
    execute(
        connection,
        "INSERT INTO payments (id, environment, namespace, amount, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[
            &payment.id,
            &payment.environment.as_str(),
            &payment.namespace.to_string(),
            &payment.amount.micros(),
            &payment.now.as_millis(),
        ],
    )?;
    let about = about(&payment.id, payment.environment, "paid for", payment.now);
    issue(
        connection,
        PostingKind::Payment,
        payment.namespace,
        payment.amount,
        &about,
    )?;
    Ok(PaymentReceived::Balance(available(connection, payment.namespace)?))
}

/// Moves what a node has earned to a namespace of its owner.
pub(super) fn payout(connection: &Connection, payout: &NewPayout) -> Result<PaidOut, StoreError> {
    if let Some(amount) = payout.amount {
        positive(amount, "payout")?;
    }
    let (id, account, node) = (
        payout.id.to_string(),
        payout.account.to_string(),
        payout.node.to_string(),
    );
    let (environment, namespace) = (payout.environment.as_str(), payout.namespace.to_string());
    let of_node = LedgerAccount::Node(payout.environment, payout.node);
    let done = |amount| -> Result<PaidOut, StoreError> {
        Ok(PaidOut::Done {
            amount,
            left: movements::balance(connection, of_node)?,
            balance: available(connection, payout.namespace)?,
        })
    };
    let known = first(
        connection,
        "SELECT amount, account = ?2 AND node = ?3 AND environment = ?4 AND namespace = ?5 FROM payouts WHERE id = ?1",
        &[&id, &account, &node, &environment, &namespace],
        |row| Ok((credits(row, 0)?, row.get::<_, bool>(1)?)),
    )?;
    match known {
        Some((amount, true)) if payout.amount.is_none_or(|asked| asked == amount) => return done(amount),
        Some(_) => return Ok(PaidOut::Conflict),
        None => {}
    }
    let is_own = first(
        connection,
        "SELECT 1 FROM nodes WHERE id = ?1 AND environment = ?2 AND account = ?3",
        &[&node, &environment, &account],
        |_| Ok(()),
    )?;
    if is_own.is_none() {
        return Ok(PaidOut::UnknownNode);
    }
    if environment_of(connection, Some(payout.account), payout.namespace)? != Some(payout.environment) {
        return Ok(PaidOut::UnknownNamespace);
    }
    let earned = movements::balance(connection, of_node)?;
    let amount = payout.amount.unwrap_or(earned);
    if amount == Credits::ZERO {
        return Ok(PaidOut::Insufficient { available: earned });
    }
    let to = LedgerAccount::Namespace(payout.namespace);
    let posting = Posting::between(PostingKind::Payout, of_node, to, amount)?;
    let about = about(&id, payout.environment, "earned by a node", payout.now);
    match movements::post(connection, &posting, &about.of())? {
        Posted::Insufficient { available, .. } => return Ok(PaidOut::Insufficient { available }),
        Posted::Before { .. } => return Ok(PaidOut::Conflict),
        Posted::Now => {}
    }
    execute(
        connection,
        "INSERT INTO payouts (id, account, node, environment, namespace, amount, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            &id,
            &account,
            &node,
            &environment,
            &namespace,
            &amount.micros(),
            &payout.now.as_millis(),
        ],
    )?;
    done(amount)
}

/// Writes a compensating entry.
pub(super) fn correct(
    connection: &Connection,
    correction: &NewCorrection,
    audit: &AuditEntry,
) -> Result<Corrected, StoreError> {
    let (posting, environment, reference) = match correction.what {
        Corrects::Namespace(namespace, amount) => {
            let Some(environment) = environment_of(connection, None, namespace)? else {
                return Ok(Corrected::UnknownNamespace);
            };
            let (of_namespace, issuance) = (
                LedgerAccount::Namespace(namespace),
                LedgerAccount::Issuance(environment),
            );
            let posting = if amount > Credits::ZERO {
                Posting::between(PostingKind::Correction, issuance, of_namespace, amount)?
            } else {
                Posting::between(PostingKind::Correction, of_namespace, issuance, -amount)?
            };
            (posting, environment, format!("key:{}", correction.idempotency_key))
        }
        Corrects::Transaction(transaction) => match compensation(connection, transaction)? {
            Compensation::Of(_, environment) if correction.only.is_some_and(|only| only != environment) => {
                return Ok(Corrected::UnknownTransaction);
            }
            Compensation::Of(posting, environment) => (posting, environment, format!("transaction:{transaction}")),
            Compensation::Unknown => return Ok(Corrected::UnknownTransaction),
            Compensation::Impossible => return Ok(Corrected::NotCompensable),
        },
    };
    if posting.entries().is_empty() {
        return Ok(Corrected::NotCompensable);
    }
    for entry in posting.entries() {
        // Nobody could spend what a deleted one has.
        if let LedgerAccount::Namespace(namespace) = entry.account
            && environment_of(connection, None, namespace)?.is_none()
        {
            return Ok(Corrected::UnknownNamespace);
        }
    }
    let about = about(&reference, environment, &correction.reason, correction.now);
    let is_new = match movements::post(connection, &posting, &about.of())? {
        Posted::Now => true,
        Posted::Before { same: true } => false,
        Posted::Before { same: false } => return Ok(Corrected::Conflict),
        Posted::Insufficient { account, available } => {
            let account = account.to_string();
            return Ok(Corrected::Insufficient { account, available });
        }
    };
    let transaction = movements::find(connection, PostingKind::Correction.as_str(), &reference)?
        .ok_or_else(|| StoreError::Corrupt("a correction that was just written is missing".to_owned()))?;
    if is_new {
        let entries = posting.entries().iter();
        let moved =
            entries.map(|entry| json!({ "account": entry.account.to_string(), "amount": entry.amount.to_string() }));
        let entry = AuditEntry {
            environment: Some(environment),
            after: Some(json!({ "transaction": transaction.to_string(), "entries": moved.collect::<Vec<_>>() })),
            ..audit.clone()
        };
        audit_log::append(connection, &entry)?;
    }
    Ok(Corrected::Done {
        transaction,
        entries: posting.entries().to_vec(),
    })
}

/// What undoes a transaction.
enum Compensation {
    Of(Posting, Environment),
    Unknown,
    Impossible,
}

fn compensation(connection: &Connection, transaction: i64) -> Result<Compensation, StoreError> {
    let found = first(
        connection,
        "SELECT transactions.kind, transactions.environment, jobs.namespace
         FROM ledger_transactions AS transactions LEFT JOIN jobs ON jobs.id = transactions.job WHERE transactions.id = ?1",
        &[&transaction],
        |row| {
            Ok((
                parsed::<PostingKind>(row, 0)?,
                parsed::<Environment>(row, 1)?,
                super::rows::parsed_if_any::<NamespaceId>(row, 2)?,
            ))
        },
    )?;
    let Some((kind, environment, payer)) = found else {
        return Ok(Compensation::Unknown);
    };
    let entries = movements::entries(connection, transaction)?;
    Ok(match Posting::compensation(kind, &entries, payer) {
        Ok(posting) => Compensation::Of(posting, environment),
        Err(_) => Compensation::Impossible,
    })
}

/// Out of issuance to a namespace: what names it is new.
pub(super) fn issue(
    connection: &Connection,
    kind: PostingKind,
    namespace: NamespaceId,
    amount: Credits,
    about: &Cause<'_>,
) -> Result<(), StoreError> {
    let issuance = LedgerAccount::Issuance(about.environment);
    let posting = Posting::between(kind, issuance, LedgerAccount::Namespace(namespace), amount)?;
    match movements::post(connection, &posting, &about.of())? {
        Posted::Now => Ok(()),
        other => Err(StoreError::Corrupt(format!(
            "a {} of {} that its own table does not have: {other:?}",
            kind.as_str(),
            about.reference
        ))),
    }
}

/// What a posting without a job belongs to.
pub(super) struct Cause<'a> {
    reference: String,
    environment: Environment,
    reason: &'a str,
    now: Timestamp,
}

impl Cause<'_> {
    fn of(&self) -> About<'_> {
        About {
            reference: &self.reference,
            environment: self.environment,
            job: None,
            reason: self.reason,
            now: self.now,
        }
    }
}

pub(super) fn about<'a>(
    reference: &impl ToString,
    environment: Environment,
    reason: &'a str,
    now: Timestamp,
) -> Cause<'a> {
    Cause {
        reference: reference.to_string(),
        environment,
        reason,
        now,
    }
}

//! Moving credits beside jobs: each posting once, and nobody below zero.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::ledger::{Entry, LedgerAccount, Posting};
use rusqlite::Connection;

use super::alerts;
use super::ledger::{self, About};
use super::rows::{all, credits, execute, first, parsed};
use crate::store::StoreError;

/// What became of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Posted {
    /// It is written.
    Now,
    /// One of this kind and reference was there already; whether it was the same.
    Before { same: bool },
    /// An account that would have to give has too little. Nothing was changed.
    Insufficient { account: LedgerAccount, available: Credits },
}

/// Writes a posting that belongs to no job, and changes the balances. All is decided before anything is written.
pub(super) fn post(connection: &Connection, posting: &Posting, about: &About<'_>) -> Result<Posted, StoreError> {
    if let Some(transaction) = find(connection, posting.kind().as_str(), about.reference)? {
        let same = is_same(connection, transaction, posting)?;
        return Ok(Posted::Before { same });
    }
    let gives = |entry: &&Entry| entry.amount < Credits::ZERO && !matches!(entry.account, LedgerAccount::Issuance(_));
    for entry in posting.entries().iter().filter(gives) {
        let available = balance(connection, entry.account)?;
        if available < -entry.amount {
            let account = entry.account;
            return Ok(Posted::Insufficient { account, available });
        }
    }
    ledger::write_once(connection, posting, about)?;
    let transaction = find(connection, posting.kind().as_str(), about.reference)?
        .ok_or_else(|| StoreError::Corrupt("a posting that was just written is missing".to_owned()))?;
    for entry in posting.entries() {
        if gives(&entry) {
            take(connection, entry)?;
        } else {
            give(connection, entry)?;
        }
    }
    for entry in posting.entries() {
        let LedgerAccount::Namespace(namespace) = entry.account else {
            continue;
        };
        execute(
            connection,
            "INSERT INTO namespace_moves (namespace, place, transaction_id) VALUES (?1, ?2, ?3)",
            &[&namespace.to_string(), &place(about.now, transaction), &transaction],
        )?;
        if entry.amount < Credits::ZERO {
            alerts::lowered(connection, namespace, about.environment, about.now)?;
        } else {
            alerts::raised(connection, namespace)?;
        }
    }
    Ok(Posted::Now)
}

/// Takes what an account has to give, if it has it.
fn take(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let account = entry.account.to_string();
    let taken = execute(
        connection,
        "UPDATE balances SET balance = balance - ?2 WHERE account = ?1 AND balance >= ?2",
        &[&account, &(-entry.amount).micros()],
    )?;
    if taken == 1 {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("the balance of {account} vanished")))
}

/// Gives an account more; issuance alone may have less than nothing.
fn give(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO balances (account, balance) VALUES (?1, ?2)
         ON CONFLICT (account) DO UPDATE SET balance = balance + excluded.balance",
        &[&entry.account.to_string(), &entry.amount.micros()],
    )?;
    Ok(())
}

/// The transaction of this kind with this reference.
pub(super) fn find(connection: &Connection, kind: &str, reference: &str) -> Result<Option<i64>, StoreError> {
    first(
        connection,
        "SELECT id FROM ledger_transactions WHERE kind = ?1 AND reference = ?2",
        &[&kind, &reference],
        |row| row.get(0),
    )
}

/// Whether a transaction is what this posting would write.
pub(super) fn is_same(connection: &Connection, transaction: i64, posting: &Posting) -> Result<bool, StoreError> {
    Ok(sorted(entries(connection, transaction)?) == sorted(posting.entries().to_vec()))
}

/// The entries of a transaction.
pub(super) fn entries(connection: &Connection, transaction: i64) -> Result<Vec<Entry>, StoreError> {
    all(
        connection,
        "SELECT account, amount FROM ledger_entries WHERE transaction_id = ?1",
        &[&transaction],
        |row| {
            Ok(Entry {
                account: parsed(row, 0)?,
                amount: credits(row, 1)?,
            })
        },
    )
}

/// What an account has; nothing if it never had anything.
pub(super) fn balance(connection: &Connection, account: LedgerAccount) -> Result<Credits, StoreError> {
    let found = first(
        connection,
        "SELECT balance FROM balances WHERE account = ?1",
        &[&account.to_string()],
        |row| credits(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

/// Where a transaction stands among the ids of jobs: see `namespace_moves`.
pub(super) fn place(now: Timestamp, transaction: i64) -> String {
    let millis = now.as_millis().max(0);
    format!("{:08x}-{:04x}-z{transaction:016}", millis / 65_536, millis % 65_536)
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.account);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{Clock, ManualClock, SeededEntropy};
    use resultity_core::id::JobId;
    use std::time::Duration;

    #[test]
    fn a_place_sorts_among_the_ids_of_jobs_by_time() {
        let (clock, entropy) = (
            ManualClock::new(Timestamp::from_millis(1_800_000_000_000)),
            SeededEntropy::new(1),
        );
        for _ in 0..100 {
            let before = JobId::new(&clock, &entropy).to_string();
            let now = place(clock.now(), 7);
            clock.advance(Duration::from_millis(1));
            let after = JobId::new(&clock, &entropy).to_string();
            assert!(before < now && now < after, "{before} {now} {after}");
        }
    }
}

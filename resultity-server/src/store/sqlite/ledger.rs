//! Writing postings down. What they are made of is decided in [`resultity_core::ledger`].

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::ledger::{Entry, LedgerAccount, LedgerError, Posting};
use rusqlite::Connection;

use super::rows::execute;
use crate::store::StoreError;

/// What a posting belongs to.
pub(super) struct About<'a> {
    /// Makes it happen once per kind of posting.
    pub(super) reference: &'a str,
    /// Where it counts.
    pub(super) environment: Environment,
    /// The job, if it is about one.
    pub(super) job: Option<&'a str>,
    /// Why, for people.
    pub(super) reason: &'a str,
    /// When.
    pub(super) now: Timestamp,
}

/// Writes a posting. False: there is one of this kind and reference already, nothing was changed. The caller sees to
/// the balances.
pub(super) fn write(connection: &Connection, posting: &Posting, about: &About<'_>) -> Result<bool, StoreError> {
    let written = execute(
        connection,
        "INSERT INTO ledger_transactions (kind, reference, environment, job, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, reference) DO NOTHING",
        &[
            &posting.kind().as_str(),
            &about.reference,
            &about.environment.as_str(),
            &about.job,
            &about.reason,
            &about.now.as_millis(),
        ],
    )?;
    if written == 0 {
        return Ok(false);
    }
    let transaction = connection.last_insert_rowid();
    let entries = posting.entries();
    let sql = match entries.len() {
        0 => return Ok(true),
        2 => "INSERT INTO ledger_entries (transaction_id, account, amount) VALUES (?1, ?2, ?3), (?1, ?4, ?5)",
        3 => {
            "INSERT INTO ledger_entries (transaction_id, account, amount)
             VALUES (?1, ?2, ?3), (?1, ?4, ?5), (?1, ?6, ?7)"
        }
        4 => {
            "INSERT INTO ledger_entries (transaction_id, account, amount)
             VALUES (?1, ?2, ?3), (?1, ?4, ?5), (?1, ?6, ?7), (?1, ?8, ?9)"
        }
        other => return Err(StoreError::Invalid(format!("a posting with {other} entries"))),
    };
    let mut statement = connection.prepare_cached(sql)?;
    statement.raw_bind_parameter(1, transaction)?;
    bind(&mut statement, 2, entries.iter())?;
    statement.raw_execute()?;
    Ok(true)
}

/// The same where a posting of this kind and reference must not be there yet: the state of its job says so.
pub(super) fn write_once(connection: &Connection, posting: &Posting, about: &About<'_>) -> Result<(), StoreError> {
    if write(connection, posting, about)? {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!(
        "a second {} of {}",
        posting.kind().as_str(),
        about.reference
    )))
}

/// Adds the entries to the balances. Not for what a namespace spends: that is taken off under a condition instead, in
/// the same operation. Escrows have no row: see `jobs.held`.
pub(super) fn apply(connection: &Connection, posting: &Posting) -> Result<(), StoreError> {
    let rows = || {
        posting
            .entries()
            .iter()
            .filter(|entry| !matches!(entry.account, LedgerAccount::Escrow(_)))
    };
    let sql = match rows().count() {
        0 => return Ok(()),
        1 => {
            "INSERT INTO balances (account, balance) VALUES (?1, ?2)
             ON CONFLICT (account) DO UPDATE SET balance = balance + excluded.balance"
        }
        2 => {
            "INSERT INTO balances (account, balance) VALUES (?1, ?2), (?3, ?4)
             ON CONFLICT (account) DO UPDATE SET balance = balance + excluded.balance"
        }
        3 => {
            "INSERT INTO balances (account, balance) VALUES (?1, ?2), (?3, ?4), (?5, ?6)
             ON CONFLICT (account) DO UPDATE SET balance = balance + excluded.balance"
        }
        other => return Err(StoreError::Invalid(format!("a posting that changes {other} balances"))),
    };
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, 1, rows())?;
    statement.raw_execute()?;
    Ok(())
}

fn bind<'a>(
    statement: &mut rusqlite::Statement<'_>,
    from: usize,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<(), StoreError> {
    for (index, entry) in entries.enumerate() {
        statement.raw_bind_parameter(from + 2 * index, entry.account.to_string())?;
        statement.raw_bind_parameter(from + 2 * index + 1, entry.amount.micros())?;
    }
    Ok(())
}

impl From<LedgerError> for StoreError {
    fn from(error: LedgerError) -> Self {
        Self::Invalid(error.to_string())
    }
}

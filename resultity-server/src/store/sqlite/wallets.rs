//! Wallets that sign in, and what was signed by them.

use resultity_core::Address;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;
use rusqlite::{Connection, Row};

use super::audit_log;
use super::rows::{all, execute, first, parsed};
use crate::store::wallets::{SignedOnce, WalletEntered, WalletLinked, WalletRecord, WalletUnlinked};
use crate::store::{NewNotification, StoreError};

/// How many old nonces are forgotten with each new one.
const FORGOTTEN_AT_ONCE: u32 = 20;

/// As it is kept: lower case.
fn kept(address: Address) -> String {
    format!("{address:#x}")
}

/// Uses a nonce up. False: it was used before.
fn use_nonce(connection: &Connection, signed: &SignedOnce) -> Result<bool, StoreError> {
    execute(
        connection,
        "DELETE FROM used_nonces WHERE nonce IN (SELECT nonce FROM used_nonces WHERE expires_at < ?1 LIMIT ?2)",
        &[&signed.now.as_millis(), &FORGOTTEN_AT_ONCE],
    )?;
    let added = execute(
        connection,
        "INSERT INTO used_nonces (nonce, expires_at) VALUES (?1, ?2) ON CONFLICT (nonce) DO NOTHING",
        &[&signed.nonce, &signed.expires_at.as_millis()],
    )?;
    Ok(added > 0)
}

pub(super) fn account(connection: &Connection, address: Address) -> Result<Option<AccountId>, StoreError> {
    first(
        connection,
        "SELECT account FROM wallets WHERE address = ?1",
        &[&kept(address)],
        |row| parsed(row, 0),
    )
}

pub(super) fn enter(
    connection: &Connection,
    signed: &SignedOnce,
    new_account: Option<AccountId>,
) -> Result<WalletEntered, StoreError> {
    if !use_nonce(connection, signed)? {
        return Ok(WalletEntered::Replayed);
    }
    let now = signed.now.as_millis();
    if let Some(account) = account(connection, signed.address)? {
        execute(
            connection,
            "UPDATE wallets SET last_used_at = ?2 WHERE address = ?1",
            &[&kept(signed.address), &now],
        )?;
        return Ok(WalletEntered::Account(account));
    }
    let Some(account) = new_account else {
        return Ok(WalletEntered::Unknown);
    };
    // The name of an account is a handle for the server's shell; this one is nobody else's.
    execute(
        connection,
        "INSERT INTO accounts (id, name, created_at) VALUES (?1, ?1, ?2)",
        &[&account.to_string(), &now],
    )?;
    execute(
        connection,
        "INSERT INTO wallets (address, account, created_at, last_used_at) VALUES (?1, ?2, ?3, ?3)",
        &[&kept(signed.address), &account.to_string(), &now],
    )?;
    Ok(WalletEntered::Account(account))
}

const COLUMNS: &str = "address, created_at, last_used_at";

fn record(row: &Row<'_>) -> rusqlite::Result<WalletRecord> {
    Ok(WalletRecord {
        address: parsed(row, 0)?,
        created_at: Timestamp::from_millis(row.get(1)?),
        last_used_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
    })
}

pub(super) fn list(connection: &Connection, account: AccountId) -> Result<Vec<WalletRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM wallets WHERE account = ?1 ORDER BY created_at, address");
    all(connection, &sql, &[&account.to_string()], record)
}

pub(super) fn link(
    connection: &Connection,
    account: AccountId,
    signed: &SignedOnce,
    most: u32,
    told: &NewNotification,
) -> Result<WalletLinked, StoreError> {
    if !use_nonce(connection, signed)? {
        return Ok(WalletLinked::Replayed);
    }
    let added = execute(
        connection,
        "INSERT INTO wallets (address, account, created_at)
         SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM wallets WHERE account = ?2) < ?4
         ON CONFLICT (address) DO NOTHING",
        &[
            &kept(signed.address),
            &account.to_string(),
            &signed.now.as_millis(),
            &most,
        ],
    )?;
    if added > 0 {
        audit_log::notify(connection, told)?;
    }
    let sql = format!("SELECT {COLUMNS}, account FROM wallets WHERE address = ?1");
    let found = first(connection, &sql, &[&kept(signed.address)], |row| {
        Ok((record(row)?, parsed::<AccountId>(row, 3)?))
    })?;
    Ok(match found {
        Some((record, owner)) if owner == account => WalletLinked::Linked(record),
        Some(_) => WalletLinked::Taken,
        None => WalletLinked::TooMany,
    })
}

pub(super) fn unlink(
    connection: &Connection,
    account: AccountId,
    address: Address,
    told: &NewNotification,
) -> Result<WalletUnlinked, StoreError> {
    let (address, account) = (kept(address), account.to_string());
    let removed = execute(
        connection,
        "DELETE FROM wallets WHERE address = ?1 AND account = ?2 AND (
             EXISTS (SELECT 1 FROM wallets WHERE account = ?2 AND address <> ?1)
             OR EXISTS (SELECT 1 FROM accounts WHERE id = ?2 AND email IS NOT NULL AND password_hash IS NOT NULL)
         )",
        &[&address, &account],
    )?;
    if removed > 0 {
        audit_log::notify(connection, told)?;
        return Ok(WalletUnlinked::Unlinked);
    }
    let is_there = first(
        connection,
        "SELECT 1 FROM wallets WHERE address = ?1 AND account = ?2",
        &[&address, &account],
        |_| Ok(()),
    )?;
    Ok(is_there.map_or(WalletUnlinked::NotThere, |()| WalletUnlinked::LastCredential))
}

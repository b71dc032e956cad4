//! Second factors and recovery codes.

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;
use rusqlite::Connection;

use super::audit_log;
use super::rows::{count, execute, first};
use crate::store::wallets::{SecondFactorChange, SecondFactorProof, SecondFactorRecord};
use crate::store::{NewNotification, StoreError};

pub(super) fn read(connection: &Connection, account: AccountId) -> Result<Option<SecondFactorRecord>, StoreError> {
    first(
        connection,
        "SELECT secret, confirmed_at, (SELECT count(*) FROM recovery_codes WHERE account = ?1), failures, failed_at
         FROM second_factors WHERE account = ?1",
        &[&account.to_string()],
        |row| {
            Ok(SecondFactorRecord {
                secret: row.get(0)?,
                confirmed_at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
                recovery_codes: row.get(2)?,
                failures: row.get(3)?,
                failed_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            })
        },
    )
}

pub(super) fn begin(
    connection: &Connection,
    account: AccountId,
    secret: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let kept = execute(
        connection,
        "INSERT INTO second_factors (account, secret, last_step, created_at, failures) VALUES (?1, ?2, 0, ?3, 0)
         ON CONFLICT (account) DO UPDATE SET secret = ?2, last_step = 0, created_at = ?3, failures = 0, failed_at = NULL
         WHERE confirmed_at IS NULL",
        &[&account.to_string(), &secret, &now.as_millis()],
    )?;
    Ok(kept > 0)
}

pub(super) fn confirm(
    connection: &Connection,
    account: AccountId,
    secret: &[u8],
    step: u64,
    codes: &[B256],
    told: &NewNotification,
) -> Result<bool, StoreError> {
    let confirmed = execute(
        connection,
        "UPDATE second_factors SET confirmed_at = ?4, last_step = ?3, failures = 0, failed_at = NULL
         WHERE account = ?1 AND secret = ?2 AND confirmed_at IS NULL",
        &[&account.to_string(), &secret, &count(step), &told.now.as_millis()],
    )?;
    if confirmed == 0 {
        return Ok(false);
    }
    replace_codes(connection, account, codes)?;
    audit_log::notify(connection, told)?;
    Ok(true)
}

fn replace_codes(connection: &Connection, account: AccountId, codes: &[B256]) -> Result<(), StoreError> {
    let account = account.to_string();
    execute(connection, "DELETE FROM recovery_codes WHERE account = ?1", &[&account])?;
    for code in codes {
        execute(
            connection,
            "INSERT INTO recovery_codes (account, hash) VALUES (?1, ?2)",
            &[&account, &code.as_slice()],
        )?;
    }
    Ok(())
}

pub(super) fn use_up(
    connection: &Connection,
    account: AccountId,
    proof: SecondFactorProof,
    change: &SecondFactorChange,
) -> Result<bool, StoreError> {
    let name = account.to_string();
    let used = match proof {
        SecondFactorProof::Step(step) => execute(
            connection,
            "UPDATE second_factors SET last_step = ?2 WHERE account = ?1 AND confirmed_at IS NOT NULL AND last_step < ?2",
            &[&name, &count(step)],
        )?,
        SecondFactorProof::RecoveryCode(hash) => execute(
            connection,
            "DELETE FROM recovery_codes WHERE account = ?1 AND hash = ?2
             AND EXISTS (SELECT 1 FROM second_factors WHERE account = ?1 AND confirmed_at IS NOT NULL)",
            &[&name, &hash.as_slice()],
        )?,
    };
    if used == 0 {
        return Ok(false);
    }
    execute(
        connection,
        "UPDATE second_factors SET failures = 0, failed_at = NULL WHERE account = ?1 AND failures > 0",
        &[&name],
    )?;
    match change {
        SecondFactorChange::None => {}
        SecondFactorChange::Remove(told) => {
            execute(connection, "DELETE FROM second_factors WHERE account = ?1", &[&name])?;
            replace_codes(connection, account, &[])?;
            audit_log::notify(connection, told)?;
        }
        SecondFactorChange::RecoveryCodes(codes) => replace_codes(connection, account, codes)?,
    }
    Ok(true)
}

pub(super) fn fail(
    connection: &Connection,
    account: AccountId,
    tell_at: u32,
    told: &NewNotification,
) -> Result<(), StoreError> {
    let failures = first(
        connection,
        "UPDATE second_factors SET failures = failures + 1, failed_at = ?2 WHERE account = ?1 RETURNING failures",
        &[&account.to_string(), &told.now.as_millis()],
        |row| row.get::<_, u32>(0),
    )?;
    if failures == Some(tell_at) {
        audit_log::notify(connection, told)?;
    }
    Ok(())
}

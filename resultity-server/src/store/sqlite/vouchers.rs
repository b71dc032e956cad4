//! Vouchers.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{NamespaceId, VoucherId};
use resultity_core::ledger::PostingKind;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::audit_log;
use super::funds::{about, available, environment_of, issue};
use super::rows::{all, credits, execute, first, parsed};
use super::webhooks::{cursor, time};
use crate::store::funds::{NewVoucher, Redeemed, Redemption, VoucherRecord};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, StoreError};

/// What [`record`] reads, in its order.
const COLUMNS: &str = "id, environment, amount, max_uses, uses, label, expires_at, revoked_at, created_at";

fn record(row: &Row<'_>) -> rusqlite::Result<VoucherRecord> {
    Ok(VoucherRecord {
        id: parsed(row, 0)?,
        environment: parsed(row, 1)?,
        amount: credits(row, 2)?,
        max_uses: row.get(3)?,
        uses: row.get(4)?,
        label: row.get(5)?,
        expires: time(row, 6)?,
        revoked: time(row, 7)?,
        created: row.get(8).map(Timestamp::from_millis)?,
    })
}

/// One of them.
fn read(connection: &Connection, id: VoucherId) -> Result<Option<VoucherRecord>, StoreError> {
    first(
        connection,
        &format!("SELECT {COLUMNS} FROM vouchers WHERE id = ?1"),
        &[&id.to_string()],
        record,
    )
}

/// Makes a voucher.
pub(super) fn create(
    connection: &Connection,
    voucher: &NewVoucher,
    audit: &AuditEntry,
) -> Result<VoucherRecord, StoreError> {
    execute(
        connection,
        "INSERT INTO vouchers (id, hash, environment, amount, max_uses, label, expires_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &[
            &voucher.id.to_string(),
            &voucher.hash.as_slice(),
            &voucher.environment.as_str(),
            &voucher.amount.micros(),
            &voucher.max_uses,
            &voucher.label,
            &voucher.expires.map(Timestamp::as_millis),
            &voucher.now.as_millis(),
        ],
    )?;
    let entry = AuditEntry {
        environment: Some(voucher.environment),
        after: Some(json!({
            "credits": voucher.amount.to_string(), "max_uses": voucher.max_uses, "label": voucher.label
        })),
        ..audit.clone()
    };
    audit_log::append(connection, &entry)?;
    read(connection, voucher.id)?
        .ok_or_else(|| StoreError::Corrupt("a voucher that was just made is missing".to_owned()))
}

/// Those of an environment.
pub(super) fn list(
    connection: &Connection,
    environment: Environment,
    page: &PageOf<VoucherId>,
) -> Result<Vec<VoucherRecord>, StoreError> {
    let (condition, order, after) = cursor(page, "id");
    all(
        connection,
        &format!("SELECT {COLUMNS} FROM vouchers WHERE environment = ?1 AND {condition} ORDER BY id {order} LIMIT ?3"),
        &[&environment.as_str(), &after, &page.limit],
        record,
    )
}

/// Revokes one.
pub(super) fn revoke(
    connection: &Connection,
    id: VoucherId,
    environments: &[Environment],
    audit: &AuditEntry,
) -> Result<Option<VoucherRecord>, StoreError> {
    let Some(voucher) = read(connection, id)?.filter(|voucher| environments.contains(&voucher.environment)) else {
        return Ok(None);
    };
    if voucher.revoked.is_some() {
        return Ok(Some(voucher));
    }
    execute(
        connection,
        "UPDATE vouchers SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        &[&id.to_string(), &audit.now.as_millis()],
    )?;
    let entry = AuditEntry {
        environment: Some(voucher.environment),
        before: Some(json!({ "uses": voucher.uses, "max_uses": voucher.max_uses })),
        ..audit.clone()
    };
    audit_log::append(connection, &entry)?;
    read(connection, id)
}

/// Redeems one.
pub(super) fn redeem(connection: &Connection, redemption: &Redemption) -> Result<Redeemed, StoreError> {
    let found = first(
        connection,
        &format!("SELECT {COLUMNS} FROM vouchers WHERE hash = ?1"),
        &[&redemption.hash.as_slice()],
        record,
    )?;
    let Some(voucher) = found else {
        return Ok(Redeemed::Invalid);
    };
    let (id, account, namespace) = (
        voucher.id.to_string(),
        redemption.account.to_string(),
        redemption.namespace.to_string(),
    );
    let before = first(
        connection,
        "SELECT namespace FROM voucher_redemptions WHERE voucher = ?1 AND account = ?2",
        &[&id, &account],
        |row| parsed::<NamespaceId>(row, 0),
    )?;
    if let Some(before) = before {
        return Ok(if before == redemption.namespace {
            Redeemed::Done {
                amount: voucher.amount,
                balance: available(connection, redemption.namespace)?,
            }
        } else {
            Redeemed::RedeemedBefore
        });
    }
    let owned = environment_of(connection, Some(redemption.account), redemption.namespace)?;
    if owned != Some(voucher.environment) {
        return Ok(Redeemed::UnknownNamespace);
    }
    let used = execute(
        connection,
        "UPDATE vouchers SET uses = uses + 1
         WHERE id = ?1 AND uses < max_uses AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
        &[&id, &redemption.now.as_millis()],
    )?;
    if used == 0 {
        return Ok(Redeemed::Invalid);
    }
    execute(
        connection,
        "INSERT INTO voucher_redemptions (voucher, account, namespace, redeemed_at) VALUES (?1, ?2, ?3, ?4)",
        &[&id, &account, &namespace, &redemption.now.as_millis()],
    )?;
    let reference = format!("{id}:{account}");
    let about = about(&reference, voucher.environment, "a voucher redeemed", redemption.now);
    issue(
        connection,
        PostingKind::Voucher,
        redemption.namespace,
        voucher.amount,
        &about,
    )?;
    Ok(Redeemed::Done {
        amount: voucher.amount,
        balance: available(connection, redemption.namespace)?,
    })
}

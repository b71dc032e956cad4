//! API keys, as their owners manage them.

use std::num::NonZeroU32;

use resultity_core::api::gate::KeyStatus;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::id::{AccountId, KeyId};
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::{Value, json};

use super::rows::{all, credits, execute, first, json_if_any, parsed};
use super::webhooks::cursor;
use super::{audit_log, namespaces};
use crate::store::tenancy::{KeyChange, KeyChanged, KeyDetails, KeyFilter, KeyMade, KeyRotated, NewKey, NewSecret};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, KeyHash, KeyLimits, NamespaceRates, StoreError};

/// The columns that [`limits`] reads.
pub(super) const LIMITS: &str =
    "keys.requests_per_minute, keys.tokens_per_minute, keys.spend_limit, keys.expires_at, keys.models,
    keys.ip_addresses, keys.rates_capped";

/// What a key may do, from the columns [`LIMITS`], the first of which is `at`.
pub(super) fn limits(row: &Row<'_>, at: usize) -> rusqlite::Result<KeyLimits> {
    Ok(KeyLimits {
        requests_per_minute: row.get::<_, Option<u32>>(at)?.and_then(NonZeroU32::new),
        tokens_per_minute: row.get::<_, Option<u32>>(at + 1)?.and_then(NonZeroU32::new),
        spend_limit: row.get::<_, Option<i64>>(at + 2)?.map(Credits::from_micros),
        expires_at: row.get::<_, Option<i64>>(at + 3)?.map(Timestamp::from_millis),
        models: json_if_any(row, at + 4)?,
        addresses: json_if_any(row, at + 5)?,
        is_capped: row.get(at + 6)?,
        namespace: NamespaceRates::default(),
    })
}

/// A column of JSON where there may be nothing.
pub(super) fn json<T: Serialize>(value: Option<&T>) -> Option<String> {
    value.map(|value| json!(value).to_string())
}

/// The columns that [`details`] reads, and where they are from.
fn select() -> String {
    format!(
        "SELECT keys.id, keys.namespace, n.account, n.environment, keys.label, keys.hint, keys.hash, keys.previous_hash,
                keys.previous_until, keys.created_at, keys.revoked_at, keys.spent, {LIMITS}
         FROM namespaces n JOIN keys ON keys.namespace = n.id"
    )
}

fn details(row: &Row<'_>) -> rusqlite::Result<KeyDetails> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let previous = row.get::<_, Option<[u8; 32]>>(7)?.map(KeyHash::from);
    Ok(KeyDetails {
        id: parsed(row, 0)?,
        namespace: parsed(row, 1)?,
        account: parsed(row, 2)?,
        environment: parsed(row, 3)?,
        label: row.get(4)?,
        hint: row.get(5)?,
        hash: KeyHash::from(row.get::<_, [u8; 32]>(6)?),
        previous: previous.zip(time(8)?),
        created: Timestamp::from_millis(row.get(9)?),
        revoked: time(10)?,
        spent: credits(row, 11)?,
        limits: limits(row, 12)?,
    })
}

/// A key of this account; with none, anybody's.
pub(super) fn read(
    connection: &Connection,
    account: Option<AccountId>,
    id: KeyId,
) -> Result<Option<KeyDetails>, StoreError> {
    first(
        connection,
        &format!("{} WHERE keys.id = ?1 AND (?2 IS NULL OR n.account = ?2)", select()),
        &[&id.to_string(), &account.map(|account| account.to_string())],
        details,
    )
}

/// An account's keys.
pub(super) fn list(
    connection: &Connection,
    filter: &KeyFilter,
    page: &PageOf<KeyId>,
) -> Result<Vec<KeyDetails>, StoreError> {
    let (condition, order, after) = cursor(page, "keys.id");
    let status = match filter.status {
        None => "?5 = ?5",
        Some(KeyStatus::Active) => "keys.revoked_at IS NULL AND (keys.expires_at IS NULL OR keys.expires_at > ?5)",
        Some(KeyStatus::Expired) => "keys.revoked_at IS NULL AND keys.expires_at <= ?5",
        // There is no other one: the type may get more in a later version.
        Some(_) => "keys.revoked_at IS NOT NULL AND ?5 = ?5",
    };
    all(
        connection,
        &format!(
            "{} WHERE n.account = ?1 AND {condition} AND n.environment = ?3 AND (?4 IS NULL OR n.id = ?4) AND {status}
             ORDER BY keys.id {order} LIMIT ?6",
            select()
        ),
        &[
            &filter.account.to_string(),
            &after,
            &filter.environment.as_str(),
            &filter.namespace.map(|namespace| namespace.to_string()),
            &filter.now.as_millis(),
            &page.limit,
        ],
        details,
    )
}

/// Makes one.
pub(super) fn create(
    connection: &Connection,
    account: AccountId,
    key: &NewKey,
    most: u32,
    audit: AuditEntry,
) -> Result<KeyMade, StoreError> {
    if namespaces::read(connection, account, key.namespace, key.now)?.is_none() {
        return Ok(KeyMade::UnknownNamespace);
    }
    let namespace = key.namespace.to_string();
    let there = first(
        connection,
        "SELECT count(*) FROM keys WHERE namespace = ?1 AND revoked_at IS NULL",
        &[&namespace],
        |row| row.get::<_, u32>(0),
    )?;
    if there.unwrap_or_default() >= most {
        return Ok(KeyMade::TooMany);
    }
    let limits = &key.limits;
    execute(
        connection,
        "INSERT INTO keys (id, namespace, hash, label, hint, created_at, requests_per_minute, tokens_per_minute, spend_limit,
                           expires_at, models, ip_addresses, rates_capped)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        &[
            &key.id.to_string(),
            &namespace,
            &key.hash.as_slice(),
            &key.label,
            &key.hint,
            &key.now.as_millis(),
            &limits.requests_per_minute.map(NonZeroU32::get),
            &limits.tokens_per_minute.map(NonZeroU32::get),
            &limits.spend_limit.map(Credits::micros),
            &limits.expires_at.map(Timestamp::as_millis),
            &json(limits.models.as_ref()),
            &json(limits.addresses.as_ref()),
            &limits.is_capped,
        ],
    )?;
    let made = known(connection, key.id)?;
    append(connection, audit, None, &made)?;
    Ok(KeyMade::Made(Box::new(made)))
}

/// Changes one.
pub(super) fn update(
    connection: &Connection,
    account: AccountId,
    id: KeyId,
    change: KeyChange,
    audit: AuditEntry,
) -> Result<KeyChanged, StoreError> {
    let Some(before) = read(connection, Some(account), id)? else {
        return Ok(KeyChanged::Unknown);
    };
    if before.revoked.is_some() {
        return Ok(KeyChanged::Revoked);
    }
    let old = before.limits.clone();
    let is_capped = old.is_capped || !(change.requests_per_minute.is_keep() && change.tokens_per_minute.is_keep());
    let begins_to_count = old.spend_limit.is_none();
    let limits = KeyLimits {
        requests_per_minute: change.requests_per_minute.applied_to(old.requests_per_minute),
        tokens_per_minute: change.tokens_per_minute.applied_to(old.tokens_per_minute),
        spend_limit: change.spend_limit.applied_to(old.spend_limit),
        expires_at: change.expires_at.applied_to(old.expires_at),
        models: change.models.applied_to(old.models),
        addresses: change.addresses.applied_to(old.addresses),
        is_capped,
        namespace: old.namespace,
    };
    let key = id.to_string();
    execute(
        connection,
        "UPDATE keys SET label = coalesce(?2, label), requests_per_minute = ?3, tokens_per_minute = ?4, spend_limit = ?5,
                         expires_at = ?6, models = ?7, ip_addresses = ?8, rates_capped = ?9
         WHERE id = ?1",
        &[
            &key,
            &change.label,
            &limits.requests_per_minute.map(NonZeroU32::get),
            &limits.tokens_per_minute.map(NonZeroU32::get),
            &limits.spend_limit.map(Credits::micros),
            &limits.expires_at.map(Timestamp::as_millis),
            &json(limits.models.as_ref()),
            &json(limits.addresses.as_ref()),
            &limits.is_capped,
        ],
    )?;
    if begins_to_count && limits.spend_limit.is_some() {
        // Without a limit nothing was counted. What is held now will be settled or given back as if it had been.
        execute(
            connection,
            "UPDATE keys SET limited_at = ?2, spent = (SELECT coalesce(sum(held), 0) FROM jobs INDEXED BY jobs_open
                                                       WHERE jobs.namespace = keys.namespace AND jobs.key = keys.id
                                                         AND jobs.finished_at IS NULL)
             WHERE id = ?1",
            &[&key, &audit.now.as_millis()],
        )?;
    }
    let changed = known(connection, id)?;
    if changed != before {
        append(connection, audit, Some(&before), &changed)?;
    }
    Ok(KeyChanged::Changed(Box::new(changed)))
}

/// Gives one a new secret.
pub(super) fn rotate(
    connection: &Connection,
    account: AccountId,
    id: KeyId,
    secret: &NewSecret,
    audit: AuditEntry,
) -> Result<KeyRotated, StoreError> {
    let Some(before) = read(connection, Some(account), id)? else {
        return Ok(KeyRotated::Unknown);
    };
    if before.revoked.is_some() {
        return Ok(KeyRotated::Revoked);
    }
    let overlaps = secret.previous_until > audit.now;
    execute(
        connection,
        "UPDATE keys SET previous_hash = ?4, previous_until = ?5, hash = ?2, hint = ?3 WHERE id = ?1",
        &[
            &id.to_string(),
            &secret.hash.as_slice(),
            &secret.hint,
            &overlaps.then_some(before.hash.as_slice()),
            &overlaps.then_some(secret.previous_until.as_millis()),
        ],
    )?;
    let key = known(connection, id)?;
    append(connection, audit, Some(&before), &key)?;
    let outdated = before.hashes().collect();
    Ok(KeyRotated::Rotated {
        key: Box::new(key),
        outdated,
    })
}

/// Revokes one; the first time counts.
pub(super) fn revoke(
    connection: &Connection,
    account: Option<AccountId>,
    id: KeyId,
    audit: AuditEntry,
) -> Result<Option<KeyDetails>, StoreError> {
    let Some(before) = read(connection, account, id)? else {
        return Ok(None);
    };
    if before.revoked.is_some() {
        return Ok(Some(before));
    }
    execute(
        connection,
        "UPDATE keys SET revoked_at = ?2 WHERE id = ?1",
        &[&id.to_string(), &audit.now.as_millis()],
    )?;
    let revoked = known(connection, id)?;
    append(connection, audit, Some(&before), &revoked)?;
    Ok(Some(revoked))
}

/// What people call these keys.
pub(super) fn labels(connection: &Connection, keys: &[KeyId]) -> Result<Vec<(KeyId, String)>, StoreError> {
    let label = |id: &KeyId| {
        let sql = "SELECT label FROM keys WHERE id = ?1";
        let label = first(connection, sql, &[&id.to_string()], |row| row.get(0))?;
        Ok(label.map(|label| (*id, label)))
    };
    keys.iter().filter_map(|id| label(id).transpose()).collect()
}

/// A key that is there.
fn known(connection: &Connection, id: KeyId) -> Result<KeyDetails, StoreError> {
    let missing = || StoreError::Corrupt("a key that was just written is missing".to_owned());
    read(connection, None, id)?.ok_or_else(missing)
}

fn append(
    connection: &Connection,
    audit: AuditEntry,
    before: Option<&KeyDetails>,
    after: &KeyDetails,
) -> Result<(), StoreError> {
    let audit = AuditEntry {
        environment: Some(after.environment),
        before: before.map(told),
        after: Some(told(after)),
        ..audit
    };
    audit_log::append(connection, &audit)
}

/// What the audit log says of a key: no more of its secret than its owner sees.
fn told(key: &KeyDetails) -> Value {
    let limits = &key.limits;
    let mut told = json!({
        "namespace": key.namespace,
        "label": key.label,
        "hint": key.hint,
        "revoked_at": key.revoked.map(Timestamp::as_seconds),
        "previous_secret_expires_at": key.previous.map(|(_, until)| until.as_seconds()),
        "expires_at": limits.expires_at.map(Timestamp::as_seconds),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "spend_limit": limits.spend_limit.map(|credits| credits.to_string()),
        "models": limits.models,
        "ip_addresses": limits.addresses,
    });
    if let Some(fields) = told.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    told
}

//! Namespaces, as their owners manage them.

use resultity_core::api::gate::Retention;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId};
use resultity_core::ledger::LedgerAccount;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::rows::{all, counted, execute, first, parsed};
use super::webhooks::cursor;
use super::{audit_log, deliveries, retention, tenants};
use crate::store::tenancy::{
    NamespaceChange, NamespaceChanged, NamespaceDeletion, NamespaceMade, NamespaceRecord, NewNamespace,
};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, KeyHash, StoreError};

/// What [`record`] reads. The time that says which keys have ended is a number of ours, so that it can stand in the text.
fn columns(now: Timestamp) -> String {
    format!(
        "n.id, n.name, n.environment, n.created_at,
         (SELECT count(*) FROM keys WHERE keys.namespace = n.id AND keys.revoked_at IS NULL
            AND (keys.expires_at IS NULL OR keys.expires_at > {})),
         n.retention, n.retention_days, n.kept_bytes",
        now.as_millis()
    )
}

fn record(row: &Row<'_>) -> rusqlite::Result<NamespaceRecord> {
    Ok(NamespaceRecord {
        id: parsed(row, 0)?,
        name: row.get(1)?,
        environment: parsed(row, 2)?,
        created: Timestamp::from_millis(row.get(3)?),
        keys: row.get(4)?,
        retention: parsed(row, 5)?,
        retention_days: row.get(6)?,
        kept_bytes: counted(row, 7)?,
    })
}

/// Makes one.
pub(super) fn create(
    connection: &Connection,
    namespace: &NewNamespace,
    most: u32,
    audit: AuditEntry,
) -> Result<NamespaceMade, StoreError> {
    let account = namespace.account.to_string();
    let known = first(connection, "SELECT 1 FROM accounts WHERE id = ?1", &[&account], |_| {
        Ok(())
    })?;
    if known.is_none() {
        return Ok(NamespaceMade::UnknownAccount);
    }
    if named(connection, namespace.account, namespace.environment, &namespace.name)?.is_some() {
        return Ok(NamespaceMade::NameTaken);
    }
    let environment = namespace.environment.as_str();
    let there = first(
        connection,
        "SELECT count(*) FROM namespaces WHERE account = ?1 AND environment = ?2 AND deleted_at IS NULL",
        &[&account, &environment],
        |row| row.get::<_, u32>(0),
    )?;
    if there.unwrap_or_default() >= most {
        return Ok(NamespaceMade::TooMany);
    }
    execute(
        connection,
        "INSERT INTO namespaces (id, account, name, environment, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[
            &namespace.id.to_string(),
            &account,
            &namespace.name,
            &environment,
            &namespace.now.as_millis(),
        ],
    )?;
    execute(
        connection,
        "INSERT INTO balances (account, balance) VALUES (?1, 0)",
        &[&LedgerAccount::Namespace(namespace.id).to_string()],
    )?;
    let audit = AuditEntry {
        environment: Some(namespace.environment),
        after: Some(json!({"name": namespace.name})),
        ..audit
    };
    audit_log::append(connection, &audit)?;
    Ok(NamespaceMade::Made(NamespaceRecord {
        id: namespace.id,
        name: namespace.name.clone(),
        environment: namespace.environment,
        keys: 0,
        retention: Retention::default(),
        retention_days: Retention::USUAL_DAYS,
        kept_bytes: 0,
        created: namespace.now,
    }))
}

/// Those of an account and environment.
pub(super) fn list(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
    page: &PageOf<NamespaceId>,
    now: Timestamp,
) -> Result<Vec<NamespaceRecord>, StoreError> {
    let (condition, order, after) = cursor(page, "n.id");
    let sql = format!(
        "SELECT {} FROM namespaces n
         WHERE n.account = ?1 AND n.environment = ?3 AND n.deleted_at IS NULL AND {condition}
         ORDER BY n.id {order} LIMIT ?4",
        columns(now)
    );
    let mut statement = connection.prepare(&sql)?;
    let (account, environment) = (account.to_string(), environment.as_str());
    let rows = statement.query_map((account, after, environment, page.limit), record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One of an account.
pub(super) fn read(
    connection: &Connection,
    account: AccountId,
    id: NamespaceId,
    now: Timestamp,
) -> Result<Option<NamespaceRecord>, StoreError> {
    let sql = format!(
        "SELECT {} FROM namespaces n WHERE n.id = ?1 AND n.account = ?2 AND n.deleted_at IS NULL",
        columns(now)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query((id.to_string(), account.to_string()))?;
    Ok(rows.next()?.map(record).transpose()?)
}

/// The account's namespace of this name.
pub(super) fn named(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
    name: &str,
) -> Result<Option<NamespaceId>, StoreError> {
    first(
        connection,
        "SELECT id FROM namespaces WHERE account = ?1 AND environment = ?2 AND name = ?3",
        &[&account.to_string(), &environment.as_str(), &name],
        |row| parsed(row, 0),
    )
}

/// Changes one.
pub(super) fn update(
    connection: &Connection,
    account: AccountId,
    id: NamespaceId,
    change: &NamespaceChange,
    audit: AuditEntry,
) -> Result<NamespaceChanged, StoreError> {
    let Some(before) = read(connection, account, id, audit.now)? else {
        return Ok(NamespaceChanged::Unknown);
    };
    let after = NamespaceRecord {
        name: change.name.clone().unwrap_or_else(|| before.name.clone()),
        retention: change.retention.unwrap_or(before.retention),
        retention_days: change.retention_days.unwrap_or(before.retention_days),
        ..before.clone()
    };
    if after == before {
        return Ok(NamespaceChanged::Changed(before));
    }
    if after.name != before.name && named(connection, account, before.environment, &after.name)?.is_some() {
        return Ok(NamespaceChanged::NameTaken);
    }
    let namespace = id.to_string();
    let is_none = after.retention == Retention::None && before.retention != Retention::None;
    if is_none && retention::is_busy(connection, &namespace)? {
        return Ok(NamespaceChanged::Busy);
    }
    execute(
        connection,
        "UPDATE namespaces SET name = ?2, retention = ?3, retention_days = ?4 WHERE id = ?1",
        &[
            &namespace,
            &after.name,
            &after.retention.as_str(),
            &after.retention_days,
        ],
    )?;
    if is_none {
        retention::give_up(connection, &namespace)?;
    }
    let keeps_otherwise = (after.retention, after.retention_days) != (before.retention, before.retention_days);
    if keeps_otherwise {
        retention::begin_sweep(connection, &namespace)?;
    }
    let shown = |record: &NamespaceRecord| {
        if keeps_otherwise {
            json!({"name": record.name, "retention": record.retention, "retention_days": record.retention_days})
        } else {
            json!({"name": record.name})
        }
    };
    let audit = AuditEntry {
        environment: Some(before.environment),
        before: Some(shown(&before)),
        after: Some(shown(&after)),
        ..audit
    };
    audit_log::append(connection, &audit)?;
    Ok(NamespaceChanged::Changed(after))
}

/// Deletes one that has nothing.
pub(super) fn delete(
    connection: &Connection,
    account: AccountId,
    id: NamespaceId,
    audit: AuditEntry,
) -> Result<NamespaceDeletion, StoreError> {
    let now = audit.now;
    let Some(before) = read(connection, account, id, now)? else {
        return Ok(NamespaceDeletion::Unknown);
    };
    let namespace = id.to_string();
    let balance = tenants::balance(connection, id)?.unwrap_or_default();
    // A job may hold nothing, and a batch may be between two of its lines.
    let is_busy = first(
        connection,
        "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_open WHERE namespace = ?1 AND finished_at IS NULL)
             OR EXISTS (SELECT 1 FROM batches WHERE namespace = ?1 AND ended_at IS NULL)",
        &[&namespace],
        |row| row.get::<_, bool>(0),
    )?;
    if is_busy.unwrap_or_default() || balance != crate::store::Balance::default() {
        return Ok(NamespaceDeletion::NotEmpty { balance });
    }
    let secrets = all(
        connection,
        "SELECT hash, previous_hash FROM keys WHERE namespace = ?1 AND revoked_at IS NULL",
        &[&namespace],
        |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Option<[u8; 32]>>(1)?)),
    )?;
    let keys = execute(
        connection,
        "UPDATE keys SET revoked_at = ?2 WHERE namespace = ?1 AND revoked_at IS NULL",
        &[&namespace, &now.as_millis()],
    )?;
    let webhooks = all(
        connection,
        "UPDATE webhooks SET enabled = 0 WHERE namespace = ?1 RETURNING id",
        &[&namespace],
        |row| row.get::<_, String>(0),
    )?;
    for webhook in webhooks {
        deliveries::fail_pending(connection, &webhook)?;
    }
    retention::give_up(connection, &namespace)?;
    retention::begin_sweep(connection, &namespace)?;
    execute(
        connection,
        "UPDATE namespaces SET deleted_at = ?2, retention = 'none', name = name || ' (' || id || ')' WHERE id = ?1",
        &[&namespace, &now.as_millis()],
    )?;
    let audit = AuditEntry {
        environment: Some(before.environment),
        before: Some(json!({"name": before.name, "keys": keys})),
        ..audit
    };
    audit_log::append(connection, &audit)?;
    let hashes = secrets.into_iter().flat_map(|(hash, previous)| [Some(hash), previous]);
    Ok(NamespaceDeletion::Deleted {
        keys: u32::try_from(keys).unwrap_or(u32::MAX),
        hashes: hashes.flatten().map(KeyHash::from).collect(),
    })
}

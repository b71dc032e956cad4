//! Accounts, namespaces, keys, and the credits they are given.

use std::num::NonZeroU32;
use std::sync::Arc;

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, KeyId, NamespaceId};
use resultity_core::ledger::{LedgerAccount, Posting};
use rusqlite::{Connection, Row};

use super::api_keys;
use super::ledger::About;
use super::movements;
use super::rows::{credits, execute, first, parsed};
use crate::store::{Balance, Grant, Granted, KeyHash, KeyRecord, NamespaceRates, NewTenant, StoreError};

/// Makes what is missing of account, namespace and key.
pub(super) fn ensure(connection: &Connection, tenant: &NewTenant) -> Result<KeyRecord, StoreError> {
    let now = tenant.now.as_millis();
    let environment = tenant.environment.as_str();
    let limits = &tenant.key_limits;
    execute(
        connection,
        "INSERT INTO accounts (id, name, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
        &[&tenant.account.to_string(), &tenant.account_name, &now],
    )?;
    execute(
        connection,
        "INSERT INTO namespaces (id, account, name, environment, created_at)
         SELECT ?1, accounts.id, ?3, ?4, ?5 FROM accounts WHERE accounts.name = ?2
         ON CONFLICT (account, environment, name) DO NOTHING",
        &[
            &tenant.namespace.to_string(),
            &tenant.account_name,
            &tenant.namespace_name,
            &environment,
            &now,
        ],
    )?;
    execute(
        connection,
        "INSERT INTO keys (id, namespace, hash, label, created_at, requests_per_minute, tokens_per_minute, spend_limit,
                           expires_at, models, ip_addresses, rates_capped, hint)
         SELECT ?1, namespaces.id, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15 FROM namespaces JOIN accounts ON accounts.id = namespaces.account
         WHERE accounts.name = ?2 AND namespaces.name = ?3 AND namespaces.environment = ?4
         ON CONFLICT (hash) DO NOTHING",
        &[
            &tenant.key.to_string(),
            &tenant.account_name,
            &tenant.namespace_name,
            &environment,
            &tenant.key_hash.as_slice(),
            &tenant.key_label,
            &now,
            &limits.requests_per_minute.map(NonZeroU32::get),
            &limits.tokens_per_minute.map(NonZeroU32::get),
            &limits.spend_limit.map(Credits::micros),
            &limits.expires_at.map(Timestamp::as_millis),
            &api_keys::json(limits.models.as_ref()),
            &api_keys::json(limits.addresses.as_ref()),
            &limits.is_capped,
            &tenant.key_hint,
        ],
    )?;
    let record = key(connection, tenant.key_hash)?
        .ok_or_else(|| StoreError::Corrupt("a key that was just made is missing".to_owned()))?;
    execute(
        connection,
        "INSERT INTO balances (account, balance) VALUES (?1, 0) ON CONFLICT (account) DO NOTHING",
        &[&LedgerAccount::Namespace(record.namespace).to_string()],
    )?;
    Ok(record)
}

/// The account with this name.
pub(super) fn account(connection: &Connection, name: &str) -> Result<Option<AccountId>, StoreError> {
    first(connection, "SELECT id FROM accounts WHERE name = ?1", &[&name], |row| {
        parsed(row, 0)
    })
}

/// The key with this hash: that of its secret, or of the one before.
pub(super) fn key(connection: &Connection, hash: KeyHash) -> Result<Option<KeyRecord>, StoreError> {
    let columns = "SELECT keys.id, keys.namespace, namespaces.account, namespaces.environment,
                          keys.revoked_at IS NOT NULL, keys.suspended, namespaces.retention";
    let from = "FROM keys JOIN namespaces ON namespaces.id = keys.namespace
         LEFT JOIN account_plans ON account_plans.account = namespaces.account
             AND account_plans.environment = namespaces.environment
         LEFT JOIN plans ON plans.environment = account_plans.environment AND plans.name = account_plans.plan";
    let limits = format!(
        "plans.requests_per_minute, plans.tokens_per_minute, coalesce(plans.weight, 1), {}",
        api_keys::LIMITS
    );
    let current = format!("{columns}, NULL, {limits} {from} WHERE keys.hash = ?1");
    let found = first(connection, &current, &[&hash.as_slice()], key_record)?;
    if found.is_some() {
        return Ok(found);
    }
    let previous = format!("{columns}, keys.previous_until, {limits} {from} WHERE keys.previous_hash = ?1");
    first(connection, &previous, &[&hash.as_slice()], key_record)
}

fn key_record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let rate = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<u32>>(column)?.and_then(NonZeroU32::new));
    let mut limits = api_keys::limits(row, 11)?;
    limits.namespace = NamespaceRates {
        requests_per_minute: rate(8)?,
        tokens_per_minute: rate(9)?,
        weight: rate(10)?.unwrap_or(NonZeroU32::MIN),
    };
    Ok(KeyRecord {
        id: parsed(row, 0)?,
        namespace: parsed(row, 1)?,
        account: parsed(row, 2)?,
        environment: parsed(row, 3)?,
        revoked: row.get(4)?,
        suspended: row.get(5)?,
        replaced_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        limits: Arc::new(limits),
        retention: parsed(row, 6)?,
    })
}

/// Revokes a key; the first time counts. False: no such key.
pub(super) fn revoke(connection: &Connection, key: KeyId, now: Timestamp) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
        &[&key.to_string(), &now.as_millis()],
    )?;
    Ok(found > 0)
}

/// Gives credits, once per idempotency key.
pub(super) fn grant(connection: &Connection, grant: &Grant) -> Result<Granted, StoreError> {
    if grant.amount <= Credits::ZERO {
        return Err(StoreError::Invalid(format!("a grant of {}", grant.amount)));
    }
    let environment = first(
        connection,
        "SELECT environment FROM namespaces WHERE id = ?1 AND deleted_at IS NULL",
        &[&grant.namespace.to_string()],
        |row| parsed::<Environment>(row, 0),
    )?;
    let Some(environment) = environment else {
        return Ok(Granted::UnknownNamespace);
    };
    let posting = Posting::grant(environment, grant.namespace, grant.amount)?;
    let about = About {
        reference: &grant.idempotency_key,
        environment,
        job: None,
        reason: &grant.reason,
        now: grant.now,
    };
    // One that is there already counts, whatever it was: its key names one payment or request.
    movements::post(connection, &posting, &about)?;
    Ok(Granted::Balance(movements::balance(
        connection,
        LedgerAccount::Namespace(grant.namespace),
    )?))
}

/// What a namespace has. The index is named, or SQLite would read all jobs that the namespace ever had.
pub(super) const BALANCE: &str = "SELECT coalesce((SELECT balance FROM balances WHERE account = ?2), 0),
        (SELECT coalesce(sum(held), 0) FROM jobs INDEXED BY jobs_open WHERE namespace = ?1 AND finished_at IS NULL)
 FROM namespaces WHERE id = ?1";

/// What a namespace has.
pub(super) fn balance(connection: &Connection, namespace: NamespaceId) -> Result<Option<Balance>, StoreError> {
    first(
        connection,
        BALANCE,
        &[&namespace.to_string(), &LedgerAccount::Namespace(namespace).to_string()],
        |row| {
            Ok(Balance {
                available: credits(row, 0)?,
                held: credits(row, 1)?,
            })
        },
    )
}

//! Telling owners that a namespace has little left: once whenever what it has, held or not, falls below the limit that was
//! set. The fall is seen in the operation that makes it.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId, NotificationId};
use resultity_core::ledger::LedgerAccount;
use resultity_core::webhook::EventType;
use rusqlite::Connection;

use super::rows::{all, credits, execute, first, parsed};
use super::webhooks::enqueue_event;
use super::{audit_log, deliveries, enqueued};
use crate::store::funds::LowCredits;
use crate::store::{NewNotification, StoreError};

/// How long a letter is worth being sent: milliseconds.
const LETTER_MS: i64 = 24 * 60 * 60 * 1000;

/// What a namespace (its account in the ledger is `?2`) may spend. Looked at first: most often it is above the limit by
/// itself, and the holds of a namespace can be many.
const AVAILABLE: &str = "coalesce((SELECT balance FROM balances WHERE account = ?2), 0)";

/// What a namespace (`?1`, its account in the ledger `?2`) has, held or not.
const TOTAL: &str = "(coalesce((SELECT balance FROM balances WHERE account = ?2), 0)
    + (SELECT coalesce(sum(held), 0) FROM jobs INDEXED BY jobs_open WHERE namespace = ?1 AND finished_at IS NULL))";

/// Sets or ends the limit. False: the account has no such namespace.
pub(super) fn set(
    connection: &Connection,
    account: AccountId,
    namespace: NamespaceId,
    below: Option<Credits>,
) -> Result<bool, StoreError> {
    let id = namespace.to_string();
    let is_own = first(
        connection,
        "SELECT 1 FROM namespaces WHERE id = ?1 AND account = ?2 AND deleted_at IS NULL",
        &[&id, &account.to_string()],
        |_| Ok(()),
    )?;
    if is_own.is_none() {
        return Ok(false);
    }
    let Some(below) = below else {
        execute(connection, "DELETE FROM credit_alerts WHERE namespace = ?1", &[&id])?;
        return Ok(true);
    };
    execute(
        connection,
        &format!(
            "INSERT INTO credit_alerts (namespace, below, armed) VALUES (?1, ?3, {TOTAL} >= ?3)
             ON CONFLICT (namespace) DO UPDATE SET below = excluded.below, armed = excluded.armed, letter_at = NULL"
        ),
        &[&id, &LedgerAccount::Namespace(namespace).to_string(), &below.micros()],
    )?;
    Ok(true)
}

/// What a namespace has was raised: once it is at the limit again, the next fall is told.
pub(super) fn raised(connection: &Connection, namespace: NamespaceId) -> Result<(), StoreError> {
    execute(
        connection,
        &format!(
            "UPDATE credit_alerts SET armed = 1 WHERE namespace = ?1 AND armed = 0
               AND CASE WHEN {AVAILABLE} >= below THEN 1 ELSE {TOTAL} >= below END"
        ),
        &[&namespace.to_string(), &LedgerAccount::Namespace(namespace).to_string()],
    )?;
    Ok(())
}

/// What a namespace has was lowered: tells its owner if it is below the limit now and was not before.
pub(super) fn lowered(
    connection: &Connection,
    namespace: NamespaceId,
    environment: Environment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = namespace.to_string();
    let fell = execute(
        connection,
        &format!(
            "UPDATE credit_alerts SET armed = 0, told = told + 1, letter_at = ?3
             WHERE namespace = ?1 AND armed = 1
               AND CASE WHEN {AVAILABLE} >= below THEN 0 ELSE {TOTAL} < below END"
        ),
        &[&id, &LedgerAccount::Namespace(namespace).to_string(), &now.as_millis()],
    )?;
    if fell == 0 {
        return Ok(());
    }
    let about = first(
        connection,
        "SELECT namespaces.account, namespaces.name, credit_alerts.below, credit_alerts.told
         FROM credit_alerts JOIN namespaces ON namespaces.id = credit_alerts.namespace WHERE credit_alerts.namespace = ?1",
        &[&id],
        |row| {
            Ok((
                parsed::<AccountId>(row, 0)?,
                row.get::<_, String>(1)?,
                credits(row, 2)?,
                row.get::<_, i64>(3)?,
            ))
        },
    )?;
    let Some((account, name, below, told)) = about else {
        return Err(StoreError::Corrupt(format!("the alert of namespace {id} vanished")));
    };
    // From what it names, not from chance: an operation may be done more than once before it counts.
    let notification = NotificationId::from_uuid(deliveries::uuid_of(now, &format!("credits.low {id} {told}")));
    audit_log::notify(
        connection,
        &NewNotification {
            id: notification,
            account,
            environment: Some(environment),
            kind: EventType::CreditsLow.as_str().to_owned(),
            subject: id,
            message: format!("the namespace {name} has less than {below} credits left"),
            now,
        },
    )?;
    enqueue_event(
        connection,
        namespace,
        environment,
        EventType::CreditsLow,
        &notification.to_string(),
        now,
    )?;
    enqueued::mark(connection)
}

/// Takes the letters that are due; those of yesterday, and those that nobody can get, are given up.
pub(super) fn take_letters(connection: &Connection, most: u32, now: Timestamp) -> Result<Vec<LowCredits>, StoreError> {
    let oldest = now.as_millis().saturating_sub(LETTER_MS);
    let due: Vec<(NamespaceId, Environment, String, Credits, Option<String>, bool)> = all(
        connection,
        "SELECT namespaces.id, namespaces.environment, namespaces.name, credit_alerts.below,
                CASE WHEN accounts.email_confirmed_at IS NOT NULL THEN accounts.email END, credit_alerts.letter_at >= ?2
         FROM credit_alerts JOIN namespaces ON namespaces.id = credit_alerts.namespace
         JOIN accounts ON accounts.id = namespaces.account
         WHERE credit_alerts.letter_at IS NOT NULL ORDER BY credit_alerts.letter_at LIMIT ?1",
        &[&most, &oldest],
        |row| {
            Ok((
                parsed(row, 0)?,
                parsed(row, 1)?,
                row.get(2)?,
                credits(row, 3)?,
                row.get(4)?,
                row.get(5)?,
            ))
        },
    )?;
    let mut letters = Vec::new();
    for (namespace, environment, name, below, email, is_fresh) in due {
        let id = namespace.to_string();
        execute(
            connection,
            "UPDATE credit_alerts SET letter_at = NULL WHERE namespace = ?1",
            &[&id],
        )?;
        let total = first(
            connection,
            &format!("SELECT {TOTAL}"),
            &[&id, &LedgerAccount::Namespace(namespace).to_string()],
            |row| credits(row, 0),
        )?;
        if let (Some(email), true) = (email, is_fresh) {
            letters.push(LowCredits {
                email,
                namespace,
                name,
                environment,
                below,
                total: total.unwrap_or_default(),
            });
        }
    }
    Ok(letters)
}

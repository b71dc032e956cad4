//! What is written beside a change: the line of the audit log, the notification.

use resultity_core::environment::Environment;
use rusqlite::Connection;

use super::rows::execute;
use crate::store::StoreError;
use crate::store::admin::{AuditEntry, NewNotification};

/// Appends a line to the audit log, in the transaction of the change.
pub(super) fn append(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO audit_log (id, actor, action, subject, environment, before, after, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            &entry.id.to_string(),
            &entry.actor.to_string(),
            &entry.action,
            &entry.subject,
            &entry.environment.map(Environment::as_str),
            &entry.before.as_ref().map(ToString::to_string),
            &entry.after.as_ref().map(ToString::to_string),
            &entry.reason,
            &entry.now.as_millis(),
        ],
    )?;
    Ok(())
}

/// Leaves a notification for an account, in the transaction of what it is about.
pub(super) fn notify(connection: &Connection, notification: &NewNotification) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO notifications (id, account, environment, kind, subject, message, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            &notification.id.to_string(),
            &notification.account.to_string(),
            &notification.environment.map(Environment::as_str),
            &notification.kind,
            &notification.subject,
            &notification.message,
            &notification.now.as_millis(),
        ],
    )?;
    Ok(())
}

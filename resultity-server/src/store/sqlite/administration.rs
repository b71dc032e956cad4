//! The audit log and the inboxes as they are read; whether jobs are taken; what there is in numbers.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::AccountId;
use resultity_core::job::Priority;
use resultity_core::ledger::LedgerAccount;
use rusqlite::{Connection, Row, ToSql};
use serde_json::{Value, json};

use super::audit_log;
use super::rows::{all, counted, credits, execute, first, json_if_any, parsed, parsed_if_any};
use crate::store::StoreError;
use crate::store::admin::{
    AuditEntry, AuditFilter, IntakeStop, NewNotification, NotificationFilter, NotificationRecord, OpenJobs, Read,
    Totals,
};

/// Conditions with their values. Only those that are asked for stand in the statement, so that SQLite can use the index
/// that fits.
#[derive(Default)]
pub(super) struct Conditions {
    sql: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    /// `condition` names its value as `?`.
    pub(super) fn add(&mut self, condition: &str, value: impl ToSql + 'static) {
        self.values.push(Box::new(value));
        let place = format!("?{}", self.values.len());
        self.sql.push(condition.replace('?', &place));
    }

    pub(super) fn add_if(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.add(condition, value);
        }
    }

    /// The rest of a statement that reads a page by `column`.
    pub(super) fn page(&mut self, column: &str, after: Option<String>, ascending: bool, limit: u32) -> String {
        let (sign, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
        self.add_if(&format!("{column} {sign} ?"), after);
        self.values.push(Box::new(limit));
        let conditions = if self.sql.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.sql.join(" AND "))
        };
        format!("{conditions} ORDER BY {column} {order} LIMIT ?{}", self.values.len())
    }

    pub(super) fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(Box::as_ref).collect()
    }
}

/// Lines of the audit log.
pub(super) fn audit_lines(connection: &Connection, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
    let mut conditions = Conditions::default();
    conditions.add_if("actor = ?", filter.actor.map(|actor| actor.to_string()));
    conditions.add_if("subject = ?", filter.subject.clone());
    match &filter.action {
        // All that begins so, as a range that the index is good for.
        Some(group) if group.ends_with('.') => {
            conditions.add("action >= ?", group.clone());
            conditions.add("action < ?", format!("{}/", group.trim_end_matches('.')));
        }
        action => conditions.add_if("action = ?", action.clone()),
    }
    conditions.add_if("environment = ?", filter.environment.map(Environment::as_str));
    conditions.add_if(
        "(environment IS NULL OR environment = ?)",
        filter.seen_from.map(Environment::as_str),
    );
    conditions.add_if("created_at >= ?", filter.from.map(Timestamp::as_millis));
    conditions.add_if("created_at < ?", filter.until.map(Timestamp::as_millis));
    let after = filter.after.map(|id| id.to_string());
    let page = conditions.page("id", after, filter.ascending, filter.limit);
    let sql = format!(
        "SELECT id, actor, action, subject, environment, before, after, reason, created_at FROM audit_log {page}"
    );
    all(connection, &sql, &conditions.values(), |row| {
        Ok(AuditEntry {
            id: parsed(row, 0)?,
            actor: parsed(row, 1)?,
            action: row.get(2)?,
            subject: row.get(3)?,
            environment: parsed_if_any(row, 4)?,
            before: json_if_any(row, 5)?,
            after: json_if_any(row, 6)?,
            reason: row.get(7)?,
            now: Timestamp::from_millis(row.get(8)?),
        })
    })
}

/// What an account is told.
pub(super) fn notifications(
    connection: &Connection,
    filter: &NotificationFilter,
) -> Result<Vec<NotificationRecord>, StoreError> {
    let mut conditions = Conditions::default();
    conditions.add("account = ?", filter.account.to_string());
    conditions.add_if(
        "(environment IS NULL OR environment = ?)",
        filter.environment.map(Environment::as_str),
    );
    if filter.unread {
        conditions.sql.push("read_at IS NULL".to_owned());
    }
    let after = filter.after.map(|id| id.to_string());
    let page = conditions.page("id", after, filter.ascending, filter.limit);
    let sql = format!("SELECT id, environment, kind, subject, message, created_at, read_at FROM notifications {page}");
    all(connection, &sql, &conditions.values(), |row| {
        Ok(NotificationRecord {
            notification: NewNotification {
                id: parsed(row, 0)?,
                account: filter.account,
                environment: parsed_if_any(row, 1)?,
                kind: row.get(2)?,
                subject: row.get(3)?,
                message: row.get(4)?,
                now: Timestamp::from_millis(row.get(5)?),
            },
            read_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
        })
    })
}

/// How many were not read.
pub(super) fn unread(
    connection: &Connection,
    account: AccountId,
    environment: Option<Environment>,
) -> Result<u64, StoreError> {
    let found = first(
        connection,
        "SELECT count(*) FROM notifications
         WHERE account = ?1 AND read_at IS NULL AND (?2 IS NULL OR environment IS NULL OR environment = ?2)",
        &[&account.to_string(), &environment.map(Environment::as_str)],
        |row| counted(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

/// Some were read.
pub(super) fn mark_read(
    connection: &Connection,
    account: AccountId,
    environment: Option<Environment>,
    read: &Read,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (account, environment) = (account.to_string(), environment.map(Environment::as_str));
    let now = now.as_millis();
    let mark = |condition: &str, id: String| {
        execute(
            connection,
            &format!(
                "UPDATE notifications SET read_at = ?3
                 WHERE account = ?1 AND read_at IS NULL AND (?2 IS NULL OR environment IS NULL OR environment = ?2)
                   AND {condition}"
            ),
            &[&account, &environment, &now, &id],
        )
    };
    match read {
        Read::These(ids) => {
            for id in ids {
                mark("id = ?4", id.to_string())?;
            }
        }
        Read::UpTo(id) => {
            mark("id <= ?4", id.to_string())?;
        }
    }
    Ok(())
}

/// Whether an environment takes no new jobs.
pub(super) fn intake_stop(connection: &Connection, environment: Environment) -> Result<Option<IntakeStop>, StoreError> {
    first(
        connection,
        "SELECT reason, message, actor, created_at FROM intake_stops WHERE environment = ?1",
        &[&environment.as_str()],
        |row| {
            Ok(IntakeStop {
                reason: row.get(0)?,
                message: row.get(1)?,
                actor: parsed(row, 2)?,
                since: Timestamp::from_millis(row.get(3)?),
            })
        },
    )
}

/// Stops or reopens the intake.
pub(super) fn set_intake(
    connection: &Connection,
    environment: Environment,
    stop: Option<&IntakeStop>,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let before = intake_stop(connection, environment)?;
    let is_same = |old: &IntakeStop, new: &IntakeStop| (&old.reason, &old.message) == (&new.reason, &new.message);
    match (&before, stop) {
        (None, None) => return Ok(()),
        // The same again: who did it first, and when, stays.
        (Some(old), Some(new)) if is_same(old, new) => return Ok(()),
        (_, Some(new)) => execute(
            connection,
            "INSERT INTO intake_stops (environment, reason, message, actor, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (environment) DO UPDATE SET reason = excluded.reason, message = excluded.message",
            &[
                &environment.as_str(),
                &new.reason,
                &new.message,
                &new.actor.to_string(),
                &new.since.as_millis(),
            ],
        )?,
        (Some(_), None) => execute(
            connection,
            "DELETE FROM intake_stops WHERE environment = ?1",
            &[&environment.as_str()],
        )?,
    };
    let audit = AuditEntry {
        environment: Some(environment),
        before: Some(shown(before.as_ref())),
        after: Some(shown(stop)),
        ..audit.clone()
    };
    audit_log::append(connection, &audit)
}

fn shown(stop: Option<&IntakeStop>) -> Value {
    match stop {
        Some(stop) => json!({"stopped": true, "message": stop.message}),
        None => json!({"stopped": false}),
    }
}

/// Jobs that have not ended. The index is named, or SQLite would read all jobs that there ever were.
pub(super) const OPEN_JOBS: &str = "SELECT model, priority, sum(state = 'queued'), sum(state <> 'queued'),
            min(CASE WHEN state = 'queued' THEN created_at END)
     FROM jobs INDEXED BY jobs_open WHERE finished_at IS NULL AND environment = ?1 GROUP BY 1, 2";

/// Jobs that have not ended.
pub(super) fn open_jobs(connection: &Connection, environment: Environment) -> Result<Vec<OpenJobs>, StoreError> {
    all(connection, OPEN_JOBS, &[&environment.as_str()], |row| {
        Ok(OpenJobs {
            model: row.get(0)?,
            priority: parsed::<Priority>(row, 1)?,
            waiting: counted(row, 2)?,
            running: counted(row, 3)?,
            oldest: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        })
    })
}

/// What was issued and not taken back.
pub(super) fn issued(connection: &Connection, environment: Environment) -> Result<Credits, StoreError> {
    let found = first(
        connection,
        "SELECT -balance FROM balances WHERE account = ?1",
        &[&LedgerAccount::Issuance(environment).to_string()],
        |row| credits(row, 0),
    )?;
    Ok(found.unwrap_or_default())
}

/// What there is, in numbers.
pub(super) fn totals(
    connection: &Connection,
    environment: Environment,
    accounts_since: Timestamp,
) -> Result<Totals, StoreError> {
    let name = environment.as_str();
    let mut totals = Totals {
        issued: issued(connection, environment)?,
        ..Totals::default()
    };
    let read = |sql: &str, params: &[&dyn ToSql], read: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>| {
        first(connection, sql, params, |row| read(row)).map(|_| ())
    };
    read(
        "SELECT count(*), count(suspended_at), coalesce(sum(role = 'admin'), 0), coalesce(sum(created_at >= ?1), 0)
         FROM accounts",
        &[&accounts_since.as_millis()],
        &mut |row| {
            totals.accounts = counted(row, 0)?;
            totals.suspended = counted(row, 1)?;
            totals.administrators = counted(row, 2)?;
            totals.new_accounts = counted(row, 3)?;
            Ok(())
        },
    )?;
    read(
        "SELECT (SELECT count(*) FROM namespaces WHERE environment = ?1 AND deleted_at IS NULL),
                (SELECT count(*) FROM keys JOIN namespaces ON namespaces.id = keys.namespace
                 WHERE namespaces.environment = ?1 AND keys.revoked_at IS NULL),
                (SELECT count(*) FROM nodes WHERE environment = ?1),
                (SELECT count(account) FROM nodes WHERE environment = ?1),
                (SELECT count(*) FROM dead_letters WHERE environment = ?1)",
        &[&name],
        &mut |row| {
            totals.namespaces = counted(row, 0)?;
            totals.keys = counted(row, 1)?;
            totals.nodes = counted(row, 2)?;
            totals.nodes_bound = counted(row, 3)?;
            totals.dead_letters = counted(row, 4)?;
            Ok(())
        },
    )?;
    let fees = LedgerAccount::Fees(environment).to_string();
    // `;` sorts right behind `:`.
    let (nodes_from, nodes_until) = (format!("node:{name}:"), format!("node:{name};"));
    read(
        "SELECT (SELECT coalesce(sum(balance), 0) FROM namespaces
                 JOIN balances ON balances.account = 'namespace:' || namespaces.id WHERE namespaces.environment = ?1),
                (SELECT coalesce(sum(held), 0) FROM jobs INDEXED BY jobs_open
                 WHERE finished_at IS NULL AND environment = ?1),
                (SELECT coalesce(sum(balance), 0) FROM balances WHERE account >= ?2 AND account < ?3),
                coalesce((SELECT balance FROM balances WHERE account = ?4), 0)",
        &[&name, &nodes_from, &nodes_until, &fees],
        &mut |row| {
            totals.available = credits(row, 0)?;
            totals.held = credits(row, 1)?;
            totals.earned = credits(row, 2)?;
            totals.fees = credits(row, 3)?;
            Ok(())
        },
    )?;
    Ok(totals)
}

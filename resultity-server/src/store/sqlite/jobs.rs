//! A job up to its end: admission with its hold, leases, and back to the queue.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::id::JobId;
use resultity_core::job::{Attempt, JobState};
use resultity_core::ledger::{LedgerAccount, Posting};
use rusqlite::{Connection, Row, ToSql};

use super::ledger::{self, About};
use super::retention::Keeping;
use super::rows::{count, credits, execute, first, parsed, parsed_if_any};
use super::{detached, retention};
use crate::store::{Admission, EventSource, JobRecord, LeaseRef, Leased, NewJob, NewLease, StoreError};

/// Takes the hold from the balance. Whatever stands against it is a condition here, so that a refusal has nothing to undo.
macro_rules! hold {
    ($limit:literal) => {
        concat!(
            "UPDATE balances SET balance = balance - ?1
             WHERE account = ?2 AND balance >= ?1
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?3)
               AND EXISTS (SELECT 1 FROM keys JOIN namespaces ON namespaces.id = keys.namespace
                           WHERE keys.id = ?4 AND keys.namespace = ?5 AND keys.revoked_at IS NULL AND keys.suspended = 0
                             AND namespaces.environment = ?6 AND ",
            $limit,
            ")"
        )
    };
}
const HOLD_WITHOUT_LIMIT: &str = hold!("keys.spend_limit IS NULL");
const HOLD_WITHIN_LIMIT: &str = hold!("keys.spent + ?1 <= keys.spend_limit");

/// Holds the ceiling and queues or leases the job.
pub(super) fn admit(connection: &Connection, job: &NewJob, lease: Option<&NewLease>) -> Result<Admission, StoreError> {
    let posting = Posting::hold(job.namespace, job.id, job.hold)?;
    let id = job.id.to_string();
    let namespace = job.namespace.to_string();
    let key = job.key.to_string();
    let environment = job.environment.as_str();
    let account = LedgerAccount::Namespace(job.namespace).to_string();
    if let Some(known) = detached::repeated(connection, job)? {
        return Ok(known);
    }
    let payload = match &job.payload {
        None => None,
        Some(payload) => match retention::keeping(connection, job, payload)? {
            Keeping::Until(until) => Some((payload, until)),
            Keeping::Not => None,
            Keeping::Refused(refusal) => return Ok(refusal),
        },
    };
    // Most keys have no limit, and nothing to count.
    let params: [&dyn ToSql; 6] = [&job.hold.micros(), &account, &id, &key, &namespace, &environment];
    if execute(connection, HOLD_WITHOUT_LIMIT, &params)? == 0 {
        if execute(connection, HOLD_WITHIN_LIMIT, &params)? == 0 {
            return refusal(connection, job.hold, &id, &key, &namespace, environment, &account);
        }
        spend(connection, &key, job.hold, Credits::ZERO)?;
    }
    let (state, attempt) = match lease {
        Some(_) => (JobState::Leased, Attempt::FIRST.get()),
        None => (JobState::Queued, 0),
    };
    execute(
        connection,
        "INSERT INTO jobs (id, environment, namespace, key, kind, model, model_version, stream, held, request_hash,
                           created_at, deadline, state, attempt, node, lease_token, lease_deadline, endpoint,
                           asked_model, priority, detached, events)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
        &[
            &id,
            &environment,
            &namespace,
            &key,
            &job.kind.as_str(),
            &job.model,
            &job.model_version,
            &job.stream,
            &job.hold.micros(),
            &job.request_hash.as_slice(),
            &job.now.as_millis(),
            &job.deadline.as_millis(),
            &state.as_str(),
            &attempt,
            &lease.map(|lease| lease.node.to_string()),
            &lease.map(|lease| lease.token.to_string()),
            &lease.map(|lease| lease.deadline.as_millis()),
            &job.endpoint.as_str(),
            // Most ask by the name itself: a few bytes less in each row.
            &(job.asked_model != job.model).then_some(&job.asked_model),
            &job.priority.as_str(),
            &job.payload.as_ref().is_some_and(|payload| payload.detached),
            &job.payload
                .as_ref()
                .and_then(|payload| payload.events)
                .map(EventSource::as_str),
        ],
    )?;
    if let Some((payload, until)) = payload {
        detached::keep(connection, &id, &namespace, payload, until)?;
    }
    let about = About {
        reference: &id,
        environment: job.environment,
        job: Some(&id),
        reason: "job accepted",
        now: job.now,
    };
    ledger::write_once(connection, &posting, &about)?;
    Ok(Admission::Admitted)
}

/// Counts what a key with a limit spends: what is held more, less what is given back.
pub(super) fn spend(connection: &Connection, key: &str, more: Credits, less: Credits) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE keys SET spent = max(0, spent + ?2 - ?3) WHERE id = ?1 AND spend_limit IS NOT NULL",
        &[&key, &more.micros(), &less.micros()],
    )?;
    Ok(())
}

/// Why nothing was held.
fn refusal(
    connection: &Connection,
    hold: Credits,
    id: &str,
    key: &str,
    namespace: &str,
    environment: &str,
    account: &str,
) -> Result<Admission, StoreError> {
    let (exists, key_good, is_suspended, available, left) = first(
        connection,
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1),
                EXISTS (SELECT 1 FROM keys JOIN namespaces ON namespaces.id = keys.namespace
                        WHERE keys.id = ?2 AND keys.namespace = ?3 AND keys.revoked_at IS NULL AND keys.suspended = 0
                          AND namespaces.environment = ?4),
                EXISTS (SELECT 1 FROM keys WHERE id = ?2 AND namespace = ?3 AND revoked_at IS NULL AND suspended <> 0),
                coalesce((SELECT balance FROM balances WHERE account = ?5), 0),
                (SELECT spend_limit - spent FROM keys WHERE id = ?2)",
        &[&id, &key, &namespace, &environment, &account],
        |row| {
            // A limit can be set below what was spent.
            let left = row
                .get::<_, Option<i64>>(4)?
                .map(|left| Credits::from_micros(left.max(0)));
            Ok((
                row.get::<_, bool>(0)?,
                row.get::<_, bool>(1)?,
                row.get::<_, bool>(2)?,
                credits(row, 3)?,
                left,
            ))
        },
    )?
    .unwrap_or((false, false, false, Credits::ZERO, None));
    Ok(match (exists, key_good, left) {
        (true, ..) => Admission::Admitted,
        (false, false, _) if is_suspended => Admission::AccountSuspended,
        (false, false, _) => Admission::KeyRevoked,
        // Adding credits helps only where the key's own limit leaves room for them.
        (false, true, Some(left)) if left < hold.min(available) => Admission::SpendLimit { left },
        (false, true, _) => Admission::Insufficient { available },
    })
}

/// Leases a queued job.
pub(super) fn lease(connection: &Connection, job: JobId, lease: &NewLease) -> Result<Leased, StoreError> {
    let (id, token) = (job.to_string(), lease.token.to_string());
    let leased = first(
        connection,
        "UPDATE jobs SET state = 'leased', attempt = attempt + 1, node = ?2, lease_token = ?3, lease_deadline = ?4
         WHERE id = ?1 AND state = 'queued' RETURNING attempt",
        &[&id, &lease.node.to_string(), &token, &lease.deadline.as_millis()],
        |row| attempt(row, 0),
    )?;
    if let Some(Some(attempt)) = leased {
        return Ok(Leased::Attempt(attempt));
    }
    let found = first(
        connection,
        "SELECT state, attempt, lease_token = ?2 FROM jobs WHERE id = ?1",
        &[&id, &token],
        |row| {
            Ok((
                parsed::<JobState>(row, 0)?,
                attempt(row, 1)?,
                row.get::<_, Option<bool>>(2)?,
            ))
        },
    )?;
    Ok(match found {
        // The same call again.
        Some((state, Some(attempt), Some(true))) if state.is_leased() => Leased::Attempt(attempt),
        Some((state, ..)) => Leased::NotQueued(state),
        None => Leased::UnknownJob,
    })
}

/// `leased` becomes `running`.
pub(super) fn mark_running(connection: &Connection, lease: &LeaseRef) -> Result<bool, StoreError> {
    let (id, token) = (lease.job.to_string(), lease.token.to_string());
    let changed = execute(
        connection,
        "UPDATE jobs SET state = 'running' WHERE id = ?1 AND attempt = ?2 AND lease_token = ?3 AND state = 'leased'",
        &[&id, &lease.attempt.get(), &token],
    )?;
    if changed > 0 {
        return Ok(true);
    }
    let running = first(
        connection,
        "SELECT 1 FROM jobs WHERE id = ?1 AND attempt = ?2 AND lease_token = ?3 AND state = 'running'",
        &[&id, &lease.attempt.get(), &token],
        |_| Ok(()),
    )?;
    Ok(running.is_some())
}

/// Moves deadlines; gives the leases that are still there.
pub(super) fn renew(connection: &Connection, leases: &[(LeaseRef, Timestamp)]) -> Result<Vec<LeaseRef>, StoreError> {
    let mut kept = Vec::with_capacity(leases.len());
    for (lease, deadline) in leases {
        let changed = execute(
            connection,
            "UPDATE jobs SET lease_deadline = ?4
             WHERE id = ?1 AND attempt = ?2 AND lease_token = ?3 AND (state = 'leased' OR state = 'running')",
            &[
                &lease.job.to_string(),
                &lease.attempt.get(),
                &lease.token.to_string(),
                &deadline.as_millis(),
            ],
        )?;
        if changed > 0 {
            kept.push(*lease);
        }
    }
    Ok(kept)
}

/// Queues a leased job again. The token goes, so that nothing can be done in the name of the lost lease.
pub(super) fn requeue(
    connection: &Connection,
    lease: &LeaseRef,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = lease.job.to_string();
    let node: Option<String> = first(
        connection,
        "UPDATE jobs SET state = 'queued', lease_token = NULL, lease_deadline = NULL
         WHERE id = ?1 AND attempt = ?2 AND lease_token = ?3 AND (state = 'leased' OR state = 'running') RETURNING node",
        &[&id, &lease.attempt.get(), &lease.token.to_string()],
        |row| row.get(0),
    )?;
    let Some(node) = node else { return Ok(false) };
    keep_attempt(connection, &id, lease.attempt.get(), &node, reason, now)?;
    Ok(true)
}

/// Writes down that a lease ended without a result.
pub(super) fn keep_attempt(
    connection: &Connection,
    job: &str,
    attempt: u32,
    node: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO attempts (job, attempt, node, reason, ended_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[&job, &attempt, &node, &reason, &now.as_millis()],
    )?;
    Ok(())
}

/// What is known of a job.
pub(super) fn read(connection: &Connection, id: JobId) -> Result<Option<JobRecord>, StoreError> {
    first(
        connection,
        "SELECT id, environment, namespace, state, attempt, node, held, cost, error_code FROM jobs WHERE id = ?1",
        &[&id.to_string()],
        |row| {
            Ok(JobRecord {
                id: parsed(row, 0)?,
                environment: parsed(row, 1)?,
                namespace: parsed(row, 2)?,
                state: parsed(row, 3)?,
                attempt: attempt(row, 4)?,
                node: parsed_if_any(row, 5)?,
                held: credits(row, 6)?,
                cost: row.get::<_, Option<i64>>(7)?.map(Credits::from_micros),
                error_code: row.get(8)?,
            })
        },
    )
}

/// Writes one row to find out whether that is possible.
pub(super) fn ping(connection: &Connection) -> Result<(), StoreError> {
    let changed = execute(
        connection,
        "UPDATE write_checks SET count = count + ?1 WHERE id = 1",
        &[&count(1)],
    )?;
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::Corrupt("the row for write checks is missing".to_owned()))
    }
}

/// Zero leases are no attempt.
fn attempt(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Attempt>> {
    Ok(Attempt::new(row.get(column)?))
}

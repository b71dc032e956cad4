//! Dead letters: made where a job ends, read and decided about by administrators.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::JobId;
use resultity_core::job::JobState;
use rusqlite::{Connection, Row};

use super::rows::{all, behind, count, execute, first, parsed};
use super::{SqliteStore, audit_log};
use crate::store::admin::{AuditEntry, NewNotification};
use crate::store::letters::{
    Claimed, LetterEnded, LetterFilter, LetterRecord, LetterStore, LetterWork, MOST, MOST_BYTES,
    MOST_BYTES_OF_A_NAMESPACE, MOST_OF_A_NAMESPACE,
};
use crate::store::{EventSource, Release, StoreError};

#[async_trait]
impl LetterStore for SqliteStore {
    async fn dead_letters(&self, filter: LetterFilter) -> Result<Vec<LetterRecord>, StoreError> {
        self.readers.call(move |connection| list(connection, &filter)).await
    }

    async fn claim_dead_letter(
        &self,
        job: JobId,
        environment: Option<Environment>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claimed, StoreError> {
        self.writer
            .call(move |connection| claim(connection, job, environment, now, until))
            .await
    }

    async fn give_back_dead_letter(&self, job: JobId) -> Result<(), StoreError> {
        self.writer.call(move |connection| give_back(connection, job)).await
    }

    async fn dead_letter_requeued(
        &self,
        job: JobId,
        audit: AuditEntry,
        notification: NewNotification,
    ) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| requeued(connection, job, &audit, &notification))
            .await
    }

    async fn drop_dead_letter(
        &self,
        job: JobId,
        environment: Option<Environment>,
        audit: AuditEntry,
    ) -> Result<LetterEnded, StoreError> {
        self.writer
            .call(move |connection| drop_one(connection, job, environment, &audit))
            .await
    }
}

/// Makes a dead letter of a job that ends without an answer, if it is one that somebody comes back for later, if its request
/// could be answered another time, and if there is room. Whether there is one now. To be called before anything of the
/// job's request or idempotency key is forgotten.
pub(super) fn keep(connection: &Connection, job: &str, release: &Release) -> Result<bool, StoreError> {
    if !release.repeatable || !matches!(release.state, JobState::Failed | JobState::Expired) {
        return Ok(false);
    }
    let kept = execute(
        connection,
        "INSERT INTO dead_letters (job, environment, namespace, bytes, idempotency_key, request_hash, created_at)
         SELECT jobs.id, jobs.environment, jobs.namespace, octet_length(work) + octet_length(request),
                idempotency_keys.key, idempotency_keys.request_hash, ?2
         FROM jobs JOIN payloads ON payloads.job = jobs.id
         LEFT JOIN idempotency_keys ON idempotency_keys.job = jobs.id
         WHERE jobs.id = ?1 AND jobs.detached <> 0 AND jobs.events IS NOT NULL AND payloads.work <> ''
           AND payloads.expires_at > ?2
           AND (SELECT count(*) FROM dead_letters d WHERE d.namespace = jobs.namespace) < ?3
           AND (SELECT coalesce(sum(d.bytes), 0) FROM dead_letters d WHERE d.namespace = jobs.namespace)
               + octet_length(work) + octet_length(request) <= ?4
           AND (SELECT count(*) FROM dead_letters) < ?5
           AND (SELECT coalesce(sum(d.bytes), 0) FROM dead_letters d) <= ?6
         LIMIT 1",
        &[
            &job,
            &release.now.as_millis(),
            &MOST_OF_A_NAMESPACE,
            &count(MOST_BYTES_OF_A_NAMESPACE),
            &MOST,
            &count(MOST_BYTES),
        ],
    )?;
    Ok(kept > 0)
}

/// What [`letter`] reads, in its order.
const COLUMNS: &str = "dead_letters.job, dead_letters.environment, namespaces.account, jobs.namespace, jobs.key,
    jobs.endpoint, jobs.model, jobs.attempt, jobs.error_code, jobs.error_message, jobs.created_at,
    dead_letters.created_at, min(payloads.expires_at, payloads.asked_until)";

const TABLES: &str =
    "dead_letters JOIN jobs ON jobs.id = dead_letters.job JOIN namespaces ON namespaces.id = jobs.namespace
     JOIN payloads ON payloads.job = dead_letters.job";

fn letter(row: &Row<'_>) -> rusqlite::Result<(LetterRecord, usize)> {
    let time = |column| row.get(column).map(Timestamp::from_millis);
    let letter = LetterRecord {
        job: parsed(row, 0)?,
        environment: parsed(row, 1)?,
        account: parsed(row, 2)?,
        namespace: parsed(row, 3)?,
        key: parsed(row, 4)?,
        endpoint: parsed(row, 5)?,
        model: row.get(6)?,
        attempts: row.get(7)?,
        error_code: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        error_message: row.get(9)?,
        created: time(10)?,
        failed: time(11)?,
        expires: time(12)?,
    };
    Ok((letter, 13))
}

/// Some of them.
fn list(connection: &Connection, filter: &LetterFilter) -> Result<Vec<LetterRecord>, StoreError> {
    let (condition, order) = behind("dead_letters.job", "?2", filter.after.is_some(), filter.ascending);
    all(
        connection,
        &format!(
            "SELECT {COLUMNS} FROM {TABLES}
             WHERE dead_letters.environment = ?1 AND {condition} AND (?3 IS NULL OR jobs.model = ?3)
             ORDER BY dead_letters.job {order} LIMIT ?4"
        ),
        &[
            &filter.environment.as_str(),
            &filter.after.map(|job| job.to_string()),
            &filter.model,
            &filter.limit,
        ],
        |row| Ok(letter(row)?.0),
    )
}

/// Claims one.
fn claim(
    connection: &Connection,
    job: JobId,
    environment: Option<Environment>,
    now: Timestamp,
    until: Timestamp,
) -> Result<Claimed, StoreError> {
    let id = job.to_string();
    let claimed = execute(
        connection,
        "UPDATE dead_letters SET claimed_until = ?3
         WHERE job = ?1 AND (?4 IS NULL OR environment = ?4) AND (claimed_until IS NULL OR claimed_until <= ?2)",
        &[
            &id,
            &now.as_millis(),
            &until.as_millis(),
            &environment.map(Environment::as_str),
        ],
    )?;
    if claimed == 0 {
        return Ok(if is_there(connection, &id, environment)? {
            Claimed::Taken
        } else {
            Claimed::Unknown
        });
    }
    let work = first(
        connection,
        &format!(
            "SELECT {COLUMNS}, keys.revoked_at IS NULL AND (keys.expires_at IS NULL OR keys.expires_at > ?2),
                    payloads.request, payloads.work, jobs.events, dead_letters.idempotency_key, dead_letters.request_hash
             FROM {TABLES} JOIN keys ON keys.id = jobs.key WHERE dead_letters.job = ?1"
        ),
        &[&id, &now.as_millis()],
        |row| {
            let (letter, next) = letter(row)?;
            let hash = row.get::<_, Option<[u8; 32]>>(next + 5)?.map(B256::from);
            let events = row.get::<_, Option<String>>(next + 3)?;
            let sources = [EventSource::Job, EventSource::Response];
            Ok(LetterWork {
                key_is_good: row.get(next)?,
                request: row.get(next + 1)?,
                work: row.get(next + 2)?,
                events: sources
                    .into_iter()
                    .find(|source| events.as_deref() == Some(source.as_str())),
                retain: Duration::from_millis(letter.expires.since(letter.created).as_millis() as u64),
                idempotency: row.get::<_, Option<String>>(next + 4)?.zip(hash),
                letter,
            })
        },
    )?;
    work.map(|work| Claimed::Yours(Box::new(work)))
        .ok_or_else(|| StoreError::Corrupt(format!("the dead letter {id} has no job")))
}

fn is_there(connection: &Connection, id: &str, environment: Option<Environment>) -> Result<bool, StoreError> {
    let found = first(
        connection,
        "SELECT 1 FROM dead_letters WHERE job = ?1 AND (?2 IS NULL OR environment = ?2)",
        &[&id, &environment.map(Environment::as_str)],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Gives a claim back.
fn give_back(connection: &Connection, job: JobId) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE dead_letters SET claimed_until = NULL WHERE job = ?1",
        &[&job.to_string()],
    )?;
    Ok(())
}

/// Takes one off, with what was asked.
fn take_off(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    let gone = execute(connection, "DELETE FROM dead_letters WHERE job = ?1", &[&id])?;
    if gone > 0 {
        super::detached::forget_request(connection, id)?;
    }
    Ok(gone > 0)
}

/// One runs again.
fn requeued(
    connection: &Connection,
    job: JobId,
    audit: &AuditEntry,
    notification: &NewNotification,
) -> Result<(), StoreError> {
    // It may have gone with the job's payload meanwhile: the other job runs all the same.
    take_off(connection, &job.to_string())?;
    audit_log::append(connection, audit)?;
    audit_log::notify(connection, notification)
}

/// Drops one.
fn drop_one(
    connection: &Connection,
    job: JobId,
    environment: Option<Environment>,
    audit: &AuditEntry,
) -> Result<LetterEnded, StoreError> {
    let id = job.to_string();
    let found = first(
        connection,
        &format!(
            "SELECT {COLUMNS}, dead_letters.claimed_until > ?3 FROM {TABLES}
             WHERE dead_letters.job = ?1 AND (?2 IS NULL OR dead_letters.environment = ?2)"
        ),
        &[&id, &environment.map(Environment::as_str), &audit.now.as_millis()],
        |row| {
            let (letter, next) = letter(row)?;
            Ok((letter, row.get::<_, Option<bool>>(next)?.unwrap_or_default()))
        },
    )?;
    let letter = match found {
        None => return Ok(LetterEnded::Unknown),
        Some((_, true)) => return Ok(LetterEnded::Taken),
        Some((letter, false)) => letter,
    };
    take_off(connection, &id)?;
    let audit = AuditEntry {
        environment: Some(letter.environment),
        before: Some(serde_json::json!({
            "namespace": letter.namespace, "model": letter.model, "error_code": letter.error_code
        })),
        ..audit.clone()
    };
    audit_log::append(connection, &audit)?;
    Ok(LetterEnded::Gone)
}

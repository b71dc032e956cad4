//! What is kept of jobs for somebody who comes back for them: payloads and idempotency keys.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NamespaceId};
use rusqlite::{Connection, Row};

use super::history::{VIEW_COLUMNS, view};
use super::rows::{all, execute, first, parsed};
use super::{SqliteStore, letters, retention};
use crate::store::{
    Admission, DetachedRecord, DetachedStore, Idempotency, NewJob, NewPayload, Release, Resumable, StoreError,
};

/// The most rows of a kind that one purge deletes, and about how many bytes: the writer is not held up.
const PURGED_AT_ONCE: (u32, i64) = (200, 16 * 1024 * 1024);

/// Jobs that are to be taken up again. The index is named, or SQLite would read all jobs that there ever were.
pub(super) const RESUMABLE: &str =
    "SELECT jobs.id, jobs.key, jobs.namespace, namespaces.account, jobs.environment, payloads.work, jobs.created_at,
            jobs.deadline
     FROM jobs INDEXED BY jobs_open JOIN payloads ON payloads.job = jobs.id
     JOIN namespaces ON namespaces.id = jobs.namespace
     WHERE jobs.finished_at IS NULL AND jobs.detached <> 0 AND jobs.state = 'queued'";

#[async_trait]
impl DetachedStore for SqliteStore {
    async fn detached_job(&self, namespace: NamespaceId, job: JobId) -> Result<Option<DetachedRecord>, StoreError> {
        self.readers
            .call(move |connection| read(connection, namespace, job))
            .await
    }

    async fn idempotent_job(
        &self,
        namespace: NamespaceId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(JobId, B256)>, StoreError> {
        let key = key.to_owned();
        self.readers
            .call(move |connection| idempotent(connection, namespace, &key, now))
            .await
    }

    async fn forget_payload(&self, namespace: NamespaceId, job: JobId) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| forget(connection, namespace, job))
            .await
    }

    async fn resumable(&self) -> Result<Vec<Resumable>, StoreError> {
        self.readers.call(resumable).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        while self.writer.call(retention::sweep).await? {}
        let mut purged = 0;
        loop {
            let some = self.writer.call(move |connection| purge(connection, now)).await?;
            purged += some;
            if some == 0 {
                return Ok(purged);
            }
        }
    }
}

/// What an idempotency key says of a job to be admitted; none if it says nothing.
pub(super) fn repeated(connection: &Connection, job: &NewJob) -> Result<Option<Admission>, StoreError> {
    let Some(wanted) = job.payload.as_ref().and_then(|payload| payload.idempotency.as_ref()) else {
        return Ok(None);
    };
    let known = idempotent(connection, job.namespace, &wanted.key, job.now)?;
    Ok(known.map(|(known, request_hash)| {
        if request_hash == wanted.request_hash {
            Admission::Existing(known)
        } else {
            Admission::IdempotencyClash
        }
    }))
}

/// The job that a key stands for.
pub(super) fn idempotent(
    connection: &Connection,
    namespace: NamespaceId,
    key: &str,
    now: Timestamp,
) -> Result<Option<(JobId, B256)>, StoreError> {
    first(
        connection,
        "SELECT job, request_hash FROM idempotency_keys WHERE namespace = ?1 AND key = ?2 AND expires_at > ?3",
        &[&namespace.to_string(), &key, &now.as_millis()],
        |row| Ok((parsed(row, 0)?, B256::from(row.get::<_, [u8; 32]>(1)?))),
    )
}

/// Keeps request and key of a job that was admitted just now.
pub(super) fn keep(
    connection: &Connection,
    job: &str,
    namespace: &str,
    payload: &NewPayload,
    until: i64,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO payloads (job, request, work, expires_at, namespace, asked_until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            &job,
            &payload.request,
            &payload.work,
            &until,
            &namespace,
            &payload.expires_at.as_millis(),
        ],
    )?;
    match &payload.idempotency {
        Some(idempotency) => keep_key(connection, job, namespace, idempotency),
        None => Ok(()),
    }
}

/// Remembers what a key stands for.
pub(super) fn keep_key(
    connection: &Connection,
    job: &str,
    namespace: &str,
    idempotency: &Idempotency,
) -> Result<(), StoreError> {
    // A key that is not remembered any more may still be there.
    execute(
        connection,
        "INSERT OR REPLACE INTO idempotency_keys (namespace, key, request_hash, job, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        &[
            &namespace,
            &idempotency.key,
            &idempotency.request_hash.as_slice(),
            &job,
            &idempotency.expires_at.as_millis(),
        ],
    )?;
    Ok(())
}

/// Keeps the answer of a job that is settled. It will not run again.
pub(super) fn keep_answer(connection: &Connection, job: &str, answer: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE payloads SET answer = ?2, work = '' WHERE job = ?1",
        &[&job, &answer],
    )?;
    Ok(())
}

/// Keeps why a job has no answer, and lets a repeat begin anew where that may help.
pub(super) fn ended_without_answer(connection: &Connection, job: &str, release: &Release) -> Result<(), StoreError> {
    let kept = execute(
        connection,
        "UPDATE jobs SET error_message = ?2, error_param = ?3
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM payloads WHERE job = ?1)",
        &[&job, &release.error_message, &release.error_param],
    )?;
    if kept > 0 && !letters::keep(connection, job, release)? {
        forget_request(connection, job)?;
    }
    if kept > 0 && release.repeatable {
        forget_key(connection, job)?;
    }
    Ok(())
}

/// Forgets what was asked: the job will not run again, and only a response shows it. What cost nothing should take no room
/// either, unless its namespace keeps everything.
pub(super) fn forget_request(connection: &Connection, job: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE payloads SET work = '', request = CASE (SELECT endpoint FROM jobs WHERE id = ?1)
             WHEN '/v1/responses' THEN request ELSE CASE WHEN expires_at > asked_until THEN request ELSE '' END END
         WHERE job = ?1",
        &[&job],
    )?;
    Ok(())
}

fn forget_key(connection: &Connection, job: &str) -> Result<(), StoreError> {
    execute(connection, "DELETE FROM idempotency_keys WHERE job = ?1", &[&job])?;
    Ok(())
}

/// A kept job of a namespace.
pub(super) fn read(
    connection: &Connection,
    namespace: NamespaceId,
    job: JobId,
) -> Result<Option<DetachedRecord>, StoreError> {
    first(
        connection,
        &format!(
            "SELECT {VIEW_COLUMNS}, payloads.request, payloads.answer, payloads.expires_at,
                    payloads.asked_until > jobs.created_at
             FROM jobs JOIN payloads ON payloads.job = jobs.id WHERE jobs.id = ?1 AND jobs.namespace = ?2"
        ),
        &[&job.to_string(), &namespace.to_string()],
        |row| {
            let (view, next) = view(row)?;
            Ok(DetachedRecord {
                view,
                request: row.get(next)?,
                answer: row.get(next + 1)?,
                expires_at: Timestamp::from_millis(row.get(next + 2)?),
                is_asked: row.get(next + 3)?,
            })
        },
    )
}

/// Forgets what is kept of a job that has ended.
pub(super) fn forget(connection: &Connection, namespace: NamespaceId, job: JobId) -> Result<bool, StoreError> {
    let id = job.to_string();
    let deleted = execute(
        connection,
        "DELETE FROM payloads WHERE job = ?1
           AND EXISTS (SELECT 1 FROM jobs WHERE id = ?1 AND namespace = ?2 AND finished_at IS NOT NULL)",
        &[&id, &namespace.to_string()],
    )?;
    if deleted > 0 {
        forget_key(connection, &id)?;
    }
    Ok(deleted > 0)
}

/// Jobs that are to be taken up again.
pub(super) fn resumable(connection: &Connection) -> Result<Vec<Resumable>, StoreError> {
    let mut statement = connection.prepare_cached(RESUMABLE)?;
    let read = |row: &Row<'_>| {
        Ok(Resumable {
            id: parsed(row, 0)?,
            key: parsed(row, 1)?,
            namespace: parsed(row, 2)?,
            account: parsed(row, 3)?,
            environment: parsed(row, 4)?,
            work: row.get(5)?,
            created: Timestamp::from_millis(row.get(6)?),
            deadline: Timestamp::from_millis(row.get(7)?),
        })
    };
    let mut found = statement.query_map([], read)?.collect::<Result<Vec<_>, _>>()?;
    // Not in SQL: it would sort them with all that they hold.
    found.sort_by_key(|job| job.id);
    Ok(found)
}

/// Deletes some of what is kept no longer.
pub(super) fn purge(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let (most, most_bytes) = PURGED_AT_ONCE;
    let old = all(
        connection,
        "SELECT payloads.rowid, octet_length(request) + octet_length(work) + coalesce(octet_length(answer), 0)
         FROM payloads JOIN jobs ON jobs.id = payloads.job
         WHERE payloads.expires_at <= ?1 AND jobs.finished_at IS NOT NULL LIMIT ?2",
        &[&now.as_millis(), &most],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let (mut payloads, mut bytes) = (0, 0);
    for (row, size) in old {
        payloads += execute(connection, "DELETE FROM payloads WHERE rowid = ?1", &[&row])?;
        bytes += size;
        if bytes >= most_bytes {
            break;
        }
    }
    let keys = execute(
        connection,
        "DELETE FROM idempotency_keys WHERE (namespace, key) IN (
             SELECT namespace, key FROM idempotency_keys WHERE expires_at <= ?1 LIMIT ?2)",
        &[&now.as_millis(), &most],
    )?;
    Ok((payloads + keys) as u64)
}

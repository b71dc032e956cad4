//! Batches and the outcomes of their lines.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{BatchId, JobId, NamespaceId};
use resultity_core::openai::batch::{BatchError, BatchStatus, BatchUsage, RequestCounts};
use resultity_core::openai::file::FilePurpose;
use resultity_core::webhook::EventType;
use rusqlite::{Connection, Row};

use super::rows::{all, behind, count, counted, execute, first, parsed, parsed_if_any};
use super::{detached, files, retention, tenants, webhooks};
use crate::store::batches::{BatchCreation, BatchRecord, BatchStep, LineOutcome, NewBatch};
use crate::store::files::FinishedFile;
use crate::store::{KeyHash, KeyRecord, StoreError};

/// How many outcomes are forgotten in one operation.
const PURGED_AT_ONCE: usize = 200;

/// How many bytes of outcomes are read at once, and how many outcomes.
const READ_AT_ONCE: (usize, usize) = (1024 * 1024, 500);

/// The columns that [`batch_record`] reads.
const BATCH: &str =
    "id, environment, namespace, key, endpoint, model, input_file, metadata, output_ttl, status, errors,
                     output_file, error_file, total, completed, failed, prompt_tokens, completion_tokens, created_at,
                     expires_at, in_progress_at, cancelling_at, finalizing_at, ended_at";

/// Makes a batch, if its file is there and good for it.
pub(super) fn create(connection: &Connection, batch: &NewBatch) -> Result<BatchCreation, StoreError> {
    if let Some(wanted) = &batch.idempotency
        && let Some((known, hash)) = detached::idempotent(connection, batch.namespace, &wanted.key, batch.now)?
    {
        let known = read(connection, BatchId::from_uuid(*known.as_uuid()))?.filter(|_| hash == wanted.request_hash);
        return Ok(known.map_or(BatchCreation::IdempotencyClash, |record| {
            BatchCreation::Existing(Box::new(record))
        }));
    }
    if retention::keeps_nothing(connection, &batch.namespace.to_string())? {
        return Ok(BatchCreation::NotKept);
    }
    let Some(file) = files::read(connection, batch.namespace, batch.input_file, batch.now)? else {
        return Ok(BatchCreation::UnknownFile);
    };
    if file.purpose != FilePurpose::Batch {
        return Ok(BatchCreation::WrongPurpose(file.purpose));
    }
    let namespace = batch.namespace.to_string();
    let open = first(
        connection,
        "SELECT count(*) FROM batches WHERE namespace = ?1 AND ended_at IS NULL",
        &[&namespace],
        |row| row.get::<_, i64>(0),
    )?;
    if open.unwrap_or_default() >= count(batch.most_open) {
        return Ok(BatchCreation::TooMany);
    }
    // What a batch writes is not limited, and may cost nothing: requests that fail or were cancelled are listed too.
    let stored = first(
        connection,
        "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE namespace = ?1 AND state <> 'deleted'",
        &[&namespace],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let (files, bytes) = stored.unwrap_or_default();
    let kept = first(
        connection,
        "SELECT kept_bytes FROM namespaces WHERE id = ?1",
        &[&namespace],
        |row| row.get::<_, i64>(0),
    )?;
    let is_full = kept.unwrap_or_default() >= count(batch.most_kept);
    if is_full || files >= count(batch.most_files) || bytes >= count(batch.most_bytes) {
        return Ok(BatchCreation::NoRoom);
    }
    let sql = format!(
        "INSERT INTO batches (id, environment, namespace, key, endpoint, input_file, metadata, output_ttl, status, total,
                              completed, failed, prompt_tokens, completion_tokens, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'validating', 0, 0, 0, 0, 0, ?9, ?10) RETURNING {BATCH}"
    );
    let record = first(
        connection,
        &sql,
        &[
            &batch.id.to_string(),
            &batch.environment.as_str(),
            &namespace,
            &batch.key.to_string(),
            &batch.endpoint.as_str(),
            &batch.input_file.to_string(),
            &batch.metadata,
            &batch.output_ttl.map(count),
            &batch.now.as_millis(),
            &batch.expires_at.as_millis(),
        ],
        batch_record,
    )?;
    let record = record.ok_or_else(|| StoreError::Corrupt("a batch that was just made is missing".to_owned()))?;
    if let Some(idempotency) = &batch.idempotency {
        // A batch has the place of a job here: both are named by a UUID.
        let id = JobId::from_uuid(*batch.id.as_uuid());
        detached::keep_key(connection, &id.to_string(), &namespace, idempotency)?;
    }
    Ok(BatchCreation::Created(Box::new(record)))
}

/// A batch.
pub(super) fn read(connection: &Connection, batch: BatchId) -> Result<Option<BatchRecord>, StoreError> {
    let sql = format!("SELECT {BATCH} FROM batches WHERE id = ?1");
    first(connection, &sql, &[&batch.to_string()], batch_record)
}

/// Batches of a namespace. Ids sort by time.
pub(super) fn list(
    connection: &Connection,
    namespace: NamespaceId,
    after: Option<BatchId>,
    ascending: bool,
    limit: u32,
) -> Result<Vec<BatchRecord>, StoreError> {
    let (condition, order) = behind("id", "?2", after.is_some(), ascending);
    let sql = format!("SELECT {BATCH} FROM batches WHERE namespace = ?1 AND {condition} ORDER BY id {order} LIMIT ?3");
    all(
        connection,
        &sql,
        &[&namespace.to_string(), &after.map(|after| after.to_string()), &limit],
        batch_record,
    )
}

/// All that have not ended. The index is named, or SQLite would read all batches that there ever were.
pub(super) const OPEN: &str =
    "FROM batches INDEXED BY batches_open WHERE ended_at IS NULL AND environment = ?1 ORDER BY id";

/// All that have not ended, with their keys.
pub(super) fn open(
    connection: &Connection,
    environment: Environment,
) -> Result<Vec<(BatchRecord, KeyRecord)>, StoreError> {
    let sql = format!("SELECT {BATCH} {OPEN}");
    let batches = all(connection, &sql, &[&environment.as_str()], batch_record)?;
    let with_key = |batch: BatchRecord| {
        let hash = first(
            connection,
            "SELECT hash FROM keys WHERE id = ?1",
            &[&batch.key.to_string()],
            |row| row.get::<_, [u8; 32]>(0),
        )?;
        let key = match hash {
            Some(hash) => tenants::key(connection, KeyHash::from(hash))?,
            None => None,
        };
        let key = key.ok_or_else(|| StoreError::Corrupt(format!("the key of {} is missing", batch.id)))?;
        Ok((batch, key))
    };
    batches.into_iter().map(with_key).collect()
}

/// Takes a step from a status that it follows.
pub(super) fn step(
    connection: &Connection,
    batch: BatchId,
    step: &BatchStep,
    now: Timestamp,
) -> Result<Option<BatchRecord>, StoreError> {
    let id = batch.to_string();
    let at = now.as_millis();
    let changed = match step {
        BatchStep::Fail(errors) => fail(connection, &id, errors, at)?,
        BatchStep::Begin { total, model } => execute(
            connection,
            "UPDATE batches SET status = 'in_progress', total = ?2, model = ?3, in_progress_at = ?4
             WHERE id = ?1 AND status = 'validating'",
            &[&id, &count(*total), model, &at],
        )?,
        BatchStep::Finalize => execute(
            connection,
            "UPDATE batches SET status = 'finalizing', finalizing_at = ?2 WHERE id = ?1 AND status = 'in_progress'",
            &[&id, &at],
        )?,
        BatchStep::Cancel => execute(
            connection,
            "UPDATE batches SET status = 'cancelling', cancelling_at = ?2
             WHERE id = ?1 AND (status = 'validating' OR status = 'in_progress')",
            &[&id, &at],
        )?,
        BatchStep::GiveUp(errors) => give_up(connection, &id, errors, at)?,
        BatchStep::Finish { output, errors } => finish(connection, &id, [output.as_ref(), errors.as_ref()], at)?,
    };
    if changed == 0 {
        return Ok(None);
    }
    let record = read(connection, batch)?;
    if let Some(record) = &record {
        tell(connection, record, now)?;
    }
    Ok(record)
}

fn fail(connection: &Connection, id: &str, errors: &[BatchError], at: i64) -> Result<usize, StoreError> {
    let errors = serde_json::to_string(errors).map_err(|error| StoreError::Invalid(error.to_string()))?;
    execute(
        connection,
        "UPDATE batches SET status = 'failed', errors = ?2, ended_at = ?3 WHERE id = ?1 AND status = 'validating'",
        &[&id, &errors, &at],
    )
}

fn give_up(connection: &Connection, id: &str, errors: &[BatchError], at: i64) -> Result<usize, StoreError> {
    let errors = serde_json::to_string(errors).map_err(|error| StoreError::Invalid(error.to_string()))?;
    execute(
        connection,
        "UPDATE batches SET status = 'failed', errors = ?2, ended_at = ?3 WHERE id = ?1 AND ended_at IS NULL",
        &[&id, &errors, &at],
    )
}

fn finish(
    connection: &Connection,
    id: &str,
    [output, errors]: [Option<&FinishedFile>; 2],
    at: i64,
) -> Result<usize, StoreError> {
    let changed = execute(
        connection,
        "UPDATE batches SET
             status = CASE WHEN status = 'cancelling' THEN 'cancelled'
                           WHEN completed + failed = total THEN 'completed' ELSE 'expired' END,
             failed = total - completed, output_file = ?2, error_file = ?3, ended_at = ?4
         WHERE id = ?1 AND (status = 'finalizing' OR status = 'cancelling')",
        &[
            &id,
            &output.map(|file| file.id.to_string()),
            &errors.map(|file| file.id.to_string()),
            &at,
        ],
    )?;
    if changed > 0 {
        for file in [output, errors].into_iter().flatten() {
            if files::finish(connection, file)?.is_none() {
                return Err(StoreError::Invalid(format!("{} is not being written", file.id)));
            }
        }
    }
    Ok(changed)
}

/// The end of a batch is an event.
fn tell(connection: &Connection, batch: &BatchRecord, now: Timestamp) -> Result<(), StoreError> {
    let kind = match batch.status {
        BatchStatus::Failed => EventType::BatchFailed,
        BatchStatus::Completed => EventType::BatchCompleted,
        BatchStatus::Expired => EventType::BatchExpired,
        BatchStatus::Cancelled => EventType::BatchCancelled,
        _ => return Ok(()),
    };
    let id = batch.id.to_string();
    webhooks::enqueue_event(connection, batch.namespace, batch.environment, kind, &id, now)?;
    Ok(())
}

/// Writes down what became of a request, once.
pub(super) fn record_line(connection: &Connection, outcome: &LineOutcome) -> Result<bool, StoreError> {
    let id = outcome.batch.to_string();
    let written = execute(
        connection,
        "INSERT INTO batch_lines (batch, line, failed, text)
         SELECT batches.id, ?2, ?3, ?4 FROM batches
         WHERE batches.id = ?1 AND (batches.status = 'in_progress' OR batches.status = 'cancelling')
           AND batches.completed + batches.failed < batches.total
           AND NOT EXISTS (SELECT 1 FROM batch_lines WHERE batch = ?1 AND line = ?2)",
        &[&id, &outcome.line, &outcome.failed, &outcome.text],
    )?;
    if written == 0 {
        return Ok(false);
    }
    execute(
        connection,
        "UPDATE batches SET completed = completed + ?2, failed = failed + ?3, prompt_tokens = prompt_tokens + ?4,
                completion_tokens = completion_tokens + ?5 WHERE id = ?1",
        &[
            &id,
            &u32::from(!outcome.failed),
            &u32::from(outcome.failed),
            &count(outcome.prompt_tokens),
            &count(outcome.completion_tokens),
        ],
    )?;
    Ok(true)
}

/// Which lines have an outcome.
pub(super) fn finished_lines(connection: &Connection, batch: BatchId) -> Result<Vec<u32>, StoreError> {
    all(
        connection,
        "SELECT line FROM batch_lines WHERE batch = ?1 ORDER BY line",
        &[&batch.to_string()],
        |row| row.get(0),
    )
}

/// Some outcomes, in order.
pub(super) fn line_outcomes(
    connection: &Connection,
    batch: BatchId,
    failed: bool,
    after: u32,
) -> Result<Vec<(u32, String)>, StoreError> {
    let (most_bytes, most_lines) = READ_AT_ONCE;
    let mut statement = connection.prepare_cached(
        "SELECT line, text FROM batch_lines WHERE batch = ?1 AND line > ?2 AND failed = ?3 ORDER BY line",
    )?;
    let mut rows = statement.query((batch.to_string(), after, failed))?;
    let mut outcomes = Vec::new();
    let mut bytes = 0;
    while bytes < most_bytes
        && outcomes.len() < most_lines
        && let Some(row) = rows.next()?
    {
        let text: String = row.get(1)?;
        bytes += text.len();
        outcomes.push((row.get(0)?, text));
    }
    Ok(outcomes)
}

/// Forgets outcomes of one batch that has ended.
pub(super) fn purge_lines(connection: &Connection) -> Result<u64, StoreError> {
    let batch = first(
        connection,
        "SELECT id FROM batches WHERE ended_at IS NOT NULL AND has_lines = 1 LIMIT 1",
        &[],
        |row| row.get::<_, String>(0),
    )?;
    let Some(batch) = batch else { return Ok(0) };
    let mut freed = execute(
        connection,
        "DELETE FROM batch_lines WHERE rowid IN (SELECT rowid FROM batch_lines WHERE batch = ?1 LIMIT ?2)",
        &[&batch, &count(PURGED_AT_ONCE as u64)],
    )?;
    if freed < PURGED_AT_ONCE {
        freed += execute(connection, "UPDATE batches SET has_lines = 0 WHERE id = ?1", &[&batch])?;
    }
    Ok(freed as u64)
}

fn batch_record(row: &Row<'_>) -> rusqlite::Result<BatchRecord> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let (prompt, completion) = (counted(row, 16)?, counted(row, 17)?);
    Ok(BatchRecord {
        id: parsed(row, 0)?,
        environment: parsed(row, 1)?,
        namespace: parsed(row, 2)?,
        key: parsed(row, 3)?,
        endpoint: parsed(row, 4)?,
        model: row.get(5)?,
        input_file: parsed(row, 6)?,
        metadata: row.get(7)?,
        output_ttl: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
        status: parsed(row, 9)?,
        errors: row.get(10)?,
        output_file: parsed_if_any(row, 11)?,
        error_file: parsed_if_any(row, 12)?,
        counts: RequestCounts {
            total: counted(row, 13)?,
            completed: counted(row, 14)?,
            failed: counted(row, 15)?,
        },
        usage: BatchUsage {
            input_tokens: prompt,
            output_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
        },
        created_at: Timestamp::from_millis(row.get(18)?),
        expires_at: Timestamp::from_millis(row.get(19)?),
        in_progress_at: time(20)?,
        cancelling_at: time(21)?,
        finalizing_at: time(22)?,
        ended_at: time(23)?,
    })
}

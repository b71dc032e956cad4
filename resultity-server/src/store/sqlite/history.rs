//! What became of jobs, read for their owners.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::jobs::Feedback;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, KeyId, NamespaceId};
use resultity_core::job::JobState;
use resultity_core::openai::chat::Usage;
use rusqlite::{Connection, Row, ToSql};

use super::SqliteStore;
use super::rows::{behind, credits, execute, first, parsed};
use crate::store::{
    AttemptView, HistoryStore, JobFilter, JobView, ReceiptRecord, StoreError, UsageFilter, UsageRecord,
};

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn job_view(
        &self,
        namespace: NamespaceId,
        id: JobId,
    ) -> Result<Option<(JobView, Vec<AttemptView>)>, StoreError> {
        self.readers
            .call(move |connection| job(connection, namespace, id))
            .await
    }

    async fn job_views(&self, namespace: NamespaceId, filter: JobFilter) -> Result<Vec<JobView>, StoreError> {
        self.readers
            .call_long(move |connection| jobs(connection, namespace, &filter))
            .await
    }

    async fn receipt(&self, namespace: NamespaceId, job: JobId) -> Result<Option<ReceiptRecord>, StoreError> {
        self.readers
            .call(move |connection| receipt(connection, namespace, job))
            .await
    }

    async fn keep_feedback(
        &self,
        namespace: NamespaceId,
        job: JobId,
        feedback: Feedback,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| keep_feedback(connection, namespace, job, &feedback, now))
            .await
    }

    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRecord>, StoreError> {
        self.readers
            .call_long(move |connection| usage(connection, &filter))
            .await
    }

    async fn key_spent(&self, key: KeyId) -> Result<Option<Credits>, StoreError> {
        self.readers.call(move |connection| key_spent(connection, key)).await
    }
}

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What [`view`] reads, in its order.
pub(super) const VIEW_COLUMNS: &str = "jobs.id, jobs.key, jobs.endpoint, jobs.kind, jobs.model, jobs.asked_model, jobs.state,
    jobs.priority, jobs.detached, jobs.stream, jobs.created_at, jobs.deadline, jobs.finished_at, jobs.attempt, jobs.held,
    jobs.cost, jobs.prompt_tokens, jobs.completion_tokens, jobs.error_code, jobs.error_message, jobs.error_param";

/// A job from a row that begins with [`VIEW_COLUMNS`], and the number of the column after them.
pub(super) fn view(row: &Row<'_>) -> rusqlite::Result<(JobView, usize)> {
    let model: String = row.get(4)?;
    let tokens = |column| row.get::<_, Option<i64>>(column);
    let usage = match (tokens(16)?, tokens(17)?) {
        (Some(prompt), Some(completion)) => Some(Usage::new(prompt.unsigned_abs(), completion.unsigned_abs())),
        _ => None,
    };
    let view = JobView {
        id: parsed(row, 0)?,
        key: parsed(row, 1)?,
        endpoint: parsed(row, 2)?,
        kind: parsed(row, 3)?,
        asked_model: row.get::<_, Option<String>>(5)?.unwrap_or_else(|| model.clone()),
        model,
        state: parsed(row, 6)?,
        priority: parsed(row, 7)?,
        detached: row.get(8)?,
        stream: row.get(9)?,
        created: Timestamp::from_millis(row.get(10)?),
        deadline: Timestamp::from_millis(row.get(11)?),
        finished: row.get::<_, Option<i64>>(12)?.map(Timestamp::from_millis),
        attempts: row.get(13)?,
        held: credits(row, 14)?,
        cost: row.get::<_, Option<i64>>(15)?.map(Credits::from_micros),
        usage,
        error_code: row.get(18)?,
        error_message: row.get(19)?,
        error_param: row.get(20)?,
    };
    Ok((view, 21))
}

/// A job with its attempts.
pub(super) fn job(
    connection: &Connection,
    namespace: NamespaceId,
    job: JobId,
) -> Result<Option<(JobView, Vec<AttemptView>)>, StoreError> {
    let id = job.to_string();
    let found = first(
        connection,
        &format!("SELECT {VIEW_COLUMNS} FROM jobs WHERE jobs.id = ?1 AND jobs.namespace = ?2"),
        &[&id, &namespace.to_string()],
        |row| Ok(view(row)?.0),
    )?;
    let Some(found) = found else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT attempt, reason, ended_at FROM attempts WHERE job = ?1 ORDER BY attempt")?;
    let read = |row: &Row<'_>| {
        Ok(AttemptView {
            attempt: row.get(0)?,
            reason: row.get(1)?,
            ended: Timestamp::from_millis(row.get(2)?),
        })
    };
    let attempts = statement.query_map([&id], read)?.collect::<Result<_, _>>()?;
    Ok(Some((found, attempts)))
}

/// Jobs of a namespace.
pub(super) fn jobs(
    connection: &Connection,
    namespace: NamespaceId,
    filter: &JobFilter,
) -> Result<Vec<JobView>, StoreError> {
    let (condition, order) = behind("jobs.id", "?2", filter.after.is_some(), filter.ascending);
    let sql = format!(
        "SELECT {VIEW_COLUMNS} FROM jobs
         WHERE jobs.namespace = ?1 AND {condition} AND (?3 IS NULL OR jobs.state = ?3)
           AND (?4 IS NULL OR jobs.model = ?4)
         ORDER BY jobs.id {order} LIMIT ?5"
    );
    let namespace = namespace.to_string();
    let after = filter.after.map(|id| id.to_string());
    let state = filter.state.map(JobState::as_str);
    let params: [&dyn ToSql; 5] = [&namespace, &after, &state, &filter.model, &filter.limit];
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params.as_slice(), |row| Ok(view(row)?.0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a receipt says.
pub(super) fn receipt(
    connection: &Connection,
    namespace: NamespaceId,
    job: JobId,
) -> Result<Option<ReceiptRecord>, StoreError> {
    first(
        connection,
        "SELECT coalesce(jobs.asked_model, jobs.model), jobs.model_version, receipts.request_hash,
                receipts.output_hash, receipts.prompt_tokens, receipts.completion_tokens, receipts.finish_reason,
                receipts.cost, receipts.finished_at, receipts.node, jobs.kind
         FROM jobs JOIN receipts ON receipts.job = jobs.id WHERE jobs.id = ?1 AND jobs.namespace = ?2",
        &[&job.to_string(), &namespace.to_string()],
        |row| {
            let tokens = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(ReceiptRecord {
                asked_model: row.get(0)?,
                model_version: row.get(1)?,
                request_hash: B256::from(row.get::<_, [u8; 32]>(2)?),
                output_hash: B256::from(row.get::<_, [u8; 32]>(3)?),
                usage: Usage::new(tokens(4)?, tokens(5)?),
                finish_reason: row.get(6)?,
                cost: credits(row, 7)?,
                finished: Timestamp::from_millis(row.get(8)?),
                node: parsed(row, 9)?,
                kind: parsed(row, 10)?,
            })
        },
    )
}

/// Keeps feedback.
pub(super) fn keep_feedback(
    connection: &Connection,
    namespace: NamespaceId,
    job: JobId,
    feedback: &Feedback,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let kept = execute(
        connection,
        "INSERT OR REPLACE INTO feedback (job, rating, category, comment, review, created_at)
         SELECT id, ?3, ?4, ?5, ?6, ?7 FROM jobs WHERE id = ?1 AND namespace = ?2 AND finished_at IS NOT NULL",
        &[
            &job.to_string(),
            &namespace.to_string(),
            &feedback.rating.as_str(),
            &feedback.category,
            &feedback.comment,
            &feedback.review,
            &now.as_millis(),
        ],
    )?;
    Ok(kept > 0)
}

/// Usage by day, model, endpoint and key.
pub(super) fn usage(connection: &Connection, filter: &UsageFilter) -> Result<Vec<UsageRecord>, StoreError> {
    // Ids sort by the time of acceptance, which bounds what has to be read.
    let mut statement = connection.prepare_cached(
        "SELECT finished_at / ?1, model, endpoint, key, count(*), sum(state = 'failed' OR state = 'expired'),
                sum(coalesce(prompt_tokens, 0)), sum(coalesce(completion_tokens, 0)), sum(finished_at - created_at),
                sum(cost)
         FROM jobs
         WHERE namespace = ?2 AND id >= ?3 AND finished_at >= ?4 AND finished_at < ?5
           AND (?6 IS NULL OR key = ?6) AND (?7 IS NULL OR model = ?7)
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    )?;
    let namespace = filter.namespace.to_string();
    let key = filter.key.map(|key| key.to_string());
    let least = least_id(filter.accepted_from);
    let (from, until) = (filter.from.as_millis(), filter.until.as_millis());
    let params: [&dyn ToSql; 7] = [&DAY_MS, &namespace, &least, &from, &until, &key, &filter.model];
    let read = |row: &Row<'_>| {
        let number = |column| row.get::<_, i64>(column).map(|number| number.max(0).unsigned_abs());
        Ok(UsageRecord {
            day: row.get(0)?,
            model: row.get(1)?,
            endpoint: row.get(2)?,
            key: parsed(row, 3)?,
            requests: number(4)?,
            failed: number(5)?,
            prompt_tokens: number(6)?,
            completion_tokens: number(7)?,
            duration_ms: number(8)?,
            cost: credits(row, 9)?,
        })
    };
    Ok(statement
        .query_map(params.as_slice(), read)?
        .collect::<Result<_, _>>()?)
}

/// The text below which no id sorts that was made at this time or later: the first 48 bits of a UUID of version 7 are
/// milliseconds.
pub(super) fn least_id(time: Timestamp) -> String {
    let millis = format!("{:012x}", time.as_millis().max(0));
    format!("{}-{}", &millis[..8], &millis[8..12])
}

/// What a key with a limit has spent.
pub(super) fn key_spent(connection: &Connection, key: KeyId) -> Result<Option<Credits>, StoreError> {
    first(
        connection,
        "SELECT spent FROM keys WHERE id = ?1 AND spend_limit IS NOT NULL",
        &[&key.to_string()],
        |row| credits(row, 0),
    )
}

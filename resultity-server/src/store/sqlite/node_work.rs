//! What a node did and earned.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, NodeId};
use resultity_core::job::JobState;
use resultity_core::ledger::LedgerAccount;
use rusqlite::{Connection, Row};

use super::history::{DAY_MS, least_id};
use super::rows::{all, credits, parsed};
use crate::store::StoreError;
use crate::store::fleet::{NodeJobRecord, NodeWorkRecord};
use crate::store::webhooks::PageOf;

/// What a node got for a job: the entry of its account in the job's settlement.
const EARNED: &str = "coalesce((SELECT e.amount FROM ledger_transactions t
                                JOIN ledger_entries e ON e.transaction_id = t.id AND e.account = ?2
                                WHERE t.kind = 'settle' AND t.reference = r.job), 0)";

/// What a node did, by attempts. Those with a result are receipts, the others attempts.
pub(super) fn jobs(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    since: Timestamp,
    page: &PageOf<(JobId, u32)>,
) -> Result<Vec<NodeJobRecord>, StoreError> {
    let (sign, order) = if page.ascending { (">", "ASC") } else { ("<", "DESC") };
    let behind = |table: &str| match page.after {
        Some(_) => format!("({table}.job, {table}.attempt) {sign} (?4, ?5)"),
        None => "?4 IS NULL AND ?5 IS NULL".to_owned(),
    };
    let (behind_r, behind_a) = (behind("r"), behind("a"));
    // Each half is bounded by itself, so that no more is read than is shown.
    let sql = format!(
        "SELECT * FROM (
            SELECT r.job AS job, r.attempt AS attempt, j.endpoint, j.model, r.prompt_tokens, r.completion_tokens, j.state,
                   NULL, j.created_at, r.finished_at, {EARNED}
            FROM receipts r JOIN jobs j ON j.id = r.job
            WHERE r.node = ?1 AND j.environment = ?3 AND r.finished_at >= ?6 AND {behind_r}
            ORDER BY r.job {order}, r.attempt {order} LIMIT ?7)
         UNION ALL SELECT * FROM (
            SELECT a.job AS job, a.attempt AS attempt, j.endpoint, j.model, NULL, NULL, 'failed', a.reason, j.created_at,
                   a.ended_at, 0
            FROM attempts a JOIN jobs j ON j.id = a.job
            WHERE a.node = ?1 AND j.environment = ?3 AND a.ended_at >= ?6 AND {behind_a}
            ORDER BY a.job {order}, a.attempt {order} LIMIT ?7)
         ORDER BY 1 {order}, 2 {order} LIMIT ?7"
    );
    let (after, attempt) = page.after.map(|(job, attempt)| (job.to_string(), attempt)).unzip();
    all(
        connection,
        &sql,
        &[
            &node.to_string(),
            &LedgerAccount::Node(environment, node).to_string(),
            &environment.as_str(),
            &after,
            &attempt,
            &since.as_millis(),
            &page.limit,
        ],
        |row| {
            let tokens =
                |column| -> rusqlite::Result<_> { Ok(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs)) };
            Ok(NodeJobRecord {
                job: parsed(row, 0)?,
                attempt: row.get(1)?,
                endpoint: row.get(2)?,
                model: row.get(3)?,
                prompt_tokens: tokens(4)?,
                completion_tokens: tokens(5)?,
                state: parsed::<JobState>(row, 6)?,
                reason: row.get(7)?,
                created: Timestamp::from_millis(row.get(8)?),
                ended: Timestamp::from_millis(row.get(9)?),
                earned: credits(row, 10)?,
            })
        },
    )
}

/// What a node earned, by day and model.
pub(super) fn work(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<NodeWorkRecord>, StoreError> {
    // A job may be accepted some time before it ends: batches last a day.
    let accepted_from = Timestamp::from_millis(from.as_millis().saturating_sub(8 * DAY_MS));
    all(
        connection,
        &format!(
            "SELECT day, model, count(*), sum(prompt_tokens), sum(completion_tokens), sum(earned) FROM (
                SELECT r.finished_at / ?7 AS day, j.model AS model, r.prompt_tokens AS prompt_tokens,
                       r.completion_tokens AS completion_tokens, {EARNED} AS earned
                FROM receipts r JOIN jobs j ON j.id = r.job
                WHERE r.node = ?1 AND j.environment = ?3 AND r.job >= ?4 AND r.finished_at >= ?5 AND r.finished_at < ?6)
             GROUP BY day, model ORDER BY day, model"
        ),
        &[
            &node.to_string(),
            &LedgerAccount::Node(environment, node).to_string(),
            &environment.as_str(),
            &least_id(accepted_from),
            &from.as_millis(),
            &until.as_millis(),
            &DAY_MS,
        ],
        |row: &Row<'_>| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(NodeWorkRecord {
                day: row.get(0)?,
                model: row.get(1)?,
                jobs: number(2)?,
                prompt_tokens: number(3)?,
                completion_tokens: number(4)?,
                earned: row
                    .get::<_, Option<i64>>(5)?
                    .map_or(Credits::ZERO, Credits::from_micros),
            })
        },
    )
}

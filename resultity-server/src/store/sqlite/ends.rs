//! How a job ends: settled, released, or put right after a crash. Each end is one operation with all that belongs to it.

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, LeaseToken, NamespaceId};
use resultity_core::job::{Attempt, JobState};
use resultity_core::ledger::{Posting, Settlement};
use resultity_core::signing::Outcome;
use rusqlite::Connection;

use super::job_events::{self, JobEnded};
use super::jobs::{keep_attempt, requeue, spend};
use super::ledger::{self, About};
use super::rows::{count, credits, execute, first, parsed};
use super::{alerts, detached, epochs};
use crate::store::{Ended, JobEnd, LeaseRef, Release, Settle, StoreError};

/// What a job is given as its error when its server was gone before it ended.
const INTERRUPTED: &str = "interrupted";

/// Pays for a verified result.
pub(super) fn settle(connection: &Connection, settle: &Settle) -> Result<Ended, StoreError> {
    if settle.cost < Credits::ZERO || settle.node_share > 10_000 {
        return Err(StoreError::Invalid(format!(
            "a settlement of {} with a node's share of {} basis points",
            settle.cost, settle.node_share
        )));
    }
    let state = match settle.outcome {
        Outcome::Complete => JobState::Succeeded,
        Outcome::Partial => JobState::Cancelled,
    };
    let id = settle.lease.job.to_string();
    let node = settle.node.to_string();
    let attempt = settle.lease.attempt.get();
    let (prompt, completion) = (count(settle.usage.prompt_tokens), count(settle.usage.completion_tokens));
    let now = settle.now.as_millis();
    let ended = execute(
        connection,
        "UPDATE jobs SET state = ?5, cost = ?6, prompt_tokens = ?7, completion_tokens = ?8, finished_at = ?9
         WHERE id = ?1 AND attempt = ?2 AND lease_token = ?3 AND node = ?4 AND held >= ?6
           AND (state = 'leased' OR state = 'running')",
        &[
            &id,
            &attempt,
            &settle.lease.token.to_string(),
            &node,
            &state.as_str(),
            &settle.cost.micros(),
            &prompt,
            &completion,
            &now,
        ],
    )?;
    if ended == 0 {
        return not_settled(connection, settle);
    }
    // Not by RETURNING, for which SQLite makes a table: this is the busiest verb.
    let payer = first(
        connection,
        "SELECT environment, namespace, held, key, events,
                EXISTS (SELECT 1 FROM credit_alerts WHERE credit_alerts.namespace = jobs.namespace AND armed = 1),
                request_hash = zeroblob(32), EXISTS (SELECT 1 FROM keys WHERE keys.id = jobs.key AND spend_limit IS NOT NULL)
         FROM jobs WHERE id = ?1",
        &[&id],
        |row| {
            Ok((
                parsed::<Environment>(row, 0)?,
                parsed::<NamespaceId>(row, 1)?,
                credits(row, 2)?,
                row.get::<_, String>(3)?,
                row.get::<_, Option<String>>(4)?,
                row.get::<_, bool>(5)?,
                row.get::<_, bool>(6)?,
                row.get::<_, bool>(7)?,
            ))
        },
    )?;
    let Some((environment, namespace, held, key, events, has_alert, is_private, has_limit)) = payer else {
        return Err(StoreError::Corrupt(format!(
            "the job {id} vanished while it was settled"
        )));
    };
    let posting = Posting::settle(&Settlement {
        environment,
        namespace,
        job: settle.lease.job,
        node: settle.node,
        held,
        cost: settle.cost,
        node_share: settle.node_share,
    })?;
    let about = About {
        reference: &id,
        environment,
        job: Some(&id),
        reason: "result verified",
        now: settle.now,
    };
    ledger::write_once(connection, &posting, &about)?;
    ledger::apply(connection, &posting)?;
    if has_alert {
        alerts::lowered(connection, namespace, environment, settle.now)?;
    }
    // Of a job of which nothing is kept, not even its hashes stay, nor a signature over them.
    let signed = [settle.request_hash, settle.transcript_hash, settle.output_hash];
    let [request_hash, transcript_hash, output_hash] = if is_private { [B256::ZERO; 3] } else { signed };
    let signature = if is_private {
        &[0; 65]
    } else {
        settle.signature.as_bytes()
    };
    execute(
        connection,
        "INSERT INTO receipts (job, node, attempt, request_hash, transcript_hash, output_hash, prompt_tokens,
                               completion_tokens, finish_reason, outcome, cost, signature, finished_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        &[
            &id,
            &node,
            &attempt,
            &request_hash.as_slice(),
            &transcript_hash.as_slice(),
            &output_hash.as_slice(),
            &prompt,
            &completion,
            &settle.finish_reason,
            &settle.outcome.as_str(),
            &settle.cost.micros(),
            &signature.as_slice(),
            &now,
        ],
    )?;
    if has_limit {
        spend(connection, &key, settle.cost, held)?;
    }
    if let Some(answer) = &settle.answer {
        detached::keep_answer(connection, &id, answer)?;
    }
    if let Some(source) = events {
        let end = JobEnded {
            job: settle.lease.job,
            namespace,
            environment,
            state,
            is_cut: settle.finish_reason == "length",
            now: settle.now,
        };
        job_events::ended(connection, &source, end)?;
    }
    // A point for each token that the receipt counts.
    epochs::add(
        connection,
        environment.as_str(),
        &node,
        prompt.saturating_add(completion),
        settle.now,
    )?;
    Ok(Ended::Now(JobEnd {
        state,
        cost: settle.cost,
    }))
}

fn not_settled(connection: &Connection, settle: &Settle) -> Result<Ended, StoreError> {
    let lease = &settle.lease;
    let found = first(
        connection,
        "SELECT state, cost, state IN ('leased', 'running') AND attempt = ?2 AND lease_token = ?3 AND node = ?4
         FROM jobs WHERE id = ?1",
        &[
            &lease.job.to_string(),
            &lease.attempt.get(),
            &lease.token.to_string(),
            &settle.node.to_string(),
        ],
        |row| {
            Ok((
                parsed::<JobState>(row, 0)?,
                row.get::<_, Option<i64>>(1)?,
                row.get::<_, Option<bool>>(2)?,
            ))
        },
    )?;
    Ok(match found {
        None => Ended::UnknownJob,
        Some((state, Some(cost), _)) => Ended::Before(JobEnd {
            state,
            cost: Credits::from_micros(cost),
        }),
        Some((_, None, Some(true))) => Ended::AboveHold,
        Some((_, None, _)) => Ended::LeaseLost,
    })
}

/// Ends a job without a payment.
pub(super) fn release(connection: &Connection, release: &Release) -> Result<Ended, StoreError> {
    // The states that may become the wanted one, as in the table of `JobState`.
    let sql = match release.state {
        JobState::Failed | JobState::Cancelled => {
            "UPDATE jobs SET state = ?2, cost = 0, error_code = ?3, finished_at = ?4
             WHERE id = ?1 AND (state = 'queued' OR state = 'leased' OR state = 'running')
             RETURNING environment, namespace, held, attempt, node, lease_token IS NOT NULL, key, events"
        }
        JobState::Expired => {
            "UPDATE jobs SET state = ?2, cost = 0, error_code = ?3, finished_at = ?4
             WHERE id = ?1 AND state = 'queued'
             RETURNING environment, namespace, held, attempt, node, lease_token IS NOT NULL, key, events"
        }
        other => return Err(StoreError::Invalid(format!("a release that leaves the job {other}"))),
    };
    let id = release.job.to_string();
    let ended = first(
        connection,
        sql,
        &[
            &id,
            &release.state.as_str(),
            &release.error_code,
            &release.now.as_millis(),
        ],
        |row| {
            Ok((
                parsed::<Environment>(row, 0)?,
                parsed::<NamespaceId>(row, 1)?,
                credits(row, 2)?,
                row.get::<_, u32>(3)?,
                row.get::<_, Option<String>>(4)?,
                row.get::<_, bool>(5)?,
                row.get::<_, String>(6)?,
                row.get::<_, Option<String>>(7)?,
            ))
        },
    )?;
    let Some((environment, namespace, held, attempt, node, leased, key, events)) = ended else {
        return not_released(connection, &id);
    };
    spend(connection, &key, Credits::ZERO, held)?;
    detached::ended_without_answer(connection, &id, release)?;
    if let Some(source) = events {
        let end = JobEnded {
            job: release.job,
            namespace,
            environment,
            state: release.state,
            is_cut: false,
            now: release.now,
        };
        job_events::ended(connection, &source, end)?;
    }
    if let (true, Some(node)) = (leased, node) {
        keep_attempt(connection, &id, attempt, &node, release.error_code, release.now)?;
    }
    let posting = Posting::release(namespace, release.job, held)?;
    let about = About {
        reference: &id,
        environment,
        job: Some(&id),
        reason: release.error_code,
        now: release.now,
    };
    ledger::write_once(connection, &posting, &about)?;
    ledger::apply(connection, &posting)?;
    Ok(Ended::Now(JobEnd {
        state: release.state,
        cost: Credits::ZERO,
    }))
}

fn not_released(connection: &Connection, id: &str) -> Result<Ended, StoreError> {
    let found = first(
        connection,
        "SELECT state, cost FROM jobs WHERE id = ?1",
        &[&id],
        |row| Ok((parsed::<JobState>(row, 0)?, row.get::<_, Option<i64>>(1)?)),
    )?;
    Ok(match found {
        None => Ended::UnknownJob,
        Some((state, Some(cost))) => Ended::Before(JobEnd {
            state,
            cost: Credits::from_micros(cost),
        }),
        // It was to expire, but a node has it.
        Some((_, None)) => Ended::LeaseLost,
    })
}

/// Cancels up to `limit` jobs whose caller was lost, and streams that had begun; gives how many there were.
pub(super) fn recover(connection: &Connection, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, detached FROM jobs
         WHERE finished_at IS NULL AND (detached = 0 OR (stream <> 0 AND state <> 'queued')) LIMIT ?1",
    )?;
    let open = statement
        .query_map([limit], |row| Ok((parsed::<JobId>(row, 0)?, row.get::<_, bool>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for &(job, detached) in &open {
        release(
            connection,
            &Release {
                job,
                // Of a job that goes on without its asker nobody has gone away.
                state: if detached {
                    JobState::Failed
                } else {
                    JobState::Cancelled
                },
                error_code: INTERRUPTED,
                error_message: "the server was stopped in the middle; nothing was charged: please ask again".to_owned(),
                error_param: None,
                repeatable: true,
                now,
            },
        )?;
    }
    Ok(open.len() as u64)
}

/// Queues jobs again that go on without a caller and whose leases were lost; gives how many there were.
pub(super) fn requeue_detached(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, attempt, lease_token FROM jobs
         WHERE finished_at IS NULL AND detached <> 0 AND (state = 'leased' OR state = 'running')",
    )?;
    let lost = statement
        .query_map([], |row| {
            Ok((
                parsed::<JobId>(row, 0)?,
                row.get::<_, u32>(1)?,
                parsed::<LeaseToken>(row, 2)?,
            ))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let count = lost.len() as u64;
    for (job, attempt, token) in lost {
        let attempt = Attempt::new(attempt).unwrap_or(Attempt::FIRST);
        requeue(connection, &LeaseRef { job, attempt, token }, INTERRUPTED, now)?;
    }
    Ok(count)
}

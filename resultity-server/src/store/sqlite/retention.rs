//! What is kept of requests and answers, by what their namespace says.

use resultity_core::api::gate::Retention;
use rusqlite::Connection;

use super::rows::{all, count, execute, first, parsed};
use crate::store::{Admission, NewJob, NewPayload, StoreError};

/// How many payloads are looked at, or idempotency keys deleted, in one operation of a sweep.
const SWEPT_AT_ONCE: usize = 200;

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What becomes of what a job wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// It is kept until then.
    Until(i64),
    /// Only its namespace wanted that, and does so no more.
    Not,
    /// The job is refused.
    Refused(Admission),
}

/// Until when something of this time is kept; before that time: not at all.
const fn until(retention: Retention, days: i64, asked_until: i64, created: i64) -> i64 {
    match retention {
        Retention::None => 0,
        Retention::Metadata => asked_until,
        Retention::Full => {
            let by_namespace = created.saturating_add(days.saturating_mul(DAY_MS));
            if by_namespace > asked_until {
                by_namespace
            } else {
                asked_until
            }
        }
    }
}

/// What becomes of the payload of a job that is to be admitted.
pub(super) fn keeping(connection: &Connection, job: &NewJob, payload: &NewPayload) -> Result<Keeping, StoreError> {
    let found = first(
        connection,
        "SELECT retention, retention_days, kept_bytes FROM namespaces WHERE id = ?1",
        &[&job.namespace.to_string()],
        |row| Ok((parsed(row, 0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
    )?;
    let (retention, days, kept) = found.unwrap_or_default();
    let now = job.now.as_millis();
    let asked_until = payload.expires_at.as_millis();
    // A job in the background can't do without.
    let is_needed = payload.detached || asked_until > now;
    if retention == Retention::None && is_needed {
        return Ok(Keeping::Refused(Admission::NotKept));
    }
    let until = until(retention, days, asked_until, now);
    if until <= now && !is_needed {
        return Ok(Keeping::Not);
    }
    let bytes = count((payload.request.len() + payload.work.len()) as u64);
    if let Some(most) = payload.most_bytes
        && kept.saturating_add(bytes) > count(most)
    {
        return Ok(Keeping::Refused(Admission::NoRoom));
    }
    Ok(Keeping::Until(until))
}

/// Whether a namespace keeps nothing.
pub(super) fn keeps_nothing(connection: &Connection, namespace: &str) -> Result<bool, StoreError> {
    let found = first(
        connection,
        "SELECT retention = 'none' FROM namespaces WHERE id = ?1",
        &[&namespace],
        |row| row.get::<_, bool>(0),
    )?;
    Ok(found.unwrap_or_default())
}

/// Has all that a namespace keeps looked at, since its retention was changed.
pub(super) fn begin_sweep(connection: &Connection, namespace: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT OR REPLACE INTO retention_sweeps (namespace, swept) VALUES (?1, 0)",
        &[&namespace],
    )?;
    Ok(())
}

/// Looks at some of what a namespace keeps whose retention was changed: what is kept beyond it has expired from now on. False:
/// there is nothing to look at. What its jobs keep that have not ended goes when they have.
pub(super) fn sweep(connection: &Connection) -> Result<bool, StoreError> {
    let found = first(
        connection,
        "SELECT sweeps.namespace, sweeps.swept, retention, retention_days
         FROM retention_sweeps AS sweeps JOIN namespaces ON namespaces.id = sweeps.namespace LIMIT 1",
        &[],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                parsed::<Retention>(row, 2)?,
                row.get::<_, i64>(3)?,
            ))
        },
    )?;
    let Some((namespace, swept, retention, days)) = found else {
        return Ok(false);
    };
    let rows = all(
        connection,
        "SELECT payloads.rowid, expires_at, asked_until, jobs.created_at
         FROM payloads INDEXED BY payloads_of_namespace JOIN jobs ON jobs.id = payloads.job
         WHERE payloads.namespace = ?1 AND payloads.rowid > ?2 ORDER BY payloads.rowid LIMIT ?3",
        &[&namespace, &swept, &count(SWEPT_AT_ONCE as u64)],
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        },
    )?;
    for (row, expires_at, asked_until, created) in &rows {
        let until = until(retention, days, *asked_until, *created);
        if until < *expires_at {
            execute(
                connection,
                "UPDATE payloads SET expires_at = ?2 WHERE rowid = ?1",
                &[row, &until],
            )?;
        }
    }
    if let Some((last, ..)) = rows.last().filter(|_| rows.len() == SWEPT_AT_ONCE) {
        execute(
            connection,
            "UPDATE retention_sweeps SET swept = ?2 WHERE namespace = ?1",
            &[&namespace, last],
        )?;
        return Ok(true);
    }
    if retention == Retention::None && forget_keys(connection, &namespace)? == SWEPT_AT_ONCE {
        return Ok(true);
    }
    execute(
        connection,
        "DELETE FROM retention_sweeps WHERE namespace = ?1",
        &[&namespace],
    )?;
    Ok(true)
}

fn forget_keys(connection: &Connection, namespace: &str) -> Result<usize, StoreError> {
    execute(
        connection,
        "DELETE FROM idempotency_keys WHERE namespace = ?1 AND key IN (
             SELECT key FROM idempotency_keys WHERE namespace = ?1 LIMIT ?2)",
        &[&namespace, &count(SWEPT_AT_ONCE as u64)],
    )
}

/// Whether anything is under way in a namespace that needs what is kept of it: a job in the background, or a batch.
pub(super) fn is_busy(connection: &Connection, namespace: &str) -> Result<bool, StoreError> {
    let found = first(
        connection,
        "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_open
                        WHERE namespace = ?1 AND finished_at IS NULL AND detached <> 0)
             OR EXISTS (SELECT 1 FROM batches WHERE namespace = ?1 AND ended_at IS NULL)",
        &[&namespace],
        |row| row.get::<_, bool>(0),
    )?;
    Ok(found.unwrap_or_default())
}

/// What a namespace that keeps nothing gives up at once: its files and what was said about its batches. The rest is much, and
/// goes with the sweep.
pub(super) fn give_up(connection: &Connection, namespace: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE files SET state = 'deleted' WHERE namespace = ?1 AND state <> 'deleted'",
        &[&namespace],
    )?;
    execute(
        connection,
        "UPDATE batches SET metadata = NULL, errors = NULL WHERE namespace = ?1 AND ended_at IS NOT NULL",
        &[&namespace],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing(Retention::None, 50, 0)]
    #[case::what_was_asked(Retention::Metadata, 50, 50)]
    #[case::all_of_it(Retention::Full, 0, 10 + 2 * DAY_MS)]
    #[case::what_was_asked_for_longer(Retention::Full, 10 + 3 * DAY_MS, 10 + 3 * DAY_MS)]
    fn it_is_kept_for_as_long_as_somebody_wants_it(
        #[case] retention: Retention,
        #[case] asked_until: i64,
        #[case] expected: i64,
    ) {
        assert_eq!(until(retention, 2, asked_until, 10), expected);
    }
}

//! What a stopped node left: its running jobs have failed, or begin anew.

use std::net::IpAddr;

use resultity_core::clock::Timestamp;
use resultity_core::infernet::{JobId, JobRequest, JobStatus};
use rusqlite::{Connection, TransactionBehavior};

use super::Unfinished;
use super::operations::status_number;
use crate::infernet::config::settings::OnRestart;

/// How many starts take up a job again.
const MAX_TAKEN_UP: u32 = 5;

/// Ends all jobs that are left running, but for those that can begin anew and should: these are given. Registered jobs are not
/// the node's own, so they stay as they are.
pub(super) fn run(
    connection: &mut Connection,
    on_restart: OnRestart,
    now: Timestamp,
) -> rusqlite::Result<Vec<Unfinished>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let unfinished = match on_restart {
        OnRestart::Fail => {
            // What was kept for another run is of no use any more.
            transaction.execute("UPDATE running SET request = NULL WHERE request IS NOT NULL", [])?;
            Vec::new()
        }
        OnRestart::Rerun => {
            // A job that brings the node down must not do so for ever.
            let again = "UPDATE running SET taken_up = taken_up + 1,
                request = CASE WHEN taken_up < ?1 THEN request END WHERE request IS NOT NULL";
            transaction.execute(again, [MAX_TAKEN_UP])?;
            unfinished(&transaction)?
        }
    };
    transaction.execute(
        "INSERT INTO ended (owner, id, status, ended_at, result)
            SELECT owner, id, ?1, ?2, json_object('container', container, 'error', 'interrupted')
            FROM running WHERE expires_at IS NULL AND request IS NULL
            ON CONFLICT (owner, id) DO NOTHING",
        (status_number(JobStatus::Failed), now.as_millis()),
    )?;
    transaction.execute("DELETE FROM running WHERE expires_at IS NULL AND request IS NULL", [])?;
    transaction.commit()?;
    Ok(unfinished)
}

/// The jobs whose requests are there. One that can't be read loses it, and so fails with the others.
fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<Unfinished>> {
    let mut jobs = Vec::new();
    let mut unreadable = Vec::new();
    let mut statement =
        connection.prepare("SELECT owner, id, request FROM running WHERE request IS NOT NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (owner, id) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let address = owner.parse::<IpAddr>();
        let request = serde_json::from_str::<JobRequest>(row.get_ref(2)?.as_str()?);
        match (address, request) {
            (Ok(address), Ok(request)) => jobs.push(Unfinished {
                id: JobId::new(id),
                owner: address,
                request,
            }),
            _ => unreadable.push((owner, id)),
        }
    }
    for job in unreadable {
        connection.execute("UPDATE running SET request = NULL WHERE owner = ?1 AND id = ?2", job)?;
    }
    Ok(jobs)
}

//! What the writer does: the rows that one operation changes, inside a transaction that is not its business.

use std::net::IpAddr;

use resultity_core::clock::Timestamp;
use resultity_core::infernet::{ContainerResult, JobId, JobStatus, StatusUpdate};
use rusqlite::types::Null;
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql};

use super::{NewJob, REGISTERED_FOR, Recorded, StoreError, canonical};
use crate::infernet::ended::Ended;

/// More than this is not kept: SQLite's rows end at a billion bytes.
const MAX_RESULT_BYTES: usize = 512 * 1024 * 1024;

/// A unit of work: all of it is committed, or none. It may be run more than once, but only the last time counts.
#[derive(Debug)]
pub(super) enum Operation {
    Accept(Vec<Accepted>),
    Finish(Finished),
    Record(Registered),
    /// Whatever a test has in mind.
    #[cfg(test)]
    Test(fn(&Connection) -> rusqlite::Result<()>),
}

/// A new job as a row.
#[derive(Debug)]
pub(super) struct Accepted {
    owner: String,
    id: JobId,
    container: String,
    request: Option<String>,
}

/// An end as a row.
#[derive(Debug)]
pub(super) struct Finished {
    owner: String,
    id: JobId,
    status: i64,
    result: Option<String>,
    intermediate: Option<String>,
}

/// A registered job as a row.
#[derive(Debug)]
pub(super) struct Registered {
    owner: String,
    id: JobId,
    status: JobStatus,
}

/// A status as it is stored.
pub(super) const fn status_number(status: JobStatus) -> i64 {
    match status {
        JobStatus::Running => 0,
        JobStatus::Success => 1,
        JobStatus::Failed => 2,
    }
}

impl Accepted {
    pub(super) fn new(job: &NewJob, keeps_request: bool) -> Result<Self, StoreError> {
        let keeps_request = keeps_request && !job.is_stream;
        let request = keeps_request.then(|| json(&job.request)).transpose()?;
        Ok(Self {
            owner: canonical(job.owner),
            id: job.id.clone(),
            container: job.request.containers.first().cloned().unwrap_or_default(),
            request,
        })
    }
}

impl Finished {
    pub(super) fn new(id: &JobId, owner: IpAddr, ended: &Ended) -> Result<Self, StoreError> {
        let (last, before) = ended
            .results
            .split_last()
            .map_or((None, &[][..]), |(last, before)| (Some(last), before));
        let mut finished = Self {
            owner: canonical(owner),
            id: id.clone(),
            // What has ended does not run.
            status: status_number(ended.status).max(1),
            result: last.map(json).transpose()?,
            intermediate: if before.is_empty() { None } else { Some(json(before)?) },
        };
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        if let Some(last) = last
            && bytes(&finished.result) + bytes(&finished.intermediate) > MAX_RESULT_BYTES
        {
            let error = ContainerResult::error(last.container(), "the results are too large to be kept");
            finished.status = status_number(JobStatus::Failed);
            finished.result = Some(json(&error)?);
            finished.intermediate = None;
        }
        Ok(finished)
    }
}

impl Registered {
    pub(super) fn new(owner: IpAddr, update: &StatusUpdate) -> Self {
        Self {
            owner: canonical(owner),
            id: update.id.clone(),
            status: update.status,
        }
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed(format!("this can't be written as JSON: {error}")))
}

impl Operation {
    /// Does the work. `pending` goes up and down with the number of running jobs.
    pub(super) fn run(
        &self,
        connection: &Connection,
        now: Timestamp,
        pending: &mut i64,
    ) -> Result<Recorded, StoreError> {
        match self {
            Self::Accept(jobs) => {
                for job in jobs {
                    accept(connection, job)?;
                    *pending += 1;
                }
                Ok(Recorded::Stored)
            }
            Self::Finish(finished) => finish(connection, finished, now, pending),
            Self::Record(registered) => record(connection, registered, now, pending),
            #[cfg(test)]
            Self::Test(work) => Ok(work(connection).map(|()| Recorded::Stored)?),
        }
    }
}

fn accept(connection: &Connection, job: &Accepted) -> Result<(), StoreError> {
    let id = job.id.as_str();
    let taken = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Taken(job.id.clone()),
        _ => error.into(),
    };
    execute(connection, "INSERT INTO own (id) VALUES (?1)", &[&id]).map_err(taken)?;
    let sql = "INSERT INTO running (owner, id, container, request) VALUES (?1, ?2, ?3, ?4)";
    execute(connection, sql, &[&job.owner, &id, &job.container, &job.request]).map_err(taken)?;
    Ok(())
}

fn finish(
    connection: &Connection,
    finished: &Finished,
    now: Timestamp,
    pending: &mut i64,
) -> Result<Recorded, StoreError> {
    let id = finished.id.as_str();
    let sql = "DELETE FROM running WHERE owner = ?1 AND id = ?2 AND expires_at IS NULL";
    if execute(connection, sql, &[&finished.owner, &id])? > 0 {
        *pending -= 1;
        let (result, intermediate) = (&finished.result, &finished.intermediate);
        end(
            connection,
            &finished.owner,
            id,
            finished.status,
            now,
            result,
            intermediate,
        )?;
    }
    Ok(Recorded::Stored)
}

fn end(
    connection: &Connection,
    owner: &str,
    id: &str,
    status: i64,
    now: Timestamp,
    result: &dyn ToSql,
    intermediate: &dyn ToSql,
) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO ended (owner, id, status, ended_at, result, intermediate) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (owner, id) DO NOTHING";
    execute(
        connection,
        sql,
        &[&owner, &id, &status, &now.as_millis(), result, intermediate],
    )
}

fn record(
    connection: &Connection,
    registered: &Registered,
    now: Timestamp,
    pending: &mut i64,
) -> Result<Recorded, StoreError> {
    let (owner, id) = (registered.owner.as_str(), registered.id.as_str());
    let mut own = connection.prepare_cached("SELECT 1 FROM own WHERE id = ?1")?;
    if own.query_row([id], |_| Ok(())).optional()?.is_some() {
        return Ok(Recorded::OwnJob);
    }
    let sql = "DELETE FROM running WHERE owner = ?1 AND id = ?2";
    *pending -= execute(connection, sql, &[&owner, &id])? as i64;
    // Taken out rather than changed, so that it has its place by its newest end.
    execute(
        connection,
        "DELETE FROM ended WHERE owner = ?1 AND id = ?2",
        &[&owner, &id],
    )?;
    if registered.status == JobStatus::Running {
        let expires_at = now.after(REGISTERED_FOR).as_millis();
        let sql = "INSERT INTO running (owner, id, expires_at) VALUES (?1, ?2, ?3)";
        execute(connection, sql, &[&owner, &id, &expires_at])?;
        *pending += 1;
    } else {
        end(
            connection,
            owner,
            id,
            status_number(registered.status),
            now,
            &Null,
            &Null,
        )?;
    }
    Ok(Recorded::Stored)
}

/// Runs a statement that is kept prepared; gives how many rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

//! Reading beside the writer: a few connections, each used by one reader at a time.
//!
//! A few small results are read where they are asked for: that takes a few microseconds, and handing it to another thread takes
//! longer. Everything else goes to blocking tasks, a few at a time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resultity_core::clock::Timestamp;
use resultity_core::infernet::{ContainerResult, JobId, JobResult, JobStatus};
use rusqlite::{Connection, Row, params};
use tokio::sync::Semaphore;

use super::operations::status_number;
use super::{MAX_LISTED, MAX_READ_BYTES, StoreError, schema};

/// The most results that are read in place.
const IN_PLACE: usize = 8;

/// The most bytes of one of them.
const IN_PLACE_BYTES: usize = 64 * 1024;

/// The most reads in blocking tasks at once; others wait.
const BLOCKING: usize = 2;

/// A job, if its results are not larger than ?5. It is one statement so that it sees one state: a job that ends meanwhile is in
/// one of the tables, never in none. Sizes are known without the pages that large results are on.
const RESULT: &str = "
    SELECT status, size, iif(size <= ?5, result, NULL), iif(?3 AND size <= ?5, intermediate, NULL) FROM (
        SELECT status, result, intermediate,
            ifnull(octet_length(result), 0) + iif(?3, ifnull(octet_length(intermediate), 0), 0) AS size
        FROM ended WHERE owner = ?1 AND id = ?2)
    UNION ALL
    SELECT 0, 0, NULL, NULL FROM running
        WHERE owner = ?1 AND id = ?2 AND (expires_at IS NULL OR expires_at > ?4)
    LIMIT 1";

const RUNNING: &str = "SELECT id FROM running WHERE owner = ?1 AND (expires_at IS NULL OR expires_at > ?2)
    ORDER BY id DESC LIMIT ?3";

const ENDED: &str = "SELECT id FROM ended WHERE owner = ?1 ORDER BY id DESC LIMIT ?2";

/// The connections for reading, opened when they are needed.
pub(super) struct Readers {
    idle: Arc<Idle>,
    blocking: Arc<Semaphore>,
}

struct Idle {
    path: PathBuf,
    connections: Mutex<Vec<Connection>>,
    closed: AtomicBool,
}

/// What is asked for.
struct Asked<'a> {
    owner: &'a str,
    ids: &'a [JobId],
    intermediate: bool,
    now: Timestamp,
}

/// What was found of one job.
enum Found {
    Job(JobResult),
    Nothing,
    TooLarge,
}

impl Readers {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            idle: Arc::new(Idle {
                path,
                connections: Mutex::default(),
                closed: AtomicBool::new(false),
            }),
            blocking: Arc::new(Semaphore::new(BLOCKING)),
        }
    }

    pub(super) async fn results(
        &self,
        owner: String,
        ids: &[JobId],
        intermediate: bool,
        now: Timestamp,
    ) -> Result<Vec<JobResult>, StoreError> {
        let asked = Asked {
            owner: &owner,
            ids,
            intermediate,
            now,
        };
        if ids.len() <= IN_PLACE
            && let Some(results) = self.idle.read(|connection| small(connection, &asked))?
        {
            return Ok(results);
        }
        let ids = ids.to_vec();
        self.blocking(move |connection| {
            let asked = Asked {
                owner: &owner,
                ids: &ids,
                intermediate,
                now,
            };
            all(connection, &asked)
        })
        .await
    }

    pub(super) async fn ids(
        &self,
        owner: String,
        pending: Option<bool>,
        now: Timestamp,
    ) -> Result<Vec<JobId>, StoreError> {
        self.blocking(move |connection| {
            // One state for both: what ends between them is in one of them.
            let snapshot = connection.unchecked_transaction()?;
            let mut ids = Vec::new();
            let id = |row: &Row<'_>| row.get::<_, String>(0).map(JobId::new);
            if pending != Some(false) {
                let mut running = snapshot.prepare_cached(RUNNING)?;
                for found in running.query_map(params![owner, now.as_millis(), MAX_LISTED as i64], id)? {
                    ids.push(found?);
                }
            }
            if pending != Some(true) {
                let mut ended = snapshot.prepare_cached(ENDED)?;
                for found in ended.query_map(params![owner, MAX_LISTED as i64], id)? {
                    ids.push(found?);
                }
            }
            Ok(ids)
        })
        .await
    }

    /// Refuses further reads and closes the connections that are not in use.
    pub(super) fn close(&self) {
        self.idle.closed.store(true, Ordering::Release);
        self.idle.lock().clear();
        self.blocking.close();
    }

    async fn blocking<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.blocking).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            let answer = idle.read(read);
            // Not before: whoever asked may have gone away long ago.
            drop(permit);
            answer
        });
        task.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Idle {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let free = self.lock().pop();
        let connection = free.map_or_else(|| schema::open_reader(&self.path), Ok)?;
        let answer = read(&connection);
        let mut connections = self.lock();
        // As many as were ever used at once: the threads of the runtime and the blocking tasks.
        if !self.closed.load(Ordering::Acquire) {
            connections.push(connection);
        }
        answer
    }
}

/// All of them, unless one is large.
fn small(connection: &Connection, asked: &Asked<'_>) -> Result<Option<Vec<JobResult>>, StoreError> {
    let mut results = Vec::with_capacity(asked.ids.len());
    for id in asked.ids {
        match one(connection, asked, id, IN_PLACE_BYTES)?.0 {
            Found::Job(result) => results.push(result),
            Found::Nothing => {}
            Found::TooLarge => return Ok(None),
        }
    }
    Ok(Some(results))
}

/// All of them, unless they are too large together.
fn all(connection: &Connection, asked: &Asked<'_>) -> Result<Vec<JobResult>, StoreError> {
    // One state, and the locks of SQLite are taken once.
    let snapshot = connection.unchecked_transaction()?;
    let mut results = Vec::new();
    let mut room = MAX_READ_BYTES;
    for id in asked.ids {
        // The first one is read however large it is.
        let limit = if room == MAX_READ_BYTES { usize::MAX } else { room };
        let (found, size) = one(&snapshot, asked, id, limit)?;
        room = room.saturating_sub(size);
        match found {
            Found::Job(result) => results.push(result),
            Found::Nothing => {}
            Found::TooLarge => return Err(StoreError::TooMuch { limit: MAX_READ_BYTES }),
        }
    }
    Ok(results)
}

/// One job, unless its results are larger than the limit; and how large they are.
fn one(connection: &Connection, asked: &Asked<'_>, id: &JobId, limit: usize) -> Result<(Found, usize), StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(RESULT)?;
    let params = params![
        asked.owner,
        id.as_str(),
        asked.intermediate,
        asked.now.as_millis(),
        limit
    ];
    let mut rows = statement.query(params)?;
    let Some(row) = rows.next()? else {
        return Ok((Found::Nothing, 0));
    };
    let size = row.get::<_, i64>(1)?;
    if size > limit {
        return Ok((Found::TooLarge, size as usize));
    }
    let status = status(row.get(0)?);
    let damaged =
        |error: serde_json::Error| StoreError::Failed(format!("the result of the job {id} is damaged: {error}"));
    let result = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let result = result.map(serde_json::from_str).transpose().map_err(damaged)?;
    let intermediate_results: Option<Vec<ContainerResult>> = if asked.intermediate {
        let before = row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        let before = before.map(serde_json::from_str).transpose().map_err(damaged)?;
        Some(before.unwrap_or_default())
    } else {
        None
    };
    let job = JobResult {
        id: id.clone(),
        status,
        result,
        intermediate_results,
    };
    Ok((Found::Job(job), size as usize))
}

fn status(number: i64) -> JobStatus {
    let known = JobStatus::ALL
        .into_iter()
        .find(|status| status_number(*status) == number);
    known.unwrap_or(JobStatus::Failed)
}

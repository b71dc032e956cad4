//! The node's jobs and their results, in one SQLite file.
//!
//! One thread writes, and commits many operations at once (`writer`); a caller has its answer after the commit, which is on
//! disk by then. What is asked for by id is read where it is asked for, by one of a few connections (`readers`): a reader sees
//! what is committed and nothing else.
//!
//! A job is a row of `running` until it ends, then a row of `ended` with its result. Rows never grow, and those that ended
//! stand in the order of their ends: what is too old or too many is at the front, and leaves in small steps (`expiry`).
//! Results are kept as the JSON that they are, with every digit.

mod error;
mod expiry;
mod operations;
mod readers;
mod recovery;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::Clock;
use resultity_core::infernet::{JobId, JobRequest, JobResult, StatusUpdate};

use self::operations::{Accepted, Finished, Operation, Registered};
use self::readers::Readers;
use self::writer::Writer;
use crate::infernet::config::settings::{OnRestart, ResultSettings};
use crate::infernet::ended::Ended;

pub use self::error::StoreError;

/// How long a registered job may stay `running`, as in the original node; then it is gone.
pub const REGISTERED_FOR: Duration = Duration::from_mins(15);

/// The most ids in one list; newer ones first.
pub const MAX_LISTED: usize = 100_000;

/// The most bytes of results that are read at once. One job is always read, however large.
pub const MAX_READ_BYTES: usize = 64 * 1024 * 1024;

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id, which no other job has.
    pub id: JobId,
    /// Who asked for it, and so who can see it.
    pub owner: IpAddr,
    /// What was asked. Kept on disk only if it begins anew after a restart.
    pub request: JobRequest,
    /// Whether it is streamed: then it can't begin anew, because its reader is gone with the node.
    pub is_stream: bool,
}

/// A job that a stopped node left, to be begun anew.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Its id.
    pub id: JobId,
    /// Who asked for it.
    pub owner: IpAddr,
    /// What was asked.
    pub request: JobRequest,
}

/// What became of a status that a container sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// It is stored.
    Stored,
    /// The node itself ran a job with this id: only the node says how that one stands.
    OwnJob,
}

/// The jobs and results of a node. Clones are the same store.
///
/// What was begun is done even if its future is dropped. Dropping the last clone finishes what is queued and waits for it;
/// [`close`](Self::close) does the same without blocking the thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    keeps_requests: bool,
    clock: Arc<dyn Clock>,
    readers: Readers,
    writer: Writer,
}

impl Store {
    /// Opens the file; makes it (and its directory), for its owner only, if it is not there. Ends the jobs that a stopped node
    /// left, or gives those that are to begin anew. Blocks.
    ///
    /// # Errors
    /// The file can't be made or opened, is in use, is damaged, is no database of results, or is one of a newer version. Nothing
    /// in it is touched then.
    pub fn open(settings: &ResultSettings, clock: Arc<dyn Clock>) -> Result<(Self, Vec<Unfinished>), StoreError> {
        let (mut connection, lock) = schema::open_writer(&settings.path)?;
        let left = recovery::run(&mut connection, settings.on_restart, clock.now())
            .map_err(|error| schema::unusable(&settings.path, &error))?;
        let writer = Writer::start(connection, lock, settings, Arc::clone(&clock))?;
        let inner = Inner {
            path: settings.path.clone(),
            keeps_requests: settings.on_restart == OnRestart::Rerun,
            clock,
            readers: Readers::new(settings.path.clone()),
            writer,
        };
        Ok((Self(Arc::new(inner)), left))
    }

    /// Stores new jobs as `running`: all of them or none. They are on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for an id that there is already; otherwise the file can't be written to.
    pub async fn accept(&self, jobs: impl IntoIterator<Item = impl Borrow<NewJob>>) -> Result<(), StoreError> {
        let keeps = self.0.keeps_requests;
        let jobs = jobs.into_iter().map(|job| Accepted::new(job.borrow(), keeps));
        let jobs = jobs.collect::<Result<_, _>>()?;
        self.0.writer.call(Operation::Accept(jobs)).await.map(|_| ())
    }

    /// Stores how a job ended; it is on disk when this returns. The first end counts: later ones, and those of jobs that are
    /// not there, change nothing.
    ///
    /// # Errors
    /// The file can't be written to: the job is still `running`, and this can be tried again.
    pub async fn finish(&self, id: &JobId, owner: IpAddr, ended: impl Borrow<Ended>) -> Result<(), StoreError> {
        let finished = Finished::new(id, owner, ended.borrow())?;
        self.0.writer.call(Operation::Finish(finished)).await.map(|_| ())
    }

    /// Stores what a container says of a job that it ran by itself. The newest word counts. A job that stays `running` is gone
    /// after [`REGISTERED_FOR`].
    ///
    /// # Errors
    /// The file can't be written to.
    pub async fn record(&self, owner: IpAddr, update: &StatusUpdate) -> Result<Recorded, StoreError> {
        let registered = Registered::new(owner, update);
        self.0.writer.call(Operation::Record(registered)).await
    }

    /// The jobs with these ids that belong to the owner, in the order asked, each as often as asked. `intermediate`: with what
    /// all containers said.
    ///
    /// # Errors
    /// [`StoreError::TooMuch`] beyond [`MAX_READ_BYTES`]; otherwise the file can't be read.
    pub async fn results(
        &self,
        owner: IpAddr,
        ids: &[JobId],
        intermediate: bool,
    ) -> Result<Vec<JobResult>, StoreError> {
        let now = self.0.clock.now();
        self.0.readers.results(canonical(owner), ids, intermediate, now).await
    }

    /// The ids of the owner's jobs: those that have not ended (`true`), those that have (`false`), or all (the running ones
    /// first). At most [`MAX_LISTED`] of each kind.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn ids(&self, owner: IpAddr, pending: Option<bool>) -> Result<Vec<JobId>, StoreError> {
        let now = self.0.clock.now();
        self.0.readers.ids(canonical(owner), pending, now).await
    }

    /// How many jobs have not ended, registered ones among them.
    pub fn pending(&self) -> u64 {
        self.0.writer.pending()
    }

    /// Whether the last write succeeded. While it did not, the store tries a small one every second.
    pub fn is_healthy(&self) -> bool {
        self.0.writer.is_healthy()
    }

    /// Finishes what is queued and closes the file. Later calls fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.0.readers.close();
        self.0.writer.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

/// The one text of an address: an IPv4 address in IPv6 clothes is the IPv4 address.
fn canonical(owner: IpAddr) -> String {
    owner.to_canonical().to_string()
}

//! The one writer: a thread that commits many operations at once.
//!
//! What was queued while the last commit went to disk makes up the next batch. Answers are sent after the commit: who has
//! one knows that the work is on disk. If an operation fails halfway (a full disk, an id that is taken), the batch is undone as
//! a whole, and every operation of it is done again in a transaction of its own.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use resultity_core::clock::{Clock, Timestamp};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::sentence;
use super::expiry::Expiry;
use super::operations::{Operation, execute};
use super::{Recorded, StoreError, schema};
use crate::infernet::config::settings::ResultSettings;

/// The most operations in one commit.
const BATCH: usize = 512;

/// How many operations may wait; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

/// The least time from one commit to the next. What comes first is committed at once; under load, a commit costs as much as
/// ten operations in it, so that it is worth waiting for some.
const PACE: Duration = Duration::from_millis(2);

/// How often to look for what is too old while there is nothing else to do.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait for other work between two steps of taking out what is too old.
const BETWEEN_STEPS: Duration = Duration::from_millis(5);

/// How often to try whether the file can be written to again.
const PROBE: Duration = Duration::from_secs(1);

/// How long to leave alone what is too old after it could not be taken out.
const EXPIRE_AGAIN: Duration = Duration::from_mins(1);

struct Queued {
    operation: Operation,
    outcome: Result<Recorded, StoreError>,
    answer: oneshot::Sender<Result<Recorded, StoreError>>,
}

enum Message {
    Run(Queued),
    Close,
}

/// What others may know of the writer at any time.
#[derive(Debug)]
struct State {
    pending: AtomicU64,
    healthy: AtomicBool,
}

/// The handle of the writer's thread.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
    /// Closed by the thread when it has ended.
    ended: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread, which holds the file's lock for as long as it has the file.
    pub(super) fn start(
        connection: Connection,
        lock: File,
        settings: &ResultSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let started = |error: std::io::Error| StoreError::Failed(format!("the writer can't be started: {error}"));
        let pending: i64 = connection.query_row("SELECT count(*) FROM running", [], |row| row.get(0))?;
        let state = Arc::new(State {
            pending: AtomicU64::new(pending as u64),
            healthy: AtomicBool::new(true),
        });
        // A runtime for the one thing that a blocking queue lacks: to stop waiting after some time.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(started)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let work = Work {
            connection,
            clock,
            expiry: Expiry::new(settings),
            expiry_from: Timestamp::from_millis(i64::MIN),
            state: Arc::clone(&state),
            // At once: there may be much to take out after a long time.
            wait: Duration::ZERO,
        };
        let thread = std::thread::Builder::new()
            .name("infernet-store".to_owned())
            .spawn(move || {
                work.run(&runtime, waiting);
                drop(lock);
                drop(alive);
            })
            .map_err(started)?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            state,
            ended,
        })
    }

    /// Queues the work and waits until it is committed. Once queued it is done, even if the caller stops waiting.
    pub(super) async fn call(&self, operation: Operation) -> Result<Recorded, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queued = Queued {
            operation,
            outcome: Err(StoreError::Closed),
            answer,
        };
        self.send(Message::Run(queued)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn pending(&self) -> u64 {
        self.state.pending.load(Ordering::Relaxed)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state.healthy.load(Ordering::Relaxed)
    }

    /// Does what is queued, then ends the thread; later calls are refused.
    pub(super) async fn close(&self) {
        // Refused means closed already.
        let _ = self.send(Message::Close).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    async fn send(&self, message: Message) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(message).await.map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}

/// What became of a transaction.
#[derive(Debug)]
enum Committed {
    /// It is on disk.
    Yes,
    /// It was undone because something in it failed halfway.
    Undone,
    /// It could not be begun or committed.
    Failed(StoreError),
}

/// What the thread works with.
struct Work {
    connection: Connection,
    clock: Arc<dyn Clock>,
    expiry: Expiry,
    /// Not before: it failed.
    expiry_from: Timestamp,
    state: Arc<State>,
    /// How long to wait for operations before looking for other things to do.
    wait: Duration,
}

impl Work {
    fn run(mut self, runtime: &Runtime, mut waiting: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH);
        let mut batch = Vec::with_capacity(BATCH);
        let mut begun = Instant::now();
        loop {
            pause(begun.elapsed());
            let wait = self.wait;
            let receive = async { tokio::time::timeout(wait, waiting.recv_many(&mut messages, BATCH)).await };
            if runtime.block_on(receive) == Ok(0) {
                break;
            }
            for message in messages.drain(..) {
                match message {
                    Message::Run(queued) => batch.push(queued),
                    Message::Close => waiting.close(),
                }
            }
            begun = Instant::now();
            self.work(&mut batch);
        }
        // Leaves one file with everything in it. Without it nothing is lost: the next start reads the log.
        let _ = self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE");
    }

    /// Does what was queued, and takes out some of what is over.
    fn work(&mut self, batch: &mut Vec<Queued>) {
        match self.commit(batch, true) {
            Committed::Undone => {
                for queued in batch.drain(..) {
                    let mut alone = [queued];
                    let committed = self.commit(&mut alone, false);
                    answer(alone, &committed);
                }
            }
            committed => answer(batch.drain(..), &committed),
        }
    }

    /// Does the operations in one transaction. Keeps in mind whether the file can be written to.
    fn commit(&mut self, batch: &mut [Queued], expires: bool) -> Committed {
        let mut pending = 0;
        self.wait = IDLE;
        let committed = self.transaction(batch, expires, &mut pending);
        if matches!(committed, Committed::Yes) {
            // Below zero it wraps around, and so does the sum.
            self.state.pending.fetch_add(pending as u64, Ordering::Relaxed);
        }
        let failure = match &committed {
            Committed::Failed(error) => Some(error),
            _ => batch.iter().find_map(|queued| match &queued.outcome {
                Err(error @ StoreError::Failed(_)) => Some(error),
                _ => None,
            }),
        };
        if let Some(error) = failure {
            self.wait = PROBE;
            if self.state.healthy.swap(false, Ordering::Relaxed) {
                tracing::error!(%error, "results can't be written");
            }
        } else if matches!(committed, Committed::Yes) && !self.state.healthy.swap(true, Ordering::Relaxed) {
            tracing::info!("results can be written again");
        }
        committed
    }

    fn transaction(&mut self, batch: &mut [Queued], expires: bool, pending: &mut i64) -> Committed {
        if let Err(error) = execute(&self.connection, "BEGIN IMMEDIATE", &[]) {
            return Committed::Failed(error.into());
        }
        let now = self.clock.now();
        for queued in &mut *batch {
            let changes = self.connection.total_changes();
            queued.outcome = queued.operation.run(&self.connection, now, pending);
            // A full disk or a failed read makes SQLite roll back everything by itself.
            let is_halfway = self.connection.is_autocommit() || self.connection.total_changes() != changes;
            if queued.outcome.is_err() && is_halfway {
                roll_back(&self.connection);
                return Committed::Undone;
            }
        }
        if expires && now >= self.expiry_from {
            match self.expiry.step(&self.connection, now, batch.len(), pending) {
                Ok(true) => self.wait = BETWEEN_STEPS,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = sentence(&error), "old results can't be taken out");
                    roll_back(&self.connection);
                    self.expiry_from = now.after(EXPIRE_AGAIN);
                    return Committed::Undone;
                }
            }
        }
        if let Err(error) = self.finish() {
            roll_back(&self.connection);
            return Committed::Failed(error.into());
        }
        Committed::Yes
    }

    fn finish(&self) -> rusqlite::Result<()> {
        if !self.state.healthy.load(Ordering::Relaxed) {
            // Only what is really written shows that the file is well again.
            schema::touch(&self.connection)?;
        }
        execute(&self.connection, "COMMIT", &[]).map(|_| ())
    }
}

/// Waits for what is left of the [`PACE`]. It may be less; that does no harm.
fn pause(elapsed: Duration) {
    if let Some(left) = PACE.checked_sub(elapsed) {
        std::thread::park_timeout(left);
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // If this fails, so does the next BEGIN, and its callers are told.
        let _ = execute(connection, "ROLLBACK", &[]);
    }
}

fn answer(batch: impl IntoIterator<Item = Queued>, committed: &Committed) {
    for queued in batch {
        let answer = match (queued.outcome, committed) {
            (Ok(_), Committed::Failed(error)) => Err(error.clone()),
            (outcome, _) => outcome,
        };
        // Who no longer waits for the answer does not get it; the work is done all the same.
        let _ = queued.answer.send(answer);
    }
}

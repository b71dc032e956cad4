//! The one writer: a thread that commits many operations at once.
//!
//! What was queued while the last commit went to disk makes up the next batch. Answers are sent after the commit: who has
//! one knows that the work is on disk.
//!
//! An operation that fails leaves nothing behind and does not disturb the others. What can go wrong in the daily course
//! is decided before anything is written, so a failure after that (a full disk, a constraint that stops a fault in the
//! code) is rare. Then the batch is undone as a whole, and every operation of it is done again in a transaction of its
//! own. A savepoint for each, which would do the same, costs a third of the writer's time for what hardly ever happens.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::enqueued::Enqueued;
use super::rows::execute;
use crate::store::StoreError;

/// The most operations in one commit.
const BATCH: usize = 512;

/// How many operations may wait; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

/// A unit of work: all of it is committed, or none. It may be done more than once, but only the last time counts.
trait Operation: Send {
    /// Does the work and keeps the answer. False: it failed.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Sends the answer, or why the commit failed.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

struct Call<T, F> {
    work: F,
    answer: Option<Result<T, StoreError>>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.answer.insert((self.work)(connection)).is_ok()
    }

    fn answer(self: Box<Self>, committed: &Result<(), String>) {
        let answer = match (self.answer, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(failure)) => Err(StoreError::Database(failure.clone())),
            (Some(answer), Ok(())) => answer,
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Who no longer waits for the answer does not get it; the work is done all the same.
        let _ = self.to.send(answer);
    }
}

enum Message {
    Run(Box<dyn Operation>),
    Close,
}

/// The handle of the writer's thread.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Closed by the thread when it has ended.
    ended: watch::Receiver<()>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, enqueued: Enqueued) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                run(&connection, waiting, &enqueued);
                drop(connection);
                drop(alive);
            })
            .map_err(|error| StoreError::Database(format!("the writer's thread can't be started: {error}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            ended,
        })
    }

    /// Queues the work and waits until it is committed. Once queued it is done, even if the caller stops waiting.
    pub(super) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (to, answer) = oneshot::channel();
        let call = Box::new(Call { work, answer: None, to });
        self.send(Message::Run(call)).await?;
        answer.await.map_err(|_| StoreError::Closed)?
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

fn run(connection: &Connection, mut waiting: mpsc::Receiver<Message>, enqueued: &Enqueued) {
    let mut messages = Vec::with_capacity(BATCH);
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut messages, BATCH) > 0 {
        for message in messages.drain(..) {
            match message {
                Message::Run(operation) => batch.push(operation),
                Message::Close => waiting.close(),
            }
        }
        match commit(connection, &mut batch) {
            Committed::Undone if batch.len() > 1 => {
                for operation in batch.drain(..) {
                    let mut alone = [operation];
                    let committed = commit(connection, &mut alone);
                    answer(alone, committed);
                }
            }
            committed => answer(batch.drain(..), committed),
        }
        enqueued.announce();
    }
    // Leaves one file with everything in it. Without it nothing is lost: the next start reads the log.
    let _ = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE");
}

/// What became of a transaction.
enum Committed {
    /// It is on disk.
    Yes,
    /// It was undone because one of its operations failed halfway.
    Undone,
    /// It could not be begun or committed.
    Failed(StoreError),
}

/// Does the operations in one transaction.
fn commit(connection: &Connection, operations: &mut [Box<dyn Operation>]) -> Committed {
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE", &[]) {
        return Committed::Failed(error);
    }
    for operation in operations {
        let changes = connection.total_changes();
        let failed = !operation.run(connection);
        // A full disk or a failed read makes SQLite roll back everything by itself.
        if failed && (connection.is_autocommit() || connection.total_changes() != changes) {
            roll_back(connection);
            return Committed::Undone;
        }
    }
    match execute(connection, "COMMIT", &[]) {
        Ok(_) => Committed::Yes,
        Err(error) => {
            roll_back(connection);
            Committed::Failed(error)
        }
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // If this fails, so does the next BEGIN, and its callers are told.
        let _ = execute(connection, "ROLLBACK", &[]);
    }
}

fn answer(operations: impl IntoIterator<Item = Box<dyn Operation>>, committed: Committed) {
    let committed = match committed {
        Committed::Yes => Ok(()),
        Committed::Undone => Err("another operation failed".to_owned()),
        Committed::Failed(error) => {
            tracing::error!(%error, "a commit failed");
            Err(match error {
                StoreError::Database(sentence) => sentence,
                other => other.to_string(),
            })
        }
    };
    for operation in operations {
        operation.answer(&committed);
    }
}

//! The one writer: a thread that commits many operations at once.
//!
//! What was queued while the last commit went to disk makes up the next batch. Every operation of it has a savepoint
//! of its own, so that one that fails leaves nothing behind and does not disturb the others. Answers are sent after the
//! commit: who has one knows that the work is on disk.

use std::collections::VecDeque;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::rows::execute;
use crate::store::StoreError;

/// The most operations in one commit.
const BATCH: usize = 512;

/// How many operations may wait; beyond that, callers wait to be queued.
const QUEUE: usize = 1024;

/// A unit of work: all of it is committed, or none.
trait Operation: Send {
    /// Does the work and keeps the answer. False: it failed, and what it did has to be undone.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Sends the answer, or why the commit failed.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

struct Call<T, F> {
    work: Option<F>,
    answer: Option<Result<T, StoreError>>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        self.answer.insert(work(connection)).is_ok()
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
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                run(&connection, waiting);
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
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (to, answer) = oneshot::channel();
        let call = Box::new(Call {
            work: Some(work),
            answer: None,
            to,
        });
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

fn run(connection: &Connection, mut waiting: mpsc::Receiver<Message>) {
    let mut messages = Vec::with_capacity(BATCH);
    let mut queue = VecDeque::with_capacity(BATCH);
    let mut done = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut messages, BATCH) > 0 {
        for message in messages.drain(..) {
            match message {
                Message::Run(operation) => queue.push_back(operation),
                Message::Close => waiting.close(),
            }
        }
        while !queue.is_empty() {
            let committed = commit(connection, &mut queue, &mut done).map_err(|error| match error {
                StoreError::Database(sentence) => sentence,
                other => other.to_string(),
            });
            if let Err(reason) = &committed {
                tracing::error!(store.operations = done.len(), error = %reason, "a commit failed");
            }
            for operation in done.drain(..) {
                Operation::answer(operation, &committed);
            }
        }
    }
    // Leaves one file with everything in it. Without it nothing is lost: the next start reads the log.
    let _ = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE");
}

/// Takes operations from the queue into one transaction and commits it. Those that belong to it are in `done`.
fn commit(
    connection: &Connection,
    queue: &mut VecDeque<Box<dyn Operation>>,
    done: &mut Vec<Box<dyn Operation>>,
) -> Result<(), StoreError> {
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE", &[]) {
        done.extend(queue.drain(..));
        return Err(error);
    }
    let mut worked = Ok(());
    while let Some(mut operation) = queue.pop_front() {
        worked = step(connection, operation.as_mut());
        done.push(operation);
        if worked.is_err() {
            break;
        }
    }
    let committed = worked.and_then(|()| execute(connection, "COMMIT", &[]).map(drop));
    if committed.is_err() && !connection.is_autocommit() {
        // If this fails too, the next BEGIN does, and says so.
        let _ = execute(connection, "ROLLBACK", &[]);
    }
    committed
}

/// One operation in its savepoint. An error means that the whole transaction is lost.
fn step(connection: &Connection, operation: &mut dyn Operation) -> Result<(), StoreError> {
    execute(connection, "SAVEPOINT operation", &[])?;
    if !operation.run(connection) {
        // A full disk or a failed read makes SQLite roll back everything by itself.
        if connection.is_autocommit() {
            return Err(StoreError::Database(
                "the transaction was rolled back by another operation's failure".into(),
            ));
        }
        execute(connection, "ROLLBACK TO operation", &[])?;
    }
    execute(connection, "RELEASE operation", &[])?;
    Ok(())
}

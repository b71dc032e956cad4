//! What runs batches: from the file that was uploaded to the files with answers and errors.
//!
//! The store says where each batch stands, and each change of it is one conditional step; what is done here can be cut off
//! anywhere and begun again. A request that ran is written down with its outcome; one that was under way is found again
//! by its idempotency key.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{BatchId, NamespaceId};
use resultity_core::openai::batch::{BatchError, BatchStatus};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::flow::{Flow, internal, lost};
use crate::session::batch::check::{Checked, check};
use crate::session::batch::line::Context;
use crate::session::batch::lines::{Ran, Slots, run};
use crate::session::batch::source::Source;
use crate::session::{CloudSession, Limits};
use crate::store::KeyRecord;
use crate::store::batches::{BatchRecord, BatchStep};

pub(super) mod check;
mod files;
mod line;
mod lines;
mod source;

/// How many batches run at once before each namespace has one, and how many of one namespace. Others wait in the order in which
/// they came, but none of them for those of another namespace.
const AT_ONCE: (usize, usize) = (64, 8);

/// How many run at once in any case.
const MOST_AT_ONCE: usize = 1024;

/// How many requests of a namespace's batches may be under way at once for one model.
const REQUESTS_A_MODEL: usize = 64;

/// How often in a row a batch may fail to be carried on, each time after a rest: an hour in all; once its window is over: some
/// minutes. Then it ends as failed.
const MOST_FAILURES: (u32, u32) = (120, 10);

/// How often to look for batches, should nobody have said that there is one.
const LOOK: Duration = Duration::from_secs(30);

/// How often what nobody needs any more is deleted, and how long that may take at once.
const TIDY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(20));

/// How long nobody may write to a file before it counts as abandoned.
const ABANDONED: Duration = Duration::from_mins(15);

/// Runs the batches of one environment.
#[derive(Debug)]
pub struct Batches {
    flow: Arc<Flow>,
    limits: Arc<Limits>,
    slots: Mutex<HashMap<(NamespaceId, String), Arc<Semaphore>>>,
}

/// A batch that has a task.
struct Running {
    batch: BatchId,
    namespace: NamespaceId,
    window_ends: Timestamp,
    halt: CancellationToken,
}

impl Batches {
    /// Runs nothing yet.
    pub fn new(flow: Arc<Flow>, limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self {
            flow,
            limits,
            slots: Mutex::default(),
        })
    }

    /// Runs all batches until the server takes no more jobs. What is under way then is taken up by the next process.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.flow.store.batch_changes();
        let mut tasks: JoinSet<bool> = JoinSet::new();
        let mut running: HashMap<Id, Running> = HashMap::new();
        // Those that could not be carried on, until when.
        let mut resting: HashMap<BatchId, Instant> = HashMap::new();
        // How often in a row.
        let mut failures: HashMap<BatchId, u32> = HashMap::new();
        let mut tidied: Option<Instant> = None;
        loop {
            resting.retain(|_, until| *until > Instant::now());
            changes.mark_unchanged();
            match self.flow.store.open_batches(self.flow.environment).await {
                Ok(open) => self.begin(open, &mut tasks, &mut running, &resting),
                Err(error) => tracing::warn!(%error, "batches could not be looked for"),
            }
            let (every, _) = TIDY;
            if tidied.is_none_or(|tidied| tidied.elapsed() >= every) {
                tidied = Some(Instant::now());
                tokio::select! {
                    () = self.flow.until_intake_ends() => break,
                    () = self.tidy() => {}
                }
            }
            let ended = tokio::select! {
                () = self.flow.until_intake_ends() => break,
                _ = changes.changed() => continue,
                Some(ended) = tasks.join_next_with_id() => ended,
                () = tokio::time::sleep(LOOK) => continue,
            };
            let (id, is_well) = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    tracing::error!(%error, "the task of a batch broke");
                    (error.id(), false)
                }
            };
            if let Some(ended) = running.remove(&id) {
                if is_well {
                    failures.remove(&ended.batch);
                    continue;
                }
                let count = failures.entry(ended.batch).or_default();
                *count += 1;
                if is_hopeless(*count, self.flow.clock.now() >= ended.window_ends) {
                    failures.remove(&ended.batch);
                    self.give_up(ended.batch).await;
                }
                resting.insert(ended.batch, Instant::now() + LOOK);
            }
        }
        // What they were at is begun again by the next process.
        tasks.shutdown().await;
    }

    /// Begins those that have no task, as far as there is room; tells those that are to be cancelled.
    fn begin(
        self: &Arc<Self>,
        open: Vec<(BatchRecord, KeyRecord)>,
        tasks: &mut JoinSet<bool>,
        running: &mut HashMap<Id, Running>,
        resting: &HashMap<BatchId, Instant>,
    ) {
        let mut has_task: HashSet<BatchId> = running.values().map(|running| running.batch).collect();
        let mut of_namespace: HashMap<NamespaceId, usize> = HashMap::new();
        for running in running.values() {
            *of_namespace.entry(running.namespace).or_default() += 1;
        }
        let (most, most_of_namespace) = AT_ONCE;
        for (record, key) in open {
            let is_cancelled = record.status == BatchStatus::Cancelling;
            if has_task.contains(&record.id) {
                let task = running.values().find(|running| running.batch == record.id);
                if let Some(task) = task.filter(|_| is_cancelled) {
                    task.halt.cancel();
                }
                continue;
            }
            let of_namespace = of_namespace.entry(record.namespace).or_default();
            // One that is cancelled has little to do.
            let has_room = *of_namespace == 0 || (running.len() < most && *of_namespace < most_of_namespace);
            let has_room = (has_room && running.len() < MOST_AT_ONCE) || is_cancelled;
            if !has_room || resting.contains_key(&record.id) {
                continue;
            }
            *of_namespace += 1;
            has_task.insert(record.id);
            let halt = CancellationToken::new();
            if is_cancelled {
                halt.cancel();
            }
            let (batch, namespace, window_ends) = (record.id, record.namespace, record.expires_at);
            let (batches, for_task) = (Arc::clone(self), halt.clone());
            let task = tasks.spawn(async move {
                let driven = batches.drive(record, key, for_task).await;
                if let Err(error) = &driven {
                    tracing::warn!(batch.id = %batch, %error, "a batch could not be carried on; it is tried again");
                }
                driven.is_ok()
            });
            let entry = Running {
                batch,
                namespace,
                window_ends,
                halt,
            };
            running.insert(task.id(), entry);
        }
    }

    /// Brings a batch from where it stands to its end.
    async fn drive(&self, mut record: BatchRecord, key: KeyRecord, halt: CancellationToken) -> Result<(), ApiError> {
        let store = &self.flow.store;
        // Whether the key was revoked or has expired is seen when its jobs are admitted.
        let context = Context {
            session: CloudSession::new(Arc::clone(&self.flow), Arc::clone(&self.limits), key.into()),
            batch: record.id,
            endpoint: record.endpoint,
            halt,
        };
        let mut source = Source::new(Arc::clone(store), record.input_file);
        let mut has_run = false;
        loop {
            let step = match record.status {
                BatchStatus::Validating => match check(&context.session, &mut source, record.endpoint).await? {
                    Checked::Good { total, model } => BatchStep::Begin { total, model },
                    Checked::Bad(errors) => BatchStep::Fail(errors),
                },
                BatchStatus::InProgress | BatchStatus::Cancelling if !has_run && record.counts.total > 0 => {
                    if record.status == BatchStatus::Cancelling {
                        context.halt.cancel();
                    }
                    let lines = source.lines().await?;
                    let slots = self.slots(&context.session, &record);
                    if run(&context, &mut source, &lines, &slots, record.expires_at).await? == Ran::Left {
                        return Ok(());
                    }
                    has_run = true;
                    BatchStep::Finalize
                }
                BatchStatus::InProgress => BatchStep::Finalize,
                BatchStatus::Finalizing | BatchStatus::Cancelling => {
                    record = self.finish(record, &mut source).await?;
                    continue;
                }
                BatchStatus::Failed | BatchStatus::Completed | BatchStatus::Expired | BatchStatus::Cancelled => {
                    tracing::info!(batch.id = %record.id, status = %record.status, completed = record.counts.completed, failed = record.counts.failed, "batch ended");
                    return Ok(());
                }
            };
            let stepped = store.step_batch(record.id, step, self.flow.clock.now()).await;
            record = match stepped.map_err(internal)? {
                Some(record) => record,
                // Somebody has cancelled it meanwhile.
                None => self.again(&record).await?,
            };
        }
    }

    /// Writes its files and ends it.
    async fn finish(&self, record: BatchRecord, source: &mut Source) -> Result<BatchRecord, ApiError> {
        // What was written down last counts too.
        let record = self.again(&record).await?;
        let lines = if record.counts.total > 0 {
            source.lines().await?
        } else {
            Vec::new()
        };
        let mut output = files::write_output(&self.flow, &record).await?;
        let mut errors = files::write_errors(&self.flow, &record, source, &lines).await?;
        let step = BatchStep::Finish {
            output: files::finished(output.as_mut(), &record, "output").await?,
            errors: files::finished(errors.as_mut(), &record, "error").await?,
        };
        let stepped = self.flow.store.step_batch(record.id, step, self.flow.clock.now()).await;
        let Some(ended) = stepped.map_err(internal)? else {
            return self.again(&record).await;
        };
        for file in [output, errors].into_iter().flatten() {
            file.kept();
        }
        Ok(ended)
    }

    async fn again(&self, record: &BatchRecord) -> Result<BatchRecord, ApiError> {
        let found = self.flow.store.batch(record.namespace, record.id).await;
        found.map_err(internal)?.ok_or_else(lost)
    }

    fn slots(&self, session: &CloudSession, record: &BatchRecord) -> Slots {
        let asked = record.model.clone().unwrap_or_default();
        let model = session.model_to_ask(&asked).ok().map(|model| model.name);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, permits| Arc::strong_count(permits) > 1);
        let permits = slots
            .entry((record.namespace, model.clone().unwrap_or(asked)))
            .or_insert_with(|| Arc::new(Semaphore::new(REQUESTS_A_MODEL)));
        Slots {
            permits: Arc::clone(permits),
            model,
        }
    }

    /// Ends a batch that can't be carried on.
    async fn give_up(&self, batch: BatchId) {
        let error = BatchError {
            code: ErrorCode::Internal.as_str().to_owned(),
            message:
                "the server could not carry the batch on; what was not answered was not charged: please make it anew"
                    .into(),
            param: None,
            line: None,
        };
        let step = BatchStep::GiveUp(vec![error]);
        match self.flow.store.step_batch(batch, step, self.flow.clock.now()).await {
            Ok(_) => tracing::error!(batch.id = %batch, "a batch was given up: it could not be carried on"),
            Err(error) => tracing::warn!(batch.id = %batch, %error, "a batch could not be given up"),
        }
    }

    /// Deletes what nobody needs any more, a little at a time.
    async fn tidy(&self) {
        let (_, patience) = TIDY;
        let store = &self.flow.store;
        let tidying = async {
            let now = self.flow.clock.now();
            let abandoned_before = Timestamp::from_millis(now.as_millis() - ABANDONED.as_millis() as i64);
            while store.purge_files(now, abandoned_before).await? > 0 {}
            while store.purge_line_outcomes().await? > 0 {}
            Ok::<(), crate::store::StoreError>(())
        };
        if let Ok(Err(error)) = timeout(patience, tidying).await {
            tracing::warn!(%error, "files could not be tidied up");
        }
    }
}

/// Whether a batch that failed so often in a row is given up.
const fn is_hopeless(failures: u32, is_late: bool) -> bool {
    let (most, most_when_late) = MOST_FAILURES;
    failures >= if is_late { most_when_late } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_moment(9, true, false)]
    #[case::late(10, true, true)]
    #[case::a_long_time(119, false, false)]
    #[case::too_long(120, false, true)]
    fn a_batch_that_always_fails_comes_to_an_end(#[case] failures: u32, #[case] is_late: bool, #[case] ends: bool) {
        assert_eq!(is_hopeless(failures, is_late), ends);
    }
}

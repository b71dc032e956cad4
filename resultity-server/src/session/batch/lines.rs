//! All requests of a batch: some at a time, each until it has an outcome.

use std::collections::{BTreeMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use resultity_core::clock::Timestamp;
use resultity_core::error::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::flow::internal;
use crate::session::batch::line::{Context, Tried, attempt};
use crate::session::batch::source::{Line, Source};

/// How many requests of one batch are under way at once.
const AT_ONCE: usize = 32;

/// How often to look whether the window has ended.
const LOOK: Duration = Duration::from_secs(1);

/// How long requests that are under way may take to end, once they were cancelled.
const HALT_PATIENCE: Duration = Duration::from_mins(1);

/// How the requests came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// Each has an outcome, or will not run any more.
    Over,
    /// The process stops: the next one goes on.
    Left,
}

/// What may be asked at once for one model, and by what name.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// For all batches that ask it.
    pub(super) permits: Arc<Semaphore>,
    /// The model's name in the snapshot; none if it is not there any more.
    pub(super) model: Option<String>,
}

type Trying<'a> = BoxFuture<'a, Result<(Line, u32, Tried), ApiError>>;

/// Runs the lines until each has an outcome, the window ends, or the context is halted.
pub(super) async fn run(
    context: &Context,
    source: &mut Source,
    lines: &[Line],
    slots: &Slots,
    window_ends: Timestamp,
) -> Result<Ran, ApiError> {
    let flow = &context.session.flow;
    let done = flow.store.finished_lines(context.batch).await.map_err(internal)?;
    let done: HashSet<u32> = done.into_iter().collect();
    let mut fresh = lines
        .iter()
        .copied()
        .filter(|line| !done.contains(&line.number))
        .peekable();
    // By when they are due.
    let mut again: BTreeMap<(Instant, u32), (Line, u32)> = BTreeMap::new();
    let mut running: FuturesUnordered<Trying<'_>> = FuturesUnordered::new();
    // Kept while other things happen: whoever waits for a permit keeps its place.
    let mut slot: Option<BoxFuture<'_, OwnedSemaphorePermit>> = None;
    let mut halted: Option<Instant> = None;
    loop {
        if flow.clock.now() >= window_ends {
            context.halt.cancel();
        }
        if halted.is_none() && context.halt.is_cancelled() {
            halted = Some(Instant::now());
            slot = None;
        }
        let is_halted = halted.is_some();
        let is_due = again
            .first_key_value()
            .is_some_and(|((due, _), _)| is_halted || *due <= Instant::now());
        let has_next = is_due || fresh.peek().is_some();
        if running.is_empty() && again.is_empty() && !has_next {
            return Ok(Ran::Over);
        }
        if halted.is_some_and(|since| since.elapsed() > HALT_PATIENCE) && !running.is_empty() {
            tracing::warn!(batch.id = %context.batch, lines = running.len(), "lines of a batch did not end in time");
            return Ok(Ran::Over);
        }
        let may_start = has_next && running.len() < AT_ONCE;
        if may_start && !is_halted && slot.is_none() {
            slot = Some(Box::pin(free_slot(context, slots)));
        }
        let next_due = again.first_key_value().map(|((due, _), _)| *due);
        let wake = next_due
            .filter(|_| !is_due)
            .map_or(Instant::now() + LOOK, |due| due.min(Instant::now() + LOOK));
        let permit = tokio::select! {
            biased;
            () = flow.until_intake_ends() => return Ok(Ran::Left),
            Some(tried) = running.next(), if !running.is_empty() => {
                let (line, tries, tried) = tried?;
                match tried {
                    Tried::Done | Tried::NotRun => {}
                    Tried::Left => return Ok(Ran::Left),
                    Tried::Again(pause) => {
                        again.insert((Instant::now() + pause, line.number), (line, tries + 1));
                    }
                }
                continue;
            }
            permit = async { match slot.as_mut() { Some(slot) => slot.await, None => pending().await } }, if may_start => {
                slot = None;
                Some(permit)
            }
            // What is halted only looks for jobs that are there.
            () = async {}, if may_start && is_halted => None,
            () = context.halt.cancelled(), if !is_halted => continue,
            () = sleep_until(wake) => continue,
        };
        let next = if is_due {
            again.pop_first().map(|(_, next)| next)
        } else {
            fresh.next().map(|line| (line, 0))
        };
        if let Some((line, tries)) = next {
            let text = source.read(line).await?;
            running.push(Box::pin(async move {
                let tried = attempt(context, line, text, tries).await;
                drop(permit);
                Ok((line, tries, tried?))
            }));
        }
    }
}

/// Waits until a node serves the model, so that a batch for a model that none serves holds up no other, and then for its
/// turn.
async fn free_slot(context: &Context, slots: &Slots) -> OwnedSemaphorePermit {
    if let Some(model) = &slots.model {
        context.session.flow.until_served(model).await;
    }
    match Arc::clone(&slots.permits).acquire_owned().await {
        Ok(permit) => permit,
        // It is never closed.
        Err(_) => pending().await,
    }
}

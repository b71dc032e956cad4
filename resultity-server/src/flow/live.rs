//! What happens to jobs that can be followed, while they live in this process. The truth is in the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use resultity_core::openai::chat::ChunkChoice;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::flow::JobEvent;
use crate::flow::end::no_capacity;

/// All jobs that can be followed.
#[derive(Debug, Default)]
pub(super) struct LiveJobs {
    jobs: Mutex<HashMap<JobId, Arc<LiveJob>>>,
}

impl LiveJobs {
    pub(super) fn open(&self, job: JobId) -> Arc<LiveJob> {
        let live = Arc::new(LiveJob::new());
        self.lock().insert(job, Arc::clone(&live));
        live
    }

    pub(super) fn get(&self, job: JobId) -> Option<Arc<LiveJob>> {
        self.lock().get(&job).cloned()
    }

    pub(super) fn close(&self, job: JobId) {
        self.lock().remove(&job);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<LiveJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobEvent {
    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        let of_piece = |piece: &ChunkChoice| {
            let beside = |value: &Value| if value.is_null() { 0 } else { value.to_string().len() };
            let extra: usize = piece.delta.extra.values().map(beside).sum();
            size_of::<ChunkChoice>()
                + piece.delta.content.as_ref().map_or(0, String::len)
                + extra
                + piece.logprobs.as_ref().map_or(0, beside)
        };
        match self {
            Self::Delta(pieces) => pieces.iter().map(of_piece).sum(),
            Self::Answer(answer) => {
                let texts = answer
                    .choices
                    .iter()
                    .filter_map(|choice| choice.message.content.as_ref());
                let texts = texts.chain(&answer.embeddings).map(String::len);
                let output = answer.output.as_ref().map_or(0, |output| output.get().len());
                texts.sum::<usize>() + output + answer.chunks.iter().map(of_piece).sum::<usize>()
            }
            Self::Failed(error) => error.message.len(),
        }
    }
}

/// One job: its events from the first. They are as many as the answer has pieces, which is bounded.
#[derive(Debug)]
pub(super) struct LiveJob {
    events: Mutex<Vec<JobEvent>>,
    /// How many events there are, and whether more may come.
    progress: watch::Sender<(usize, bool)>,
    cancel: CancellationToken,
}

impl LiveJob {
    fn new() -> Self {
        Self {
            events: Mutex::default(),
            progress: watch::Sender::new((0, false)),
            cancel: CancellationToken::new(),
        }
    }

    pub(super) fn push(&self, event: JobEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
        self.progress.send_replace((events.len(), false));
    }

    /// How many pieces of the answer were told.
    pub(super) fn told(&self) -> usize {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = events.iter().map(|event| match event {
            JobEvent::Delta(pieces) => pieces.len(),
            JobEvent::Answer(_) | JobEvent::Failed(_) => 0,
        });
        pieces.sum()
    }

    /// No more events. If the job did not say how it ended, it was cancelled, or is left to the next process.
    pub(super) fn finish(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(events.last(), Some(JobEvent::Answer(_) | JobEvent::Failed(_))) {
            events.push(JobEvent::Failed(if self.cancel.is_cancelled() {
                ApiError::new(ErrorCode::Cancelled, "the job was cancelled")
            } else {
                no_capacity("the server is about to stop")
            }));
        }
        self.progress.send_replace((events.len(), true));
    }

    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// All events from the first to the last.
    pub(super) fn events(self: Arc<Self>) -> impl Stream<Item = JobEvent> + Send + 'static {
        let progress = self.progress.subscribe();
        stream::unfold((self, progress, 0), |(live, mut progress, next)| async move {
            // Fails only when the job is gone, which the borrow below forbids.
            let (count, is_over) = *progress
                .wait_for(|(count, is_over)| *count > next || *is_over)
                .await
                .ok()?;
            if next >= count && is_over {
                return None;
            }
            let event = {
                let events = live.events.lock().unwrap_or_else(PoisonError::into_inner);
                events.get(next).cloned()
            };
            event.map(|event| (event, (live, progress, next + 1)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn failed() -> JobEvent {
        JobEvent::Failed(ApiError::new(ErrorCode::NoCapacity, "busy"))
    }

    #[tokio::test]
    async fn who_follows_sees_everything_from_the_first_event() {
        let live = Arc::new(LiveJob::new());
        live.push(JobEvent::Delta(Vec::new()));
        let early = tokio::spawn(Arc::clone(&live).events().collect::<Vec<_>>());
        live.push(failed());
        live.finish();
        let late: Vec<_> = Arc::clone(&live).events().collect().await;
        assert_eq!(late.len(), 2);
        assert_eq!(early.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_job_that_does_not_say_how_it_ended_was_cancelled_or_is_left() {
        for (is_cancelled, code) in [(true, ErrorCode::Cancelled), (false, ErrorCode::NoCapacity)] {
            let live = Arc::new(LiveJob::new());
            if is_cancelled {
                live.cancel();
            }
            live.finish();
            let events: Vec<_> = live.events().collect().await;
            assert!(matches!(events.as_slice(), [JobEvent::Failed(error)] if error.code == code));
        }
    }
}

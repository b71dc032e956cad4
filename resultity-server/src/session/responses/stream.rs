//! The events of a response, from those of its job.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::api::cloud::ReplyMeta;
use resultity_core::error::ApiError;
use resultity_core::id::{JobId, ResponseId};
use resultity_core::openai::response::{EventBody, ResponseEvent};
use tokio::time::timeout;

use super::kept::{finish_reason, tell_answer};
use super::messages::Origins;
use super::narrate::{Ending, Narrator};
use super::translate::in_our_words;
use crate::flow::{Flow, JobEvent, lost};
use crate::session::CloudSession;
use crate::session::pieces::FIRST_OUTPUT;
use crate::session::run::with_rate;

/// Cancels a job when it is dropped.
pub(super) struct CancelOnDrop {
    flow: Arc<Flow>,
    job: Option<JobId>,
}

impl CancelOnDrop {
    /// Cancels this job, if there is one.
    pub(super) fn new(flow: &Arc<Flow>, job: Option<JobId>) -> Self {
        Self {
            flow: Arc::clone(flow),
            job,
        }
    }

    /// Lets the job be.
    pub(super) fn keep(mut self) {
        self.job = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let flow = Arc::clone(&self.flow);
            self.flow.tasks.spawn(async move {
                if let Err(error) = flow.cancel(job).await {
                    tracing::warn!(job.id = %job, %error, "a response could not be cancelled");
                }
            });
        }
    }
}

/// A response that is being told.
pub(super) struct Telling {
    session: CloudSession,
    narrator: Narrator,
    events: BoxStream<'static, JobEvent>,
    /// How many pieces of the answer were told.
    told: usize,
    due: VecDeque<ResponseEvent>,
    /// Only events behind this one are told.
    after: Option<u64>,
    /// The response, if it is kept: then what is kept of it says how it ended.
    kept: Option<ResponseId>,
    guard: Option<CancelOnDrop>,
    is_over: bool,
}

impl Telling {
    pub(super) fn new(session: &CloudSession, narrator: Narrator, events: BoxStream<'static, JobEvent>) -> Self {
        Self {
            session: session.clone(),
            narrator,
            events,
            told: 0,
            due: VecDeque::new(),
            after: None,
            kept: None,
            guard: None,
            is_over: false,
        }
    }

    /// It is kept under this id.
    pub(super) fn kept(mut self, id: ResponseId) -> Self {
        self.kept = Some(id);
        self
    }

    /// Tells only what comes behind the event with this number.
    pub(super) fn starting_after(mut self, number: Option<u64>) -> Self {
        self.after = number;
        self
    }

    /// Ends when nobody listens any more.
    pub(super) fn guarded(mut self, guard: CancelOnDrop) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Waits a while for the first output, so that an early failure is a plain error.
    pub(super) async fn first_output(mut self, origins: &Origins, meta: &ReplyMeta) -> Result<Self, ApiError> {
        match timeout(FIRST_OUTPUT, self.events.next()).await {
            Err(_) => {}
            Ok(Some(JobEvent::Failed(error))) => {
                self.release();
                return Err(in_our_words(with_rate(error, meta), origins));
            }
            Ok(event) => self.take(event).await,
        }
        Ok(self)
    }

    /// Its events.
    pub(super) fn events(self) -> BoxStream<'static, Result<ResponseEvent, ApiError>> {
        stream::unfold(self, |mut telling| async move {
            loop {
                telling.collect();
                if let Some(event) = telling.due.pop_front() {
                    return Some((Ok(event), telling));
                }
                if telling.is_over {
                    return None;
                }
                let event = telling.events.next().await;
                telling.take(event).await;
            }
        })
        .boxed()
    }

    fn collect(&mut self) {
        let after = self.after;
        let events = self.narrator.take_events().into_iter();
        self.due
            .extend(events.filter(|event| after.is_none_or(|after| event.sequence_number > after)));
    }

    async fn take(&mut self, event: Option<JobEvent>) {
        match event {
            Some(JobEvent::Delta(pieces)) => {
                self.told += pieces.len();
                for piece in pieces {
                    self.narrator.output(piece);
                }
            }
            Some(event) => {
                self.is_over = true;
                self.release();
                if let Err(error) = self.end(event).await {
                    self.narrator.end(Ending::Failed(error));
                }
            }
            None => {
                self.is_over = true;
                let error = lost();
                self.narrator.tell(EventBody::Error {
                    code: Some(error.code.as_str().to_owned()),
                    message: error.message,
                    param: None,
                });
            }
        }
    }

    async fn end(&mut self, event: JobEvent) -> Result<(), ApiError> {
        if let Some(id) = self.kept {
            let kept = self.session.kept(id).await?;
            return kept.tell_end(&mut self.narrator, self.told, self.after);
        }
        match event {
            JobEvent::Answer(answer) => {
                let ending = Ending::Answer {
                    finish_reason: finish_reason(&answer),
                    usage: answer.usage,
                    at: self.session.flow.clock.now().as_seconds(),
                };
                tell_answer(&mut self.narrator, *answer, self.told);
                self.narrator.end(ending);
                Ok(())
            }
            JobEvent::Failed(error) => Err(in_our_words(error, &Origins::of_text())),
            JobEvent::Delta(_) => Ok(()),
        }
    }

    /// There is nothing to cancel any more.
    fn release(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.keep();
        }
    }
}

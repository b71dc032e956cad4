//! Jobs that somebody comes back for: in the background, or named by an idempotency key. Their request and answer are in the
//! store; what happens while they run is also in memory, for those who follow.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{JobId, NamespaceId};
use resultity_core::job::{Endpoint, JobState};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::flow::end::{idempotency_clash, internal, lost};
use crate::flow::job::{Accepted, NewTask, Origin};
use crate::flow::live::LiveJob;
use crate::flow::room::Room;
use crate::flow::validate::ValidJob;
use crate::flow::{Answer, EVENT_QUEUE, Flow, JobEvent, Principal};
use crate::store::{DetachedRecord, EventSource, Idempotency, NewPayload, Release, Resumable, StoreError};

/// How long an idempotency key is remembered, and by default an answer is kept.
pub const RETENTION: Duration = Duration::from_hours(24);

/// The longest request that is kept: bytes. With what it goes on from it may be longer than a body.
const MAX_REQUEST: usize = 32 * 1024 * 1024;

/// How long the row of a node is kept that is nobody's, since it was heard of.
const STRANGERS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How many of them are forgotten at once.
const STRANGERS_AT_ONCE: u32 = 1000;

/// How long the lines of a node's log are kept.
const LOGS_KEPT: Duration = Duration::from_hours(7 * 24);

/// How many of them are deleted at a time: the writer has other things to do.
const LOGS_AT_ONCE: u32 = 10_000;

/// A request whose answer somebody comes back for.
#[derive(Debug)]
pub struct Detached {
    /// What was asked.
    pub endpoint: Endpoint,
    /// As it was asked.
    pub request: Box<RawValue>,
    /// Makes a repeat find the first one's job.
    pub idempotency: Option<(String, B256)>,
    /// How long request and answer are kept.
    pub retain: Duration,
    /// Whether it goes on after a restart.
    pub survives: bool,
    /// Whether it waits for a node for as long as it may take, also while none serves the model.
    pub is_patient: bool,
    /// Whose events its end makes.
    pub events: Option<EventSource>,
}

impl Detached {
    /// A job in the background: it goes on without whoever asked.
    pub fn background(endpoint: Endpoint, request: Box<RawValue>) -> Self {
        Self {
            endpoint,
            request,
            idempotency: None,
            retain: RETENTION,
            survives: true,
            is_patient: true,
            events: None,
        }
    }

    /// A job that somebody waits for, and whose answer is kept all the same.
    pub fn kept(endpoint: Endpoint, request: Box<RawValue>) -> Self {
        Self {
            survives: false,
            is_patient: false,
            ..Self::background(endpoint, request)
        }
    }
}

/// A job that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetachedJob {
    /// The job.
    pub id: JobId,
    /// When it was accepted.
    pub created: Timestamp,
    /// False: an idempotency key stood for it already.
    pub is_new: bool,
}

/// Cancels a job whose asker goes away before hearing that it was accepted.
struct Unheard {
    live: Option<Arc<LiveJob>>,
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            live.cancel();
        }
    }
}

impl Flow {
    /// Takes a job that somebody comes back for. When this returns, its hold and request are on disk.
    ///
    /// # Errors
    /// It was not admitted; or its idempotency key stands for another request ([`ErrorCode::Conflict`]).
    pub async fn submit_detached(
        self: &Arc<Self>,
        principal: Principal,
        mut request: ValidJob,
        detached: Detached,
    ) -> Result<DetachedJob, ApiError> {
        let namespace = principal.namespace;
        if let Some((key, hash)) = &detached.idempotency {
            let now = self.clock.now();
            let known = self.store.idempotent_job(namespace, key, now).await.map_err(internal)?;
            match known {
                Some((id, known)) if known == *hash => return self.existing(namespace, id).await,
                Some(_) => return Err(idempotency_clash()),
                None => {}
            }
        }
        if detached.request.get().len() > MAX_REQUEST {
            let message = format!("the request, with all that it goes on from, is larger than {MAX_REQUEST} bytes");
            return Err(ApiError::new(ErrorCode::PayloadTooLarge, message));
        }
        let room = self.take_room(namespace, &request, true)?;
        request.node_share = Some(self.snapshot().jobs.node_share);
        request.weight = principal.limits.namespace.weight.get();
        let id = JobId::new(&*self.clock, &*self.entropy);
        let created = self.clock.now();
        let work = serde_json::to_string(&request).map_err(|error| {
            ApiError::new(ErrorCode::Internal, "the request could not be encoded").with_source(error)
        })?;
        let payload = NewPayload {
            request: detached.request.get().to_owned(),
            work,
            expires_at: created.after(detached.retain),
            most_bytes: Some(self.kept.answer_bytes),
            detached: detached.survives,
            events: detached.events,
            idempotency: detached.idempotency.map(|(key, request_hash)| Idempotency {
                key,
                request_hash,
                expires_at: created.after(RETENTION),
            }),
        };
        let (accepted, answer) = oneshot::channel();
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let task = NewTask {
            id,
            principal,
            endpoint: detached.endpoint,
            request,
            created,
            events: sender,
            payload: Some(payload),
            accepted: Some(accepted),
            origin: if detached.is_patient {
                Origin::Background
            } else {
                Origin::Asked
            },
        };
        let live = self.own(task, events, room);
        // Nobody comes back for one that does not outlive its asker.
        let mut unheard = Unheard {
            live: (!detached.survives).then_some(live),
        };
        let accepted = answer.await;
        unheard.live = None;
        match accepted.map_err(|_| lost())?? {
            Accepted::New => Ok(DetachedJob {
                id,
                created,
                is_new: true,
            }),
            Accepted::Existing(id) => self.existing(namespace, id).await,
        }
    }

    async fn existing(&self, namespace: NamespaceId, id: JobId) -> Result<DetachedJob, ApiError> {
        let found = self.store.job_view(namespace, id).await.map_err(internal)?;
        let (view, _) = found.ok_or_else(lost)?;
        Ok(DetachedJob {
            id,
            created: view.created,
            is_new: false,
        })
    }

    /// Runs a job and keeps its events for those who follow.
    fn own(self: &Arc<Self>, task: NewTask, mut events: mpsc::Receiver<JobEvent>, room: Room) -> Arc<LiveJob> {
        let (id, namespace) = (task.id, task.principal.namespace);
        let live = self.live.open(id);
        let owned = Arc::clone(&live);
        let (ended, has_ended) = oneshot::channel::<()>();
        let room = Arc::new(room);
        let telling = Arc::clone(&room);
        let flow = Arc::clone(self);
        self.tasks.spawn(async move {
            flow.run(task).await;
            drop((room, ended));
        });
        let flow = Arc::clone(self);
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => {
                            telling.tell(event.size());
                            live.push(event);
                        }
                        None => break,
                    },
                    () = live.cancelled() => {
                        drop(events);
                        // Closed, not answered, when the job is over.
                        let _ = has_ended.await;
                        flow.tell_if_answered(namespace, id, &live).await;
                        break;
                    }
                }
            }
            live.finish();
            flow.live.close(id);
        });
        owned
    }

    /// A job that was cancelled may have been answered, and paid for, at that very moment.
    async fn tell_if_answered(&self, namespace: NamespaceId, id: JobId, live: &LiveJob) {
        let Ok(Some(record)) = self.store.detached_job(namespace, id).await else {
            return;
        };
        if let Ok(mut answer) = answer_of(&record) {
            let told = live.told().min(answer.chunks.len());
            live.push(JobEvent::Delta(answer.chunks.split_off(told)));
            live.push(JobEvent::Answer(Box::new(answer)));
        }
    }

    /// Takes up the jobs again that an earlier process left and that go on without whoever asked; how many there were.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, StoreError> {
        let mut count = 0;
        for job in self.store.resumable().await? {
            if job.environment != self.environment {
                continue;
            }
            match serde_json::from_str(&job.work) {
                Ok(request) => {
                    self.resume_one(job, request);
                    count += 1;
                }
                Err(error) => {
                    tracing::error!(job.id = %job.id, %error, "a job of an earlier version can't be taken up again");
                    self.give_up(job.id).await?;
                }
            }
        }
        Ok(count)
    }

    /// Ends a job that an earlier process left and that nobody can run: its hold must not outlive that.
    async fn give_up(&self, job: JobId) -> Result<(), StoreError> {
        let release = Release {
            job,
            state: JobState::Failed,
            error_code: ErrorCode::Internal.as_str(),
            error_message: "the server was replaced before the job ran; nothing was charged: please ask again".into(),
            error_param: None,
            repeatable: true,
            now: self.clock.now(),
        };
        self.store.release(release).await.map(|_| ())
    }

    fn resume_one(self: &Arc<Self>, job: Resumable, mut request: ValidJob) {
        request.ttl = Some(job.deadline.since(self.clock.now()));
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let task = NewTask {
            id: job.id,
            principal: Principal::resumed(&job),
            // What was asked only counts where the job is written down.
            endpoint: Endpoint::ChatCompletions,
            request,
            created: job.created,
            events: sender,
            payload: None,
            accepted: None,
            origin: Origin::Resumed,
        };
        let room = self.rooms.take_all_the_same(job.namespace, &task.request);
        self.own(task, events, room);
    }

    /// What has happened to a job so far and what will; none if it does not live in this process (any more).
    pub fn follow(&self, job: JobId) -> Option<BoxStream<'static, JobEvent>> {
        Some(self.live.get(job)?.events().boxed())
    }

    /// The same, or, of a job that lives here no more, what is kept of it.
    pub async fn events(&self, namespace: NamespaceId, job: JobId) -> Result<BoxStream<'static, JobEvent>, ApiError> {
        if let Some(events) = self.follow(job) {
            return Ok(events);
        }
        let record = self.store.detached_job(namespace, job).await.map_err(internal)?;
        let record = record.ok_or_else(lost)?;
        let mut events = Vec::new();
        // What was made until a job was cancelled counts too.
        if let Some(answer) = &record.answer {
            let chunks = stored_answer(answer)?.chunks;
            if !chunks.is_empty() {
                events.push(JobEvent::Delta(chunks));
            }
        }
        events.push(match answer_of(&record) {
            Ok(answer) => JobEvent::Answer(Box::new(answer)),
            Err(error) => JobEvent::Failed(error),
        });
        Ok(stream::iter(events).boxed())
    }

    /// Waits for the end of a kept job.
    pub async fn outcome(&self, namespace: NamespaceId, job: JobId) -> Result<Answer, ApiError> {
        if let Some(mut events) = self.follow(job) {
            while let Some(event) = events.next().await {
                match event {
                    JobEvent::Answer(answer) => return Ok(*answer),
                    JobEvent::Failed(error) => return Err(error),
                    JobEvent::Delta(_) => {}
                }
            }
        }
        let record = self.store.detached_job(namespace, job).await.map_err(internal)?;
        answer_of(&record.ok_or_else(lost)?)
    }

    /// Cancels a kept job, and waits until it has ended.
    pub async fn cancel(&self, job: JobId) -> Result<(), ApiError> {
        if let Some(live) = self.live.get(job) {
            live.cancel();
            let mut events = live.events().boxed();
            while events.next().await.is_some() {}
            return Ok(());
        }
        // Nobody runs it here: it may have been left by an earlier version.
        let release = Release {
            job,
            state: JobState::Cancelled,
            error_code: ErrorCode::Cancelled.as_str(),
            error_message: "the job was cancelled".into(),
            error_param: None,
            repeatable: true,
            now: self.clock.now(),
        };
        self.store.release(release).await.map_err(internal)?;
        Ok(())
    }

    /// Deletes what is kept no longer, at once: beside [`keep_tidy`](Self::keep_tidy), after something was decided.
    pub fn tidy_now(self: &Arc<Self>) {
        let flow = Arc::clone(self);
        self.background.spawn(async move {
            if let Err(error) = flow.store.purge(flow.clock.now()).await {
                tracing::warn!(%error, "what is kept no longer could not be deleted; it is tried again");
            }
        });
    }

    /// Deletes what is kept no longer, for as long as the server takes jobs.
    pub async fn keep_tidy(&self) {
        const PAUSE: Duration = Duration::from_mins(5);
        loop {
            let purge = async {
                let now = self.clock.now();
                if let Err(error) = self.store.purge(now).await {
                    tracing::warn!(%error, "what is kept no longer could not be deleted");
                }
                let kept = i64::try_from(STRANGERS_KEPT.as_millis()).unwrap_or(i64::MAX);
                let unseen_since = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
                let forgotten = self
                    .store
                    .forget_nodes(self.environment, unseen_since, STRANGERS_AT_ONCE);
                if let Err(error) = forgotten.await {
                    tracing::warn!(%error, "nodes that are nobody's could not be forgotten");
                }
                let kept = i64::try_from(LOGS_KEPT.as_millis()).unwrap_or(i64::MAX);
                let before = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
                if let Err(error) = self.store.forget_node_logs(before, LOGS_AT_ONCE).await {
                    tracing::warn!(%error, "old lines of nodes' logs could not be deleted");
                }
                tokio::time::sleep(PAUSE).await;
            };
            tokio::select! {
                () = self.intake_ended.cancelled() => return,
                () = purge => {}
            }
        }
    }
}

/// The answer of a kept job that has ended, or why there is none.
pub fn answer_of(record: &DetachedRecord) -> Result<Answer, ApiError> {
    let view = &record.view;
    if let Some(answer) = &record.answer
        && view.state == JobState::Succeeded
    {
        return stored_answer(answer);
    }
    if !view.state.is_final() {
        return Err(lost());
    }
    let code = view.error_code.as_deref().and_then(ErrorCode::from_wire);
    let code = code.unwrap_or(if view.state == JobState::Cancelled {
        ErrorCode::Cancelled
    } else {
        ErrorCode::Internal
    });
    let message = view.error_message.clone();
    let mut error = ApiError::new(code, message.unwrap_or_else(|| format!("the job is {}", view.state)));
    if let Some(param) = &view.error_param {
        error = error.with_param(param);
    }
    Err(error)
}

/// An answer as it is kept: whole, or what was made of it until it was cancelled.
pub fn stored_answer(answer: &str) -> Result<Answer, ApiError> {
    serde_json::from_str(answer).map_err(|error| {
        tracing::error!(%error, "a kept answer can't be read");
        ApiError::new(ErrorCode::Internal, "the answer that was kept can't be read")
    })
}

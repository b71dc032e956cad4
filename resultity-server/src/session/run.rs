//! What every request that makes a job goes through: options, limits, idempotency, submission.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::api::cloud::ReplyMeta;
use resultity_core::api::gate::Retention;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use resultity_core::job::{Endpoint, Priority};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::flow::detached::{Detached, DetachedJob};
use crate::flow::validate::ValidJob;
use crate::flow::{Answer, JobEvent, keeps_nothing, lost};
use crate::session::CloudSession;

/// The longest idempotency key: characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A job that was accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobRef {
    pub(super) id: JobId,
    pub(super) created: Timestamp,
}

/// A job that was answered.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) job: JobRef,
    pub(super) answer: Answer,
    pub(super) meta: ReplyMeta,
}

/// A job that is under way.
pub(super) struct Running {
    pub(super) job: JobRef,
    pub(super) meta: ReplyMeta,
    /// Dropping them cancels the job, unless an idempotency key names it.
    pub(super) events: BoxStream<'static, JobEvent>,
}

impl CloudSession {
    /// The request as it was asked, if it has to be kept: it is to be given to [`Self::run`].
    pub(super) fn original(&self, request: &impl Serialize) -> Result<Option<Box<RawValue>>, ApiError> {
        let is_kept = self.options.idempotency_key.is_some() || self.principal.retention == Retention::Full;
        is_kept.then(|| encode(request)).transpose()
    }

    /// Refuses what can't be done without keeping something, where the namespace keeps nothing.
    pub(super) fn check_keeps(&self, what: &str) -> Result<(), ApiError> {
        match self.principal.retention {
            Retention::None => Err(keeps_nothing(what)),
            _ => Ok(()),
        }
    }

    /// Runs a request to its end.
    pub(super) async fn run(
        &self,
        endpoint: Endpoint,
        original: Option<Box<RawValue>>,
        valid: ValidJob,
    ) -> Result<Finished, ApiError> {
        let mut running = self.run_stream(endpoint, original, valid).await?;
        loop {
            match running.events.next().await {
                Some(JobEvent::Answer(answer)) => {
                    let mut meta = running.meta;
                    meta.cost = Some(answer.cost);
                    return Ok(Finished {
                        job: running.job,
                        answer: *answer,
                        meta,
                    });
                }
                Some(JobEvent::Failed(error)) => return Err(with_rate(error, &running.meta)),
                Some(JobEvent::Delta(_)) => {}
                None => return Err(lost()),
            }
        }
    }

    /// Begins a request and gives what becomes of it.
    pub(super) async fn run_stream(
        &self,
        endpoint: Endpoint,
        original: Option<Box<RawValue>>,
        valid: ValidJob,
    ) -> Result<Running, ApiError> {
        let (valid, mut meta) = self.admit(endpoint, valid).await?;
        let is_named = self.options.idempotency_key.is_some();
        let (named, asked) = if is_named { (original, None) } else { (None, original) };
        if let Some(original) = named {
            let stream = valid.stream;
            let mut detached = Detached::kept(endpoint, original);
            detached.survives = true;
            detached.idempotency = self.idempotency(endpoint.as_str(), stream, &detached.request)?;
            let job = self
                .flow
                .submit_detached(self.principal.clone(), valid, detached)
                .await?;
            meta.job_id = Some(job.id);
            meta.replayed = !job.is_new;
            let events = self.flow.events(self.principal.namespace, job.id).await?;
            return Ok(Running {
                job: job.into(),
                meta,
                events,
            });
        }
        let job = self.flow.submit(self.principal.clone(), endpoint, valid, asked)?;
        meta.job_id = Some(job.id);
        let events = stream::unfold(job.events, |mut events| async move {
            let event = events.recv().await?;
            Some((event, events))
        });
        Ok(Running {
            job: JobRef {
                id: job.id,
                created: job.created,
            },
            meta,
            events: events.boxed(),
        })
    }

    /// Submits a request whose answer somebody comes back for, with the caller's options and limits.
    pub(super) async fn run_detached(
        &self,
        valid: ValidJob,
        mut detached: Detached,
    ) -> Result<(DetachedJob, ReplyMeta), ApiError> {
        let (valid, mut meta) = self.admit(detached.endpoint, valid).await?;
        if detached.idempotency.is_none() {
            detached.idempotency = self.idempotency(detached.endpoint.as_str(), valid.stream, &detached.request)?;
        }
        if detached.idempotency.is_some() {
            detached.survives = true;
        }
        let job = self
            .flow
            .submit_detached(self.principal.clone(), valid, detached)
            .await?;
        meta.job_id = Some(job.id);
        meta.replayed = !job.is_new;
        Ok((job, meta))
    }

    /// Options and limits.
    async fn admit(&self, endpoint: Endpoint, mut valid: ValidJob) -> Result<(ValidJob, ReplyMeta), ApiError> {
        if self.options.priority == Priority::Bulk {
            valid.priority = Priority::Bulk;
        }
        valid.ttl = self.options.ttl.or(valid.ttl);
        self.constrain(&mut valid);
        let tokens = valid.max_prompt_tokens.saturating_add(valid.max_completion_tokens);
        let principal = &self.principal;
        let mut meta = ReplyMeta::default();
        meta.rate = Some(
            self.limits
                .admit(principal.key, principal.namespace, &principal.limits, endpoint, tokens)?,
        );
        self.address(&mut valid)
            .await
            .map_err(|error| with_rate(error, &meta))?;
        Ok((valid, meta))
    }

    /// What makes a repeat of this request find the first one's job.
    pub(super) fn idempotency(
        &self,
        endpoint: &str,
        stream: bool,
        request: &RawValue,
    ) -> Result<Option<(String, resultity_core::B256)>, ApiError> {
        let Some(key) = &self.options.idempotency_key else {
            return Ok(None);
        };
        self.check_keeps("no request can be repeated by its Idempotency-Key")
            .map_err(|error| error.with_param("Idempotency-Key"))?;
        let is_good = !key.is_empty()
            && key.len() <= MAX_IDEMPOTENCY_KEY
            && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !is_good {
            return Err(ApiError::new(
                ErrorCode::InvalidValue,
                format!("Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters"),
            )
            .with_param("Idempotency-Key"));
        }
        // What callers name is kept apart from what batches name.
        let hash = sha256(format!("{endpoint}\n{stream}\n{}", request.get()));
        Ok(Some((format!("key:{key}"), hash)))
    }
}

impl From<DetachedJob> for JobRef {
    fn from(job: DetachedJob) -> Self {
        Self {
            id: job.id,
            created: job.created,
        }
    }
}

/// The request as it was asked.
pub(super) fn encode(original: &impl Serialize) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(original)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the request could not be encoded").with_source(error))
}

/// An error after the limits were looked at says what is left of them.
pub(super) fn with_rate(error: ApiError, meta: &ReplyMeta) -> ApiError {
    match &meta.rate {
        Some(rate) => error.with_rate_limits(rate.clone()),
        None => error,
    }
}

//! Jobs for the holder of a key: any request to be polled for, and what became of all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::cloud::Reply;
use resultity_core::api::jobs::{Feedback, Job, JobAttempt, JobQuery, JobRequest, JobsApi, Quote};
use resultity_core::api::page::{DEFAULT_PAGE, MAX_PAGE, Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use resultity_core::job::{Endpoint, JobState};
use resultity_core::raw_json::RawJson;
use resultity_core::receipt::{Receipt, SignedReceipt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::flow::detached::{Detached, answer_of};
use crate::flow::validate::ValidJob;
use crate::flow::verify::shown_finish_reason;
use crate::flow::{Asking, Outlook, internal};
use crate::session::render::{encoded, render};
use crate::session::run::encode;
use crate::session::{CloudSession, parsers, responses};
use crate::store::epochs::epoch_of;
use crate::store::{AttemptView, DetachedRecord, EventSource, JobFilter, JobView};

/// The longest category of feedback: characters.
const MAX_CATEGORY: usize = 64;

/// The longest comment of feedback: characters.
const MAX_COMMENT: usize = 2000;

impl CloudSession {
    /// Checks the body of any endpoint for this caller, as JSON. Its answer will not be streamed.
    pub(super) fn valid_body(&self, endpoint: Endpoint, body: &[u8]) -> Result<ValidJob, ApiError> {
        parsers::request(endpoint, body, |name| self.model_to_ask(name))
    }

    fn view(&self, view: JobView, attempts: Vec<AttemptView>) -> Job {
        let outlook = (view.state == JobState::Queued)
            .then(|| self.flow.place(&view.model, self.principal.namespace, view.id))
            .flatten();
        job(view, attempts, outlook)
    }

    async fn found(&self, id: JobId) -> Result<Job, ApiError> {
        let namespace = self.principal.namespace;
        let found = self.flow.store.job_view(namespace, id).await.map_err(internal)?;
        let (view, attempts) = found.ok_or_else(|| unknown(id))?;
        let mut job = self.view(view, attempts);
        if let Some(kept) = self.flow.store.detached_job(namespace, id).await.map_err(internal)? {
            job.expires_at = Some(kept.expires_at.as_seconds());
            job.request = RawValue::from_string(kept.request.clone()).ok().map(RawJson::from);
            if kept.view.state == JobState::Succeeded {
                job.result = Some(result(&kept)?);
            }
        }
        Ok(job)
    }
}

/// The answer of a kept job, as its endpoint gives it.
pub(super) fn result(kept: &DetachedRecord) -> Result<RawJson, ApiError> {
    if kept.view.endpoint == Endpoint::Responses {
        return encoded(&responses::kept_body(kept.clone())?);
    }
    render(kept, answer_of(kept)?)
}

#[async_trait]
impl JobsApi for CloudSession {
    async fn create_job(&self, request: JobRequest) -> Result<Reply<Job>, ApiError> {
        self.check_keeps("ask the endpoint itself, and wait for its answer")?;
        let body = unstreamed(&request)?;
        let valid = self
            .valid_body(request.endpoint, body.get().as_bytes())
            .map_err(in_body)?;
        let mut detached = Detached::background(request.endpoint, body);
        detached.events = Some(EventSource::Job);
        let (job, meta) = self.run_detached(valid, detached).await?;
        Ok(Reply {
            body: self.found(job.id).await?,
            meta,
        })
    }

    async fn job(&self, id: JobId) -> Result<Reply<Job>, ApiError> {
        self.touch()?;
        Ok(Reply::of(self.found(id).await?))
    }

    async fn jobs(&self, query: JobQuery) -> Result<Reply<Page<Job>>, ApiError> {
        self.touch()?;
        let size = page_size(query.limit)?;
        let filter = JobFilter {
            state: query.status,
            model: query
                .model
                .map(|name| self.flow.model(&name).map_or(name, |model| model.name)),
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let views = self.flow.store.job_views(self.principal.namespace, filter).await;
        let jobs = views.map_err(internal)?;
        let jobs = jobs.into_iter().map(|view| self.view(view, Vec::new())).collect();
        Ok(Reply::of(Page::of(jobs, size, |job: &Job| job.id.to_string())))
    }

    async fn cancel_job(&self, id: JobId) -> Result<Reply<Job>, ApiError> {
        self.touch()?;
        let job = self.found(id).await?;
        if job.status.is_final() {
            return Ok(Reply::of(job));
        }
        if !job.detached && self.flow.follow(id).is_none() {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                "somebody waits for this job: it is cancelled by closing that connection",
            ));
        }
        self.flow.cancel(id).await?;
        Ok(Reply::of(self.found(id).await?))
    }

    async fn receipt(&self, id: JobId) -> Result<Reply<SignedReceipt>, ApiError> {
        self.touch()?;
        let namespace = self.principal.namespace;
        let found = self.flow.store.receipt(namespace, id).await.map_err(internal)?;
        let Some(record) = found else {
            // Says whether there is such a job at all.
            let job = self.found(id).await?;
            let message = format!(
                "the job is {}: a receipt is made when it was answered and paid for",
                job.status
            );
            return Err(ApiError::new(ErrorCode::NotFound, message));
        };
        if record.request_hash == B256::ZERO {
            let message = "nothing was kept of this job, since that was its namespace's retention: it has no receipt";
            return Err(ApiError::new(ErrorCode::NotFound, message));
        }
        let receipt = Receipt {
            job_id: id,
            environment: self.flow.environment,
            model: record.asked_model,
            model_version: record.model_version,
            request_hash: record.request_hash,
            output_hash: record.output_hash,
            prompt_tokens: record.usage.prompt_tokens,
            completion_tokens: record.usage.completion_tokens,
            finish_reason: shown_finish_reason(record.kind, &record.finish_reason).to_owned(),
            cost: record.cost,
            finished_at: record.finished,
            node: Some(self.flow.pseudonyms.of(record.node, epoch_of(record.finished))),
        };
        Ok(Reply::of(SignedReceipt::sign(
            receipt,
            &self.flow.domain,
            &self.flow.network_key(),
        )))
    }

    async fn feedback(&self, id: JobId, feedback: Feedback) -> Result<Reply<Feedback>, ApiError> {
        self.touch()?;
        check_length("category", feedback.category.as_deref(), MAX_CATEGORY)?;
        check_length("comment", feedback.comment.as_deref(), MAX_COMMENT)?;
        let (namespace, now) = (self.principal.namespace, self.flow.clock.now());
        let kept = self
            .flow
            .store
            .keep_feedback(namespace, id, feedback.clone(), now)
            .await;
        if !kept.map_err(internal)? {
            let job = self.found(id).await?;
            let message = format!("the job is {}: say what you think of it once it has ended", job.status);
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        Ok(Reply::of(feedback))
    }

    async fn quote(&self, request: JobRequest) -> Result<Reply<Quote>, ApiError> {
        self.touch()?;
        let body = unstreamed(&request)?;
        let mut valid = self.valid_body(request.endpoint, body.get().as_bytes())?;
        self.constrain(&mut valid);
        self.address(&mut valid).await?;
        let balance = self
            .flow
            .store
            .balance(self.principal.namespace)
            .await
            .map_err(internal)?;
        let mut available = balance.unwrap_or_default().available;
        if let Some(limit) = self.principal.limits.spend_limit {
            let spent = self.flow.store.key_spent(self.principal.key).await.map_err(internal)?;
            let left = limit.checked_sub(spent.unwrap_or_default()).unwrap_or_default();
            available = available.min(left).max(Credits::ZERO);
        }
        let priority = valid.priority.max(self.options.priority);
        let outlook = self.flow.outlook(&Asking {
            model: &valid.model.name,
            namespace: self.principal.namespace,
            weight: self.principal.limits.namespace.weight.get(),
            priority,
            wanted: valid.wanted(),
        });
        Ok(Reply::of(Quote {
            object: "dry_run".into(),
            endpoint: request.endpoint,
            model: valid.asked_model,
            model_version: valid.model.version,
            price_ceiling: valid.ceiling,
            available,
            max_prompt_tokens: valid.max_prompt_tokens,
            max_completion_tokens: valid.max_completion_tokens,
            can_be_served: outlook.can_be_served,
            queue_place: outlook.place,
            estimated_wait_ms: millis(outlook.wait),
        }))
    }
}

/// How many entries a page is to have.
pub(super) fn page_size(limit: Option<u32>) -> Result<u32, ApiError> {
    let size = limit.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&size) {
        return Ok(size);
    }
    let message = format!("limit must be from 1 to {MAX_PAGE}, but is {size}");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("limit"))
}

fn unknown(id: JobId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no job {id}"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The request's body without what asks for a stream: nobody reads the pieces of an answer that is polled for.
fn unstreamed(request: &JobRequest) -> Result<Box<RawValue>, ApiError> {
    if request.endpoint == Endpoint::Compute {
        // Its numbers keep their digits; and it is never streamed.
        let mut body: BTreeMap<String, &RawValue> = object(&request.body)?;
        body.remove("stream");
        body.remove("stream_options");
        return encode(&body);
    }
    let mut body: Map<String, Value> = object(&request.body)?;
    body.remove("stream");
    body.remove("stream_options");
    encode(&body)
}

fn object<'a, T: Deserialize<'a>>(body: &'a RawJson) -> Result<T, ApiError> {
    body.read().map_err(|error| {
        let message = "body must be a JSON object";
        ApiError::new(ErrorCode::InvalidValue, message)
            .with_param("body")
            .with_source(error)
    })
}

/// Names a field as the one who asked for a job sees it.
fn in_body(mut error: ApiError) -> ApiError {
    if let Some(param) = &mut error.param {
        *param = format!("body.{param}");
    }
    error
}

fn check_length(field: &str, text: Option<&str>, most: usize) -> Result<(), ApiError> {
    if text.is_none_or(|text| text.chars().count() <= most) {
        return Ok(());
    }
    let message = format!("{field} must have at most {most} characters");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param(field))
}

fn job(view: JobView, attempts: Vec<AttemptView>, outlook: Option<Outlook>) -> Job {
    let mut attempts: Vec<JobAttempt> = attempts
        .into_iter()
        .map(|attempt| JobAttempt {
            attempt: attempt.attempt,
            reason: Some(attempt.reason),
            ended_at: Some(attempt.ended.as_seconds()),
        })
        .collect();
    // The one that has not ended, or that answered, is not written down as lost.
    if view.state != JobState::Queued && attempts.last().map_or(0, |last| last.attempt) < view.attempts {
        attempts.push(JobAttempt {
            attempt: view.attempts,
            reason: None,
            ended_at: None,
        });
    }
    let error = view.error_code.as_deref().map(|code| {
        let known = ErrorCode::from_wire(code).unwrap_or(ErrorCode::Internal);
        let message = view.error_message.clone();
        let mut error = ApiError::new(known, message.unwrap_or_else(|| format!("the job is {}", view.state)));
        error.param.clone_from(&view.error_param);
        error.to_body().error
    });
    Job {
        id: view.id,
        object: "job".into(),
        endpoint: view.endpoint,
        kind: view.kind,
        model: view.asked_model,
        status: view.state,
        priority: view.priority,
        detached: view.detached,
        created_at: view.created.as_seconds(),
        deadline_at: view.deadline.as_seconds(),
        finished_at: view.finished.map(Timestamp::as_seconds),
        queue_place: outlook.map(|outlook| outlook.place),
        estimated_wait_ms: outlook.map(|outlook| millis(outlook.wait)),
        attempts,
        held: view.held,
        cost: view.cost,
        usage: view.usage,
        error,
        request: None,
        result: None,
        expires_at: None,
    }
}

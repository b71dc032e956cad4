//! One request of a batch, as a job that survives a restart: whoever asks again under its name gets the job that is there,
//! so that it is billed once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use resultity_core::api::gate::Retention;
use resultity_core::canonical::sha256;
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{BatchId, JobId};
use resultity_core::job::{Endpoint, Priority};
use resultity_core::openai::batch::{BatchLine, BatchOutput, BatchResponse};
use resultity_core::openai::chat::Usage;
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;

use crate::flow::detached::{Detached, RETENTION, answer_of};
use crate::flow::internal;
use crate::flow::validate::ValidJob;
use crate::session::CloudSession;
use crate::session::batch::check;
use crate::session::batch::source::Line;
use crate::session::jobs::result;
use crate::session::responses::kept_body;
use crate::store::DetachedRecord;
use crate::store::batches::LineOutcome;

/// How often a request is tried that nodes, or we, fail at. For want of capacity it is tried until the window ends.
const MAX_TRIES: u32 = 10;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How long to wait before a job is looked at again that lives nowhere yet: one of an earlier process.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the lines of a batch share.
#[derive(Debug)]
pub(super) struct Context {
    /// Of whoever made the batch.
    pub(super) session: CloudSession,
    /// The batch.
    pub(super) batch: BatchId,
    /// Where its requests go.
    pub(super) endpoint: Endpoint,
    /// Cancelled when no more is begun, and what is under way is to end.
    pub(super) halt: CancellationToken,
}

/// What became of a try.
#[derive(Debug)]
pub(super) enum Tried {
    /// Its outcome is written down.
    Done,
    /// To be tried again after this pause.
    Again(Duration),
    /// The batch ended before it ran.
    NotRun,
    /// It goes on, but not in this process.
    Left,
}

/// Tries a line. `tries` is how often that was done before.
pub(super) async fn attempt(context: &Context, line: Line, text: Vec<u8>, tries: u32) -> Result<Tried, ApiError> {
    let request = match check::reread(&text) {
        Ok(request) => request,
        Err(error) => return context.failed(line, String::new(), None, &error).await,
    };
    drop(text);
    // A job that failed for no fault of the request is not found by it any more: then this begins another one.
    let key = format!("batch:{}:{}", context.batch, line.number);
    let job = if context.halt.is_cancelled() {
        let flow = &context.session.flow;
        let namespace = context.session.principal.namespace;
        let known = flow.store.idempotent_job(namespace, &key, flow.clock.now()).await;
        match known.map_err(internal)? {
            Some((job, _)) => Ok(job),
            None => return Ok(Tried::NotRun),
        }
    } else {
        context.submit(&request, key).await
    };
    let job = match job {
        Ok(job) => job,
        Err(error) => return context.judged(line, request.custom_id, None, &error, tries).await,
    };
    let Some(record) = context.end_of(job).await? else {
        return Ok(Tried::Left);
    };
    match answer_of(&record) {
        Ok(_) => context.answered(line, request.custom_id, record).await,
        Err(error) if error.code == ErrorCode::Cancelled && context.halt.is_cancelled() => Ok(Tried::NotRun),
        Err(error) => context.judged(line, request.custom_id, Some(job), &error, tries).await,
    }
}

impl Context {
    /// Begins the job, or finds it.
    async fn submit(&self, request: &BatchLine, key: String) -> Result<JobId, ApiError> {
        if self.session.principal.limits.is_expired(self.session.flow.clock.now()) {
            let message = "the API key that made the batch has expired";
            return Err(ApiError::new(ErrorCode::InvalidApiKey, message));
        }
        let body: Box<RawValue> = request.body.clone();
        let mut valid = valid_body(&self.session, self.endpoint, &body)?;
        valid.priority = Priority::Bulk;
        self.pass_limits(&valid)?;
        let hash = sha256(format!("{}\n{}", self.endpoint, body.get()));
        let mut detached = Detached::background(self.endpoint, body);
        detached.idempotency = Some((key, hash));
        detached.retain = RETENTION;
        let principal = self.session.principal.clone();
        let job = self.session.flow.submit_detached(principal, valid, detached).await?;
        Ok(job.id)
    }

    /// The rates of whoever made the batch count for each of its requests.
    fn pass_limits(&self, valid: &ValidJob) -> Result<(), ApiError> {
        let (limits, principal) = (&self.session.limits, &self.session.principal);
        let tokens = valid.max_prompt_tokens.saturating_add(valid.max_completion_tokens);
        let (key, namespace) = (principal.key, principal.namespace);
        limits.admit(key, namespace, &principal.limits, self.endpoint, tokens)?;
        Ok(())
    }

    /// Waits until the job has ended. None: it goes on in the next process.
    async fn end_of(&self, job: JobId) -> Result<Option<DetachedRecord>, ApiError> {
        let flow = &self.session.flow;
        loop {
            if let Some(mut events) = flow.follow(job) {
                tokio::select! {
                    () = async { while events.next().await.is_some() {} } => {}
                    () = self.halt.cancelled() => flow.cancel(job).await?,
                }
            }
            // What is told is gone when the process stops; the store has the truth.
            let record = flow.store.detached_job(self.session.principal.namespace, job).await;
            match record.map_err(internal)? {
                Some(record) if record.view.state.is_final() => return Ok(Some(record)),
                Some(_) => {}
                None => return Err(ApiError::new(ErrorCode::Internal, "the job of a line is gone")),
            }
            tokio::select! {
                () = flow.until_intake_ends() => return Ok(None),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Decides what an error means for the line.
    async fn judged(
        &self,
        line: Line,
        custom_id: String,
        job: Option<JobId>,
        error: &ApiError,
        tries: u32,
    ) -> Result<Tried, ApiError> {
        let may_succeed = match error.code {
            ErrorCode::NoCapacity => true,
            // One that is larger than what is ever let through has no time after which it would be.
            ErrorCode::RateLimitExceeded => error.retry_after.is_some(),
            ErrorCode::NodeFailed | ErrorCode::DeadlineExceeded | ErrorCode::Internal => tries + 1 < MAX_TRIES,
            // Of what other jobs hold, most comes back: lines that run beside this one, say.
            ErrorCode::InsufficientQuota => tries + 1 < MAX_TRIES && self.has_holds().await?,
            _ => false,
        };
        if !may_succeed {
            return self.failed(line, custom_id, job, error).await;
        }
        tracing::debug!(batch.id = %self.batch, line = line.number, tries, code = %error.code, "a line of a batch is tried again");
        let pause = error.retry_after.unwrap_or_default().max(pause_after(tries));
        Ok(Tried::Again(pause.min(LONGEST_PAUSE)))
    }

    async fn has_holds(&self) -> Result<bool, ApiError> {
        let CloudSession { flow, principal, .. } = &self.session;
        let balance = flow.store.balance(principal.namespace).await.map_err(internal)?;
        Ok(balance.is_some_and(|balance| balance.held > Credits::ZERO))
    }

    async fn answered(&self, line: Line, custom_id: String, record: DetachedRecord) -> Result<Tried, ApiError> {
        let job = record.view.id;
        let usage = record.view.usage.unwrap_or_default();
        let body = match self.endpoint {
            Endpoint::Responses => kept_body(record).map(|body| to_raw_value(&body)),
            _ => result(&record).map(|body| Ok(body.into_raw())),
        };
        let body = match body {
            Ok(body) => body.map_err(unwritten)?,
            // It would be the same the next time.
            Err(error) => return self.failed(line, custom_id, Some(job), &error).await,
        };
        self.record(line, custom_id, Some(job), 200, body, usage).await
    }

    async fn failed(
        &self,
        line: Line,
        custom_id: String,
        job: Option<JobId>,
        error: &ApiError,
    ) -> Result<Tried, ApiError> {
        let body = to_raw_value(&error.to_body()).map_err(unwritten)?;
        let status = error.code.http_status().unwrap_or(500);
        self.record(line, custom_id, job, status, body, Usage::default()).await
    }

    async fn record(
        &self,
        line: Line,
        custom_id: String,
        job: Option<JobId>,
        status_code: u16,
        body: Box<RawValue>,
        usage: Usage,
    ) -> Result<Tried, ApiError> {
        let output = BatchOutput {
            id: output_id(self.batch, line),
            custom_id,
            response: Some(BatchResponse {
                status_code,
                request_id: request_id(self.batch, line, job),
                body,
            }),
            error: None,
        };
        let outcome = LineOutcome {
            batch: self.batch,
            line: line.number,
            failed: status_code != 200,
            text: serde_json::to_string(&output).map_err(unwritten)?,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
        };
        let store = Arc::clone(&self.session.flow.store);
        store.record_line(outcome).await.map_err(internal)?;
        // The outcome has the answer now. That of a response can still be asked for by its own id.
        let principal = &self.session.principal;
        if let Some(job) = job
            && self.endpoint != Endpoint::Responses
            && principal.retention != Retention::Full
        {
            let namespace = principal.namespace;
            store.forget_payload(namespace, job).await.map_err(internal)?;
        }
        Ok(Tried::Done)
    }
}

/// Checks the body of a request for whoever made the batch.
fn valid_body(session: &CloudSession, endpoint: Endpoint, body: &RawValue) -> Result<ValidJob, ApiError> {
    session.valid_body(endpoint, body.get().as_bytes())
}

/// The name of a request in the files of its batch: always the same for the same line.
pub(super) fn output_id(batch: BatchId, line: Line) -> String {
    format!("batch_req_{}", unique(batch, line))
}

fn request_id(batch: BatchId, line: Line, job: Option<JobId>) -> String {
    match job {
        Some(job) => format!("req_{}", job.as_uuid().simple()),
        None => format!("req_{}", unique(batch, line)),
    }
}

fn unique(batch: BatchId, line: Line) -> String {
    let batch = batch.as_uuid().simple().to_string();
    format!("{}{:08x}", &batch[..24], line.number)
}

fn pause_after(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.min(6)).min(LONGEST_PAUSE)
}

fn unwritten(error: serde_json::Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, "an outcome could not be written").with_source(error)
}

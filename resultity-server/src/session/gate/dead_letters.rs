//! Dead letters: jobs in the background that failed through no fault of their request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    DeadLetter, DeadLetterAction, DeadLetterDropped, DeadLetterQuery, DeadLettersApi, Requeued, Retention,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::canonical::sha256;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{JobId, NotificationId};
use serde_json::json;
use serde_json::value::RawValue;

use super::{GateSession, failed, not_found, reason};
use crate::flow::Principal;
use crate::flow::detached::{Detached, DetachedJob};
use crate::flow::validate::ValidJob;
use crate::store::NewNotification;
use crate::store::letters::{Claimed, LetterEnded, LetterFilter, LetterRecord, LetterWork};
use crate::store::subclouds::SubcloudRef;

/// How long a claim lasts if whoever has it is lost.
const CLAIM: Duration = Duration::from_mins(2);

fn shown(letter: LetterRecord) -> DeadLetter {
    DeadLetter {
        job: letter.job,
        environment: letter.environment,
        account: letter.account,
        namespace: letter.namespace,
        key: letter.key,
        endpoint: letter.endpoint.as_str().to_owned(),
        model: letter.model,
        attempts: letter.attempts,
        error_code: letter.error_code,
        error_message: letter.error_message,
        created_at: letter.created.as_seconds(),
        failed_at: letter.failed.as_seconds(),
        expires_at: letter.expires.as_seconds(),
    }
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Conflict, message)
}

fn taken() -> ApiError {
    conflict("somebody else is queueing this dead letter again: look whether it is gone in a minute")
}

impl GateSession {
    /// Whether the job may be addressed still to the Subcloud that it was addressed to.
    async fn check_subcloud(&self, request: &ValidJob, letter: &LetterRecord) -> Result<(), ApiError> {
        let Some(subcloud) = request.subcloud else {
            return Ok(());
        };
        let found = self.gate.store.subcloud(SubcloudRef::Id(subcloud)).await;
        let found = found.map_err(failed)?;
        let subcloud = found.ok_or_else(|| conflict("the Subcloud that it was addressed to was deleted: drop it"))?;
        if !subcloud.admits(letter.account, letter.namespace) {
            return Err(conflict(
                "its namespace may not address jobs to its Subcloud any more: drop it",
            ));
        }
        if !subcloud.answers_for(&request.model.name) {
            return Err(conflict(
                "its Subcloud does not answer for this model any more: drop it",
            ));
        }
        Ok(())
    }

    /// Makes a new job of one that failed: what was asked, at today's price, with a hold of its own.
    async fn run_again(&self, work: LetterWork) -> Result<DetachedJob, ApiError> {
        let letter = work.letter;
        let flow = self.flow(Some(letter.environment))?;
        if !work.key_is_good {
            return Err(conflict("its API key was revoked or has expired: drop it"));
        }
        let unreadable =
            |_| conflict("it was kept by another version of the server, which this one can't read: drop it");
        let mut request: ValidJob = serde_json::from_str(&work.work).map_err(unreadable)?;
        let asked: Box<RawValue> = RawValue::from_string(work.request).map_err(unreadable)?;
        let gone = |_| conflict(format!("the network has no model {} any more: drop it", letter.model));
        request.model = flow.model(&letter.model).map_err(gone)?;
        self.check_subcloud(&request, &letter).await?;
        let price = request.model.price;
        request.ceiling = price.cost(request.max_prompt_tokens, request.max_completion_tokens);
        let principal = Principal {
            key: letter.key,
            namespace: letter.namespace,
            account: letter.account,
            environment: letter.environment,
            // What the key may do was looked at when the job was asked.
            limits: Arc::default(),
            retention: Retention::default(),
        };
        let mut detached = Detached::background(letter.endpoint, asked);
        detached.retain = work.retain;
        detached.events = work.events;
        // The caller may have asked again by itself: then that job is the one. Otherwise a repeat of ours finds ours.
        let name = format!("letter:{}", letter.job);
        let hash = sha256(&name);
        detached.idempotency = Some(work.idempotency.unwrap_or((name, hash)));
        flow.submit_detached(principal, request, detached)
            .await
            .map_err(|error| match error.code {
                ErrorCode::InsufficientQuota => {
                    conflict(format!("its namespace cannot pay for it now: {}", error.message))
                }
                ErrorCode::InvalidApiKey => conflict("its API key was revoked: drop it"),
                ErrorCode::AccountSuspended => conflict("its account is suspended: restore it before, or drop it"),
                _ => error,
            })
    }
}

#[async_trait]
impl DeadLettersApi for GateSession {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Page<DeadLetter>, ApiError> {
        self.administrator()?;
        let size = query.size();
        let filter = LetterFilter {
            environment: self.flow(query.environment)?.environment,
            model: query.model,
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let found = self.gate.store.dead_letters(filter).await.map_err(failed)?;
        let found = found.into_iter().map(shown).collect();
        Ok(Page::of(found, size, |letter: &DeadLetter| letter.job.to_string()))
    }

    async fn requeue_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<Requeued, ApiError> {
        let actor = self.administrator()?;
        let environment = self.within(action.environment, "dead letter")?;
        let reason = reason::optional(action.reason.as_deref())?;
        let store = &self.gate.store;
        let now = self.gate.clock.now();
        let claimed = store.claim_dead_letter(job, environment, now, now.after(CLAIM)).await;
        let work = match claimed.map_err(failed)? {
            Claimed::Yours(work) => *work,
            Claimed::Taken => return Err(taken()),
            Claimed::Unknown => return Err(not_found("dead letter")),
        };
        let (account, environment) = (work.letter.account, work.letter.environment);
        let new = match self.run_again(work).await {
            Ok(new) => new.id,
            Err(error) => {
                store.give_back_dead_letter(job).await.map_err(failed)?;
                return Err(error);
            }
        };
        let mut audit = self.audit(actor, "job.requeue", format!("job:{job}"), reason);
        audit.environment = Some(environment);
        audit.after = Some(json!({"requeued_as": new}));
        let notification = NewNotification {
            id: NotificationId::new(&*self.gate.clock, &*self.gate.entropy),
            account,
            environment: Some(environment),
            kind: "job.requeued".into(),
            subject: new.to_string(),
            message: format!("The job {job} had failed through no fault of yours. It runs again as the job {new}."),
            now,
        };
        store
            .dead_letter_requeued(job, audit, notification)
            .await
            .map_err(failed)?;
        tracing::info!(job.id = %job, job.new_id = %new, actor = %actor, "a dead letter was queued again");
        Ok(Requeued { job, requeued_as: new })
    }

    async fn drop_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<DeadLetterDropped, ApiError> {
        let actor = self.administrator()?;
        let environment = self.within(action.environment, "dead letter")?;
        let reason = reason::optional(action.reason.as_deref())?;
        let audit = self.audit(actor, "job.drop", format!("job:{job}"), reason);
        let ended = self.gate.store.drop_dead_letter(job, environment, audit).await;
        match ended.map_err(failed)? {
            LetterEnded::Gone => Ok(DeadLetterDropped { job, dropped: true }),
            LetterEnded::Taken => Err(taken()),
            LetterEnded::Unknown => Err(not_found("dead letter")),
        }
    }
}

//! Responses for the holder of a key. A response is a chat completion in other clothes: its request is translated, its
//! answer is narrated. One that is kept is a detached job, and read back from what the store has of that.

use async_trait::async_trait;
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::api::gate::Retention;
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::api::responses::{ResponseStream, ResponsesApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::job::Endpoint;
use resultity_core::model::ModelSpec;
use resultity_core::openai::response::{DeletedResponse, InputItem, Response, ResponseRequest};

use crate::flow::detached::{Detached, DetachedJob};
use crate::flow::keeps_nothing;
use crate::flow::validate::{self, ValidJob};
use crate::json::parse;
use crate::session::CloudSession;
use crate::session::jobs::page_size;
use crate::session::run::{Finished, encode, with_rate};
use crate::store::{DetachedRecord, EventSource};
use kept::{Kept, finish_reason};
use messages::Origins;
use narrate::{Ending, Narrator};
use stream::{CancelOnDrop, Telling};
use translate::{Translated, in_our_words, translate};

mod expand;
mod kept;
mod messages;
mod narrate;
mod stream;
#[cfg(test)]
mod tests;
mod translate;

/// A request that can be submitted.
struct Prepared {
    /// What is kept: the request with all that it goes on from.
    request: ResponseRequest,
    /// What is run.
    valid: ValidJob,
    /// Where its messages came from.
    origins: Origins,
}

impl Prepared {
    /// How its job is kept.
    fn detached(&self) -> Result<Detached, ApiError> {
        let request = encode(&self.request)?;
        Ok(if self.request.is_background() {
            Detached {
                events: Some(EventSource::Response),
                ..Detached::background(Endpoint::Responses, request)
            }
        } else {
            Detached::kept(Endpoint::Responses, request)
        })
    }
}

impl CloudSession {
    /// Checks a request for this caller.
    async fn prepare(&self, mut request: ResponseRequest, stream: bool) -> Result<Prepared, ApiError> {
        request.stream = Some(stream);
        if self.principal.retention == Retention::None {
            if request.is_background() {
                return Err(
                    keeps_nothing("make the response without background, and wait for it").with_param("background")
                );
            }
            // As OpenAI has it where no data is retained.
            request.store = Some(false);
        }
        let inherited = self.expand(&mut request).await?;
        let Translated { chat, origins } = translate(&request, inherited)?;
        let valid = self
            .valid_chat(chat, stream)
            .map_err(|error| in_our_words(error, &origins))?;
        Ok(Prepared {
            request,
            valid,
            origins,
        })
    }

    /// A response of this caller's namespace that is kept.
    async fn kept_response(&self, id: ResponseId) -> Result<Option<Kept>, ApiError> {
        let record = self.flow.store.detached_job(self.principal.namespace, id.into()).await;
        let record = record.map_err(|error| {
            tracing::error!(%error, "a kept response could not be read");
            ApiError::new(ErrorCode::Internal, "the response could not be read")
        })?;
        // One that only its namespace keeps is for whoever looks at its job.
        record.filter(|record| record.is_asked).map_or(Ok(None), Kept::read)
    }

    async fn kept(&self, id: ResponseId) -> Result<Kept, ApiError> {
        self.kept_response(id).await?.ok_or_else(|| {
            let message = format!("there is no response {id}: it was never kept, was deleted, or its time is over");
            ApiError::new(ErrorCode::NotFound, message)
        })
    }

    /// Cancels a job whose asker has gone, unless others may wait for it.
    fn cancel_on_drop(&self, job: &DetachedJob) -> CancelOnDrop {
        let is_ours_alone = job.is_new && self.options.idempotency_key.is_none();
        CancelOnDrop::new(&self.flow, is_ours_alone.then_some(job.id))
    }
}

/// Checks a request that somebody wrote down: a line of a batch, say. It has to stand by itself.
pub(super) fn valid_body(
    body: &[u8],
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    let request: ResponseRequest = parse(body)?;
    if request.previous_response_id.is_some() {
        let why = "only POST /v1/responses itself goes on from another response; send the whole input";
        return Err(translate::refused("previous_response_id", why));
    }
    let Translated { chat, origins } = translate(&request, 0)?;
    validate::chat(chat, false, model).map_err(|error| in_our_words(error, &origins))
}

#[async_trait]
impl ResponsesApi for CloudSession {
    async fn create_response(&self, request: ResponseRequest) -> Result<Reply<Response>, ApiError> {
        let prepared = self.prepare(request, false).await?;
        if !prepared.request.is_stored() {
            return self.run_unkept(prepared).await;
        }
        let detached = prepared.detached()?;
        let Prepared {
            request,
            valid,
            origins,
        } = prepared;
        let (job, mut meta) = self
            .run_detached(valid, detached)
            .await
            .map_err(|error| in_our_words(error, &origins))?;
        if request.is_background() {
            let body = if job.is_new {
                Response::begun(job.id.into(), job.created.as_seconds(), &request)
            } else {
                self.kept(job.id.into()).await?.narrate()?.into_response()
            };
            return Ok(Reply { body, meta });
        }
        let guard = self.cancel_on_drop(&job);
        let outcome = self.flow.outcome(self.principal.namespace, job.id).await;
        guard.keep();
        let answer = outcome.map_err(|error| in_our_words(with_rate(error, &meta), &origins))?;
        meta.cost = Some(answer.cost);
        let body = self.kept(job.id.into()).await?.narrate()?.into_response();
        Ok(Reply { body, meta })
    }

    async fn create_response_stream(&self, request: ResponseRequest) -> Result<ResponseStream, ApiError> {
        let prepared = self.prepare(request, true).await?;
        if !prepared.request.is_stored() {
            let original = self.original(&prepared.request)?;
            let running = self
                .run_stream(Endpoint::Responses, original, prepared.valid)
                .await
                .map_err(|error| in_our_words(error, &prepared.origins))?;
            let created = running.job.created.as_seconds();
            let response = Response::begun(running.job.id.into(), created, &prepared.request);
            let telling = Telling::new(self, Narrator::new(response), running.events);
            let telling = telling.first_output(&prepared.origins, &running.meta).await?;
            return Ok(ResponseStream::new(running.meta, telling.events()));
        }
        let detached = prepared.detached()?;
        let (job, meta) = self
            .run_detached(prepared.valid, detached)
            .await
            .map_err(|error| in_our_words(error, &prepared.origins))?;
        let events = self.flow.events(self.principal.namespace, job.id).await?;
        let response = Response::begun(job.id.into(), job.created.as_seconds(), &prepared.request);
        let mut telling = Telling::new(self, Narrator::new(response), events).kept(job.id.into());
        if !prepared.request.is_background() {
            telling = telling.guarded(self.cancel_on_drop(&job));
            telling = telling.first_output(&prepared.origins, &meta).await?;
        }
        Ok(ResponseStream::new(meta, telling.events()))
    }

    async fn response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError> {
        self.touch()?;
        let body = self.kept(id).await?.narrate()?.into_response();
        Ok(reply(id, body))
    }

    async fn response_stream(&self, id: ResponseId, starting_after: Option<u64>) -> Result<ResponseStream, ApiError> {
        self.touch()?;
        let kept = self.kept(id).await?;
        let events = self.flow.events(self.principal.namespace, id.into()).await?;
        let telling = Telling::new(self, kept.narrator(), events)
            .kept(id)
            .starting_after(starting_after);
        Ok(ResponseStream::new(meta(id), telling.events()))
    }

    async fn cancel_response(&self, id: ResponseId) -> Result<Reply<Response>, ApiError> {
        self.touch()?;
        let mut kept = self.kept(id).await?;
        if !kept.request.is_background() {
            let message =
                "only a response that is made in the background can be cancelled; the others end with their connection";
            return Err(ApiError::new(ErrorCode::InvalidValue, message));
        }
        if !kept.record.view.state.is_final() {
            self.flow.cancel(id.into()).await?;
            kept = self.kept(id).await?;
        }
        Ok(reply(id, kept.narrate()?.into_response()))
    }

    async fn delete_response(&self, id: ResponseId) -> Result<Reply<DeletedResponse>, ApiError> {
        self.touch()?;
        let kept = self.kept(id).await?;
        if !kept.record.view.state.is_final() {
            self.flow.cancel(id.into()).await?;
        }
        let forgotten = self
            .flow
            .store
            .forget_payload(self.principal.namespace, id.into())
            .await;
        match forgotten {
            Ok(true) => Ok(reply(id, DeletedResponse::new(id))),
            Ok(false) => Err(ApiError::new(
                ErrorCode::Conflict,
                "the response has not ended yet: please try again in a moment",
            )),
            Err(error) => {
                tracing::error!(%error, "a response could not be deleted");
                Err(ApiError::new(ErrorCode::Internal, "the response could not be deleted"))
            }
        }
    }

    async fn response_input_items(&self, id: ResponseId, query: PageQuery) -> Result<Reply<Page<InputItem>>, ApiError> {
        self.touch()?;
        let size = page_size(query.limit)?;
        let mut items = self.kept(id).await?.input_items();
        if !query.is_ascending() {
            items.reverse();
        }
        if let Some(after) = &query.after {
            let place = items.iter().position(|item| item.id() == Some(after.as_str()));
            let place = place.ok_or_else(|| translate::invalid("after", "must be the id of an item of this list"))?;
            items.drain(..=place);
        }
        let page = Page::of(items, size, |item| item.id().unwrap_or_default().to_owned());
        Ok(reply(id, page))
    }
}

impl CloudSession {
    /// One that nobody comes back for.
    async fn run_unkept(&self, prepared: Prepared) -> Result<Reply<Response>, ApiError> {
        let Prepared {
            request,
            valid,
            origins,
        } = prepared;
        let original = self.original(&request)?;
        let Finished { job, answer, meta } = self
            .run(Endpoint::Responses, original, valid)
            .await
            .map_err(|error| in_our_words(error, &origins))?;
        let mut narrator = Narrator::new(Response::begun(job.id.into(), job.created.as_seconds(), &request));
        let ending = Ending::Answer {
            finish_reason: finish_reason(&answer),
            usage: answer.usage,
            at: self.flow.clock.now().as_seconds(),
        };
        kept::tell_answer(&mut narrator, answer, 0);
        narrator.end(ending);
        Ok(Reply {
            body: narrator.into_response(),
            meta,
        })
    }
}

/// The response of a job, from what the store has of it.
pub(super) fn kept_body(record: DetachedRecord) -> Result<Response, ApiError> {
    let Some(kept) = Kept::read(record)? else {
        return Err(ApiError::new(ErrorCode::Internal, "the job is no response"));
    };
    Ok(kept.narrate()?.into_response())
}

fn meta(id: ResponseId) -> ReplyMeta {
    let mut meta = ReplyMeta::default();
    meta.job_id = Some(id.into());
    meta
}

fn reply<T>(id: ResponseId, body: T) -> Reply<T> {
    Reply { body, meta: meta(id) }
}

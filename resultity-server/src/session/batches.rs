//! Batches of the caller's namespace. What runs them is in `batch`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::batches::BatchesApi;
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::api::page::{MAX_PAGE, Page, PageQuery};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::BatchId;
use resultity_core::openai::batch::{Batch, BatchErrors, BatchRequest, BatchStatus, COMPLETION_WINDOW};

use crate::flow::detached::RETENTION;
use crate::flow::{idempotency_clash, internal, keeps_nothing};
use crate::session::CloudSession;
use crate::session::files::check_expiry;
use crate::session::run::encode;
use crate::store::Idempotency;
use crate::store::batches::{BatchCreation, BatchRecord, BatchStep, NewBatch};

/// How long a batch may take.
const WINDOW: Duration = Duration::from_hours(24);

/// The most batches of a namespace that may not have ended.
const MOST_OPEN: u64 = 100;

/// The most entries of `metadata`, and characters of a key and of a value, as OpenAI has it.
const METADATA: (usize, usize, usize) = (16, 64, 512);

#[async_trait]
impl BatchesApi for CloudSession {
    async fn create_batch(&self, request: BatchRequest) -> Result<Reply<Batch>, ApiError> {
        self.touch()?;
        self.check_no_subcloud()?;
        self.check_keeps("there can be no batches in it")?;
        check(&request)?;
        let metadata = request.metadata.as_ref().map(serde_json::to_string).transpose();
        let metadata = metadata.map_err(|error| invalid("metadata", error.to_string()))?;
        let now = self.flow.clock.now();
        let idempotency = self.idempotency("/v1/batches", false, &encode(&request)?)?;
        let idempotency = idempotency.map(|(key, request_hash)| Idempotency {
            key,
            request_hash,
            expires_at: now.after(RETENTION),
        });
        let batch = NewBatch {
            id: BatchId::new(&*self.flow.clock, &*self.flow.entropy),
            environment: self.flow.environment,
            namespace: self.principal.namespace,
            key: self.principal.key,
            endpoint: request.endpoint,
            input_file: request.input_file_id,
            metadata,
            output_ttl: request.output_expires_after.map(|after| after.seconds),
            now,
            expires_at: now.after(WINDOW),
            most_open: MOST_OPEN,
            most_files: self.flow.kept.files,
            most_bytes: self.flow.kept.all_file_bytes,
            most_kept: self.flow.kept.answer_bytes,
            idempotency,
        };
        match self.flow.store.create_batch(batch).await.map_err(internal)? {
            BatchCreation::Created(record) => {
                tracing::info!(batch.id = %record.id, namespace.id = %record.namespace, "batch made");
                Ok(reply(self::batch(*record)))
            }
            BatchCreation::Existing(record) => {
                let mut known = reply(self::batch(*record));
                known.meta.replayed = true;
                Ok(known)
            }
            BatchCreation::IdempotencyClash => Err(idempotency_clash()),
            BatchCreation::UnknownFile => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("there is no file {}", request.input_file_id),
            )
            .with_param("input_file_id")),
            BatchCreation::WrongPurpose(purpose) => Err(invalid(
                "input_file_id",
                format!("the file is for {purpose}: upload it with purpose batch"),
            )),
            BatchCreation::NoRoom => Err(ApiError::new(
                ErrorCode::PayloadTooLarge,
                "there is no room for the files and answers of another batch: delete some files or responses first",
            )),
            BatchCreation::NotKept => Err(keeps_nothing("there can be no batches in it")),
            BatchCreation::TooMany => Err(ApiError::new(
                ErrorCode::RateLimitExceeded,
                format!("{MOST_OPEN} batches have not ended, which is the most: wait until one has"),
            )
            .with_retry_after(Duration::from_mins(1))),
        }
    }

    async fn batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError> {
        self.touch()?;
        Ok(reply(self::batch(self.stored_batch(id).await?)))
    }

    async fn batches(&self, query: PageQuery) -> Result<Reply<Page<Batch>>, ApiError> {
        self.touch()?;
        if let Some(limit) = query.limit
            && !(1..=MAX_PAGE).contains(&limit)
        {
            return Err(invalid(
                "limit",
                format!("limit must be from 1 to {MAX_PAGE}, but is {limit}"),
            ));
        }
        let after = query.after.as_deref().map(str::parse).transpose();
        let after: Option<BatchId> = after.map_err(|_| invalid("after", "after must be the id of a batch"))?;
        let size = query.size();
        let found = self
            .flow
            .store
            .batches(self.principal.namespace, after, query.is_ascending(), size + 1)
            .await
            .map_err(internal)?;
        let batches = found.into_iter().map(self::batch).collect();
        Ok(reply(Page::of(batches, size, |batch: &Batch| batch.id.to_string())))
    }

    async fn cancel_batch(&self, id: BatchId) -> Result<Reply<Batch>, ApiError> {
        self.touch()?;
        let record = self.stored_batch(id).await?;
        let now = self.flow.clock.now();
        let stepped = self.flow.store.step_batch(record.id, BatchStep::Cancel, now).await;
        if let Some(record) = stepped.map_err(internal)? {
            tracing::info!(batch.id = %record.id, "batch is to be cancelled");
            return Ok(reply(self::batch(record)));
        }
        let record = self.stored_batch(id).await?;
        match record.status {
            BatchStatus::Cancelling | BatchStatus::Cancelled => Ok(reply(self::batch(record))),
            status => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("a batch that is {status} can't be cancelled"),
            )),
        }
    }
}

impl CloudSession {
    async fn stored_batch(&self, id: BatchId) -> Result<BatchRecord, ApiError> {
        let found = self.flow.store.batch(self.principal.namespace, id).await;
        let missing = || ApiError::new(ErrorCode::NotFound, format!("there is no batch {id}"));
        found.map_err(internal)?.ok_or_else(missing)
    }
}

fn check(request: &BatchRequest) -> Result<(), ApiError> {
    if let Some(field) = request.extra.keys().next() {
        let message = format!("{field} is not a field of a batch");
        return Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(field));
    }
    if request.completion_window != COMPLETION_WINDOW {
        return Err(invalid(
            "completion_window",
            format!("completion_window must be {COMPLETION_WINDOW}"),
        ));
    }
    check_expiry(request.output_expires_after, "output_expires_after")?;
    request.metadata.as_ref().map_or(Ok(()), check_metadata)
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let (most, longest_key, longest_value) = METADATA;
    if metadata.len() > most {
        return Err(invalid("metadata", format!("metadata may have {most} entries")));
    }
    for (key, value) in metadata {
        if key.chars().count() > longest_key || value.chars().count() > longest_value {
            let message =
                format!("metadata may have keys of up to {longest_key} characters and values of up to {longest_value}");
            return Err(invalid("metadata", message));
        }
    }
    Ok(())
}

fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

fn reply<T>(body: T) -> Reply<T> {
    Reply {
        body,
        meta: ReplyMeta::default(),
    }
}

fn batch(record: BatchRecord) -> Batch {
    let ended = |status| {
        (record.status == status)
            .then_some(record.ended_at)
            .flatten()
            .map(Timestamp::as_seconds)
    };
    Batch {
        id: record.id,
        object: "batch".into(),
        endpoint: record.endpoint,
        errors: record.errors.as_deref().map(|errors| BatchErrors {
            object: "list".into(),
            data: serde_json::from_str(errors).unwrap_or_default(),
        }),
        input_file_id: record.input_file,
        completion_window: COMPLETION_WINDOW.into(),
        status: record.status,
        output_file_id: record.output_file,
        error_file_id: record.error_file,
        created_at: record.created_at.as_seconds(),
        in_progress_at: record.in_progress_at.map(Timestamp::as_seconds),
        expires_at: Some(record.expires_at.as_seconds()),
        finalizing_at: record.finalizing_at.map(Timestamp::as_seconds),
        completed_at: ended(BatchStatus::Completed),
        failed_at: ended(BatchStatus::Failed),
        expired_at: ended(BatchStatus::Expired),
        cancelling_at: record.cancelling_at.map(Timestamp::as_seconds),
        cancelled_at: ended(BatchStatus::Cancelled),
        request_counts: record.counts,
        usage: record.in_progress_at.is_some().then_some(record.usage),
        metadata: record
            .metadata
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
        model: record.model,
    }
}

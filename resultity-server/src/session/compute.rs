//! What containers compute for the holder of a key.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::compute::ComputeApi;
use resultity_core::compute::{Compute, ComputeRequest};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;

use crate::flow::Answer;
use crate::flow::validate;
use crate::session::CloudSession;
use crate::session::run::{Finished, JobRef};

#[async_trait]
impl ComputeApi for CloudSession {
    async fn compute(&self, request: ComputeRequest) -> Result<Reply<Compute>, ApiError> {
        let original = self.original(&request)?;
        let valid = validate::compute(request, |name| self.model_to_ask(name))?;
        let asked_model = valid.asked_model.clone();
        let Finished { job, answer, meta } = self.run(Endpoint::Compute, original, valid).await?;
        Ok(Reply {
            body: computed(job, asked_model, answer)?,
            meta,
        })
    }
}

/// The answer of a container, word for word.
pub(super) fn computed(job: JobRef, asked_model: String, answer: Answer) -> Result<Compute, ApiError> {
    let output = answer
        .output
        .ok_or_else(|| ApiError::new(ErrorCode::Internal, "the answer of a container is gone"))?;
    Ok(Compute {
        id: format!("compute-{}", job.id.as_uuid().simple()),
        object: "compute".into(),
        created: job.created.as_seconds(),
        model: asked_model,
        output,
    })
}

//! Embeddings for the holder of a key.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::embeddings::EmbeddingsApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Endpoint;
use resultity_core::openai::embedding::{
    Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage, EncodingFormat, Vector, decode_floats,
};

use crate::flow::Answer;
use crate::flow::validate;
use crate::session::CloudSession;
use crate::session::run::Finished;

#[async_trait]
impl EmbeddingsApi for CloudSession {
    async fn embed(&self, request: EmbeddingRequest) -> Result<Reply<EmbeddingList>, ApiError> {
        let original = self.original(&request)?;
        let format = request.encoding_format.unwrap_or_default();
        let valid = validate::embedding(request, |name| self.model_to_ask(name))?;
        let asked_model = valid.asked_model.clone();
        let Finished { answer, meta, .. } = self.run(Endpoint::Embeddings, original, valid).await?;
        Ok(Reply {
            body: list(asked_model, format, &answer)?,
            meta,
        })
    }
}

/// The answer as OpenAI has it.
pub(super) fn list(asked_model: String, format: EncodingFormat, answer: &Answer) -> Result<EmbeddingList, ApiError> {
    let vector = |text: &String| match format {
        EncodingFormat::Base64 => Ok(Vector::Base64(text.clone())),
        EncodingFormat::Float => decode_floats(text)
            .map(Vector::Float)
            .ok_or_else(|| ApiError::new(ErrorCode::Internal, "an embedding could not be read")),
    };
    let data = answer.embeddings.iter().zip(0..).map(|(text, index)| {
        Ok(Embedding {
            object: "embedding".into(),
            index,
            embedding: vector(text)?,
        })
    });
    Ok(EmbeddingList {
        object: "list".into(),
        data: data.collect::<Result<_, ApiError>>()?,
        model: asked_model,
        usage: EmbeddingUsage {
            prompt_tokens: answer.usage.prompt_tokens,
            total_tokens: answer.usage.prompt_tokens,
        },
    })
}

//! Embeddings of an engine.

use bytes::Bytes;
use resultity_core::openai::embedding::{EmbeddingRequest, EncodingFormat, decode_floats};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::engine::{Ask, Endpoint, Engine, Said, written};
use super::{failure, prompt_bytes};
use crate::runtime::{Embeddings, RuntimeError};

/// The most bytes of an answer. Engines that don't know base64 write numbers out, which takes three times as much.
const LIMIT: usize = 64 << 20;

/// The parts of an engine's answer that go on.
#[derive(Deserialize)]
struct EngineEmbeddings<'a> {
    #[serde(borrow, default)]
    data: Vec<EngineEmbedding<'a>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct EngineEmbedding<'a> {
    #[serde(default)]
    index: Option<usize>,
    /// Numbers, or their base64: whichever we asked for, engines answer with what they know.
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: u64,
}

/// Asks the engine, in base64 if it knows that.
pub(crate) async fn embed(engine: &dyn Engine, mut request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
    request.encoding_format = Some(EncodingFormat::Base64);
    let body = match ask(engine, &request).await {
        Err(RuntimeError::InvalidRequest { .. }) => {
            // Whatever it did not like, it was not the asker's choice of this format.
            request.encoding_format = Some(EncodingFormat::Float);
            ask(engine, &request).await?
        }
        result => result?,
    };
    let answer: EngineEmbeddings<'_> = serde_json::from_slice(&body).map_err(|_| unusable())?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(failure::of_event(&error, &request.model));
    }
    let bytes = prompt_bytes(&request.input) as u64;
    let guess = || bytes.div_ceil(4).max(1);
    let vectors = in_order(&answer.data, request.input.count())?;
    let length = vectors.first().map_or(0, |vector| vector.len() as u64);
    if request.dimensions.is_some_and(|dimensions| dimensions != length) {
        return Err(RuntimeError::invalid_field(
            "dimensions",
            "the engine does not support it",
        ));
    }
    Ok(Embeddings {
        prompt_tokens: answer.usage.map_or_else(guess, |counts| counts.prompt_tokens),
        vectors,
    })
}

async fn ask(engine: &dyn Engine, request: &EmbeddingRequest) -> Result<Bytes, RuntimeError> {
    let ask = Ask {
        endpoint: Endpoint::Embeddings,
        model: &request.model,
        body: written(request)?,
        stream: false,
        choices: 1,
        limit: LIMIT,
    };
    match engine.ask(ask).await? {
        Said::Whole(body) => Ok(body),
        Said::Events(_) | Said::Text(_) => Err(unusable()),
    }
}

/// The vectors in the order of the texts, if there is one of numbers for each and all have one length.
fn in_order(data: &[EngineEmbedding<'_>], texts: usize) -> Result<Vec<Vec<f32>>, RuntimeError> {
    let mut vectors = vec![Vec::new(); texts];
    if data.len() != texts {
        return Err(unusable());
    }
    let mut length = None;
    for (place, entry) in data.iter().enumerate() {
        let vector = floats(entry.embedding).ok_or_else(unusable)?;
        let place = vectors.get_mut(entry.index.unwrap_or(place)).ok_or_else(unusable)?;
        let sound = place.is_empty() && !vector.is_empty() && vector.iter().all(|number| number.is_finite());
        if !sound || *length.get_or_insert(vector.len()) != vector.len() {
            return Err(unusable());
        }
        *place = vector;
    }
    Ok(vectors)
}

fn floats(embedding: &RawValue) -> Option<Vec<f32>> {
    if embedding.get().starts_with('"') {
        decode_floats(&serde_json::from_str::<String>(embedding.get()).ok()?)
    } else {
        serde_json::from_str(embedding.get()).ok()
    }
}

fn unusable() -> RuntimeError {
    RuntimeError::Failed("its embeddings can't be used".to_owned())
}

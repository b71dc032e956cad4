//! `/v1/completions`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::completions::CompletionsApi;
use resultity_core::job::Endpoint;
use resultity_core::openai::completion::CompletionRequest;

use super::{Keyed, describe, encode, quoted};
use crate::http::problem::Problem;
use crate::http::{body, sse};

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: CompletionRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Completions, &request).await? {
        return Ok(quote);
    }
    if request.is_stream() {
        let stream = session.complete_stream(request).await?;
        let meta = stream.meta().clone();
        let mut response = sse::response(stream);
        describe(&mut response, &meta);
        return Ok(response);
    }
    Ok(encode(&session.complete(request).await?))
}

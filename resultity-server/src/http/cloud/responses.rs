//! `/v1/responses`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use resultity_core::api::responses::{ResponseStream, ResponsesApi};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::job::Endpoint;
use resultity_core::openai::response::ResponseRequest;
use serde::Deserialize;

use super::{Keyed, describe, encode, quoted};
use crate::http::problem::Problem;
use crate::http::{body, query, sse};

/// How a response is retrieved. `include` says nothing: all that a response can hold is in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Retrieval {
    stream: Option<bool>,
    starting_after: Option<u64>,
}

/// What is no id names nothing.
fn response_id(text: &str) -> Result<ResponseId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such response"))
}

fn events(stream: ResponseStream) -> Response {
    let meta = stream.meta().clone();
    let mut response = sse::response(stream);
    describe(&mut response, &meta);
    response
}

pub(in crate::http) async fn create(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: ResponseRequest = body::json(&headers, body).await?;
    if let Some(quote) = quoted(&session, &headers, Endpoint::Responses, &request).await? {
        return Ok(quote);
    }
    if request.is_stream() {
        return Ok(events(session.create_response_stream(request).await?));
    }
    Ok(encode(&session.create_response(request).await?))
}

pub(in crate::http) async fn retrieve(
    Keyed(session): Keyed,
    Path(response): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = response_id(&response)?;
    let retrieval: Retrieval = query::read(&uri)?;
    if retrieval.stream == Some(true) {
        return Ok(events(session.response_stream(id, retrieval.starting_after).await?));
    }
    if retrieval.starting_after.is_some() {
        let message = "starting_after is only allowed when stream is true";
        return Err(ApiError::new(ErrorCode::InvalidValue, message)
            .with_param("starting_after")
            .into());
    }
    Ok(encode(&session.response(id).await?))
}

pub(in crate::http) async fn cancel(Keyed(session): Keyed, Path(response): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.cancel_response(response_id(&response)?).await?))
}

pub(in crate::http) async fn delete(Keyed(session): Keyed, Path(response): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.delete_response(response_id(&response)?).await?))
}

pub(in crate::http) async fn input_items(
    Keyed(session): Keyed,
    Path(response): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = response_id(&response)?;
    Ok(encode(&session.response_input_items(id, query::read(&uri)?).await?))
}

//! `/v1/files`.

use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use resultity_core::api::files::FilesApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::FileId;

use super::{Keyed, encode};
use crate::http::problem::Problem;
use crate::http::{multipart, query};

/// What is no id names nothing.
fn file_id(text: &str) -> Result<FileId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such file"))
}

pub(in crate::http) async fn upload(
    Keyed(session): Keyed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Ok(encode(&multipart::upload(&session, &headers, body).await?))
}

pub(in crate::http) async fn list(Keyed(session): Keyed, uri: Uri) -> Result<Response, Problem> {
    Ok(encode(&session.files(query::read(&uri)?).await?))
}

pub(in crate::http) async fn retrieve(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.file(file_id(&id)?).await?))
}

pub(in crate::http) async fn delete(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(encode(&session.delete_file(file_id(&id)?).await?))
}

pub(in crate::http) async fn content(Keyed(session): Keyed, Path(id): Path<String>) -> Result<Response, Problem> {
    let (file, content) = session.open_file(file_id(&id)?).await?;
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(file.bytes));
    // What somebody uploaded is never shown as a page of ours.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name: String = file
        .filename
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\') {
                c
            } else {
                '_'
            }
        })
        .collect();
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

//! Uploads: `multipart/form-data` (RFC 7578), the file of which goes to the store as it comes.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use multer::{Constraints, Field, Multipart, SizeLimit};
use resultity_core::api::cloud::Reply;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::file::{ExpiresAfter, ExpiryAnchor, File, FilePurpose};
use tokio::time::timeout;

use crate::flow::KeptLimits;
use crate::session::{CloudSession, Upload, too_large};

/// What the parts beside the file, and all the heads of parts, may have in bytes.
const MAX_REST: u64 = 64 * 1024;

/// The most bytes of a field that is not the file.
const MAX_FIELD: u64 = 4 * 1024;

/// The most parts.
const MAX_PARTS: usize = 16;

/// How long an upload may take, however steadily it comes.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(15);

/// Purposes that OpenAI has and that nothing is done for here.
const UNUSED_PURPOSES: [&str; 4] = ["assistants", "fine-tune", "vision", "evals"];

/// Reads an upload and stores it.
pub(super) async fn upload(session: &CloudSession, headers: &HeaderMap, body: Body) -> Result<Reply<File>, ApiError> {
    let limits = session.kept_limits();
    let most = limits.file_bytes;
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most + MAX_REST) {
        return Err(too_large(&limits));
    }
    let boundary = headers
        .get(CONTENT_TYPE)
        .and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok())
        .ok_or_else(|| {
            let message =
                "a file is uploaded as a form: send the header `Content-Type: multipart/form-data; boundary=…`";
            ApiError::new(ErrorCode::InvalidValue, message)
        })?;
    let sizes = SizeLimit::new()
        .whole_stream(most + MAX_REST)
        .per_field(MAX_FIELD)
        // The session counts for itself, so that what is wrong has one name.
        .for_field("file", most + MAX_REST);
    let constraints = Constraints::new().size_limit(sizes);
    let form = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    match timeout(UPLOAD_TIMEOUT, read(session, form)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::new(
            ErrorCode::InvalidValue,
            "the file took too long to arrive",
        )),
    }
}

/// What a form says. The parts come in any order.
#[derive(Default)]
struct Form {
    file: Option<(Upload, String)>,
    purpose: Option<FilePurpose>,
    anchor: Option<ExpiryAnchor>,
    seconds: Option<u64>,
}

async fn read(session: &CloudSession, mut parts: Multipart<'_>) -> Result<Reply<File>, ApiError> {
    let limits = session.kept_limits();
    let broken = |error| broken(error, &limits);
    let mut form = Form::default();
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        count += 1;
        if count > MAX_PARTS {
            let message = format!("the form has more than {MAX_PARTS} parts");
            return Err(ApiError::new(ErrorCode::InvalidValue, message));
        }
        form.take(session, part).await?;
    }
    let missing =
        |field: &str| ApiError::new(ErrorCode::MissingField, format!("the form has no part {field}")).with_param(field);
    let purpose = form.purpose.ok_or_else(|| missing("purpose"))?;
    let (upload, filename) = form.file.ok_or_else(|| missing("file"))?;
    let expires_after = match (form.anchor, form.seconds) {
        (Some(anchor), Some(seconds)) => Some(ExpiresAfter { anchor, seconds }),
        (None, None) => None,
        (None, Some(_)) => return Err(missing("expires_after[anchor]")),
        (Some(_), None) => return Err(missing("expires_after[seconds]")),
    };
    session.finish_upload(upload, &filename, purpose, expires_after).await
}

impl Form {
    async fn take(&mut self, session: &CloudSession, mut part: Field<'_>) -> Result<(), ApiError> {
        let limits = session.kept_limits();
        let broken = |error| broken(error, &limits);
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" => {
                once(&name, self.file.is_some())?;
                let filename = part.file_name().unwrap_or_default().to_owned();
                let mut upload = session.begin_upload().await?;
                while let Some(piece) = part.chunk().await.map_err(broken)? {
                    upload.write(&piece).await?;
                }
                self.file = Some((upload, filename));
            }
            "purpose" => {
                once(&name, self.purpose.is_some())?;
                self.purpose = Some(purpose(&part.text().await.map_err(broken)?)?);
            }
            "expires_after[anchor]" => {
                once(&name, self.anchor.is_some())?;
                if part.text().await.map_err(broken)? != "created_at" {
                    return Err(invalid(&name, "expires_after[anchor] must be created_at"));
                }
                self.anchor = Some(ExpiryAnchor::CreatedAt);
            }
            "expires_after[seconds]" => {
                once(&name, self.seconds.is_some())?;
                let text = part.text().await.map_err(broken)?;
                let seconds = text.trim().parse();
                self.seconds =
                    Some(seconds.map_err(|_| invalid(&name, "expires_after[seconds] must be a whole number"))?);
            }
            _ => {
                let shown: String = name.chars().take(100).collect();
                let message = format!("the form has a part {shown:?}: expected file, purpose and expires_after");
                return Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(shown));
            }
        }
        Ok(())
    }
}

fn purpose(text: &str) -> Result<FilePurpose, ApiError> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(100).collect();
        let message = if UNUSED_PURPOSES.contains(&text) {
            format!("files for {shown} are not used here: purpose must be batch or user_data")
        } else {
            format!("{shown:?} is no purpose: purpose must be batch or user_data")
        };
        invalid("purpose", message)
    })
}

fn once(name: &str, is_there: bool) -> Result<(), ApiError> {
    if is_there {
        return Err(invalid(name, format!("the form has the part {name} twice")));
    }
    Ok(())
}

/// The form is not one, or broke off.
fn broken(error: multer::Error, limits: &KeptLimits) -> ApiError {
    match error {
        multer::Error::StreamSizeExceeded { .. } => too_large(limits),
        multer::Error::FieldSizeExceeded { field_name, .. } if field_name.as_deref() == Some("file") => {
            too_large(limits)
        }
        multer::Error::FieldSizeExceeded { field_name, .. } => {
            let name = field_name.unwrap_or_default();
            let message = format!("the part {name} is larger than {MAX_FIELD} bytes");
            ApiError::new(ErrorCode::PayloadTooLarge, message).with_param(name)
        }
        multer::Error::StreamReadFailed(_) => ApiError::new(
            ErrorCode::InvalidValue,
            "the body ended before it was complete, or took too long to arrive",
        ),
        error => ApiError::new(ErrorCode::InvalidValue, format!("the form can't be read: {error}")),
    }
}

fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

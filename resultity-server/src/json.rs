//! Reading JSON that comes from outside: what is wrong is named.

use resultity_core::error::{ApiError, ErrorCode};
use serde::de::DeserializeOwned;

mod strict;

/// Reads JSON that stands in memory.
///
/// # Errors
///
/// `invalid_json`, `invalid_value` or `missing_required_parameter`; the last two name the field.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // What reads fields takes a repeated one for the last of them, or skips what it does not know.
    strict::check(body)
        .map_err(|error| ApiError::new(ErrorCode::InvalidJson, format!("the body is not JSON: {error}")))?;
    // An array would do for a struct too, its entries in the order of the fields.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let message = "the body must be a JSON object";
        return Err(ApiError::new(ErrorCode::InvalidValue, message));
    }
    serde_json::from_slice(body).map_err(|error| {
        wrong_field::<T>(body).unwrap_or_else(|| ApiError::new(ErrorCode::InvalidValue, sentence(&error)))
    })
}

/// Reads the body once more, slower, to find out where it is wrong.
fn wrong_field<T: DeserializeOwned>(body: &[u8]) -> Option<ApiError> {
    let deserializer = &mut serde_json::Deserializer::from_slice(body);
    let error = serde_path_to_error::deserialize::<_, T>(deserializer).err()?;
    let path = error.path().to_string();
    let message = sentence(error.inner());
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        let path = if path == "." {
            field.to_owned()
        } else {
            format!("{path}.{field}")
        };
        let message = format!("{path} is missing");
        return Some(ApiError::new(ErrorCode::MissingField, message).with_param(path));
    }
    if path == "." {
        return Some(ApiError::new(ErrorCode::InvalidValue, message));
    }
    Some(ApiError::new(ErrorCode::InvalidValue, format!("{path}: {message}")).with_param(path))
}

/// What is wrong, without the place in the text, which says less than the path.
fn sentence(error: &serde_json::Error) -> String {
    // The text is JSON: what looks wrong with it is where a name out of a list was to stand.
    if !error.is_data() {
        return "wrong type, expected a string".to_owned();
    }
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(sentence, _)| sentence.to_owned())
}

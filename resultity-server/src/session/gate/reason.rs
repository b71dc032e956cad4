//! Why somebody with power does something: a text for the audit log.

use resultity_core::error::{ApiError, ErrorCode};

/// The longest reason: characters.
const LONGEST: usize = 500;

/// A reason that has to be given.
pub(super) fn required(reason: &str) -> Result<String, ApiError> {
    let reason = checked(reason)?;
    if reason.is_empty() {
        let message = "reason must say why: it is kept in the audit log";
        return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("reason"));
    }
    Ok(reason)
}

/// A reason that may be given.
pub(super) fn optional(reason: Option<&str>) -> Result<String, ApiError> {
    checked(reason.unwrap_or_default())
}

fn checked(reason: &str) -> Result<String, ApiError> {
    text("reason", reason, LONGEST)
}

/// A text of one or more lines, without spaces at its ends and without what can't be seen.
pub(super) fn text(param: &str, text: &str, longest: usize) -> Result<String, ApiError> {
    let text = text.trim();
    let is_good = |char: char| !char.is_control() || char == '\n' || char == '\t';
    if text.chars().count() > longest || !text.chars().all(is_good) {
        let message = format!("{param} must have at most {longest} characters, without control characters");
        return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param(param));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_not_too_much() {
        assert_eq!(required("  because\n").unwrap(), "because");
        assert_eq!(optional(None).unwrap(), "");
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", "  ", long.as_str(), "a\u{0}b", "\u{1b}[31m"] {
            let error = required(bad).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("reason"), "{bad:?}");
        }
    }
}

//! Who calls: bearer tokens.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use resultity_core::canonical::sha256;
use resultity_core::error::{ApiError, ErrorCode};
use subtle::ConstantTimeEq;

use crate::flow::Principal;
use crate::http::App;

/// The token of `Authorization: Bearer …`; the scheme in any case (RFC 9110). None of two: whoever stands in front may have
/// looked at the other one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The holder of the API key that came with the request.
pub(super) async fn principal(app: &App, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let now = app.flow.clock.now();
    app.keys.principal(bearer(headers), app.flow.environment, now).await
}

/// Checks that the request came with the administrator's token. Compared as hashes in constant time.
pub(super) fn administrator(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let invalid = || {
        ApiError::new(
            ErrorCode::InvalidApiKey,
            "this needs the administrator's token: send it as `Authorization: Bearer …`",
        )
    };
    let expected = app.admin_token.ok_or_else(invalid)?;
    let token = sha256(bearer(headers).ok_or_else(invalid)?);
    if bool::from(token.as_slice().ct_eq(expected.as_slice())) {
        Ok(())
    } else {
        Err(invalid())
    }
}

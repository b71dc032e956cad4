//! Who calls: API keys, sessions, access tokens, the operator's token.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use resultity_core::api::gate::{LoginKind, Role};
use resultity_core::canonical::sha256;
use resultity_core::error::{ApiError, ErrorCode};
use subtle::ConstantTimeEq;

use crate::flow::{Flow, Principal};
use crate::http::{App, client_address, cookie, gate};
use crate::session::{Authority, Caller};

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

/// The holder of the API key that came with the request, and the flow of the key's environment. A key may be for certain
/// addresses alone.
pub(super) async fn principal<'a>(app: &'a App, parts: &Parts) -> Result<(Principal, &'a Arc<Flow>), ApiError> {
    let now = app.flow().clock.now();
    let principal = app.keys.principal(bearer(&parts.headers), now).await?;
    if principal.limits.addresses.is_some() {
        let address = client_address::known(app, gate::peer(parts), &parts.headers);
        if !principal.limits.allows_from(address) {
            let message = address.map_or_else(
                || "this API key is for certain addresses alone, and the proxy does not say where the request comes from".into(),
                |address| format!("this API key may not be used from {address}"),
            );
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
    }
    let flow = app.flows.get(principal.environment).ok_or_else(|| {
        let message = format!(
            "this API key is for {}, which this server does not serve",
            principal.environment
        );
        ApiError::new(ErrorCode::InvalidApiKey, message)
    })?;
    Ok((principal, flow))
}

/// Who calls the Gate API: by the token of a session, an access token or the operator's token; or by the cookie of a
/// browser, which has to show that one of the own pages asks.
pub(super) async fn caller(app: &App, parts: &Parts) -> Result<Caller, ApiError> {
    let headers = &parts.headers;
    let nobody = || ApiError::new(ErrorCode::NotSignedIn, "sign in first: send `Authorization: Bearer …`");
    let address = client_address::of(app, gate::peer(parts), headers);
    if headers.contains_key(AUTHORIZATION) {
        let token = bearer(headers).ok_or_else(nobody)?;
        if is_operator(app, token) {
            return Ok(Caller {
                account: None,
                role: Role::Admin,
                authority: Authority::Operator,
                environment: app.flow().environment,
                address,
            });
        }
        return app.gate.caller(token, LoginKind::Command, address).await;
    }
    let token = cookie::token(headers).ok_or_else(nobody)?;
    let caller = app.gate.caller(token, LoginKind::Browser, address).await?;
    cookie::check_origin(&parts.method, headers, token)?;
    Ok(caller)
}

/// Who looks at a page: by the cookie of a browser alone, and nobody is somebody too. Whether one of the own pages sends a form
/// is shown by a field of the form.
pub(crate) async fn visitor(app: &App, parts: &Parts) -> Result<Option<Caller>, ApiError> {
    let Some(token) = cookie::token(&parts.headers) else {
        return Ok(None);
    };
    let address = client_address::of(app, gate::peer(parts), &parts.headers);
    match app.gate.caller(token, LoginKind::Browser, address).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.code == ErrorCode::NotSignedIn => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is the operator's token: compared as hashes, in constant time.
fn is_operator(app: &App, token: &str) -> bool {
    let expected = app.admin_token;
    expected.is_some_and(|expected| bool::from(sha256(token).as_slice().ct_eq(expected.as_slice())))
}

//! The cookie of a session, and what keeps other sites from using it.

use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use resultity_core::error::{ApiError, ErrorCode};
use subtle::ConstantTimeEq;

use crate::session::csrf_token;

/// Its name.
const NAME: &str = "resultity_session";

/// What a page shows with whatever changes something.
const CSRF_HEADER: &str = "x-csrf-token";

/// The session's token, if there is exactly one: of several, another site of the same domain may have set one.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut tokens = pairs.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME).then_some(value)
    });
    let token = tokens.next()?;
    tokens.next().is_none().then_some(token)
}

/// Whether a request with this cookie comes from one of the own pages: a browser adds the cookie to those of others, too.
pub(super) fn check_origin(method: &Method, headers: &HeaderMap, token: &str) -> Result<(), ApiError> {
    let refused = |message: &str| ApiError::new(ErrorCode::PermissionDenied, message);
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(refused("this request comes from another site"));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let given = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if bool::from(given.ct_eq(csrf_token(token).as_bytes())) {
        return Ok(());
    }
    Err(refused(
        "the header `x-csrf-token` is missing or wrong: send what signing in, or `GET /gate/v1/session`, has said",
    ))
}

/// Whether one of the own pages sends a form, as far as the browser says: also for forms that come before any session, such as
/// the one for signing in.
pub(crate) fn check_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = || ApiError::new(ErrorCode::PermissionDenied, "this form comes from another site");
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(refused());
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = host.map(|(_, host)| host.as_bytes());
    if host == headers.get(HOST).map(HeaderValue::as_bytes) {
        return Ok(());
    }
    Err(refused())
}

/// What to send as `x-csrf-token`, if the session is in a cookie.
pub(super) fn csrf_of(headers: &HeaderMap) -> Option<String> {
    token(headers).map(csrf_token)
}

/// Gives the cookie along; without a token, takes it away. It ends with the session, which the store decides.
pub(crate) fn set(response: &mut Response, request: &HeaderMap, token: Option<&str>) {
    let secure = if is_loopback(request) { "" } else { "; Secure" };
    let (value, age) = match token {
        // Longer than any session: a browser that forgets it earlier only asks earlier.
        Some(token) => (token, 400 * 24 * 60 * 60),
        None => ("", 0),
    };
    let cookie = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The address of this server, as the browser has it: without TLS on this machine alone.
pub(crate) fn origin(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    let scheme = if is_loopback(headers) { "http" } else { "https" };
    format!("{scheme}://{host}")
}

/// Whether a browser of this machine asks: without TLS some browsers refuse a cookie that is for TLS alone. Who writes
/// another name into the header only fools himself.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[rstest]
    #[case::none(&[], None)]
    #[case::one(&[("cookie", "resultity_session=rs_1")], Some("rs_1"))]
    #[case::among_others(&[("cookie", "a=b; resultity_session=rs_1; c")], Some("rs_1"))]
    #[case::in_another_header(&[("cookie", "a=b"), ("cookie", "resultity_session=rs_1")], Some("rs_1"))]
    #[case::two(&[("cookie", "resultity_session=rs_1; resultity_session=rs_2")], None)]
    #[case::another_name(&[("cookie", "xresultity_session=rs_1; resultity_sessionx=rs_2")], None)]
    fn the_token_is_found_if_there_is_one(#[case] given: &[(&'static str, &str)], #[case] found: Option<&str>) {
        assert_eq!(token(&headers(given)), found);
    }

    #[test]
    fn what_changes_something_needs_the_token_of_the_page() {
        let right = csrf_token("rs_1");
        let check = |method: Method, given: &[(&'static str, &str)]| check_origin(&method, &headers(given), "rs_1");
        assert!(check(Method::GET, &[]).is_ok());
        assert!(check(Method::POST, &[("x-csrf-token", &right)]).is_ok());
        for given in [
            &[][..],
            &[("x-csrf-token", "")],
            &[("x-csrf-token", &csrf_token("rs_2"))],
        ] {
            for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
                let error = check(method, given).unwrap_err();
                assert_eq!(error.code, ErrorCode::PermissionDenied);
            }
        }
        let elsewhere = [("sec-fetch-site", "cross-site"), ("x-csrf-token", right.as_str())];
        assert!(check(Method::POST, &elsewhere).is_err());
        assert!(check(Method::GET, &elsewhere).is_err());
    }

    #[rstest]
    #[case("localhost:8080", false)]
    #[case("127.0.0.1", false)]
    #[case("[::1]:8080", false)]
    #[case("app.localhost", false)]
    #[case("example.org", true)]
    #[case("localhost.example.org", true)]
    #[case("127.0.0.1.example.org", true)]
    #[case("", true)]
    fn the_cookie_is_for_tls_but_on_this_machine(#[case] host: &str, #[case] secure: bool) {
        let mut response = Response::new(Body::empty());
        set(&mut response, &headers(&[("host", host)]), Some("rs_1"));
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(
            cookie.starts_with("resultity_session=rs_1; Path=/; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        assert_eq!(cookie.contains("Secure"), secure, "{cookie}");
    }
}

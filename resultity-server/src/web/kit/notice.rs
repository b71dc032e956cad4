//! What one page leaves for the next to say: `The key was revoked.` It travels in a cookie that lives for one page.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The name of the cookie.
const NAME: &str = "resultity_notice";

/// The longest that is shown.
const LONGEST: usize = 300;

/// A sentence about what was just done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Notice(pub(in crate::web) String);

impl Notice {
    /// What the page before left.
    pub(in crate::web) fn of(headers: &HeaderMap) -> Option<Self> {
        let encoded = cookie(headers, NAME)?;
        let text = percent_decode_str(encoded).decode_utf8().ok()?;
        let is_good = !text.is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
        is_good.then(|| Self(text.into_owned()))
    }

    /// Forgets it, once it was shown.
    pub(in crate::web) fn clear(response: &mut Response) {
        set(response, "", 0);
    }
}

/// Goes to another page, which says this.
pub(in crate::web) fn done(to: &str, notice: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    set(
        &mut response,
        &utf8_percent_encode(notice, NON_ALPHANUMERIC).to_string(),
        60,
    );
    response
}

fn set(response: &mut Response, value: &str, age: u32) {
    let cookie = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The value of a cookie that is no secret.
pub(in crate::web) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(COOKIE).iter();
    let mut pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

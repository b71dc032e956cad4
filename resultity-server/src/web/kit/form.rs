//! Forms: what was sent, whether an own page sent it, and fields that say what is wrong with them.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resultity_core::error::{ApiError, ErrorCode};
use subtle::ConstantTimeEq;

use super::page::failure;
use super::visitor::{Visitor, to_sign_in};
use crate::http::{App, body, cookie};

/// The longest way that is kept.
const LONGEST_WAY: usize = 1024;

/// The largest form.
const MAX_FORM_BYTES: usize = 256 * 1024;

/// A way within these pages: a path, perhaps with a query. Never one to another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Way(String);

impl Way {
    /// The way of a request.
    pub(in crate::web) fn of(uri: &Uri) -> Self {
        let text = uri.path_and_query().map_or("/", |place| place.as_str());
        Self::checked(text).unwrap_or_else(|| Self("/".to_owned()))
    }

    /// A way that somebody sent along, if it is one.
    pub(in crate::web) fn checked(text: &str) -> Option<Self> {
        let is_within = text.starts_with('/') && !text.starts_with("//");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        (is_within && is_plain && text.len() <= LONGEST_WAY).then(|| Self(text.to_owned()))
    }

    /// The same as a part of a query.
    pub(in crate::web) fn encoded(&self) -> String {
        utf8_percent_encode(&self.0, NON_ALPHANUMERIC).to_string()
    }

    pub(in crate::web) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path alone.
    pub(in crate::web) fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// The same page with a parameter set to something else, and without what places depend on.
    pub(in crate::web) fn with(&self, name: &str, value: &str) -> String {
        let query = self.0.split_once('?').map_or("", |(_, query)| query);
        let kept = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != name && key != "after");
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(kept).append_pair(name, value);
        format!("{}?{}", self.path(), pairs.finish())
    }
}

/// What was sent with a form.
#[derive(Debug, Default)]
pub(in crate::web) struct Fields(Vec<(String, String)>);

impl Fields {
    /// What stands after the question mark: what a form of a filter says.
    pub(in crate::web) fn of_query(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// What a field says, without spaces around it; nothing if it is not there.
    pub(in crate::web) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// The same, word for word: for passwords.
    pub(in crate::web) fn verbatim(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// What a field says, if it says something.
    pub(in crate::web) fn if_any(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|text| !text.is_empty())
    }

    /// All that was chosen of several.
    pub(in crate::web) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.trim())
    }

    /// What a field says as something else, if it says anything.
    pub(in crate::web) fn parsed<T: std::str::FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.if_any(name) else { return Ok(None) };
        let wrong = |_| ApiError::new(ErrorCode::InvalidValue, format!("this must be {expected}")).with_param(name);
        text.parse().map(Some).map_err(wrong)
    }
}

/// A form that an own page sent.
pub(in crate::web) struct Form {
    pub(in crate::web) visitor: Visitor,
    pub(in crate::web) fields: Fields,
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let fields = read(&parts.headers, body).await;
        let checked = fields.and_then(|fields| {
            cookie::check_own_page(&parts.headers)?;
            if let Some(member) = &visitor.member {
                check_csrf(&fields, &member.csrf)?;
            }
            Ok(fields)
        });
        match checked {
            Ok(fields) => Ok(Self { visitor, fields }),
            Err(error) => Err(failure(&visitor, &error, html! {})),
        }
    }
}

/// A form that somebody sent who is signed in.
pub(in crate::web) struct InsideForm {
    pub(in crate::web) inside: super::visitor::Inside,
    pub(in crate::web) fields: Fields,
}

impl FromRequest<Arc<App>> for InsideForm {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let Form { visitor, fields } = Form::from_request(request, app).await?;
        if visitor.member.is_none() {
            let back = fields.if_any("back").and_then(Way::checked);
            return Err(to_sign_in(&back.unwrap_or_else(|| Way("/account".to_owned()))));
        }
        Ok(Self {
            inside: super::visitor::Inside { visitor },
            fields,
        })
    }
}

async fn read(headers: &HeaderMap, body: axum::body::Body) -> Result<Fields, ApiError> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(b"application/x-www-form-urlencoded") {
        let message = "forms are sent as `application/x-www-form-urlencoded`";
        return Err(ApiError::new(ErrorCode::InvalidValue, message));
    }
    let text = body::read_up_to(MAX_FORM_BYTES, headers, body).await?;
    let pairs = url::form_urlencoded::parse(&text);
    Ok(Fields(pairs.into_owned().collect()))
}

fn check_csrf(fields: &Fields, expected: &str) -> Result<(), ApiError> {
    if bool::from(fields.get("csrf").as_bytes().ct_eq(expected.as_bytes())) {
        return Ok(());
    }
    let message = "this page was open for longer than its session: go back, load it again, and send the form once more";
    Err(ApiError::new(ErrorCode::PermissionDenied, message))
}

/// What every form of somebody who is signed in has in it.
pub(in crate::web) fn csrf(visitor: &Visitor) -> Markup {
    html! {
        @if let Some(member) = &visitor.member {
            input type="hidden" name="csrf" value=(member.csrf);
        }
    }
}

/// A form with one button and perhaps some hidden fields.
pub(in crate::web) fn button(
    visitor: &Visitor,
    action: &str,
    label: &str,
    kind: &str,
    hidden: &[(&str, &str)],
) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (csrf(visitor))
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            button class={ "button " (kind) } type="submit" { (label) }
        }
    }
}

/// What a form says when it is shown: what was sent before, and what was wrong with it.
#[derive(Debug, Default)]
pub(in crate::web) struct Filled {
    pub(in crate::web) fields: Fields,
    pub(in crate::web) error: Option<ApiError>,
}

impl Filled {
    /// What was sent, and why it was refused.
    pub(in crate::web) fn refused(fields: Fields, error: ApiError) -> Self {
        Self {
            fields,
            error: Some(error),
        }
    }

    /// What is wrong, if it is about no field that is shown.
    pub(in crate::web) fn general(&self, shown: &[&str]) -> Markup {
        html! {
            @if let Some(error) = &self.error {
                @if error.param.as_deref().is_none_or(|param| !shown.contains(&param)) {
                    p.alert.bad role="alert" { (sentence(&error.message)) }
                }
            }
        }
    }

    fn error_of(&self, name: &str) -> Option<&str> {
        let error = self.error.as_ref()?;
        (error.param.as_deref() == Some(name)).then_some(error.message.as_str())
    }
}

/// What is asked in a form.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Field<'a> {
    pub(in crate::web) name: &'a str,
    pub(in crate::web) label: &'a str,
    pub(in crate::web) kind: &'a str,
    pub(in crate::web) hint: &'a str,
    pub(in crate::web) complete: &'a str,
    pub(in crate::web) required: bool,
    pub(in crate::web) value: &'a str,
}

impl<'a> Field<'a> {
    /// A line of text that has to be filled in.
    pub(in crate::web) const fn text(name: &'a str, label: &'a str) -> Self {
        Self {
            name,
            label,
            kind: "text",
            hint: "",
            complete: "off",
            required: true,
            value: "",
        }
    }

    pub(in crate::web) const fn kind(mut self, kind: &'a str, complete: &'a str) -> Self {
        (self.kind, self.complete) = (kind, complete);
        self
    }

    pub(in crate::web) const fn hint(mut self, hint: &'a str) -> Self {
        self.hint = hint;
        self
    }

    pub(in crate::web) const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    pub(in crate::web) const fn value(mut self, value: &'a str) -> Self {
        self.value = value;
        self
    }

    /// The field, with what was filled in before, unless that is secret.
    pub(in crate::web) fn show(&self, filled: &Filled) -> Markup {
        let error = filled.error_of(self.name);
        let given = filled.fields.get(self.name);
        let value = match self.kind {
            "password" => "",
            _ if given.is_empty() => self.value,
            _ => given,
        };
        let (hint, wrong) = (format!("{}-hint", self.name), format!("{}-wrong", self.name));
        let told = [(!self.hint.is_empty()).then_some(&*hint), error.map(|_| &*wrong)];
        let told: Vec<_> = told.into_iter().flatten().collect();
        let told = (!told.is_empty()).then(|| told.join(" "));
        html! {
            div.field {
                label for=(self.name) { (self.label) @if !self.required { span.faint { " (if you like)" } } }
                input id=(self.name) name=(self.name) type=(self.kind) value=(value) autocomplete=(self.complete)
                    required[self.required] aria-invalid=[error.map(|_| "true")] aria-describedby=[told];
                @if !self.hint.is_empty() { p.hint id=(hint) { (self.hint) } }
                @if let Some(error) = error { p.wrong id=(wrong) { (sentence(error)) } }
            }
        }
    }
}

/// A choice of one of several, each with its value and its name.
pub(in crate::web) fn choice(name: &str, label: &str, chosen: &str, options: &[(&str, &str)]) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (value, text) in options {
                    option value=(value) selected[*value == chosen] { (text) }
                }
            }
        }
    }
}

/// An error's message as a sentence.
pub(in crate::web) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_stays_within() {
        for (text, is_way) in [
            ("/", true),
            ("/cloud/keys?after=x", true),
            ("", false),
            ("cloud", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("/a b", false),
            ("/a\r\nset-cookie: x", false),
        ] {
            assert_eq!(Way::checked(text).is_some(), is_way, "{text:?}");
        }
        let way = Way::checked("/status?environment=mainnet&after=9&q=a%20b").unwrap();
        assert_eq!(way.with("environment", "testnet"), "/status?q=a+b&environment=testnet");
    }

    #[test]
    fn errors_become_sentences() {
        assert_eq!(sentence("the name is missing"), "The name is missing.");
        assert_eq!(sentence("Is it?"), "Is it?");
        assert_eq!(sentence(""), ".");
    }
}

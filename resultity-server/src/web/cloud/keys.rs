//! API keys: all of them, and a new one, which is shown once.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    ApiKey, ApiKeyWithSecret, CreateKey, KeyQuery, KeyStatus, KeysApi, Namespace, NamespaceQuery, NamespacesApi,
};
use resultity_core::error::ApiError;
use resultity_core::id::NamespaceId;

use super::super::kit::form::{Fields, Filled, InsideForm, choice, csrf};
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use super::limits::{self, Limits};
use crate::http::query;

/// Where it is.
pub(super) const HERE: &str = "/cloud/keys";

/// `GET /cloud/keys`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    match query::read(&uri) {
        Ok(query) => page(&inside, query, &Filled::default()).await,
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

async fn page(inside: &Inside, mut query: KeyQuery, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    query.environment = Some(visitor.environment);
    let read = async {
        let session = inside.session()?;
        let namespaces = session.namespaces(in_environment(visitor)).await?.data;
        Ok((session.keys(query).await?, namespaces))
    };
    let (keys, namespaces) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = keys
        .last_id
        .filter(|_| keys.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        @if keys.data.is_empty() {
            (empty("No key yet", html! { p { "With a key, any OpenAI SDK can ask the models of this network." } }))
        } @else {
            (panel("Your keys", html! { (list(visitor, &keys.data, &namespaces)) (more(next)) }))
        }
        (panel("Make one", form(visitor, &namespaces, filled)))
    };
    Page::new(visitor, App::Cloud, "API keys", body)
        .lead("What programs show when they ask. Each spends the credits of one namespace, within its own limits.")
        .after(filled)
        .into_response()
}

/// All namespaces of the environment that is shown.
pub(super) fn in_environment(visitor: &Visitor) -> NamespaceQuery {
    NamespaceQuery {
        limit: Some(100),
        ..NamespaceQuery::of(visitor.environment)
    }
}

/// A word about a key's state.
pub(super) fn state(key: &ApiKey) -> Markup {
    match key.status {
        KeyStatus::Active => badge("active", "good"),
        KeyStatus::Expired => badge("expired", "wait"),
        KeyStatus::Revoked => badge("revoked", "bad"),
        _ => badge(key.status.as_str(), ""),
    }
}

fn list(visitor: &Visitor, keys: &[ApiKey], namespaces: &[Namespace]) -> Markup {
    let name = |id: NamespaceId| {
        let found = namespaces.iter().find(|namespace| namespace.id == id);
        found.map_or_else(|| id.to_string(), |namespace| namespace.name.clone())
    };
    let rows = html! {
        @for key in keys {
            tr {
                td { a href={ (HERE) "/" (key.id.to_string()) } { (if key.label.is_empty() { "without a label" } else { &key.label }) } }
                td { code { (key.hint) } }
                td { (name(key.namespace)) }
                td { (state(key)) }
                td { (show::time(key.created_at, visitor.now)) }
                td { (show::time_if_any(key.expires_at, visitor.now)) }
                td.number {
                    @if let (Some(spent), Some(limit)) = (key.spent, key.spend_limit) { (spent.to_string()) " of " (show::credits(limit)) }
                    @else { span.faint { "no limit" } }
                }
            }
        }
    };
    table(
        "API keys",
        &["Label", "Key", "Namespace", "State", "Made", "Expires", "Spent"],
        rows,
    )
}

fn form(visitor: &Visitor, namespaces: &[Namespace], filled: &Filled) -> Markup {
    let names: Vec<(String, &str)> = namespaces
        .iter()
        .map(|namespace| (namespace.id.to_string(), namespace.name.as_str()))
        .collect();
    let options: Vec<(&str, &str)> = names.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    html! {
        @if namespaces.is_empty() {
            p { "A key belongs to a namespace: " a href="/cloud/namespaces" { "make one" } " first." }
        } @else {
            (filled.general(&limits::FIELDS))
            form.stack method="post" action=(HERE) {
                (csrf(visitor))
                (choice("namespace", "Namespace", filled.fields.get("namespace"), &options))
                (limits::fields(filled, None))
                (choice("days", "Expires", filled.fields.get("days"),
                    &[("", "never"), ("7", "in 7 days"), ("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year")]))
                button.button type="submit" { "Make the key" }
            }
        }
    }
}

fn request_of(fields: &Fields, visitor: &Visitor) -> Result<CreateKey, ApiError> {
    let limits = Limits::read(fields)?;
    let mut request = CreateKey::default()
        .environment(visitor.environment)
        .label(fields.get("label"));
    request.namespace = fields.parsed("namespace", "one of your namespaces")?;
    request.requests_per_minute = limits.requests_per_minute;
    request.tokens_per_minute = limits.tokens_per_minute;
    request.spend_limit = limits.spend_limit;
    request.models = limits.models;
    request.ip_addresses = limits.ip_addresses;
    if let Some(days) = fields.parsed::<i64>("days", "a number of days")? {
        let seconds = days.clamp(1, 3_650).saturating_mul(86_400);
        request.expires_at = Some(visitor.now.as_seconds().saturating_add(seconds));
    }
    Ok(request)
}

/// `POST /cloud/keys`.
pub(super) async fn create(InsideForm { inside, fields }: InsideForm) -> Response {
    let created = async {
        let request = request_of(&fields, &inside.visitor)?;
        inside.session()?.create_key(request).await
    };
    match created.await {
        Ok(key) => once(&inside.visitor, &key),
        Err(error) => page(&inside, KeyQuery::default(), &Filled::refused(fields, error)).await,
    }
}

/// The one page that shows a key.
pub(super) fn once(visitor: &Visitor, key: &ApiKeyWithSecret) -> Response {
    let asked = format!(
        "curl {}/v1/chat/completions \\\n  -H \"Authorization: Bearer {}\" -H \"Content-Type: application/json\" \\\n  \
         -d '{{\"model\": \"MODEL\", \"messages\": [{{\"role\": \"user\", \"content\": \"Name the capital of France.\"}}]}}'",
        visitor.origin, key.secret
    );
    let body = html! {
        section.panel {
            p { "This is the key " strong { (key.key.label) } ". It is shown now and never again: only its hash is kept." }
            p.secret { code data-copy="" { (key.secret) } }
            p { a.button href=(HERE) { "I have kept it" } }
        }
        (panel("Try it", html! { pre data-copy="" { (asked) } p.hint { "Take one of the " a href="/status/models" { "models" } " for MODEL." } }))
    };
    Page::new(visitor, App::Cloud, "Your new key", body).into_response()
}

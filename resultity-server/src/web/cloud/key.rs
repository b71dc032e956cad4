//! One API key: its limits, what it used, a new secret, its end.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{ApiKey, Change, KeyStatus, KeysApi, RotateKey, UpdateKey};
use resultity_core::api::usage::{UsageQuery, UsageReport};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::KeyId;

use super::super::kit::chart::Chart;
use super::super::kit::form::{Fields, Filled, InsideForm, choice, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::panel;
use super::super::kit::visitor::{Inside, Visitor};
use super::keys::{HERE, once, state};
use super::limits::{self, Limits};

fn id_of(text: &str) -> Result<KeyId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such key"))
}

/// `GET /cloud/keys/{key}`.
pub(super) async fn show(inside: Inside, Path(key): Path<String>) -> Response {
    page(&inside, &key, &Filled::default()).await
}

async fn page(inside: &Inside, key: &str, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id, within) = (inside.session()?, id_of(key)?, visitor.within());
        let asked = UsageQuery {
            group_by: Some("day".into()),
            ..UsageQuery::default()
        };
        Ok((
            session.key(id, within).await?,
            session.key_usage(id, within, asked).await?,
        ))
    };
    let (key, usage) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let title = if key.label.is_empty() {
        "A key without a label"
    } else {
        &key.label
    };
    let body = html! {
        (facts(visitor, &key))
        (panel("Use", used(&usage)))
        @if key.status != KeyStatus::Revoked {
            (panel("Limits", form(visitor, &key, filled)))
            (panel("A new secret", rotation(visitor, &key)))
            (panel("End it", revocation(visitor, &key)))
        }
    };
    Page::new(visitor, App::Cloud, title.to_owned(), body)
        .after(filled)
        .into_response()
}

fn facts(visitor: &Visitor, key: &ApiKey) -> Markup {
    html! {
        section.panel {
            dl.facts {
                dt { "Key" } dd { code { (key.hint) } " " (state(key)) }
                dt { "Namespace" } dd { a href={ "/cloud/namespaces/" (key.namespace.to_string()) } { (key.namespace.to_string()) } }
                dt { "Made" } dd { (show::time(key.created_at, visitor.now)) }
                dt { "Expires" } dd { (show::time_if_any(key.expires_at, visitor.now)) }
                @if let Some(at) = key.revoked_at { dt { "Revoked" } dd { (show::time(at, visitor.now)) } }
                @if let Some(at) = key.previous_secret_expires_at { dt { "Its old secret ends" } dd { (show::time(at, visitor.now)) } }
                @if let (Some(spent), Some(limit)) = (key.spent, key.spend_limit) {
                    dt { "Spent" } dd { (spent.to_string()) " of " (show::credits(limit)) }
                }
            }
        }
    }
}

fn used(usage: &UsageReport) -> Markup {
    let points: Vec<(String, f64)> = usage
        .data
        .iter()
        .map(|row| (row.day.clone().unwrap_or_default(), row.counts.requests as f64))
        .collect();
    html! {
        dl.facts {
            dt { "Requests" } dd { (show::count(usage.total.requests)) ", " (show::count(usage.total.failed)) " of them failed" }
            dt { "Tokens" } dd { (show::count(usage.total.prompt_tokens)) " in, " (show::count(usage.total.completion_tokens)) " out" }
            dt { "Cost" } dd { (show::credits(usage.total.cost)) }
        }
        (Chart { title: "Requests a day", points: &points, written: show::number }.bars())
        p.faint { "From " (usage.start) " to " (usage.end) "." }
    }
}

fn form(visitor: &Visitor, key: &ApiKey, filled: &Filled) -> Markup {
    html! {
        (filled.general(&limits::FIELDS))
        form.stack method="post" action={ (HERE) "/" (key.id.to_string()) } {
            (csrf(visitor))
            (limits::fields(filled, Some(key)))
            button.button type="submit" { "Save" }
        }
    }
}

fn rotation(visitor: &Visitor, key: &ApiKey) -> Markup {
    html! {
        p { "The key stays what it is and gets another secret. The old one works for as long as you say, so that nothing has to stop." }
        form.stack method="post" action={ (HERE) "/" (key.id.to_string()) "/rotate" } {
            (csrf(visitor))
            (choice("overlap", "The old secret ends", "3600", &[("0", "at once"), ("3600", "in an hour"), ("86400", "in a day")]))
            button.button.quiet type="submit" { "Make a new secret" }
        }
    }
}

fn revocation(visitor: &Visitor, key: &ApiKey) -> Markup {
    html! {
        p { "It stops at once, everywhere, for good. Requests that run already end as they would." }
        form method="post" action={ (HERE) "/" (key.id.to_string()) "/revoke" } data-ask="Revoke this key for good?" {
            (csrf(visitor))
            button.button.danger type="submit" { "Revoke the key" }
        }
    }
}

fn request_of(fields: &Fields) -> Result<UpdateKey, ApiError> {
    fn to<T>(value: Option<T>) -> Change<T> {
        value.map_or(Change::Clear, Change::Set)
    }
    let limits = Limits::read(fields)?;
    let mut request = UpdateKey::label(fields.get("label"));
    request.requests_per_minute = to(limits.requests_per_minute);
    request.tokens_per_minute = to(limits.tokens_per_minute);
    request.spend_limit = to(limits.spend_limit);
    request.models = to(limits.models);
    request.ip_addresses = to(limits.ip_addresses);
    Ok(request)
}

/// `POST /cloud/keys/{key}`.
pub(super) async fn change(Path(key): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let changed = async {
        let request = request_of(&fields)?;
        inside
            .session()?
            .update_key(id_of(&key)?, inside.visitor.within(), request)
            .await
    };
    match changed.await {
        Ok(changed) => done(
            &format!("{HERE}/{}", changed.id),
            "The key is saved: its limits hold from now on.",
        ),
        Err(error) => page(&inside, &key, &Filled::refused(fields, error)).await,
    }
}

/// `POST /cloud/keys/{key}/rotate`.
pub(super) async fn rotate(Path(key): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let rotated = async {
        let overlap = fields.parsed("overlap", "a number of seconds")?.unwrap_or(0);
        let request = RotateKey::overlap_seconds(overlap);
        inside
            .session()?
            .rotate_key(id_of(&key)?, inside.visitor.within(), request)
            .await
    };
    match rotated.await {
        Ok(key) => once(&inside.visitor, &key),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

/// `POST /cloud/keys/{key}/revoke`.
pub(super) async fn revoke(Path(key): Path<String>, InsideForm { inside, .. }: InsideForm) -> Response {
    let revoked = async {
        inside
            .session()?
            .revoke_key(id_of(&key)?, inside.visitor.within())
            .await
    };
    match revoked.await {
        Ok(_) => done(HERE, "The key is revoked."),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

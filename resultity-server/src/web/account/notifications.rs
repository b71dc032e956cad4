//! What an account was told: its inbox.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{Notification, NotificationsApi, ReadNotifications};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NotificationId;

use super::super::kit::form::{InsideForm, button};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, empty, more};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// Where it is.
const HERE: &str = "/account/notifications";

/// `GET /account/notifications`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async { inside.session()?.notifications(query::read(&uri)?).await };
    match read.await {
        Ok(inbox) => {
            let next = inbox
                .last_id
                .filter(|_| inbox.has_more)
                .map(|last| visitor.place.with("after", &last));
            let body = html! {
                @if inbox.data.is_empty() {
                    (empty("Nothing yet", html! { p { "What happens to your account, credits and nodes is told here." } }))
                }
                (read_all(visitor, &inbox.data))
                @for one in &inbox.data { (entry(visitor, one)) }
                (more(next))
            };
            Page::new(visitor, App::Account, "Notifications", body).into_response()
        }
        Err(error) => failure(visitor, &error, html! {}),
    }
}

fn read_all(visitor: &Visitor, inbox: &[Notification]) -> Markup {
    let newest = inbox.first().filter(|_| inbox.iter().any(|one| one.read_at.is_none()));
    html! {
        @if let Some(newest) = newest {
            @let id = newest.id.to_string();
            p { (button(visitor, "/account/notifications/read", "Mark all as read", "quiet", &[("up_to", &id)])) }
        }
    }
}

fn entry(visitor: &Visitor, one: &Notification) -> Markup {
    html! {
        article.panel {
            h2 {
                (one.subject)
                @if one.read_at.is_none() { " " (badge("new", "wait")) }
            }
            p { (one.message) }
            p.faint {
                (show::time(one.created_at, visitor.now))
                @if let Some(environment) = one.environment { " · " (environment.as_str()) }
            }
        }
    }
}

/// `POST /account/notifications/read`.
pub(super) async fn read(InsideForm { inside, fields }: InsideForm) -> Response {
    let read = async {
        let id: Result<NotificationId, _> = fields.get("up_to").parse();
        let id = id.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such notification"))?;
        inside.session()?.read_notifications(ReadNotifications::up_to(id)).await
    };
    match read.await {
        Ok(_) => done(HERE, "All is marked as read."),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

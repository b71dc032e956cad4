//! Where an account is signed in, and when somebody signed in or tried to.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{AccountApi, Login, LoginsApi, SignInEvent};
use resultity_core::api::page::PageQuery;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::LoginId;

use super::super::kit::form::{InsideForm, button};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// Where it is.
const HERE: &str = "/account/sessions";

/// `GET /account/sessions`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let session = inside.session()?;
        let logins = session.logins(PageQuery::first(100)).await?;
        Ok((logins, session.sign_ins(query::read(&uri)?).await?))
    };
    match read.await {
        Ok((logins, events)) => {
            let next = events
                .last_id
                .filter(|_| events.has_more)
                .map(|last| visitor.place.with("after", &last));
            let body = html! {
                (panel("Signed in now", current(visitor, &logins.data)))
                (panel("Sign-ins", html! { (history(&events.data, visitor.now)) (more(next)) }))
            };
            Page::new(visitor, App::Account, "Sessions", body)
                .lead("Where your account is signed in. End what you do not know, then change your password.")
                .into_response()
        }
        Err(error) => failure(visitor, &error, html! {}),
    }
}

fn current(visitor: &Visitor, logins: &[Login]) -> Markup {
    let rows = html! {
        @for login in logins {
            @let id = login.id.to_string();
            tr {
                td { (login.kind.as_str()) @if login.current { " " (badge("this one", "good")) } }
                td { (login.method.as_str()) }
                td { (login.address) }
                td { (login.user_agent) }
                td { (show::time(login.last_used_at, visitor.now)) }
                td { (show::time(login.expires_at, visitor.now)) }
                td.acts { @if !login.current { (button(visitor, "/account/sessions/end", "End", "danger small", &[("login", &id)])) } }
            }
        }
    };
    html! {
        (table("Sessions", &["What", "By", "From", "Program", "Last used", "Ends", ""], rows))
        @if logins.len() > 1 {
            p { (button(visitor, "/account/sessions/end-others", "End all others", "danger", &[])) }
        }
    }
}

fn history(events: &[SignInEvent], now: Timestamp) -> Markup {
    let rows = html! {
        @for event in events {
            tr {
                td { (show::time(event.created_at, now)) }
                td { @if event.succeeded { (badge("signed in", "good")) } @else { (badge("refused", "bad")) } }
                td { (event.method.as_str()) }
                td { (event.address) }
                td { (event.user_agent) }
            }
        }
    };
    table("Sign-ins", &["When", "What", "By", "From", "Program"], rows)
}

/// `POST /account/sessions/end`.
pub(super) async fn end(InsideForm { inside, fields }: InsideForm) -> Response {
    let ended = async {
        let login: Result<LoginId, _> = fields.get("login").parse();
        let login = login.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such session"))?;
        inside.session()?.end_login(login).await
    };
    match ended.await {
        Ok(()) => done(HERE, "The session is ended."),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

/// `POST /account/sessions/end-others`.
pub(super) async fn end_others(InsideForm { inside, .. }: InsideForm) -> Response {
    let ended = async { inside.session()?.end_other_logins().await };
    match ended.await {
        Ok(ended) => done(
            HERE,
            &format!("{} ended.", show::of(ended.ended, "session is", "sessions are")),
        ),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

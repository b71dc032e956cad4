//! Access tokens: for programs that manage the account.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{AccessToken, CreateToken, Scope, TokenWithSecret, TokensApi};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::TokenId;

use super::super::kit::form::{Field, Fields, Filled, InsideForm, button, choice, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// Where it is.
const HERE: &str = "/account/tokens";

/// What each scope lets a program do.
const fn meaning(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "look at everything",
        Scope::Keys => "make and revoke API keys and namespaces",
        Scope::Credits => "move credits",
        Scope::Nodes => "manage nodes",
        Scope::Account => "change the account's name and settings",
        Scope::Admin => "act as an administrator, if you are one",
        _ => "what its name says",
    }
}

/// `GET /account/tokens`.
pub(super) async fn show(inside: Inside, uri: Uri) -> Response {
    match query::read(&uri) {
        Ok(query) => page(&inside, query, &Filled::default()).await,
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

async fn page(inside: &Inside, query: resultity_core::api::page::PageQuery, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async { inside.session()?.tokens(query).await };
    let tokens = match read.await {
        Ok(tokens) => tokens,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = tokens
        .last_id
        .filter(|_| tokens.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        @if tokens.data.is_empty() {
            (empty("No access token yet", html! { p { "Programs that manage your account need one. To ask models, make an API key instead." } }))
        } @else {
            (panel("Your tokens", html! { (list(visitor, &tokens.data)) (more(next)) }))
        }
        (panel("Make one", form(visitor, filled)))
    };
    Page::new(visitor, App::Account, "Access tokens", body)
        .lead("For programs that manage keys, credits or nodes in your name: each with only the rights that it needs, and an end.")
        .after(filled)
        .into_response()
}

fn list(visitor: &Visitor, tokens: &[AccessToken]) -> Markup {
    let rows = html! {
        @for token in tokens {
            @let id = token.id.to_string();
            @let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
            tr {
                td { (token.name) }
                td { (scopes.join(", ")) }
                td { (token.environment.map_or("both", Environment::as_str)) }
                td { (show::time_if_any(token.last_used_at, visitor.now)) }
                td { (show::time(token.expires_at, visitor.now)) }
                td.acts { (button(visitor, "/account/tokens/delete", "Delete", "danger small", &[("token", &id)])) }
            }
        }
    };
    table(
        "Access tokens",
        &["Name", "May", "Environment", "Last used", "Ends", ""],
        rows,
    )
}

fn form(visitor: &Visitor, filled: &Filled) -> Markup {
    let chosen: Vec<_> = filled.fields.all("scope").collect();
    html! {
        (filled.general(&["name"]))
        form.stack method="post" action=(HERE) {
            (csrf(visitor))
            (Field::text("name", "Name").hint("What uses it.").show(filled))
            fieldset {
                legend { "What it may do" }
                @for scope in Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin || visitor.is_administrator()) {
                    label.tick {
                        input type="checkbox" name="scope" value=(scope.as_str()) checked[chosen.contains(&scope.as_str())];
                        span { strong { (scope.as_str()) } ": " (meaning(scope)) }
                    }
                }
            }
            (choice("environment", "Environment", filled.fields.get("environment"),
                &[("", "both"), ("testnet", "Testnet alone"), ("mainnet", "Mainnet alone")]))
            (choice("days", "Ends after", filled.fields.get("days"),
                &[("30", "30 days"), ("7", "7 days"), ("90", "90 days"), ("365", "a year")]))
            button.button type="submit" { "Make the token" }
        }
    }
}

fn request_of(fields: &Fields, visitor: &Visitor) -> Result<CreateToken, ApiError> {
    let scopes = fields.all("scope").map(|name| {
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidValue, format!("there is no scope {name:?}")).with_param("scopes")
        })
    });
    let scopes: Vec<Scope> = scopes.collect::<Result<_, _>>()?;
    let mut request = CreateToken::new(fields.get("name"), scopes);
    if let Some(environment) = fields.parsed("environment", "`mainnet` or `testnet`")? {
        request = request.environment(environment);
    }
    if let Some(days) = fields.parsed::<i64>("days", "a number of days")? {
        let seconds = days.clamp(1, 365).saturating_mul(86_400);
        request = request.expires_at(visitor.now.as_seconds().saturating_add(seconds));
    }
    Ok(request)
}

/// `POST /account/tokens`.
pub(super) async fn create(InsideForm { inside, fields }: InsideForm) -> Response {
    let created = async {
        let request = request_of(&fields, &inside.visitor)?;
        inside.session()?.create_token(request).await
    };
    match created.await {
        Ok(token) => once(&inside.visitor, &token),
        Err(error) => {
            page(
                &inside,
                resultity_core::api::page::PageQuery::default(),
                &Filled::refused(fields, error),
            )
            .await
        }
    }
}

fn once(visitor: &Visitor, token: &TokenWithSecret) -> Response {
    let body = html! {
        section.panel {
            p { "This is the token " strong { (token.token.name) } ". It is shown now and never again." }
            p.secret { code data-copy="" { (token.secret) } }
            p { a.button href=(HERE) { "I have kept it" } }
        }
    };
    Page::new(visitor, App::Account, "Your new access token", body).into_response()
}

/// `POST /account/tokens/delete`.
pub(super) async fn delete(InsideForm { inside, fields }: InsideForm) -> Response {
    let deleted = async {
        let token: Result<TokenId, _> = fields.get("token").parse();
        let token = token.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such access token"))?;
        inside.session()?.delete_token(token).await
    };
    match deleted.await {
        Ok(()) => done(HERE, "The access token is deleted: nothing can use it any more."),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

//! A password that was forgotten.

use axum::response::{IntoResponse, Response};
use maud::html;
use resultity_core::api::gate::{ConfirmReset, ResetPassword, SignInApi};

use super::super::kit::form::{Field, Filled, Form};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page};
use super::super::kit::visitor::Visitor;
use crate::http::Door;

/// `GET /account/reset`.
pub(super) async fn show(visitor: Visitor) -> Response {
    ask_page(&visitor, &Filled::default())
}

fn ask_page(visitor: &Visitor, filled: &Filled) -> Response {
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["email"]))
                form method="post" action="/account/reset" {
                    (Field::text("email", "E-mail address").kind("email", "username").show(filled))
                    button.button type="submit" { "Send a code" }
                }
            }
            p { a href="/account/sign-in" { "Back to signing in" } }
        }
    };
    Page::new(visitor, App::Account, "A new password", body)
        .lead("A letter with a code goes to your address, if there is an account with it.")
        .after(filled)
        .into_response()
}

/// `POST /account/reset`.
pub(super) async fn ask(door: Door, Form { visitor, fields }: Form) -> Response {
    match door.0.reset_password(ResetPassword::new(fields.get("email"))).await {
        Ok(sent) => code_page(&visitor, &sent.ticket, &Filled::default()),
        Err(error) => ask_page(&visitor, &Filled::refused(fields, error)),
    }
}

fn code_page(visitor: &Visitor, ticket: &str, filled: &Filled) -> Response {
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["code", "password"]))
                form method="post" action="/account/reset/confirm" {
                    input type="hidden" name="ticket" value=(ticket);
                    (Field::text("code", "Code of the letter").kind("text", "one-time-code").show(filled))
                    (Field::text("password", "New password").kind("password", "new-password")
                        .hint("At least 10 characters. Everybody who is signed in to this account is signed out.").show(filled))
                    button.button type="submit" { "Set the password" }
                }
            }
        }
    };
    Page::new(visitor, App::Account, "Look into your mail", body)
        .after(filled)
        .into_response()
}

/// `POST /account/reset/confirm`.
pub(super) async fn confirm(door: Door, Form { visitor, fields }: Form) -> Response {
    let ticket = fields.get("ticket").to_owned();
    let request = ConfirmReset::new(ticket.clone(), fields.get("code"), fields.verbatim("password"));
    match door.0.confirm_reset(request).await {
        Ok(()) => done("/account/sign-in", "The password is set: sign in with it."),
        Err(error) => code_page(&visitor, &ticket, &Filled::refused(fields, error)),
    }
}

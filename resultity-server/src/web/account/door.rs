//! Signing in, signing up, signing out, and which environment a session looks at.

use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    CodeSent, ConfirmSignUp, LoginsApi, SecondFactor, SignIn, SignInApi, SignUp, SignedIn, SwitchEnvironment,
};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};

use super::super::kit::assets::WALLET;
use super::super::kit::form::{Field, Filled, Form, InsideForm, Way};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::visitor::Visitor;
use crate::http::{Door, cookie};

/// Where whoever has signed in goes who came from nowhere.
const HOME: &str = "/account";

/// `GET /account/sign-in`.
pub(super) async fn show(visitor: Visitor, uri: Uri) -> Response {
    let next = next_of(&uri);
    if visitor.member.is_some() {
        return Redirect::to(next.as_ref().map_or(HOME, Way::as_str)).into_response();
    }
    page(&visitor, next.as_ref(), &Filled::default())
}

/// The page to go to afterwards.
fn next_of(uri: &Uri) -> Option<Way> {
    let query = uri.query().unwrap_or_default();
    let next = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    next.and_then(|(_, next)| Way::checked(&next))
}

fn page(visitor: &Visitor, next: Option<&Way>, filled: &Filled) -> Response {
    let wants_code = filled
        .error
        .as_ref()
        .is_some_and(|error| error.code == ErrorCode::SecondFactorRequired);
    let back = next.map_or(HOME, Way::as_str);
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["email", "password"]))
                @if wants_code { p { "Enter your password again, with a code of your authenticator app." } }
                form method="post" action="/account/sign-in" {
                    input type="hidden" name="next" value=(back);
                    (Field::text("email", "E-mail address").kind("email", "username").show(filled))
                    (Field::text("password", "Password").kind("password", "current-password").show(filled))
                    @if wants_code {
                        (code_field().show(filled))
                    } @else {
                        details { summary { "I have a second factor" } (code_field().optional().show(filled)) }
                    }
                    p.acts-row {
                        button.button type="submit" { "Sign in" }
                        a href="/account/reset" { "Forgotten your password?" }
                    }
                }
                p.or { "or" }
                (wallet(back))
            }
            p { "No account yet? " a href="/account/sign-up" { "Sign up" } " – or sign in with a wallet, which makes one." }
        }
    };
    Page::new(visitor, App::Account, "Sign in", body)
        .after(filled)
        .script(&WALLET)
        .into_response()
}

const fn code_field() -> Field<'static> {
    Field::text("code", "Code of your authenticator app, or a recovery code").kind("text", "one-time-code")
}

/// Signing in with a wallet, which needs a script.
fn wallet(next: &str) -> Markup {
    html! {
        form data-wallet="" data-challenge="/gate/v1/wallet/challenge" data-finish="/gate/v1/wallet/sign-in"
            data-cookie="true" data-next=(next) method="post" action="/account/sign-in" {
            div.field data-wallet-factor="" hidden {
                label for="wallet-code" { "Code of your authenticator app, or a recovery code" }
                input id="wallet-code" data-wallet-code="" type="text" autocomplete="one-time-code";
            }
            button.button.quiet type="submit" { "Sign in with a wallet" }
            p.hint role="status" data-wallet-said="" hidden {}
            noscript { p.hint { "A wallet signs through a script: allow scripts for this page." } }
        }
    }
}

/// A code as it was typed: six digits are of an app, everything else is a recovery code.
pub(super) fn factor(text: &str) -> SecondFactor {
    let plain: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    if plain.len() == 6 && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        SecondFactor::Totp(plain)
    } else {
        SecondFactor::RecoveryCode(plain)
    }
}

/// `POST /account/sign-in`.
pub(super) async fn sign_in(door: Door, headers: HeaderMap, Form { visitor, fields }: Form) -> Response {
    let next = fields.if_any("next").and_then(Way::checked);
    let mut request = SignIn::new(fields.get("email"), fields.verbatim("password")).with_cookie();
    if let Some(code) = fields.if_any("code") {
        request = request.with_second_factor(factor(code));
    }
    match door.0.sign_in(request).await {
        Ok(signed) => enter(&headers, &signed, next.as_ref()),
        Err(error) => page(&visitor, next.as_ref(), &Filled::refused(fields, error)),
    }
}

/// Gives the session's cookie along.
fn enter(headers: &HeaderMap, signed: &SignedIn, next: Option<&Way>) -> Response {
    let mut response = Redirect::to(next.map_or(HOME, Way::as_str)).into_response();
    cookie::set(&mut response, headers, signed.token.as_deref());
    response
}

/// `POST /account/sign-out`.
pub(super) async fn sign_out(headers: HeaderMap, InsideForm { inside, .. }: InsideForm) -> Response {
    let ended = match inside.session() {
        Ok(session) => session.sign_out().await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        return failure(&inside.visitor, &error, html! {});
    }
    let mut response = done("/status", "You are signed out.");
    cookie::set(&mut response, &headers, None);
    response
}

/// `GET /account/sign-up`.
pub(super) async fn show_sign_up(visitor: Visitor) -> Response {
    if visitor.member.is_some() {
        return Redirect::to(HOME).into_response();
    }
    sign_up_page(&visitor, &Filled::default())
}

fn sign_up_page(visitor: &Visitor, filled: &Filled) -> Response {
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["email", "password"]))
                form method="post" action="/account/sign-up" {
                    (Field::text("email", "E-mail address").kind("email", "username")
                        .hint("A letter with a code goes there.").show(filled))
                    (Field::text("password", "Password").kind("password", "new-password")
                        .hint("At least 10 characters.").show(filled))
                    button.button type="submit" { "Sign up" }
                }
            }
            p { "You have an account? " a href="/account/sign-in" { "Sign in" } }
        }
    };
    Page::new(visitor, App::Account, "Sign up", body)
        .lead("One account for everything here: keys, credits, nodes.")
        .after(filled)
        .into_response()
}

/// `POST /account/sign-up`.
pub(super) async fn sign_up(door: Door, Form { visitor, fields }: Form) -> Response {
    match door
        .0
        .sign_up(SignUp::new(fields.get("email"), fields.verbatim("password")))
        .await
    {
        Ok(sent) => code_page(&visitor, &sent, "/account/sign-up/confirm", &Filled::default()),
        Err(error) => sign_up_page(&visitor, &Filled::refused(fields, error)),
    }
}

/// Asks for the code of a letter.
fn code_page(visitor: &Visitor, sent: &CodeSent, action: &str, filled: &Filled) -> Response {
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["code"]))
                form method="post" action=(action) {
                    input type="hidden" name="ticket" value=(sent.ticket);
                    (Field::text("code", "Code of the letter").kind("text", "one-time-code").show(filled))
                    button.button type="submit" { "Go on" }
                }
            }
            p.faint { "No letter? Look into the folder for spam. If there is an account with this address already, the letter says so." }
        }
    };
    Page::new(visitor, App::Account, "Look into your mail", body)
        .after(filled)
        .into_response()
}

/// `POST /account/sign-up/confirm`.
pub(super) async fn confirm(door: Door, headers: HeaderMap, Form { visitor, fields }: Form) -> Response {
    let (ticket, code) = (fields.get("ticket").to_owned(), fields.get("code").to_owned());
    match door
        .0
        .confirm_sign_up(ConfirmSignUp::new(ticket.clone(), code).with_cookie())
        .await
    {
        Ok(signed) => enter(&headers, &signed, None),
        Err(error) => {
            let sent = CodeSent { ticket, expires_at: 0 };
            code_page(
                &visitor,
                &sent,
                "/account/sign-up/confirm",
                &Filled::refused(fields, error),
            )
        }
    }
}

/// `POST /account/environment`: a session looks at the other environment, on the same page.
pub(super) async fn switch(InsideForm { inside, fields }: InsideForm) -> Response {
    let back = fields.if_any("back").and_then(Way::checked);
    let switched = async {
        let environment: Option<Environment> = fields.parsed("environment", "`mainnet` or `testnet`")?;
        let environment = environment
            .ok_or_else(|| ApiError::new(ErrorCode::MissingField, "say which environment").with_param("environment"))?;
        inside
            .session()?
            .switch_environment(SwitchEnvironment::to(environment))
            .await
    };
    match switched.await {
        // An address that names an environment would show that one again.
        Ok(_) => Redirect::to(back.as_ref().map_or(HOME, Way::path)).into_response(),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_of_an_app() {
        assert_eq!(factor("123 456"), SecondFactor::Totp("123456".into()));
        assert_eq!(factor("abcd-efgh"), SecondFactor::RecoveryCode("abcd-efgh".into()));
    }
}

//! The second factor: an authenticator app, and the codes for when it is lost.

use std::fmt::Write;

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use qrcode::{Color, QrCode};
use resultity_core::api::gate::{ConfirmTotp, RecoveryCodes, SecondFactorApi, SecondFactorStatus, TotpSetup};
use resultity_core::error::ApiError;

use super::super::kit::form::{Field, Filled, InsideForm, button, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::panel;
use super::super::kit::visitor::{Inside, Visitor};
use super::door::factor;

/// Where it is.
const HERE: &str = "/account/security";

/// `GET /account/security`.
pub(super) async fn show(inside: Inside) -> Response {
    page(&inside, &Filled::default()).await
}

async fn status_of(inside: &Inside) -> Result<SecondFactorStatus, ApiError> {
    inside.session()?.second_factor().await
}

async fn page(inside: &Inside, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let status = match status_of(inside).await {
        Ok(status) => status,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let body = html! {
        (filled.general(&["code"]))
        @if status.totp { (on(visitor, &status, filled)) } @else { (off(visitor)) }
    };
    Page::new(visitor, App::Account, "Second factor", body)
        .lead("A code of your phone beside the password or wallet: whoever steals one of them cannot come in.")
        .after(filled)
        .into_response()
}

fn off(visitor: &Visitor) -> Markup {
    panel(
        "Off",
        html! {
            p { "You need an app that makes one-time codes, such as the one of your password manager." }
            (button(visitor, "/account/security/begin", "Set it up", "", &[]))
        },
    )
}

fn on(visitor: &Visitor, status: &SecondFactorStatus, filled: &Filled) -> Markup {
    html! {
        (panel("On", html! {
            dl.facts {
                dt { "Since" } dd { (show::time_if_any(status.confirmed_at, visitor.now)) }
                dt { "Recovery codes left" } dd { (status.recovery_codes) }
            }
        }))
        (panel("Change it", html! {
            form.stack method="post" action="/account/security/codes" {
                (csrf(visitor))
                (Field::text("code", "Code of your app, or a recovery code").kind("text", "one-time-code").show(filled))
                p.acts-row {
                    button.button type="submit" { "New recovery codes" }
                    button.button.danger type="submit" formaction="/account/security/remove" { "Turn it off" }
                }
            }
        }))
    }
}

/// `POST /account/security/begin`.
pub(super) async fn begin(InsideForm { inside, .. }: InsideForm) -> Response {
    let made = async { inside.session()?.set_up_totp().await };
    match made.await {
        Ok(setup) => setup_page(&inside.visitor, &setup, &Filled::default()),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

fn setup_page(visitor: &Visitor, setup: &TotpSetup, filled: &Filled) -> Response {
    let body = html! {
        section.panel {
            (filled.general(&["code"]))
            ol {
                li {
                    p { "Scan this with your app, or type the secret into it." }
                    @if !setup.uri.is_empty() { (qr(&setup.uri)) }
                    p.secret { code data-copy="" { (setup.secret) } }
                }
                li {
                    form.stack method="post" action="/account/security/confirm" {
                        (csrf(visitor))
                        input type="hidden" name="secret" value=(setup.secret);
                        input type="hidden" name="uri" value=(setup.uri);
                        (Field::text("code", "The code that the app shows").kind("text", "one-time-code").show(filled))
                        button.button type="submit" { "Turn it on" }
                    }
                }
            }
        }
    };
    Page::new(visitor, App::Account, "Set up the second factor", body)
        .after(filled)
        .into_response()
}

/// A QR code as one path of dark squares, on white in any colours.
fn qr(text: &str) -> Markup {
    let Ok(code) = QrCode::new(text) else { return html! {} };
    let width = code.width();
    let dark = code
        .to_colors()
        .into_iter()
        .enumerate()
        .filter(|(_, color)| *color == Color::Dark);
    let path = dark.fold(String::new(), |mut path, (place, _)| {
        // Writing into a text never fails.
        let _ = write!(path, "M{} {}h1v1h-1z", place % width, place / width);
        path
    });
    html! {
        svg.qr viewBox=(format!("-3 -3 {0} {0}", width + 6)) width="220" height="220" role="img" aria-label="The secret as a QR code" {
            rect x="-3" y="-3" width=(width + 6) height=(width + 6) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

/// `POST /account/security/confirm`.
pub(super) async fn confirm(InsideForm { inside, fields }: InsideForm) -> Response {
    let confirmed = async {
        inside
            .session()?
            .confirm_totp(ConfirmTotp::new(fields.get("code")))
            .await
    };
    match confirmed.await {
        Ok(codes) => codes_page(&inside.visitor, &codes),
        Err(error) => {
            let setup = TotpSetup {
                secret: fields.get("secret").to_owned(),
                uri: fields.get("uri").to_owned(),
            };
            setup_page(&inside.visitor, &setup, &Filled::refused(fields, error))
        }
    }
}

fn codes_page(visitor: &Visitor, codes: &RecoveryCodes) -> Response {
    let body = html! {
        section.panel {
            p { "Each of these codes signs you in once, if your app is lost. They are shown now and never again: keep them where "
                "you keep passwords." }
            ul.codes data-copy="" { @for code in &codes.recovery_codes { li { (code) } } }
            p { a.button href=(HERE) { "I have kept them" } }
        }
    };
    Page::new(visitor, App::Account, "Recovery codes", body).into_response()
}

/// `POST /account/security/codes`.
pub(super) async fn renew(InsideForm { inside, fields }: InsideForm) -> Response {
    let renewed = async { inside.session()?.renew_recovery_codes(factor(fields.get("code"))).await };
    match renewed.await {
        Ok(codes) => codes_page(&inside.visitor, &codes),
        Err(error) => page(&inside, &Filled::refused(fields, error)).await,
    }
}

/// `POST /account/security/remove`.
pub(super) async fn remove(InsideForm { inside, fields }: InsideForm) -> Response {
    let removed = async { inside.session()?.remove_totp(factor(fields.get("code"))).await };
    match removed.await {
        Ok(_) => done(HERE, "The second factor is off."),
        Err(error) => page(&inside, &Filled::refused(fields, error)).await,
    }
}

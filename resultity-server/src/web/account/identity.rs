//! Name, e-mail address, password, wallets: by what an account is known.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    Account, AccountApi, ChangeEmail, ChangePassword, ConfirmEmail, UpdateAccount, Wallet, WalletsApi,
};
use resultity_core::error::ApiError;

use super::super::kit::assets::WALLET;
use super::super::kit::form::{Field, Fields, Filled, InsideForm, button, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{panel, table};
use super::super::kit::visitor::{Inside, Visitor};

/// Where it is.
const HERE: &str = "/account";

/// Which form of the page was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Password,
    Email,
}

/// `GET /account`.
pub(super) async fn show(inside: Inside) -> Response {
    page(&inside, None).await
}

async fn page(inside: &Inside, refused: Option<(Part, Filled)>) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let session = inside.session()?;
        Ok((session.own_account().await?, session.wallets().await?.data))
    };
    let (account, wallets): (Account, Vec<Wallet>) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let nothing = Filled::default();
    let filled = |part| match &refused {
        Some((refused, filled)) if *refused == part => filled,
        _ => &nothing,
    };
    let body = html! {
        (facts(visitor, &account))
        div.pair {
            (panel("Name", html! {
                (filled(Part::Name).general(&["name"]))
                form method="post" action="/account/name" {
                    (csrf(visitor))
                    (Field::text("name", "What you are called here").kind("text", "name").optional().value(&account.name).show(filled(Part::Name)))
                    button.button type="submit" { "Save" }
                }
            }))
            (email(visitor, &account, filled(Part::Email)))
            (password(visitor, &account, filled(Part::Password)))
            (linked(visitor, &wallets))
        }
    };
    let page = Page::new(visitor, App::Account, "Your account", body).script(&WALLET);
    match &refused {
        Some((_, filled)) => page.after(filled).into_response(),
        None => page.into_response(),
    }
}

fn facts(visitor: &Visitor, account: &Account) -> Markup {
    html! {
        section.panel {
            dl.facts {
                dt { "Account" } dd { code { (account.id.to_string()) } }
                dt { "Role" } dd { (account.role.as_str()) }
                dt { "Made" } dd { (show::time(account.created_at, visitor.now)) }
                dt { "Last sign-in" } dd { (show::time_if_any(account.last_sign_in_at, visitor.now)) }
                dt { "Second factor" } dd {
                    @if account.second_factor { "on" } @else { "off: " a href="/account/security" { "set one up" } }
                }
            }
            p { (button(visitor, "/account/sign-out", "Sign out", "quiet", &[])) }
        }
    }
}

fn email(visitor: &Visitor, account: &Account, filled: &Filled) -> Markup {
    panel(
        "E-mail address",
        html! {
            @if let Some(email) = &account.email { p { (email) } } @else { p.faint { "This account has none." } }
            (filled.general(&["email", "password"]))
            form method="post" action="/account/email" {
                (csrf(visitor))
                (Field::text("email", "New address").kind("email", "email").show(filled))
                (Field::text("password", if account.has_password { "Your password" } else { "A password to sign in with" })
                    .kind("password", if account.has_password { "current-password" } else { "new-password" }).show(filled))
                button.button type="submit" { "Send a code there" }
            }
            @if account.email.is_some() && account.wallets > 0 {
                p { (button(visitor, "/account/email/remove", "Remove the address", "danger", &[])) }
            }
        },
    )
}

fn password(visitor: &Visitor, account: &Account, filled: &Filled) -> Markup {
    html! {
        @if account.has_password {
            (panel("Password", html! {
                (filled.general(&["current_password", "password"]))
                form method="post" action="/account/password" {
                    (csrf(visitor))
                    (Field::text("current_password", "Password now").kind("password", "current-password").show(filled))
                    (Field::text("password", "New password").kind("password", "new-password")
                        .hint("At least 10 characters.").show(filled))
                    button.button type="submit" { "Change it" }
                }
            }))
        }
    }
}

fn linked(visitor: &Visitor, wallets: &[Wallet]) -> Markup {
    let csrf = visitor.member.as_ref().map_or("", |member| &member.csrf);
    let rows = html! {
        @for wallet in wallets {
            tr {
                td { (show::short(&wallet.address)) }
                td { (show::time_if_any(wallet.last_used_at, visitor.now)) }
                td.acts { (button(visitor, "/account/wallets/unlink", "Unlink", "danger small", &[("address", &wallet.address)])) }
            }
        }
    };
    panel(
        "Wallets",
        html! {
            @if wallets.is_empty() { p.faint { "None is linked. A linked wallet signs in without a password." } }
            @else { (table("Wallets", &["Address", "Last used", ""], rows)) }
            form data-wallet="" data-challenge="/gate/v1/account/wallets/challenge" data-finish="/gate/v1/account/wallets"
                data-next=(HERE) data-csrf=(csrf) method="post" action="/account" {
                button.button.quiet type="submit" { "Link a wallet" }
                p.hint role="status" data-wallet-said="" hidden {}
                noscript { p.hint { "A wallet signs through a script: allow scripts for this page." } }
            }
        },
    )
}

/// A form was taken, or the page is shown again with what was wrong.
async fn finished(inside: &Inside, part: Part, fields: Fields, result: Result<(), ApiError>, said: &str) -> Response {
    match result {
        Ok(()) => done(HERE, said),
        Err(error) => page(inside, Some((part, Filled::refused(fields, error)))).await,
    }
}

/// `POST /account/name`.
pub(super) async fn rename(InsideForm { inside, fields }: InsideForm) -> Response {
    let renamed = async {
        let request = UpdateAccount::name(fields.get("name"));
        inside.session()?.update_account(request).await.map(drop)
    };
    let renamed = renamed.await;
    finished(&inside, Part::Name, fields, renamed, "Your name is saved.").await
}

/// `POST /account/password`.
pub(super) async fn change_password(InsideForm { inside, fields }: InsideForm) -> Response {
    let changed = async {
        let request = ChangePassword::new(fields.verbatim("current_password"), fields.verbatim("password"));
        inside.session()?.change_password(request).await
    };
    let changed = changed.await;
    finished(&inside, Part::Password, fields, changed, "Your password is changed.").await
}

/// `POST /account/email`.
pub(super) async fn change_email(InsideForm { inside, fields }: InsideForm) -> Response {
    let sent = async {
        let request = ChangeEmail::new(fields.get("email"), fields.verbatim("password"));
        inside.session()?.change_email(request).await
    };
    match sent.await {
        Ok(sent) => code_page(&inside.visitor, &sent.ticket, &Filled::default()),
        Err(error) => page(&inside, Some((Part::Email, Filled::refused(fields, error)))).await,
    }
}

fn code_page(visitor: &Visitor, ticket: &str, filled: &Filled) -> Response {
    let body = html! {
        div.narrow {
            section.panel {
                (filled.general(&["code"]))
                form method="post" action="/account/email/confirm" {
                    (csrf(visitor))
                    input type="hidden" name="ticket" value=(ticket);
                    (Field::text("code", "Code of the letter").kind("text", "one-time-code").show(filled))
                    button.button type="submit" { "Go on" }
                }
            }
        }
    };
    Page::new(visitor, App::Account, "Look into your mail", body)
        .after(filled)
        .into_response()
}

/// `POST /account/email/confirm`.
pub(super) async fn confirm_email(InsideForm { inside, fields }: InsideForm) -> Response {
    let ticket = fields.get("ticket").to_owned();
    let confirmed = async {
        let request = ConfirmEmail::new(ticket.clone(), fields.get("code"));
        inside.session()?.confirm_email(request).await
    };
    match confirmed.await {
        Ok(_) => done(HERE, "Your e-mail address is changed."),
        Err(error) => code_page(&inside.visitor, &ticket, &Filled::refused(fields, error)),
    }
}

/// `POST /account/email/remove`.
pub(super) async fn remove_email(InsideForm { inside, fields }: InsideForm) -> Response {
    let removed = async { inside.session()?.remove_email().await.map(drop) }.await;
    finished(&inside, Part::Email, fields, removed, "The e-mail address is removed.").await
}

/// `POST /account/wallets/unlink`.
pub(super) async fn unlink_wallet(InsideForm { inside, fields }: InsideForm) -> Response {
    let unlinked = async { inside.session()?.unlink_wallet(fields.get("address")).await };
    match unlinked.await {
        Ok(_) => done(HERE, "The wallet is unlinked."),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

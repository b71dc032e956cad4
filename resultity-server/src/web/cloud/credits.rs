//! Credits: what there is in each namespace, where it went, and how to get more.

use axum::extract::Path;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{
    AccountCredits, AskFaucet, CreditHold, CreditQuery, CreditsApi, LedgerLine, NamespaceCredits, NewTransfer,
    RedeemVoucher, SetCreditAlert, VouchersApi,
};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NamespaceId;

use super::super::kit::form::{Field, Fields, Filled, InsideForm, choice, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{card, empty, more, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use crate::http::query;

/// Where it is.
const HERE: &str = "/cloud/credits";

/// Which form of the page was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Faucet,
    Voucher,
    Transfer,
}

pub(super) fn namespace_of(text: &str) -> Result<NamespaceId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such namespace"))
}

/// `GET /cloud/credits`.
pub(super) async fn show(inside: Inside) -> Response {
    page(&inside, None).await
}

async fn page(inside: &Inside, refused: Option<(Part, Filled)>) -> Response {
    let visitor = &inside.visitor;
    let read = async { inside.session()?.credits(visitor.within()).await };
    let credits: AccountCredits = match read.await {
        Ok(credits) => credits,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let nothing = Filled::default();
    let filled = |part| match &refused {
        Some((refused, filled)) if *refused == part => filled,
        _ => &nothing,
    };
    let body = html! {
        div.cards {
            (card("To spend", show::credits(credits.available), html! { "in all namespaces" }))
            (card("Held", show::credits(credits.held), html! { "by requests that run" }))
        }
        @if credits.namespaces.is_empty() {
            (empty("No namespace yet", html! { p { a.button href="/cloud/namespaces" { "Make one" } } }))
        } @else {
            (panel("Namespaces", balances(&credits.namespaces)))
            div.pair {
                @if visitor.environment == Environment::Testnet {
                    (faucet_form(visitor, &credits.namespaces, filled(Part::Faucet)))
                }
                (voucher_form(visitor, &credits.namespaces, filled(Part::Voucher)))
                @if credits.namespaces.len() > 1 { (transfer_form(visitor, &credits.namespaces, filled(Part::Transfer))) }
            }
        }
    };
    let page = Page::new(visitor, App::Cloud, "Credits", body)
        .lead("A request holds what it can cost at most; what it did not cost comes back when it ends.");
    match &refused {
        Some((_, filled)) => page.after(filled).into_response(),
        None => page.into_response(),
    }
}

fn balances(namespaces: &[NamespaceCredits]) -> Markup {
    let rows = html! {
        @for namespace in namespaces {
            tr {
                td { a href={ (HERE) "/" (namespace.namespace.to_string()) } { (namespace.name) } }
                td.number { (show::credits(namespace.available)) }
                td.number { (show::credits(namespace.held)) }
                td { @if let Some(alert) = &namespace.alert { "below " (show::credits(alert.below)) } @else { span.faint { "none" } } }
            }
        }
    };
    table(
        "Credits of your namespaces",
        &["Namespace", "To spend", "Held", "You are told"],
        rows,
    )
}

fn chosen_from(name: &str, label: &str, namespaces: &[NamespaceCredits], filled: &Filled) -> Markup {
    let names: Vec<(String, &str)> = namespaces
        .iter()
        .map(|namespace| (namespace.namespace.to_string(), namespace.name.as_str()))
        .collect();
    let options: Vec<(&str, &str)> = names.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    choice(name, label, filled.fields.get(name), &options)
}

fn faucet_form(visitor: &Visitor, namespaces: &[NamespaceCredits], filled: &Filled) -> Markup {
    panel(
        "Faucet",
        html! {
            p { "Credits of the testnet, once a day, for nothing." }
            (filled.general(&[]))
            form method="post" action={ (HERE) "/faucet" } {
                (csrf(visitor))
                (chosen_from("namespace", "Namespace", namespaces, filled))
                button.button type="submit" { "Get credits" }
            }
        },
    )
}

fn voucher_form(visitor: &Visitor, namespaces: &[NamespaceCredits], filled: &Filled) -> Markup {
    panel(
        "Voucher",
        html! {
            (filled.general(&["code"]))
            form method="post" action={ (HERE) "/voucher" } {
                (csrf(visitor))
                (Field::text("code", "Code").show(filled))
                (chosen_from("namespace", "Namespace", namespaces, filled))
                button.button type="submit" { "Redeem" }
            }
        },
    )
}

fn transfer_form(visitor: &Visitor, namespaces: &[NamespaceCredits], filled: &Filled) -> Markup {
    panel(
        "Move credits",
        html! {
            (filled.general(&["amount"]))
            form method="post" action={ (HERE) "/move" } {
                (csrf(visitor))
                (chosen_from("from", "From", namespaces, filled))
                (chosen_from("to", "To", namespaces, filled))
                (Field::text("amount", "Credits").hint("Such as 12.50.").show(filled))
                button.button type="submit" { "Move" }
            }
        },
    )
}

async fn finished(inside: &Inside, part: Part, fields: Fields, result: Result<String, ApiError>) -> Response {
    match result {
        Ok(said) => done(HERE, &said),
        Err(error) => page(inside, Some((part, Filled::refused(fields, error)))).await,
    }
}

/// `POST /cloud/credits/faucet`.
pub(super) async fn faucet(InsideForm { inside, fields }: InsideForm) -> Response {
    let asked = async {
        let request = AskFaucet::new(namespace_of(fields.get("namespace"))?);
        let received = inside.session()?.ask_faucet(request).await?;
        Ok(format!("{} credits are there.", received.received))
    };
    let asked = asked.await;
    finished(&inside, Part::Faucet, fields, asked).await
}

/// `POST /cloud/credits/voucher`.
pub(super) async fn voucher(InsideForm { inside, fields }: InsideForm) -> Response {
    let redeemed = async {
        let request = RedeemVoucher::new(fields.get("code"), namespace_of(fields.get("namespace"))?);
        let received = inside.session()?.redeem_voucher(request).await?;
        Ok(match received.received {
            Credits::ZERO => "This voucher was redeemed here before.".to_owned(),
            received => format!("{received} credits are there."),
        })
    };
    let redeemed = redeemed.await;
    finished(&inside, Part::Voucher, fields, redeemed).await
}

/// `POST /cloud/credits/move`.
pub(super) async fn transfer(InsideForm { inside, fields }: InsideForm) -> Response {
    let moved = async {
        let amount: Option<Credits> = fields.parsed("amount", "an amount of credits, such as 12.50")?;
        let missing = || ApiError::new(ErrorCode::MissingField, "say how many credits").with_param("amount");
        let (from, to) = (namespace_of(fields.get("from"))?, namespace_of(fields.get("to"))?);
        let moved = inside
            .session()?
            .transfer_credits(NewTransfer::new(from, to, amount.ok_or_else(missing)?))
            .await?;
        Ok(format!("{} credits are moved.", moved.amount))
    };
    let moved = moved.await;
    finished(&inside, Part::Transfer, fields, moved).await
}

/// `GET /cloud/credits/{namespace}`.
pub(super) async fn ledger(inside: Inside, Path(namespace): Path<String>, uri: Uri) -> Response {
    ledger_page(&inside, &namespace, &uri, &Filled::default()).await
}

async fn ledger_page(inside: &Inside, namespace: &str, uri: &Uri, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, namespace_of(namespace)?);
        let mut asked: CreditQuery = query::read(uri)?;
        asked.environment = Some(visitor.environment);
        let mut first = CreditQuery::first(100);
        first.environment = Some(visitor.environment);
        let credits = session.credits(visitor.within()).await?;
        let own = credits.namespaces.into_iter().find(|own| own.namespace == id);
        let own = own.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such namespace"))?;
        Ok((
            own,
            session.ledger(id, asked).await?,
            session.holds(id, first).await?.data,
        ))
    };
    let (own, ledger, holds) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = ledger
        .last_id
        .filter(|_| ledger.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        div.cards {
            (card("To spend", show::credits(own.available), html! {}))
            (card("Held", show::credits(own.held), html! { (show::of(holds.len() as u64, "request", "requests")) }))
        }
        (alert_form(visitor, &own, filled))
        @if !holds.is_empty() { (panel("Held now", held(visitor, &holds))) }
        (panel("Ledger", html! {
            @if ledger.data.is_empty() { p.faint { "Nothing was booked here yet." } } @else { (lines(visitor, &ledger.data)) (more(next)) }
        }))
    };
    Page::new(visitor, App::Cloud, format!("Credits of {}", own.name), body)
        .after(filled)
        .into_response()
}

fn lines(visitor: &Visitor, ledger: &[LedgerLine]) -> Markup {
    let rows = html! {
        @for line in ledger {
            tr {
                td { (show::time(line.created_at, visitor.now)) }
                td { (line.kind.as_str()) }
                td.number { (show::credits(line.amount)) }
                td { (line.reason) }
                td { @if let Some(job) = line.job { (show::short(&job.to_string())) } }
            }
        }
    };
    table("Ledger", &["When", "What", "Amount", "Why", "Request"], rows)
}

fn held(visitor: &Visitor, holds: &[CreditHold]) -> Markup {
    let rows = html! {
        @for hold in holds {
            tr {
                td { (show::short(&hold.job.to_string())) }
                td { code { (hold.model) } }
                td { (hold.state.as_str()) }
                td.number { (show::credits(hold.held)) }
                td { (show::time(hold.created_at, visitor.now)) }
            }
        }
    };
    table("Holds", &["Request", "Model", "State", "Held", "Since"], rows)
}

fn alert_form(visitor: &Visitor, own: &NamespaceCredits, filled: &Filled) -> Markup {
    let below = own
        .alert
        .as_ref()
        .map(|alert| alert.below.to_string())
        .unwrap_or_default();
    panel(
        "Be told before it runs out",
        html! {
            (filled.general(&["below"]))
            form.stack method="post" action={ (HERE) "/" (own.namespace.to_string()) "/alert" } {
                (csrf(visitor))
                (Field::text("below", "When less than so many credits are left").optional().value(&below)
                    .hint("Empty: never.").show(filled))
                button.button.quiet type="submit" { "Save" }
            }
        },
    )
}

/// `POST /cloud/credits/{namespace}/alert`.
pub(super) async fn alert(
    Path(namespace): Path<String>,
    uri: Uri,
    InsideForm { inside, fields }: InsideForm,
) -> Response {
    let set = async {
        let below: Option<Credits> = fields.parsed("below", "an amount of credits, such as 12.50")?;
        let request = below.map_or_else(SetCreditAlert::off, SetCreditAlert::below);
        let id = namespace_of(&namespace)?;
        inside
            .session()?
            .set_credit_alert(id, inside.visitor.within(), request)
            .await
    };
    match set.await {
        Ok(_) => done(&format!("{HERE}/{namespace}"), "The alert is saved."),
        Err(error) => ledger_page(&inside, &namespace, &uri, &Filled::refused(fields, error)).await,
    }
}

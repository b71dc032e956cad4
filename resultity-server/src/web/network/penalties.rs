//! What keeps a node from work for what it did, and appeals against that.

use axum::extract::Path;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{AppealDecision, AppealPenalty, NodesApi, PenaltiesQuery, Penalty, PenaltyState};
use resultity_core::error::{ApiError, ErrorCode};

use super::super::kit::form::{InsideForm, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{badge, empty, more};
use super::super::kit::visitor::{Inside, Visitor};
use super::node::{id_of, place, ways};
use super::nodes::name;
use crate::http::query;

/// `GET /network/nodes/{node}/penalties`.
pub(super) async fn show(inside: Inside, Path(node): Path<String>, uri: Uri) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        let (session, id) = (inside.session()?, id_of(&node)?);
        let mut asked: PenaltiesQuery = query::read(&uri)?;
        asked.environment = Some(visitor.environment);
        Ok((
            session.node(id, visitor.within()).await?,
            session.node_penalties(id, asked).await?,
        ))
    };
    let (node, penalties) = match read.await {
        Ok(read) => read,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let next = penalties
        .last_id
        .filter(|_| penalties.has_more)
        .map(|last| visitor.place.with("after", &last));
    let body = html! {
        (ways(&node))
        @if penalties.data.is_empty() { (empty("No penalty", html! { p { "Nothing was found against this node." } })) }
        @for penalty in &penalties.data { (entry(visitor, penalty)) }
        (more(next))
    };
    Page::new(visitor, App::Network, format!("Penalties of {}", name(&node)), body).into_response()
}

fn entry(visitor: &Visitor, penalty: &Penalty) -> Markup {
    let state = match penalty.state {
        PenaltyState::InForce => badge("in force", "bad"),
        PenaltyState::Lifted => badge("lifted", "good"),
        _ => badge("ended", ""),
    };
    html! {
        article.panel {
            h2 { (penalty.reason) " " (state) }
            p.faint {
                (show::time(penalty.created_at, visitor.now))
                @if let Some(until) = penalty.until { ", until " (show::time(until, visitor.now)) } @else { ", without an end" }
            }
            @if let Some(appeal) = &penalty.appeal {
                p { "Your appeal, " (show::time(appeal.created_at, visitor.now)) ": " (appeal.text) }
                @match appeal.decision {
                    Some(AppealDecision::Lift) => p { (badge("lifted", "good")) " " (appeal.reason.as_deref().unwrap_or_default()) },
                    Some(AppealDecision::Uphold) => p { (badge("upheld", "bad")) " " (appeal.reason.as_deref().unwrap_or_default()) },
                    None => p.faint { "It was not decided yet." },
                }
            } @else if penalty.state == PenaltyState::InForce {
                form method="post" action={ (place(&penalty.node.to_string())) "/penalties/" (penalty.id.to_string()) } {
                    (csrf(visitor))
                    label for={ "text-" (penalty.id.to_string()) } { "Appeal: what should be looked at" }
                    textarea id={ "text-" (penalty.id.to_string()) } name="text" rows="3" required {}
                    p { button.button.quiet type="submit" { "Appeal" } }
                }
            }
        }
    }
}

/// `POST /network/nodes/{node}/penalties/{penalty}`.
pub(super) async fn appeal(
    Path((node, penalty)): Path<(String, String)>,
    InsideForm { inside, fields }: InsideForm,
) -> Response {
    let appealed = async {
        let penalty = penalty.parse();
        let penalty = penalty.map_err(|_| ApiError::new(ErrorCode::NotFound, "there is no such penalty"))?;
        let request = AppealPenalty::new(fields.get("text"));
        inside
            .session()?
            .appeal_penalty(id_of(&node)?, penalty, inside.visitor.within(), request)
            .await
    };
    match appealed.await {
        Ok(_) => done(
            &format!("{}/penalties", place(&node)),
            "Your appeal is made: an administrator decides it.",
        ),
        Err(error) => failure(&inside.visitor, &error, html! {}),
    }
}

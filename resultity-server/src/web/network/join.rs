//! Joining with a node: a short code, the command to copy, and what happens then.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{CreateJoinCode, JoinCode, Node, NodesApi, NodesQuery};
use resultity_core::error::ApiError;

use super::super::kit::assets::JOIN;
use super::super::kit::form::{Field, Filled, InsideForm, csrf};
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::panel;
use super::super::kit::visitor::{Inside, Visitor};
use super::nodes;

/// `GET /network/join`.
pub(super) async fn show(inside: Inside) -> Response {
    page(&inside.visitor, &Filled::default())
}

fn page(visitor: &Visitor, filled: &Filled) -> Response {
    let body = html! {
        (panel("What you need", html! {
            ul {
                li { "A machine that can reach this server; nothing has to reach the machine." }
                li { "The program " code { "resultity-node" } "." }
                li { "An engine such as llama.cpp, vLLM or Ollama; or nothing, for the embedded model." }
            }
        }))
        (panel("Get a code", html! {
            (filled.general(&["name"]))
            form.stack method="post" action="/network/join" {
                (csrf(visitor))
                (Field::text("name", "What the node is to be called").optional().show(filled))
                button.button type="submit" { "Make a code" }
            }
        }))
    };
    Page::new(visitor, App::Network, "Join a node", body)
        .lead("Your machine answers for models; for each answer that was checked you earn credits.")
        .after(filled)
        .into_response()
}

/// `POST /network/join`.
pub(super) async fn create(InsideForm { inside, fields }: InsideForm) -> Response {
    let visitor = &inside.visitor;
    let made = async {
        let mut request = CreateJoinCode::new(visitor.environment);
        if let Some(name) = fields.if_any("name") {
            request = request.name(name);
        }
        let session = inside.session()?;
        let code = session.create_join_code(request).await?;
        let mut first = NodesQuery::default();
        (first.environment, first.limit) = (Some(visitor.environment), Some(100));
        Ok::<_, ApiError>((code, session.nodes(first).await?.data))
    };
    match made.await {
        Ok((code, known)) => code_page(visitor, &code, &known),
        Err(error) if error.param.is_some() => page(visitor, &Filled::refused(fields, error)),
        Err(error) => failure(visitor, &error, html! {}),
    }
}

fn code_page(visitor: &Visitor, code: &JoinCode, known: &[Node]) -> Response {
    let known: Vec<String> = known.iter().map(|node| node.id.to_string()).collect();
    // `http` becomes `ws`, `https` becomes `wss`.
    let io = format!("{}/io/v1/ws", visitor.origin.replacen("http", "ws", 1));
    let join = format!("resultity-node join {} --io {io}", code.code);
    let run = format!("resultity-node run --io {io}");
    let body = html! {
        (panel("On your machine", html! {
            p { "The code counts once, until " (show::time(code.expires_at, visitor.now)) "." }
            p.code { (code.code) }
            pre data-copy="" { (join) }
            p { "Then start it:" }
            pre data-copy="" { (run) }
        }))
        (panel("What happens", html! {
            ol.steps data-join="" data-known=(known.join(" ")) data-environment=(visitor.environment.as_str()) {
                li data-step="bound" { "Waiting for the code to be used" }
                li data-step="connected" { "The node connects" }
                li data-step="tested" { "Its models are tested" }
                li data-step="ready" { "It is ready, and gets work" }
            }
            (why_not())
            noscript { p.hint { "Look at " a href=(nodes::HERE) { "your nodes" } " in a moment." } }
        }))
    };
    Page::new(visitor, App::Network, "Join a node", body)
        .script(&JOIN)
        .into_response()
}

fn why_not() -> Markup {
    html! { ul.why data-why="" hidden {} }
}

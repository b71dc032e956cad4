//! Namespaces: what has credits and keys of its own, and what is kept of its requests.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use resultity_core::api::gate::{CreateNamespace, Namespace, NamespacesApi, Retention, UpdateNamespace};
use resultity_core::error::ApiError;

use super::super::kit::form::{Field, Fields, Filled, InsideForm, choice, csrf};
use super::super::kit::notice::done;
use super::super::kit::page::{App, Page, failure};
use super::super::kit::show;
use super::super::kit::table::{empty, panel, table};
use super::super::kit::visitor::{Inside, Visitor};
use super::credits::namespace_of;
use super::keys::in_environment;

/// Where it is.
const HERE: &str = "/cloud/namespaces";

/// What each kind of retention keeps.
const KEPT: [(Retention, &str); 3] = [
    (
        Retention::None,
        "nothing: not even hashes, and no request in the background",
    ),
    (
        Retention::Metadata,
        "hashes and counts; texts only where a request asks for that",
    ),
    (Retention::Full, "every request and answer, for as many days as you say"),
];

/// `GET /cloud/namespaces`.
pub(super) async fn show(inside: Inside) -> Response {
    page(&inside, &Filled::default()).await
}

async fn page(inside: &Inside, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async { inside.session()?.namespaces(in_environment(visitor)).await };
    let namespaces = match read.await {
        Ok(page) => page.data,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let body = html! {
        @if namespaces.is_empty() {
            (empty("No namespace yet", html! { p { "Make one below; then it gets credits and keys." } }))
        } @else {
            (panel("Your namespaces", list(visitor, &namespaces)))
        }
        (panel("Make one", html! {
            (filled.general(&["name"]))
            form.stack method="post" action=(HERE) {
                (csrf(visitor))
                (Field::text("name", "Name").hint("A project, a team, a customer.").show(filled))
                button.button type="submit" { "Make the namespace" }
            }
        }))
    };
    Page::new(visitor, App::Cloud, "Namespaces", body)
        .lead("Each has credits, keys and rules of its own, so that what belongs apart stays apart.")
        .after(filled)
        .into_response()
}

fn list(visitor: &Visitor, namespaces: &[Namespace]) -> Markup {
    let rows = html! {
        @for namespace in namespaces {
            tr {
                td { a href={ (HERE) "/" (namespace.id.to_string()) } { (namespace.name) } }
                td.number { (namespace.keys) }
                td { (namespace.retention.as_str()) }
                td.number { (show::bytes(namespace.kept_bytes)) }
                td { (show::time(namespace.created_at, visitor.now)) }
            }
        }
    };
    table("Namespaces", &["Name", "Keys", "Retention", "Kept", "Made"], rows)
}

/// `POST /cloud/namespaces`.
pub(super) async fn create(InsideForm { inside, fields }: InsideForm) -> Response {
    let created = async {
        let request = CreateNamespace::new(fields.get("name")).environment(inside.visitor.environment);
        inside.session()?.create_namespace(request).await
    };
    match created.await {
        Ok(made) => done(HERE, &format!("The namespace {} is there.", made.name)),
        Err(error) => page(&inside, &Filled::refused(fields, error)).await,
    }
}

/// `GET /cloud/namespaces/{namespace}`.
pub(super) async fn one(inside: Inside, Path(namespace): Path<String>) -> Response {
    one_page(&inside, &namespace, &Filled::default()).await
}

async fn one_page(inside: &Inside, namespace: &str, filled: &Filled) -> Response {
    let visitor = &inside.visitor;
    let read = async {
        inside
            .session()?
            .namespace(namespace_of(namespace)?, visitor.within())
            .await
    };
    let namespace = match read.await {
        Ok(namespace) => namespace,
        Err(error) => return failure(visitor, &error, html! {}),
    };
    let id = namespace.id.to_string();
    let body = html! {
        section.panel {
            dl.facts {
                dt { "Id" } dd { code { (id) } }
                dt { "Keys" } dd { (namespace.keys) }
                dt { "Kept" } dd { (show::bytes(namespace.kept_bytes)) }
                dt { "Credits" } dd { a href={ "/cloud/credits/" (id) } { "Balance and ledger" } }
            }
        }
        (panel("Name and retention", form(visitor, &namespace, filled)))
        (panel("Delete it", html! {
            p { "Its keys stop at once. What it still has in credits has to be moved to another namespace first." }
            form method="post" action={ (HERE) "/" (id) "/delete" } data-ask="Delete this namespace for good?" {
                (csrf(visitor))
                button.button.danger type="submit" { "Delete the namespace" }
            }
        }))
    };
    Page::new(visitor, App::Cloud, namespace.name.clone(), body)
        .after(filled)
        .into_response()
}

fn form(visitor: &Visitor, namespace: &Namespace, filled: &Filled) -> Markup {
    let days = namespace
        .retention_days
        .map(|days| days.to_string())
        .unwrap_or_default();
    let options: Vec<(&str, &str)> = KEPT
        .iter()
        .map(|(retention, what)| (retention.as_str(), *what))
        .collect();
    html! {
        (filled.general(&["name", "retention_days"]))
        form.stack method="post" action={ (HERE) "/" (namespace.id.to_string()) } {
            (csrf(visitor))
            (Field::text("name", "Name").value(&namespace.name).show(filled))
            (choice("retention", "What is kept of its requests", namespace.retention.as_str(), &options))
            (Field::text("retention_days", "Days, where everything is kept").kind("number", "off").optional().value(&days).show(filled))
            button.button type="submit" { "Save" }
        }
    }
}

fn request_of(fields: &Fields) -> Result<UpdateNamespace, ApiError> {
    let mut request = UpdateNamespace::name(fields.get("name"));
    request.retention = fields.parsed("retention", "`none`, `metadata` or `full`")?;
    if request.retention == Some(Retention::Full) {
        request.retention_days = fields.parsed("retention_days", "a number of days")?;
    }
    Ok(request)
}

/// `POST /cloud/namespaces/{namespace}`.
pub(super) async fn change(Path(namespace): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let changed = async {
        let (id, request) = (namespace_of(&namespace)?, request_of(&fields)?);
        inside
            .session()?
            .update_namespace(id, inside.visitor.within(), request)
            .await
    };
    match changed.await {
        Ok(_) => done(&format!("{HERE}/{namespace}"), "The namespace is saved."),
        Err(error) => one_page(&inside, &namespace, &Filled::refused(fields, error)).await,
    }
}

/// `POST /cloud/namespaces/{namespace}/delete`.
pub(super) async fn delete(Path(namespace): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let deleted = async {
        let id = namespace_of(&namespace)?;
        inside.session()?.delete_namespace(id, inside.visitor.within()).await
    };
    match deleted.await {
        Ok(_) => done(HERE, "The namespace is deleted."),
        Err(error) => one_page(&inside, &namespace, &Filled::refused(fields, error)).await,
    }
}

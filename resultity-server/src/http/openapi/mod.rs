//! The description of all surfaces as an OpenAPI document, made from the types that cross them; and a page to browse it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use resultity_core::api::page::Order;
use resultity_core::api::usage::UsageScope;
use resultity_core::error::ErrorCode;
use resultity_core::openai::error::ErrorBody;
use utoipa::openapi::path::PathsBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

mod cloud;
mod elsewhere;
mod gate;
mod headers;
mod operation;
mod parameters;
mod status;

use operation::Operation;

/// Schemas with their names.
type Schemas = Vec<(String, RefOr<Schema>)>;

const DESCRIPTION: &str = "A decentralised inference network behind OpenAI's API: an OpenAI SDK needs a new base URL and key, and \
    nothing else.\n\nEvery error has the same four keys under `error`: `message` for people, `type` and `code` for programs, and \
    `param`, the field that is wrong. Every answer carries `x-request-id`. Optional fields may be null.";

/// The document.
fn document() -> OpenApi {
    let operations: Vec<Operation> = cloud::operations()
        .into_iter()
        .chain(gate::operations())
        .chain(status::operations())
        .chain(elsewhere::operations())
        .collect();
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    schemas.insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    // What only queries name.
    let mut named = vec![
        (Order::name().into_owned(), Order::schema()),
        (UsageScope::name().into_owned(), UsageScope::schema()),
    ];
    ErrorBody::schemas(&mut named);
    let mut paths = PathsBuilder::new();
    for operation in operations {
        let (method, path) = (operation.method.clone(), shown_path(operation.path));
        let (described, of_operation) = operation.describe();
        named.extend(of_operation);
        paths = paths.path(path, PathItem::new(method, described));
    }
    schemas.extend(named);
    let mut components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("api_key", bearer("An API key: `rk_live_…` or `rk_test_…`."))
        .security_scheme(
            "session",
            bearer("What signing in gives, or an access token; for an administrator the operator's token, too."),
        )
        .security_scheme("session_cookie", cookie());
    for (status, codes) in error_codes() {
        components = components.response(format!("Error{status}"), operation::error_response(status, &codes));
    }
    for (name, header) in headers::all() {
        components = components.header(name, header);
    }
    let tags = cloud::TAGS
        .into_iter()
        .map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Resultity")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(License::new("MIT OR Apache-2.0")))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

/// OpenAPI has no paths of several segments: one that may hold slashes looks like any other.
fn shown_path(path: &str) -> String {
    path.replace("{*", "{")
}

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(description))
            .build(),
    )
}

/// A browser's session.
fn cookie() -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
        "resultity_session",
        "Set by signing in with `cookie: true`. Whatever is not a GET needs the header `x-csrf-token`, too.",
    )))
}

/// All codes that answers can have, by their statuses.
fn error_codes() -> BTreeMap<u16, Vec<ErrorCode>> {
    let mut codes: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in ErrorCode::ALL {
        if let Some(status) = code.http_status() {
            codes.entry(status).or_default().push(*code);
        }
    }
    codes
}

/// The document as it is served: made at the first request, the same for all.
static SERVED: LazyLock<Bytes> = LazyLock::new(|| {
    let mut document = serde_json::to_value(document()).unwrap_or_default();
    parameters::add(&mut document);
    resultity_core::openapi::clean(&mut document);
    document.to_string().into()
});

/// `GET /openapi.json`.
pub(super) async fn served() -> Response {
    ([(CONTENT_TYPE, "application/json")], SERVED.clone()).into_response()
}

/// `/docs`: a page that shows the document and can call what it describes. Nothing of it comes from elsewhere.
#[cfg(feature = "docs")]
pub(super) fn pages() -> axum::Router<std::sync::Arc<super::App>> {
    use utoipa_swagger_ui::{Config, SwaggerUi};
    // Its own checker would send the document to somebody else's server.
    let config = Config::from("/openapi.json")
        .validator_url("none")
        .try_it_out_enabled(true);
    SwaggerUi::new("/docs").config(config).into()
}

#[cfg(test)]
mod tests;

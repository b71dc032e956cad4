//! The description of the REST API as an OpenAPI document, made from the types that cross it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use resultity_core::infernet::resources::{ModelSupport, ServiceResources};
use resultity_core::infernet::{
    BatchAnswer, BatchRequest, ErrorResponse, HealthInfo, JobId, JobRequest, JobResult, NodeErrorKind, NodeInfo,
    StatusUpdate,
};
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{
    ComponentsBuilder, Content, HeaderBuilder, InfoBuilder, License, OneOfBuilder, OpenApi, OpenApiBuilder, PathItem,
    Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};

use super::routes::{Route, TABLE};

const DESCRIPTION: &str = "Containers of one node, asked directly: jobs, their results, streams. Compatible with the Infernet node's \
    REST API.\n\nA job belongs to the address that it came from; other addresses don't see it. Every error is a JSON object \
    with `error`, and `params` where there is more to say.";

/// What a route limits, as headers of each answer.
const LIMIT_HEADERS: [(&str, &str); 3] = [
    (
        "ratelimit-limit",
        "How many requests at once, when none were made for a while.",
    ),
    ("ratelimit-remaining", "How many could be made now."),
    ("ratelimit-reset", "When all of them are there again: seconds."),
];

/// The document as it is served: made at the first request, the same for all.
pub(super) fn served() -> Bytes {
    static SERVED: LazyLock<Bytes> = LazyLock::new(|| {
        let mut document = serde_json::to_value(document()).unwrap_or_default();
        resultity_core::openapi::clean(&mut document);
        document.to_string().into()
    });
    SERVED.clone()
}

fn document() -> OpenApi {
    let mut schemas = Schemas::default();
    let error = schemas.name::<ErrorResponse>();
    let mut paths = PathsBuilder::new();
    for (method, path, route) in &TABLE {
        if let Some(method) = http_method(method) {
            let operation = operation(*route, &mut schemas);
            paths = paths.path(*path, PathItem::new(method, operation));
        }
    }
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas.0);
    for (status, about) in ERRORS {
        let response = ResponseBuilder::new()
            .description(about)
            .content("application/json", Content::new(Some(error.clone())));
        components = components.response(format!("Error{status}"), response.build());
    }
    for (name, about) in LIMIT_HEADERS {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
            .description(Some(about));
        components = components.header(name, header.build());
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Resultity node")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(License::new("MIT OR Apache-2.0")))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn http_method(method: &Method) -> Option<HttpMethod> {
    match *method {
        Method::GET => Some(HttpMethod::Get),
        Method::POST => Some(HttpMethod::Post),
        Method::PUT => Some(HttpMethod::Put),
        _ => None,
    }
}

/// What the statuses of errors mean.
const ERRORS: [(u16, &str); 7] = [
    (
        400,
        "The request cannot be read; the message names the field and what was expected.",
    ),
    (
        403,
        "The caller is not on the node's machine or in a network that counts as such.",
    ),
    (
        405,
        "A rule of the node refuses the job; `params` says what it is about.",
    ),
    (408, "The body took too long to arrive."),
    (413, "The body is larger than allowed."),
    (
        429,
        "Too many requests of this address to this route; `Retry-After` says when there is room.",
    ),
    (
        503,
        "The node's queue is full, or it is about to stop; `Retry-After` says when to try again.",
    ),
];

fn status_of(kind: NodeErrorKind) -> u16 {
    kind.status().unwrap_or(500)
}

/// Schemas by their names.
#[derive(Default)]
struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// Names a schema, and keeps it with all that it names.
    fn name<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        self.0.extend(found);
        Ref::from_schema_name(T::name()).into()
    }
}

fn operation(route: Route, schemas: &mut Schemas) -> utoipa::openapi::path::Operation {
    use NodeErrorKind::{Busy, Invalid, RateLimited, Refused, Slow, TooLarge, Unauthorized};
    let with_body = [Invalid, Slow, TooLarge];
    let creates = [Refused, Busy];
    let (id, summary, about) = words(route);
    let is_limited = route != Route::SetStatus;
    let mut errors = if is_limited { vec![RateLimited] } else { Vec::new() };
    let (mut parameters, mut body) = (Vec::new(), None);
    let answer = match route {
        Route::Health => json(schemas.name::<HealthInfo>(), "How it is."),
        Route::Info => json(schemas.name::<NodeInfo>(), "What the node says of itself."),
        Route::Resources => {
            parameters.push(query("model_id", "Which model is asked about.", Type::String));
            let forms = OneOfBuilder::new()
                .item(map(schemas.name::<ServiceResources>()))
                .item(map(schemas.name::<ModelSupport>()));
            json(
                forms,
                "By container: its resources, or, with `model_id`, whether it supports the model.",
            )
        }
        Route::CreateJob => {
            errors.extend(with_body.into_iter().chain(creates));
            body = Some(schemas.name::<BatchRequest>());
            json(
                schemas.name::<CreateAnswer>(),
                "The job's id; `{}` for a delegated subscription.",
            )
        }
        Route::CreateBatch => {
            errors.extend(with_body.into_iter().chain([Busy]));
            body = Some(list(schemas.name::<BatchRequest>()));
            json(
                list(schemas.name::<BatchAnswer>()),
                "What became of each, in its place.",
            )
        }
        Route::StreamJob => {
            errors.extend(with_body.into_iter().chain(creates));
            body = Some(schemas.name::<JobRequest>());
            let bytes = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            let about = "A line with the job's id, then what the last container sends, as it comes. If a container fails, it ends \
                         early; the job says why.";
            ResponseBuilder::new()
                .description(about)
                .content("application/octet-stream", Content::new(Some(bytes)))
        }
        Route::Jobs => {
            let ids = list(schemas.name::<JobId>());
            parameters.push(query_of(
                "id",
                "Which jobs; repeatable. Without it the answer is a list of ids.",
                ids.clone(),
            ));
            parameters.push(query(
                "intermediate",
                "`true`: with the results of all containers.",
                Type::Boolean,
            ));
            let about = "Without `id`: only jobs that have not ended (`true`), or only those that have (`false`).";
            parameters.push(query("pending", about, Type::Boolean));
            let forms = OneOfBuilder::new().item(list(schemas.name::<JobResult>())).item(ids);
            json(
                forms,
                "The jobs that are there and the caller's, in the order asked; or ids.",
            )
        }
        Route::SetStatus => {
            errors.extend(with_body.into_iter().chain([Unauthorized, Busy]));
            body = Some(schemas.name::<StatusUpdate>());
            json(ObjectBuilder::new().schema_type(Type::Null), "Always `null`.")
        }
        Route::OpenApi => json(ObjectBuilder::new().schema_type(Type::Object), "An OpenAPI document."),
    };
    let mut answer = answer;
    if is_limited {
        for (name, _) in LIMIT_HEADERS {
            answer = answer.header_ref(name, Ref::new(format!("#/components/headers/{name}")));
        }
    }
    let body = body.map(|schema| {
        RequestBodyBuilder::new()
            .content("application/json", Content::new(Some(schema)))
            .required(Some(Required::True))
            .build()
    });
    let mut statuses: Vec<u16> = errors.into_iter().map(status_of).collect();
    statuses.sort_unstable();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .description(about)
        .parameters((!parameters.is_empty()).then_some(parameters))
        .request_body(body)
        .response("200", Response::from(answer));
    for status in statuses {
        operation = operation.response(status.to_string(), Ref::from_response_name(format!("Error{status}")));
    }
    operation.build()
}

/// Id, summary, and what else there is to know.
const fn words(route: Route) -> (&'static str, &'static str, Option<&'static str>) {
    match route {
        Route::Health => ("health", "Whether the node is well", None),
        Route::Info => ("info", "Version, containers, pending jobs, chain", None),
        Route::Resources => (
            "resources",
            "What each container can do",
            Some("Containers that can't be reached are left out."),
        ),
        Route::CreateJob => (
            "createJob",
            "Begin a job, or a delegated subscription",
            Some(
                "Containers run one after the other; the output of one is the input of the next. The result is to be fetched.",
            ),
        ),
        Route::CreateBatch => (
            "createJobs",
            "Begin several jobs",
            Some("At most 10000. Each succeeds or fails by itself."),
        ),
        Route::StreamJob => (
            "streamJob",
            "Begin a job and read its output as it is made",
            Some("A caller who leaves cancels the job. The output can be fetched again with its id."),
        ),
        Route::Jobs => ("jobs", "Results of jobs, or the caller's job ids", None),
        Route::SetStatus => (
            "setStatus",
            "Register a job that a container ran by itself",
            Some("Only for callers on the node's machine, or in networks that it is told to count as such."),
        ),
        Route::OpenApi => ("openapi", "This description", None),
    }
}

/// `{"id": …}`, or `{}`.
#[derive(ToSchema)]
#[schema(as = NodeCreateResponse)]
#[expect(dead_code, reason = "described, never made: the answer is written from other types")]
struct CreateAnswer {
    /// To fetch the result with; missing for a delegated subscription, whose results go to a chain.
    id: Option<String>,
}

fn json(schema: impl Into<RefOr<Schema>>, about: &str) -> ResponseBuilder {
    ResponseBuilder::new()
        .description(about)
        .content("application/json", Content::new(Some(schema)))
}

fn list(entry: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(entry).into()
}

fn map(entry: RefOr<Schema>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(entry)))
        .into()
}

fn query(name: &str, about: &str, kind: Type) -> Parameter {
    query_of(name, about, ObjectBuilder::new().schema_type(kind).into())
}

fn query_of(name: &str, about: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::Value;

    fn json() -> Value {
        serde_json::from_slice(&served()).unwrap()
    }

    #[test]
    fn the_document_stays_as_it_is() {
        insta::assert_json_snapshot!("openapi", json(), { ".info.version" => "[version]" });
    }

    #[test]
    fn every_route_is_in_the_document() {
        let json = json();
        for (method, path, route) in &TABLE {
            let method = method.as_str().to_lowercase();
            assert!(json["paths"][*path][&method].is_object(), "{route:?}");
        }
    }

    #[test]
    fn everything_that_is_named_is_there() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(name)) = fields.get("$ref") {
                        found.insert(name.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
                _ => {}
            }
        }
        let json = json();
        let mut found = BTreeSet::new();
        references(&json, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for name in found {
            assert!(json.pointer(&name[1..]).is_some(), "{name} is missing");
        }
    }
}

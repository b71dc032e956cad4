//! One operation of the HTTP surfaces, described in a few words; what is the same for all of a kind is added here.

use resultity_core::api::jobs::Quote;
use resultity_core::error::ErrorCode;
use resultity_core::limits::RateLimits;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{IntoParams, ToSchema};

use super::Schemas;

/// The content type of streams.
const EVENTS: &str = "text/event-stream";

/// What a caller has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// An API key.
    Key,
    /// A session or an access token.
    SignedIn,
    /// The same of an administrator, or the operator's token.
    Administrator,
    /// Nothing.
    Anyone,
}

/// What an operation takes or gives.
struct Form {
    content_type: &'static str,
    schema: Option<RefOr<Schema>>,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    access: Access,
    parameters: Vec<Parameter>,
    body: Option<Form>,
    status: &'static str,
    answer: &'static str,
    answers: Vec<Form>,
    errors: Vec<ErrorCode>,
    makes_a_job: bool,
    schemas: Schemas,
}

impl Operation {
    /// An operation that a holder of a key may call.
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            tag,
            id,
            summary,
            description: None,
            access: Access::Key,
            parameters: Vec::new(),
            body: None,
            status: "200",
            answer: "Done.",
            answers: Vec::new(),
            errors: Vec::new(),
            makes_a_job: false,
            schemas: Vec::new(),
        }
    }

    /// What there is to know beside the summary.
    pub(super) fn about(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    /// Who may call it.
    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// It takes JSON.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.reference::<T>();
        self.errors
            .extend([ErrorCode::InvalidValue, ErrorCode::PayloadTooLarge]);
        self.body = Some(Form {
            content_type: "application/json",
            schema: Some(schema),
        });
        self
    }

    /// It takes a form with these fields.
    pub(super) fn takes_form(mut self, schema: impl Into<RefOr<Schema>>) -> Self {
        self.errors
            .extend([ErrorCode::InvalidValue, ErrorCode::PayloadTooLarge]);
        self.body = Some(Form {
            content_type: "multipart/form-data",
            schema: Some(schema.into()),
        });
        self
    }

    /// It takes these in its query.
    pub(super) fn query<T: IntoParams>(mut self) -> Self {
        self.errors.push(ErrorCode::InvalidValue);
        self.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// It takes this in its query.
    pub(super) fn query_field(mut self, name: &'static str, kind: Type, description: &'static str) -> Self {
        self.parameters
            .push(parameter(name, ParameterIn::Query, kind, description));
        self
    }

    /// It takes this in a header.
    pub(super) fn header(mut self, name: &'static str, kind: Type, description: &'static str) -> Self {
        self.parameters
            .push(parameter(name, ParameterIn::Header, kind, description));
        self
    }

    /// It answers with JSON.
    pub(super) fn gives<T: ToSchema>(mut self, answer: &'static str) -> Self {
        let schema = self.reference::<T>();
        self.gives_form("application/json", Some(schema), answer)
    }

    /// It answers with a page of these.
    pub(super) fn gives_page<T: ToSchema>(mut self, answer: &'static str) -> Self {
        let entry = self.reference::<T>();
        let text = || ObjectBuilder::new().schema_type(schema_type_or_null(Type::String));
        let page = ObjectBuilder::new()
            .property(
                "object",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(["list"])),
            )
            .required("object")
            .property("data", ArrayBuilder::new().items(entry))
            .required("data")
            .property("first_id", text().description(Some("The id of the first entry.")))
            .property(
                "last_id",
                text().description(Some(
                    "The id of the last entry: what to name as `after` for the next page.",
                )),
            )
            .property(
                "has_more",
                ObjectBuilder::new()
                    .schema_type(Type::Boolean)
                    .description(Some("Whether there are more.")),
            )
            .required("has_more");
        self.gives_form("application/json", Some(page.into()), answer)
    }

    /// It answers with a text of this type.
    pub(super) fn gives_text(self, content_type: &'static str, answer: &'static str) -> Self {
        let text = ObjectBuilder::new().schema_type(Type::String);
        self.gives_form(content_type, Some(text.into()), answer)
    }

    /// It answers with bytes.
    pub(super) fn gives_bytes(self, answer: &'static str) -> Self {
        let bytes = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        self.gives_form("application/octet-stream", Some(bytes.into()), answer)
    }

    /// What it gives is made of these, which are flattened into it.
    pub(super) fn names<T: ToSchema>(mut self) -> Self {
        let _ = self.reference::<T>();
        self
    }

    /// If asked to, it answers with events of these instead.
    pub(super) fn or_events<T: ToSchema>(mut self) -> Self {
        let schema = self.reference::<T>();
        self.answers.push(Form {
            content_type: EVENTS,
            schema: Some(schema),
        });
        self
    }

    /// It answers with this status and no body.
    pub(super) fn gives_nothing(mut self, status: &'static str, answer: &'static str) -> Self {
        self.status = status;
        self.answer = answer;
        self
    }

    /// If asked to, it answers with a text of this type instead.
    pub(super) fn or_text(self, content_type: &'static str) -> Self {
        let answer = self.answer;
        self.gives_text(content_type, answer)
    }

    /// It answers with this status.
    pub(super) fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }

    fn gives_form(mut self, content_type: &'static str, schema: Option<RefOr<Schema>>, answer: &'static str) -> Self {
        self.answer = answer;
        self.answers.push(Form { content_type, schema });
        self
    }

    /// What it names may not be there.
    pub(super) fn of_one(mut self) -> Self {
        self.errors.push(ErrorCode::NotFound);
        self
    }

    /// It may fail so.
    pub(super) fn fails(mut self, codes: impl IntoIterator<Item = ErrorCode>) -> Self {
        self.errors.extend(codes);
        self
    }

    /// It makes a job: it takes the options of a call, and it can fail in all the ways of a job.
    pub(super) fn makes_a_job(mut self) -> Self {
        self.makes_a_job = true;
        // The answer of a dry run.
        self.reference::<Quote>();
        self.errors.extend([
            ErrorCode::InsufficientQuota,
            ErrorCode::PermissionDenied,
            ErrorCode::ModelNotFound,
            ErrorCode::Conflict,
            ErrorCode::Internal,
            ErrorCode::NodeFailed,
            ErrorCode::NoCapacity,
            ErrorCode::DeadlineExceeded,
        ]);
        let options = [
            (
                "Idempotency-Key",
                Type::String,
                "1 to 255 printable characters. A repeat with the same key and request within 24 hours gives the first outcome \
                 and is never charged again; with another request it is refused.",
            ),
            (
                "x-resultity-ttl",
                Type::Integer,
                "How long the job may take in all: seconds. What a stream has made by then is paid for.",
            ),
            (
                "x-resultity-priority",
                Type::String,
                "`normal`, or `bulk` for what nobody waits for.",
            ),
            (
                "x-resultity-region",
                Type::String,
                "Where the node should be, such as `EU`: 1 to 32 letters, digits and `-`. A free node there goes first; without \
                 one, any other will do.",
            ),
            (
                "x-resultity-region-required",
                Type::Boolean,
                "`true`: the node must be in `x-resultity-region`.",
            ),
            (
                "x-resultity-gpu",
                Type::String,
                "Words that the name of one of the node's GPUs must have, such as `rtx 4090`: 1 to 64 characters.",
            ),
            (
                "x-resultity-gpu-memory",
                Type::Integer,
                "The least memory of that GPU: whole GiB, 1 to 4096.",
            ),
            (
                "x-resultity-dry-run",
                Type::Boolean,
                "`true`: nothing is run or charged; the answer is a `Quote` of what it would cost and whether it could be \
                 served.",
            ),
        ];
        for (name, kind, description) in options {
            self.parameters
                .push(parameter(name, ParameterIn::Header, kind, description));
        }
        self
    }

    /// Names a schema, and keeps it with all that it names.
    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name()).into()
    }

    /// The operation as OpenAPI has it, and the schemas that it names.
    pub(super) fn describe(mut self) -> (utoipa::openapi::path::Operation, Schemas) {
        let response = self.response();
        let path_parameters = self.path.split(['{', '}']).skip(1).step_by(2).map(|name| {
            let name = name.trim_start_matches('*');
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build()
        });
        let parameters: Vec<Parameter> = path_parameters.chain(std::mem::take(&mut self.parameters)).collect();
        match self.access {
            Access::Key => self.errors.extend([
                ErrorCode::InvalidApiKey,
                ErrorCode::AccountSuspended,
                ErrorCode::RateLimitExceeded,
            ]),
            Access::SignedIn | Access::Administrator => self.errors.extend([
                ErrorCode::NotSignedIn,
                ErrorCode::AccountSuspended,
                ErrorCode::PermissionDenied,
                ErrorCode::RateLimitExceeded,
            ]),
            Access::Anyone => {}
        }
        let body = self.body.take().map(|form| {
            RequestBodyBuilder::new()
                .content(form.content_type, Content::new(form.schema))
                .required(Some(Required::True))
                .build()
        });
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(self.description)
            .parameters((!parameters.is_empty()).then_some(parameters))
            .request_body(body)
            .response(self.status, response);
        for (status, name) in error_responses(&self.errors) {
            operation = operation.response(status.to_string(), Ref::from_response_name(name));
        }
        operation = match self.access {
            Access::Key => operation.security(requires("api_key")),
            Access::SignedIn | Access::Administrator => {
                operation.securities(Some([requires("session"), requires("session_cookie")]))
            }
            Access::Anyone => operation.securities(Some([])),
        };
        (operation.build(), self.schemas)
    }

    fn response(&mut self) -> Response {
        let is_streamed = self.answers.iter().any(|form| form.content_type == EVENTS);
        let how = if is_streamed {
            " With `stream`, server-sent events with one item each in `data`."
        } else {
            ""
        };
        let mut response = ResponseBuilder::new().description(format!("{}{how}", self.answer));
        for form in self.answers.drain(..) {
            let content = ContentBuilder::new();
            let content = content.schema(form.schema);
            response = response.content(form.content_type, content.build());
        }
        response = response.header_ref("x-request-id", header_ref("x-request-id"));
        if self.makes_a_job {
            for name in JOB_HEADERS.into_iter().chain(RateLimits::HEADERS) {
                response = response.header_ref(name, header_ref(name));
            }
        }
        response.build()
    }
}

/// What is said beside the answer of a job.
const JOB_HEADERS: [&str; 4] = [
    "openai-processing-ms",
    "x-resultity-job-id",
    "x-resultity-cost",
    "x-resultity-replayed",
];

fn header_ref(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}

fn requires(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, Vec::<String>::new())
}

fn parameter(name: &str, place: ParameterIn, kind: Type, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}

fn schema_type_or_null(kind: Type) -> utoipa::openapi::schema::SchemaType {
    utoipa::openapi::schema::SchemaType::from_iter([kind, Type::Null])
}

/// The named answers of these errors, one a status.
fn error_responses(codes: &[ErrorCode]) -> Vec<(u16, String)> {
    let mut responses: Vec<(u16, String)> = codes
        .iter()
        .filter_map(|code| code.http_status())
        .map(|status| (status, format!("Error{status}")))
        .collect();
    responses.sort_unstable();
    responses.dedup();
    responses
}

/// The answer that [`error_responses`] names, for a status and the codes that have it.
pub(super) fn error_response(status: u16, codes: &[ErrorCode]) -> Response {
    let names: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut response = ResponseBuilder::new()
        .description(names.join(", "))
        .content(
            "application/json",
            Content::new(Some(Ref::from_schema_name("ErrorBody"))),
        )
        .header_ref("x-request-id", header_ref("x-request-id"));
    if matches!(status, 429 | 503) {
        response = response.header_ref("retry-after", header_ref("retry-after"));
    }
    if status == 429 {
        for name in RateLimits::HEADERS {
            response = response.header_ref(name, header_ref(name));
        }
    }
    response.build()
}

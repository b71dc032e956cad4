//! `validate`: a request becomes a [`ValidJob`] or an error that names the field. Later stages can't skip it.
//!
//! First the fields, then the model: the table in `parameters` says what each parameter of OpenAI's reference may be and what
//! the model has to be able to do for it.

use std::time::Duration;

use resultity_core::capability::Capability;
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::SubcloudId;
use resultity_core::job::{Endpoint, JobKind, Priority};
use resultity_core::model::ModelSpec;
use resultity_core::wire::MAX_FRAME_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::flow::schedule::{Constraints, Wanted};
use crate::flow::verify::Limits;

mod chat;
mod cl100k;
mod completion;
mod compute;
mod embedding;
mod messages;
mod parameters;
mod shapes;

pub use chat::chat;
pub use completion::completion;
pub use compute::compute;
pub(super) use embedding::MAX_DIMENSIONS;
pub use embedding::embedding;
pub use parameters::ParameterNote;

/// The most bytes of a body that goes to a node: it has to fit into a frame.
const MAX_NODE_BODY: usize = MAX_FRAME_BYTES - 64 * 1024;

/// The most choices of one request, over all its prompts.
const MAX_CHOICES: u64 = 128;

/// The parameters of an endpoint whose requests are checked by a table; none of another one.
pub fn parameters(endpoint: Endpoint) -> Vec<ParameterNote> {
    let table = match endpoint {
        Endpoint::ChatCompletions => parameters::CHAT,
        Endpoint::Completions => parameters::COMPLETIONS,
        Endpoint::Embeddings => parameters::EMBEDDINGS,
        Endpoint::Compute => parameters::COMPUTE,
        _ => &[],
    };
    table.iter().map(parameters::Parameter::note).collect()
}

/// A request that can be admitted: within all limits, with bounds on what it can cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValidJob {
    /// What is asked of a node.
    pub kind: JobKind,
    /// The entry of the snapshot that answers it.
    pub model: ModelSpec,
    /// The name that was asked for; answers echo it.
    pub asked_model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether a stream ends with the token counts.
    pub include_usage: bool,
    /// How many choices, over all prompts; of an embedding: how many texts.
    pub choices: u64,
    /// The most tokens that the prompt can have.
    pub max_prompt_tokens: u64,
    /// The most tokens that can be made, over all choices.
    pub max_completion_tokens: u64,
    /// How many of the likeliest tokens are told at each place, where log-probabilities are asked for.
    pub logprobs: Option<u64>,
    /// The most bytes of prompts that the answer repeats.
    pub echo_bytes: u64,
    /// How many numbers an embedding must have, if the request says so.
    pub dimensions: Option<u64>,
    /// The most that it can cost.
    pub ceiling: Credits,
    /// What goes to the node.
    pub body: Box<RawValue>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it may take in all, if that is less than the snapshot allows.
    pub ttl: Option<Duration>,
    /// The Subcloud whose nodes alone may answer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subcloud: Option<SubcloudId>,
    /// What else it wants of its node.
    #[serde(default, skip_serializing_if = "Constraints::is_none")]
    pub constraints: Constraints,
    /// The share of its namespace against that of others, when it was admitted: from 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// What the node gets of what it costs, in basis points: the share of the time when it was admitted, like the price.
    /// None before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_share: Option<u16>,
}

/// The temperature where a request names none. Engines differ there, and so would the answers of nodes.
const DEFAULT_TEMPERATURE: f64 = 0.7;

/// Writes out how tokens are drawn, also where the request says nothing: what each engine takes by itself is another thing, and what
/// a node answered could not be read again as it was made.
fn draw_alike(fields: &mut Map<String, Value>, model: &ModelSpec) {
    let mut named = |name: &str, value: f64| {
        fields.entry(name).or_insert_with(|| value.into());
    };
    named("temperature", DEFAULT_TEMPERATURE);
    named("top_p", 1.0);
    if model.can(Capability::Penalties) {
        named("presence_penalty", 0.0);
        named("frequency_penalty", 0.0);
    }
}

/// The weight of a namespace that has none of its own.
const fn one() -> u32 {
    1
}

impl ValidJob {
    /// Which nodes may answer it.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            subcloud: self.subcloud,
            constraints: self.constraints.clone(),
        }
    }

    /// What limits the answer.
    pub fn limits(&self) -> Limits {
        Limits {
            kind: self.kind,
            choices: self.choices,
            max_prompt_tokens: self.max_prompt_tokens,
            max_completion_tokens: self.max_completion_tokens,
            logprobs: self.logprobs,
            echo_bytes: self.echo_bytes,
            dimensions: self.dimensions,
        }
    }
}

fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

fn missing(param: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::MissingField, message).with_param(param)
}

/// The model, or its engine, cannot do what the field asks for.
fn unsupported(param: impl Into<String>, model: &ModelSpec, capability: Capability) -> ApiError {
    let param = param.into();
    if capability == Capability::Extra {
        let message = format!(
            "{param} is no parameter of this endpoint, and the engine of the model {} takes none of its own",
            model.name
        );
        return ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(param);
    }
    let message = format!(
        "the model {} does not support {param}: it has no capability {capability}. GET /v1/models lists what each model can do",
        model.name
    );
    ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(param)
}

/// Nothing here can do what the field asks for.
fn refused(param: impl Into<String>, why: &str) -> ApiError {
    let param = param.into();
    ApiError::new(
        ErrorCode::UnsupportedParameter,
        format!("{param} is not supported: {why}"),
    )
    .with_param(param)
}

/// Whether the model is one for requests of this kind at all.
fn check_kind(model: &ModelSpec, kind: JobKind) -> Result<(), ApiError> {
    let capability = Capability::for_kind(kind);
    if model.can(capability) {
        return Ok(());
    }
    let message = format!(
        "the model {} is not one for {capability}: GET /v1/models lists what each model can do",
        model.name
    );
    Err(invalid("model", message))
}

/// The number of a field that was checked to be one.
fn number(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    fields.get(name).and_then(Value::as_u64)
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// How urgent the job is, by OpenAI's name for it.
fn priority(fields: &Map<String, Value>) -> Priority {
    match fields.get("service_tier").and_then(Value::as_str) {
        Some("flex") => Priority::Bulk,
        _ => Priority::Normal,
    }
}

fn check_stream_options(fields: &Map<String, Value>, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.get("stream_options") else {
        return Ok(false);
    };
    if !stream {
        return Err(invalid(
            "stream_options",
            "stream_options is only allowed when stream is true",
        ));
    }
    let Some(options) = options.as_object() else {
        return Ok(false);
    };
    for (name, value) in options {
        let path = format!("stream_options.{}", shown(name));
        let is_kept = match name.as_str() {
            "include_usage" => true,
            "include_obfuscation" => value != &Value::Bool(true),
            _ => value.is_null(),
        };
        if !is_kept {
            return Err(refused(path, "include_usage is all that a stream can be told"));
        }
        if !(value.is_boolean() || value.is_null()) {
            return Err(invalid(&path, format!("{path} must be true or false")));
        }
    }
    Ok(flag(options, "include_usage"))
}

/// A name that somebody sent, short enough to be repeated.
fn shown(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(64).collect()
}

/// What goes to the node, written out.
fn node_body(body: &impl Serialize) -> Result<Box<RawValue>, ApiError> {
    let body = serde_json::value::to_raw_value(body)
        .map_err(|error| ApiError::new(ErrorCode::Internal, "the request could not be encoded").with_source(error))?;
    // Numbers may be longer now than they came, and token ids may have become text.
    if body.get().len() > MAX_NODE_BODY {
        return Err(ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the request is larger than {MAX_NODE_BODY} bytes once it is written out for a node"),
        ));
    }
    Ok(body)
}

/// The fields of a request beside its messages, prompt or input. Those that are null are not there.
fn fields(request: &impl Serialize) -> Result<Map<String, Value>, ApiError> {
    match serde_json::to_value(request) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|_, value| !value.is_null());
            Ok(fields)
        }
        _ => Err(ApiError::new(ErrorCode::Internal, "the request could not be read")),
    }
}

/// Bytes of fields once they are written out.
fn written(fields: &Map<String, Value>) -> u64 {
    if fields.is_empty() {
        0
    } else {
        serde_json::to_string(fields).map_or(0, |text| text.len() as u64)
    }
}

/// More than the model's context can hold.
fn beyond_context(field: &str, tokens: u64, model: &ModelSpec) -> ApiError {
    let message = format!(
        "{field} is {tokens}, but the model's context holds {} tokens in all",
        model.context_length
    );
    ApiError::new(ErrorCode::ContextLengthExceeded, message).with_param(field)
}

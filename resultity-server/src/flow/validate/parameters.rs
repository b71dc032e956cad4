//! The table of parameters: what each may be, which value says nothing, and what it needs. All of OpenAI's reference is in it, so
//! that nothing is dropped silently: a parameter is passed on to a model that can do it, or meant for us and kept here, or
//! refused by its name.

use resultity_core::capability::Capability;
use resultity_core::error::ApiError;
use resultity_core::model::ModelSpec;
use serde_json::{Map, Value, json};

use super::{invalid, refused, shapes, shown, unsupported};

/// One parameter.
pub(super) struct Parameter {
    name: &'static str,
    shape: Shape,
    /// Whether a value means the same as none at all.
    is_neutral: fn(&Value) -> bool,
    need: Need,
}

/// A parameter as it is told to people and their tools.
#[derive(Debug)]
pub struct ParameterNote {
    /// Its name.
    pub name: &'static str,
    /// A JSON schema of its values.
    pub schema: Value,
    /// What it needs, or what becomes of it.
    pub note: Option<String>,
}

impl Parameter {
    pub(super) fn note(&self) -> ParameterNote {
        let schema = match &self.shape {
            Any | By(_) => json!({}),
            Bool => json!({"type": ["boolean", "null"]}),
            Text => json!({"type": ["string", "null"]}),
            Object => json!({"type": ["object", "null"]}),
            Integer(low, high) => json!({"type": ["integer", "null"], "minimum": low, "maximum": high}),
            Number(low, high) => json!({"type": ["number", "null"], "minimum": low, "maximum": high}),
            OneOf(texts) => json!({"type": ["string", "null"], "enum": texts}),
        };
        let note = match self.need {
            Nothing => None,
            Kept => Some("No node is told.".to_owned()),
            Of(capability) => Some(format!("Of models with the capability `{capability}`.")),
            ByValue(_) => Some("What a model needs for it depends on the value.".to_owned()),
            Never(why) => Some(format!("Refused, unless it says nothing: {why}.")),
        };
        ParameterNote {
            name: self.name,
            schema,
            note,
        }
    }
}

/// What a value may be.
pub(super) enum Shape {
    /// Checked elsewhere, or by nobody.
    Any,
    Bool,
    Text,
    Object,
    Integer(u64, u64),
    Number(f64, f64),
    OneOf(&'static [&'static str]),
    By(fn(&Value, &str) -> Result<(), ApiError>),
}

/// What a parameter needs.
pub(super) enum Need {
    /// Nothing: every model can do it.
    Nothing,
    /// Nothing of the model: it is meant for us, and no node gets to see it.
    Kept,
    /// A model that can do it.
    Of(Capability),
    /// A model that can do what the value says.
    ByValue(fn(&Value) -> Capability),
    /// What we do not have; why.
    Never(&'static str),
}

/// Whether there is a parameter of this name.
pub(super) fn is_known(table: &[Parameter], name: &str) -> bool {
    table.iter().any(|parameter| parameter.name == name)
}

use Need::{ByValue, Kept, Never, Nothing, Of};
use Shape::{Any, Bool, By, Integer, Number, Object, OneOf, Text};

const fn row(name: &'static str, shape: Shape, is_neutral: fn(&Value) -> bool, need: Need) -> Parameter {
    Parameter {
        name,
        shape,
        is_neutral,
        need,
    }
}

const fn no(_: &Value) -> bool {
    false
}

fn off(value: &Value) -> bool {
    value == false
}

fn zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn one(value: &Value) -> bool {
    value == 1
}

fn empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// `POST /v1/chat/completions`.
pub(super) static CHAT: &[Parameter] = &[
    row("model", Any, no, Nothing),
    row("messages", Any, no, Nothing),
    row("audio", Object, no, Never("answers are text")),
    row("frequency_penalty", Number(-2.0, 2.0), zero, Of(Capability::Penalties)),
    row(
        "function_call",
        By(shapes::function_call),
        shapes::is_no_call,
        Of(Capability::Tools),
    ),
    row("functions", By(shapes::functions), empty, Of(Capability::Tools)),
    row("logit_bias", By(shapes::logit_bias), empty, Of(Capability::LogitBias)),
    row("logprobs", Bool, off, Of(Capability::Logprobs)),
    row("max_completion_tokens", Any, no, Nothing),
    row("max_tokens", Any, no, Nothing),
    row("metadata", By(shapes::metadata), no, Kept),
    row(
        "modalities",
        By(shapes::modalities),
        shapes::is_text_alone,
        Never("answers are text"),
    ),
    row("moderation", Object, no, Never("there is no moderation here")),
    row("n", Integer(1, super::MAX_CHOICES), one, Of(Capability::N)),
    row("parallel_tool_calls", Bool, no, Of(Capability::Tools)),
    row("prediction", By(shapes::prediction), no, Of(Capability::Prediction)),
    row("presence_penalty", Number(-2.0, 2.0), zero, Of(Capability::Penalties)),
    row("prompt_cache_key", Text, no, Kept),
    row("prompt_cache_options", Object, no, Kept),
    row(
        "prompt_cache_retention",
        OneOf(&["in_memory", "in-memory", "24h"]),
        no,
        Kept,
    ),
    row(
        "reasoning_effort",
        OneOf(&["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        no,
        Of(Capability::ReasoningEffort),
    ),
    row(
        "response_format",
        By(shapes::response_format),
        shapes::is_text_format,
        ByValue(shapes::format_needs),
    ),
    row("safety_identifier", Text, no, Kept),
    row("seed", Any, no, Of(Capability::Seed)),
    row("service_tier", By(shapes::service_tier), no, Kept),
    row("stop", By(shapes::stop), empty, Of(Capability::Stop)),
    row(
        "store",
        Bool,
        off,
        Never("answers are kept by POST /v1/responses or POST /v1/jobs"),
    ),
    row("stream", Any, no, Kept),
    row("stream_options", Any, no, Kept),
    row("temperature", Number(0.0, 2.0), no, Nothing),
    row(
        "tool_choice",
        By(shapes::tool_choice),
        shapes::is_no_choice,
        Of(Capability::Tools),
    ),
    row("tools", By(shapes::tools), empty, Of(Capability::Tools)),
    row("top_logprobs", Integer(0, 20), zero, Of(Capability::Logprobs)),
    row("top_p", Number(0.0, 1.0), no, Nothing),
    row("user", Text, no, Kept),
    row(
        "verbosity",
        OneOf(&["low", "medium", "high"]),
        |value| value == "medium",
        Of(Capability::Verbosity),
    ),
    row(
        "web_search_options",
        Object,
        no,
        Never("models have no access to the web"),
    ),
];

/// `POST /v1/completions`.
pub(super) static COMPLETIONS: &[Parameter] = &[
    row("model", Any, no, Nothing),
    row("prompt", Any, no, Nothing),
    row("best_of", Integer(1, 20), one, Of(Capability::BestOf)),
    row("echo", Bool, off, Of(Capability::Echo)),
    row("frequency_penalty", Number(-2.0, 2.0), zero, Of(Capability::Penalties)),
    row("logit_bias", By(shapes::logit_bias), empty, Of(Capability::LogitBias)),
    row("logprobs", Integer(0, 5), no, Of(Capability::Logprobs)),
    row("max_tokens", Any, no, Nothing),
    row("metadata", By(shapes::metadata), no, Kept),
    row("n", Integer(1, super::MAX_CHOICES), one, Of(Capability::N)),
    row("presence_penalty", Number(-2.0, 2.0), zero, Of(Capability::Penalties)),
    // Like the other names of who asks, which OpenAI has elsewhere alone: an engine must not see it as something of its own.
    row("prompt_cache_key", Text, no, Kept),
    row("safety_identifier", Text, no, Kept),
    row("seed", Any, no, Of(Capability::Seed)),
    row("service_tier", By(shapes::service_tier), no, Kept),
    row("stop", By(shapes::stop), empty, Of(Capability::Stop)),
    row("stream", Any, no, Kept),
    row("stream_options", Any, no, Kept),
    row("suffix", Text, empty, Of(Capability::Suffix)),
    row("temperature", Number(0.0, 2.0), no, Nothing),
    row("top_p", Number(0.0, 1.0), no, Nothing),
    row("user", Text, no, Kept),
];

/// `POST /v1/embeddings`.
pub(super) static EMBEDDINGS: &[Parameter] = &[
    row("model", Any, no, Nothing),
    row("input", Any, no, Nothing),
    row(
        "dimensions",
        Integer(1, super::embedding::MAX_DIMENSIONS),
        no,
        Of(Capability::Dimensions),
    ),
    row("encoding_format", Any, no, Kept),
    row("metadata", By(shapes::metadata), no, Kept),
    row("prompt_cache_key", Text, no, Kept),
    row("safety_identifier", Text, no, Kept),
    row("service_tier", By(shapes::service_tier), no, Kept),
    row("user", Text, no, Kept),
];

/// `POST /v1/compute`.
pub(super) static COMPUTE: &[Parameter] = &[
    row("model", Any, no, Nothing),
    row("data", Any, no, Nothing),
    row("metadata", By(shapes::metadata), no, Kept),
    row("prompt_cache_key", Text, no, Kept),
    row("requires_proof", Bool, off, Of(Capability::Proofs)),
    row("safety_identifier", Text, no, Kept),
    row("service_tier", By(shapes::service_tier), no, Kept),
    row("stream", Bool, off, Never("what a container computes comes whole")),
    row("user", Text, no, Kept),
];

/// Checks the values of all parameters that are known.
pub(super) fn check(table: &[Parameter], fields: &Map<String, Value>) -> Result<(), ApiError> {
    for parameter in table {
        if let Some(value) = fields.get(parameter.name) {
            check_shape(&parameter.shape, value, parameter.name)?;
        }
    }
    Ok(())
}

/// Leaves what goes to a node of this model; refuses what the model cannot do.
pub(super) fn admit(table: &[Parameter], fields: &mut Map<String, Value>, model: &ModelSpec) -> Result<(), ApiError> {
    let mut kept_here = Vec::new();
    for (name, value) in fields.iter() {
        let Some(parameter) = table.iter().find(|parameter| parameter.name == name) else {
            if model.can(Capability::Extra) {
                continue;
            }
            return Err(unsupported(shown(name), model, Capability::Extra));
        };
        let needed = match parameter.need {
            Nothing => continue,
            Kept => None,
            Of(capability) => Some(capability),
            ByValue(_) | Never(_) if (parameter.is_neutral)(value) => None,
            ByValue(capability) => Some(capability(value)),
            Never(why) => return Err(refused(parameter.name, why)),
        };
        match needed {
            Some(capability) if model.can(capability) => {}
            Some(capability) if !(parameter.is_neutral)(value) => {
                return Err(unsupported(parameter.name, model, capability));
            }
            _ => kept_here.push(name.clone()),
        }
    }
    for name in kept_here {
        fields.remove(&name);
    }
    Ok(())
}

fn check_shape(shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
    let expected = match shape {
        Any => return Ok(()),
        By(check) => return check(value, path),
        Bool if value.is_boolean() => return Ok(()),
        Bool => "must be true or false".to_owned(),
        Text if value.is_string() => return Ok(()),
        Text => "must be a text".to_owned(),
        Object if value.is_object() => return Ok(()),
        Object => "must be an object".to_owned(),
        Integer(low, high) => match value.as_u64() {
            Some(number) if (*low..=*high).contains(&number) => return Ok(()),
            _ => format!("must be a whole number from {low} to {high}, but is {}", brief(value)),
        },
        Number(low, high) => match value.as_f64() {
            Some(number) if (*low..=*high).contains(&number) => return Ok(()),
            _ => format!("must be a number from {low} to {high}, but is {}", brief(value)),
        },
        OneOf(texts) => match value.as_str() {
            Some(text) if texts.contains(&text) => return Ok(()),
            _ => format!("must be one of {}", texts.join(", ")),
        },
    };
    Err(invalid(path, format!("{path} {expected}")))
}

/// A value for a message: numbers as they are, of all else only what it is.
fn brief(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::String(_) => "a text".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

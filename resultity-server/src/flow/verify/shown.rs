//! What of an answer goes on to the asker: OpenAI's fields in OpenAI's shapes. All else stays behind: it could name the
//! engine's host.

use std::collections::BTreeMap;

use resultity_core::job::JobKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Violation;

/// The most calls of functions in one choice.
const MAX_CALLS: u32 = 128;

/// Bytes of the longest name of a function.
const MAX_NAME: usize = 256;

/// Bytes of the longest token whose bytes are told one by one.
const MAX_TOKEN: usize = 128;

/// What stands for a probability that is too small to be told, as OpenAI has it.
const UNLIKELY: f64 = -9999.0;

/// Whether a message is whole or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Piece,
}

/// Leaves of a message's fields beside its text what may go on.
pub(super) fn fields(kind: JobKind, extent: Extent, fields: &mut Map<String, Value>) -> Result<(), Violation> {
    if fields.is_empty() {
        return Ok(());
    }
    let mut shown = Map::new();
    if kind == JobKind::ChatCompletion {
        for (name, value) in std::mem::take(fields) {
            let value = match name.as_str() {
                // What says nothing is not there: it must not look as if more had come than text.
                _ if is_nothing(&value) => continue,
                "tool_calls" => tool_calls(value, extent)?,
                "function_call" => encoded(&function(read(value)?, extent)?)?,
                "refusal" | "reasoning_content" | "reasoning" if value.is_string() => value,
                _ => continue,
            };
            shown.insert(name, value);
        }
    }
    *fields = shown;
    Ok(())
}

/// Null, or an empty text, list or object.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[derive(Deserialize, Serialize)]
struct ToolCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<Function>,
}

#[derive(Deserialize, Serialize)]
struct Function {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Some engines send an object instead of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
}

fn tool_calls(value: Value, extent: Extent) -> Result<Value, Violation> {
    let mut calls: Vec<ToolCall> = read(value)?;
    for (place, call) in calls.iter_mut().enumerate() {
        let place = call.index.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
        if place >= MAX_CALLS {
            return Err(malformed("there are too many calls"));
        }
        call.index = (extent == Extent::Piece).then_some(place);
        call.id = match call.id.take() {
            Some(id) if is_plain(&id) => Some(id),
            None if extent == Extent::Piece => None,
            _ => Some(format!("call_{place}")),
        };
        call.kind = (call.id.is_some() || call.kind.is_some()).then(|| "function".to_owned());
        call.function = match call.function.take() {
            Some(called) => Some(function(called, extent)?),
            None if extent == Extent::Piece => None,
            None => return Err(malformed("a call names no function")),
        };
    }
    encoded(&calls)
}

fn function(mut function: Function, extent: Extent) -> Result<Function, Violation> {
    if function.name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
        return Err(malformed("the name of a function is too long"));
    }
    function.arguments = match function.arguments.take() {
        None | Some(Value::Null) => (extent == Extent::Whole).then(|| Value::String("{}".into())),
        Some(Value::String(text)) => Some(Value::String(text)),
        Some(object) => Some(Value::String(object.to_string())),
    };
    if extent == Extent::Whole && function.name.is_none() {
        return Err(malformed("a call names no function"));
    }
    Ok(function)
}

/// An id that says nothing of where it was made.
fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(plain)
}

/// Log-probabilities in the shape of the endpoint, with `most` of the likeliest tokens at each place; none if they were not
/// asked for.
pub(super) fn logprobs(kind: JobKind, most: Option<u64>, value: Option<Value>) -> Result<Option<Value>, Violation> {
    let (Some(most), Some(value)) = (most, value) else {
        return Ok(None);
    };
    if value.is_null() {
        return Ok(None);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if kind == JobKind::Completion {
        return Ok(Some(encoded(&read::<CompletionLogprobs>(value)?.limited(most))?));
    }
    let mut logprobs: ChatLogprobs = read(value)?;
    for token in logprobs.content.iter_mut().chain(&mut logprobs.refusal).flatten() {
        token.top_logprobs.truncate(most);
    }
    Ok(Some(encoded(&logprobs)?))
}

#[derive(Deserialize, Serialize)]
struct ChatLogprobs {
    #[serde(default)]
    content: Option<Vec<TokenLogprob>>,
    #[serde(default)]
    refusal: Option<Vec<TokenLogprob>>,
}

#[derive(Deserialize, Serialize)]
struct TokenLogprob {
    #[serde(flatten)]
    token: Likely,
    #[serde(default)]
    top_logprobs: Vec<Likely>,
}

#[derive(Deserialize, Serialize)]
struct Likely {
    token: String,
    #[serde(default = "unlikely", deserialize_with = "logprob")]
    logprob: f64,
    #[serde(default, deserialize_with = "bytes_of_token")]
    bytes: Option<Vec<u8>>,
}

/// The bytes of a token: what is longer than any is not told, as each number takes many times its own size in memory.
fn bytes_of_token<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let bytes = Option::<Vec<u8>>::deserialize(deserializer)?;
    Ok(bytes.filter(|bytes| bytes.len() <= MAX_TOKEN))
}

fn unlikely() -> f64 {
    UNLIKELY
}

/// A number; JSON has none for the logarithm of nothing.
fn logprob<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(UNLIKELY))
}

/// Tokens and their log-probabilities.
type Likeliest = BTreeMap<String, Option<f64>>;

#[derive(Deserialize, Serialize)]
struct CompletionLogprobs {
    #[serde(default)]
    text_offset: Vec<u64>,
    /// None for the first token of a prompt.
    #[serde(default)]
    token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    top_logprobs: Option<Vec<Option<Likeliest>>>,
}

impl CompletionLogprobs {
    /// The token that was taken may stand beside the likeliest ones.
    fn limited(mut self, most: usize) -> Self {
        for likeliest in self.top_logprobs.iter_mut().flatten().flatten() {
            let mut sorted: Vec<(String, f64)> = std::mem::take(likeliest)
                .into_iter()
                .map(|(token, logprob)| (token, logprob.unwrap_or(UNLIKELY)))
                .collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            sorted.truncate(most.saturating_add(1));
            *likeliest = sorted
                .into_iter()
                .map(|(token, logprob)| (token, Some(logprob)))
                .collect();
        }
        self
    }
}

/// OpenAI's reasons; any other is a `stop`.
pub(super) fn finish_reason(kind: JobKind, reason: &str) -> &str {
    match reason {
        "length" | "content_filter" => reason,
        "tool_calls" | "function_call" if kind == JobKind::ChatCompletion => reason,
        _ => "stop",
    }
}

/// Bytes of what goes on to the asker.
pub(super) fn bytes(content: Option<&str>, extra: &Map<String, Value>) -> u64 {
    let content = content.map_or(0, str::len);
    let extra = if extra.is_empty() {
        0
    } else {
        serde_json::to_string(extra).map_or(0, |text| text.len())
    };
    (content + extra) as u64
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Violation> {
    serde_json::from_value(value).map_err(|error| Violation::unreadable(&error))
}

fn encoded(value: &impl Serialize) -> Result<Value, Violation> {
    serde_json::to_value(value).map_err(|error| Violation::unreadable(&error))
}

fn malformed(why: &str) -> Violation {
    Violation::Malformed(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(kind: JobKind, extent: Extent, value: Value) -> Result<Value, Violation> {
        let mut map = value.as_object().unwrap().clone();
        fields(kind, extent, &mut map)?;
        Ok(Value::Object(map))
    }

    #[test]
    fn calls_go_on_in_openai_s_shape_alone() {
        let call = json!({"id": "chatcmpl@10.0.0.7", "type": "function", "index": 0, "engine": "gpu-7",
            "function": {"name": "f", "arguments": "{}", "host": "gpu-7"}});
        let whole = json!({"tool_calls": [call], "refusal": null, "reasoning_content": "hm", "reasoning": {"host": 1},
            "annotations": [{"host": 1}], "x_host": "gpu-7"});
        assert_eq!(
            shown(JobKind::ChatCompletion, Extent::Whole, whole.clone()).unwrap(),
            json!({"tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                "reasoning_content": "hm"})
        );
        assert_eq!(shown(JobKind::Completion, Extent::Whole, whole).unwrap(), json!({}));
        let first =
            json!({"tool_calls": [{"index": 1, "id": "call_abc", "type": "function", "function": {"name": "f"}}]});
        assert_eq!(
            shown(JobKind::ChatCompletion, Extent::Piece, first.clone()).unwrap(),
            first
        );
        let next = json!({"tool_calls": [{"index": 1, "function": {"arguments": "{\"a\""}}]});
        assert_eq!(
            shown(JobKind::ChatCompletion, Extent::Piece, next.clone()).unwrap(),
            next
        );
        let object = json!({"function_call": {"name": "f", "arguments": {"a": 1}}});
        assert_eq!(
            shown(JobKind::ChatCompletion, Extent::Whole, object).unwrap(),
            json!({"function_call": {"name": "f", "arguments": "{\"a\":1}"}})
        );
    }

    #[test]
    fn what_says_nothing_does_not_go_on() {
        let empty =
            json!({"reasoning_content": "", "reasoning": "", "refusal": "", "tool_calls": [], "function_call": {}});
        for extent in [Extent::Whole, Extent::Piece] {
            assert_eq!(
                shown(JobKind::ChatCompletion, extent, empty.clone()).unwrap(),
                json!({})
            );
        }
    }

    #[test]
    fn malformed_calls_are_found() {
        for bad in [
            json!({"tool_calls": "x"}),
            json!({"tool_calls": [{"id": 5}]}),
            json!({"tool_calls": [{"id": "1"}]}),
            json!({"tool_calls": [{"index": 128, "function": {"name": "f"}}]}),
            json!({"tool_calls": [{"function": {"arguments": "{}"}}]}),
            json!({"function_call": {"name": "f".repeat(257)}}),
        ] {
            let found = shown(JobKind::ChatCompletion, Extent::Whole, bad.clone());
            assert!(matches!(found, Err(Violation::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn logprobs_go_on_only_as_asked_for() {
        let chat = json!({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "host": "gpu-7", "top_logprobs": [
            {"token": "a", "logprob": -0.5}, {"token": "b", "logprob": null, "id": 5}, {"token": "c", "logprob": -3.0}]}], "host": 1});
        let pass = |kind, most, value: &Value| logprobs(kind, most, Some(value.clone()));
        assert_eq!(pass(JobKind::ChatCompletion, None, &chat).unwrap(), None);
        assert_eq!(
            pass(JobKind::ChatCompletion, Some(2), &chat).unwrap(),
            Some(
                json!({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [
                {"token": "a", "logprob": -0.5, "bytes": null}, {"token": "b", "logprob": -9999.0, "bytes": null}]}],
                "refusal": null})
            )
        );
        assert!(pass(JobKind::ChatCompletion, Some(2), &json!({"content": [{"token": 5}]})).is_err());
        let bloated = json!({"content": [{"token": "a", "logprob": -0.5, "bytes": vec![97; 1_000]}]});
        let shown = pass(JobKind::ChatCompletion, Some(2), &bloated).unwrap().unwrap();
        assert_eq!(shown["content"][0]["bytes"], Value::Null);
        let completion = json!({"tokens": ["a"], "token_logprobs": [null], "text_offset": [0], "host": 1,
            "top_logprobs": [{"x": -3.0, "a": -0.5, "b": -0.7}]});
        assert_eq!(
            pass(JobKind::Completion, Some(1), &completion).unwrap(),
            Some(
                json!({"tokens": ["a"], "token_logprobs": [null], "text_offset": [0], "top_logprobs": [{"a": -0.5, "b": -0.7}]})
            )
        );
        assert!(pass(JobKind::Completion, Some(1), &json!({"tokens": "a"})).is_err());
    }
}

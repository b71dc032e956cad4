//! Bodies, from bytes to requests. What is wrong is named: the field, and what was expected there.

use std::borrow::Cow;
use std::fmt;

use resultity_core::infernet::subscription::DelegatedRequest;
use resultity_core::infernet::{BatchRequest, JobId, JobRequest, JobStatus, NodeError, StatusUpdate};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::query::MAX_ID_BYTES;

/// How deep objects and arrays may stand in each other: what most readers of JSON bear.
const MAX_DEPTH: usize = 128;

/// How many entries a batch may have.
const MAX_BATCH: usize = 10_000;

/// How many containers a job may have.
const MAX_CONTAINERS: usize = 256;

/// The longest part of somebody else's words in an error: characters.
const MAX_QUOTE: usize = 200;

/// Reads a job or a delegated subscription.
pub(super) fn posted(body: &[u8]) -> Result<BatchRequest, NodeError> {
    entry(text(body)?)
}

/// Reads several. Only what makes the whole unreadable is an error of the whole.
pub(super) fn batch(body: &[u8]) -> Result<Vec<Result<BatchRequest, NodeError>>, NodeError> {
    let text = text(body)?;
    let list = List::read(text, MAX_BATCH).map_err(not_json)?;
    let Some(list) = list else {
        return Err(NodeError::invalid("Expected a list"));
    };
    let entries = list.entries().ok_or_else(|| {
        let reason = format!("at most {MAX_BATCH} entries");
        NodeError::invalid("Expected a list").with("reason", reason)
    })?;
    Ok(entries.iter().map(|raw| entry(raw.get())).collect())
}

/// Reads a job that a container ran by itself.
pub(super) fn status(body: &[u8]) -> Result<StatusUpdate, NodeError> {
    let fields = Fields::read(text(body)?)?;
    let id = needed("id", "a string", fields.id)?;
    let id: String = read("id", "a string", id)?;
    if !(1..=MAX_ID_BYTES).contains(&id.len()) {
        let message = format!("id: expected 1 to {MAX_ID_BYTES} bytes");
        return Err(NodeError::invalid(message));
    }
    let containers = containers(fields.containers)?;
    const STATUS: &str = "one of success, failed, running";
    let status: String = read("status", STATUS, needed("status", STATUS, fields.status)?)?;
    let status = JobStatus::ALL
        .into_iter()
        .find(|known| known.as_str() == status)
        .ok_or_else(|| {
            let reason = format!("status: expected {STATUS}");
            NodeError::invalid("Status is invalid").with("reason", reason)
        })?;
    Ok(StatusUpdate {
        id: JobId::new(id),
        status,
        containers,
    })
}

/// Runs all parsers on some bytes, for fuzzing: whatever they are, none may panic.
#[doc(hidden)]
pub fn read_anything(body: &[u8]) {
    let _ = (posted(body), batch(body), status(body));
    if let Ok(query) = std::str::from_utf8(body) {
        let _ = (super::query::jobs(query), super::query::model_id(query));
    }
}

/// A text that can be JSON.
fn text(body: &[u8]) -> Result<&str, NodeError> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(NodeError::invalid("The body is not UTF-8"));
    };
    if text.trim_ascii().is_empty() {
        return Err(NodeError::invalid("The body is empty: expected JSON"));
    }
    if is_too_deep(text) {
        let message = format!("The body is nested deeper than {MAX_DEPTH}");
        return Err(NodeError::invalid(message));
    }
    Ok(text)
}

/// Counts brackets outside of strings. The parsers go through what they don't read without recursion, so they don't.
fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn not_json(error: serde_json::Error) -> NodeError {
    NodeError::invalid(format!("The body is not JSON: {}", quote(&error.to_string())))
}

/// One entry, or the whole body.
fn entry(text: &str) -> Result<BatchRequest, NodeError> {
    let fields = Fields::read(text)?;
    if fields.subscription.is_none() && fields.signature.is_none() {
        return job(fields).map(BatchRequest::Job);
    }
    let request = DelegatedRequest::from_json(text).map_err(|error| NodeError::invalid(error.to_string()))?;
    Ok(BatchRequest::Delegated(Box::new(request)))
}

fn job(fields: Fields<'_>) -> Result<JobRequest, NodeError> {
    let containers = containers(fields.containers)?;
    let data = data(fields.data)?;
    let requires_proof = fields
        .requires_proof
        .map(|raw| read("requires_proof", "true or false", raw))
        .transpose()?;
    Ok(JobRequest {
        containers,
        data,
        requires_proof,
    })
}

fn containers(raw: Option<&RawValue>) -> Result<Vec<String>, NodeError> {
    const EXPECTED: &str = "a list of container ids";
    let raw = needed("containers", EXPECTED, raw)?;
    let list = List::read(raw.get(), MAX_CONTAINERS).map_err(not_json)?;
    let list = list.ok_or_else(|| wrong("containers", EXPECTED))?;
    let entries = list
        .entries()
        .ok_or_else(|| wrong("containers", &format!("at most {MAX_CONTAINERS} container ids")))?;
    let id = |(index, raw): (usize, &&RawValue)| {
        serde_json::from_str(raw.get()).map_err(|_| wrong(&format!("containers[{index}]"), "a string"))
    };
    entries.iter().enumerate().map(id).collect()
}

/// The text of an object, as it is.
fn data(raw: Option<&RawValue>) -> Result<Box<RawValue>, NodeError> {
    let raw = needed("data", "an object", raw)?;
    if !raw.get().starts_with('{') {
        return Err(wrong("data", "an object"));
    }
    Ok(raw.to_owned())
}

fn needed<'a>(name: &str, expected: &str, raw: Option<&'a RawValue>) -> Result<&'a RawValue, NodeError> {
    raw.ok_or_else(|| NodeError::invalid(format!("{name}: missing, expected {expected}")))
}

fn wrong(name: &str, expected: &str) -> NodeError {
    NodeError::invalid(format!("{name}: expected {expected}"))
}

fn read<'a, T: Deserialize<'a>>(name: &str, expected: &str, raw: &'a RawValue) -> Result<T, NodeError> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(name, expected))
}

fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE).collect()
}

/// The fields of all requests, unread. Null counts as absent; what has other names is ignored.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    containers: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    requires_proof: Option<&'a RawValue>,
    subscription: Option<&'a RawValue>,
    signature: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, NodeError> {
        if !text.trim_ascii_start().starts_with('{') {
            // Whatever else is wrong with it comes first.
            return Err(serde_json::from_str::<&RawValue>(text)
                .map_or_else(not_json, |_| NodeError::invalid("Expected a JSON object")));
        }
        serde_json::from_str(text).map_err(|error: serde_json::Error| {
            if error.is_data() {
                let text = error.to_string();
                return NodeError::invalid(text.split(" at line ").next().unwrap_or_default());
            }
            not_json(error)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        let mut seen = 0_u8;
        while let Some(Name(name)) = entries.next_key()? {
            let (index, place) = match &*name {
                "id" => (0, &mut fields.id),
                "status" => (1, &mut fields.status),
                "containers" => (2, &mut fields.containers),
                "data" => (3, &mut fields.data),
                "requires_proof" => (4, &mut fields.requires_proof),
                "subscription" => (5, &mut fields.subscription),
                "signature" => (6, &mut fields.signature),
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // One reader takes the first and another the last: what was checked would not be what is run.
            if seen & (1 << index) != 0 {
                return Err(A::Error::custom(format_args!("{name} stands there twice")));
            }
            seen |= 1 << index;
            let raw: &RawValue = entries.next_value()?;
            *place = Some(raw).filter(|raw| raw.get() != "null");
        }
        Ok(fields)
    }
}

/// A name, borrowed from the text wherever it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A list with entries unread, up to so many.
struct List<'a> {
    entries: Vec<&'a RawValue>,
    is_longer: bool,
}

impl<'a> List<'a> {
    /// None: the text is JSON, but no list.
    fn read(text: &'a str, max: usize) -> Result<Option<Self>, serde_json::Error> {
        if !text.trim_ascii_start().starts_with('[') {
            serde_json::from_str::<&RawValue>(text)?;
            return Ok(None);
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let list = deserializer.deserialize_seq(ListVisitor { max })?;
        deserializer.end()?;
        Ok(Some(list))
    }

    /// None: there are too many.
    fn entries(&self) -> Option<&[&'a RawValue]> {
        (!self.is_longer).then_some(&self.entries)
    }
}

struct ListVisitor {
    max: usize,
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<'de>, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < self.max {
            let Some(entry) = sequence.next_element()? else {
                return Ok(List {
                    entries,
                    is_longer: false,
                });
            };
            entries.push(entry);
        }
        let mut is_longer = false;
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(List { entries, is_longer })
    }
}

#[cfg(test)]
mod tests;

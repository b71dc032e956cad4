//! The parameters of requests, from the table by which they are checked: the types of the requests name only those that
//! mean something on their way to a node.

use resultity_core::job::Endpoint;
use serde_json::{Map, Value};

use crate::flow::validate;

/// Adds to the schemas of requests what is in the table of their endpoint.
pub(super) fn add(document: &mut Value) {
    for (endpoint, name) in [
        (Endpoint::ChatCompletions, "ChatRequest"),
        (Endpoint::Completions, "CompletionRequest"),
        (Endpoint::Embeddings, "EmbeddingRequest"),
        (Endpoint::Compute, "ComputeRequest"),
    ] {
        let pointer = format!("/components/schemas/{name}/properties");
        let Some(Value::Object(properties)) = document.pointer_mut(&pointer) else {
            continue;
        };
        for parameter in validate::parameters(endpoint) {
            let property = properties
                .entry(parameter.name)
                .or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(property) = property else { continue };
            if let Value::Object(schema) = parameter.schema {
                for (key, value) in schema {
                    // The table knows the bounds; the type knows the rest.
                    property.insert(key, value);
                }
            }
            if let Some(note) = parameter.note {
                let about = property.get("description").and_then(Value::as_str).unwrap_or_default();
                let about = format!("{about} {note}").trim().to_owned();
                property.insert("description".into(), about.into());
            }
        }
    }
}

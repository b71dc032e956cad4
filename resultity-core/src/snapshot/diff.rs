//! What differs between two offers, for people and for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::credits::Credits;
use crate::snapshot::Offer;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Where, such as `models[llama].price.output_per_million`.
    pub path: String,
    /// What stood there; absent if nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub before: Option<Value>,
    /// What stands there now; absent if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub after: Option<Value>,
    /// The same in a line; prices in credits.
    pub summary: String,
}

/// Everything that is different in `after`. Models are told apart by their names; their order counts as well.
pub fn diff(before: &Offer, after: &Offer) -> Vec<Change> {
    let mut changes = Vec::new();
    let models = |offer: &Offer| -> BTreeMap<String, Value> {
        let models = offer.models.iter();
        models.map(|model| (model.name.clone(), value(model))).collect()
    };
    compare_named("models", &models(before), &models(after), &mut changes);
    let names = |offer: &Offer| -> Value { offer.models.iter().map(|model| model.name.as_str()).collect() };
    let (names_before, names_after) = (names(before), names(after));
    if changes.is_empty() && names_before != names_after {
        changes.push(change("models", Some(&names_before), Some(&names_after)));
    }
    let rest = |offer: &Offer| {
        let mut rest = value(offer);
        if let Some(fields) = rest.as_object_mut() {
            fields.remove("models");
        }
        rest
    };
    compare("", Some(&rest(before)), Some(&rest(after)), &mut changes);
    changes
}

fn value<T: Serialize>(thing: &T) -> Value {
    // Texts, numbers, lists and maps with texts as keys: always JSON.
    serde_json::to_value(thing).unwrap_or_default()
}

fn compare_named(
    path: &str,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    changes: &mut Vec<Change>,
) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let path = format!("{path}[{name}]");
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => compare(&path, Some(old), Some(new), changes),
            (old, new) => changes.push(change(&path, old, new)),
        }
    }
}

/// Goes down into objects; lists are compared as a whole.
fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                compare(&path, old.get(name), new.get(name), changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(change(path, old, new)),
    }
}

fn change(path: &str, before: Option<&Value>, after: Option<&Value>) -> Change {
    let is_price = path.contains(".price.");
    let shown = |value: &Value| match value.as_i64().filter(|_| is_price) {
        Some(micros) => format!("{} credits", Credits::from_micros(micros)),
        None => short(value),
    };
    let summary = match (before, after) {
        (None, Some(new)) => format!("{path}: new, {}", shown(new)),
        (Some(_), None) => format!("{path}: removed"),
        (Some(old), Some(new)) => format!("{path}: {} → {}", shown(old), shown(new)),
        (None, None) => path.to_owned(),
    };
    Change {
        path: path.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
        summary,
    }
}

/// A value in a few words.
fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = match value.as_object() {
        // A whole model: its version says enough.
        Some(fields) => match fields.get("version").and_then(Value::as_str) {
            Some(version) => format!("version {version}"),
            None => value.to_string(),
        },
        None => value.to_string(),
    };
    if text.chars().count() > MOST {
        let start: String = text.chars().take(MOST).collect();
        return format!("{start}…");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::snapshot::signed::tests::snapshot;

    #[test]
    fn every_difference_is_named_once() {
        let before = snapshot(1).offer();
        assert_eq!(diff(&before, &before), []);
        let mut after = before.clone();
        after.remove_model("org/other");
        after.models[0].price.output_per_million = Credits::from_micros(2_500_000);
        after.models[0].aliases.push("small".into());
        let mut new = after.models[0].clone();
        new.name = "new".into();
        new.aliases.clear();
        after.models.push(new);
        after.jobs.node_share = 7_000;
        after.min_agent_version = "0.2.0".into();
        after.min_runtime_versions.insert("llama-server".into(), "b4567".into());
        after.retiring.insert("demo".into(), Timestamp::from_millis(7));
        let changes = diff(&before, &after);
        let summaries: Vec<_> = changes.iter().map(|change| change.summary.as_str()).collect();
        assert_eq!(
            summaries,
            [
                r#"models[demo].aliases: ["tiny"] → ["tiny","small"]"#,
                "models[demo].price.output_per_million: 2 credits → 2.5 credits",
                "models[new]: new, version 1",
                "models[org/other]: removed",
                "jobs.node_share: 8000 → 7000",
                r#"min_agent_version: "0.1.0" → "0.2.0""#,
                r#"min_runtime_versions: new, {"llama-server":"b4567"}"#,
                r#"retiring: new, {"demo":7}"#,
            ]
        );
        assert_eq!(changes[1].before, Some(2_000_000.into()));
        assert_eq!(changes[3].after, None);
    }

    #[test]
    fn another_order_of_models_is_a_difference() {
        let before = snapshot(1).offer();
        let mut after = before.clone();
        after.models.reverse();
        assert_eq!(diff(&before, &after)[0].path, "models");
    }
}

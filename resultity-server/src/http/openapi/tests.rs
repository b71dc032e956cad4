use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn json() -> Value {
    serde_json::from_slice(&SERVED).unwrap()
}

#[test]
fn the_document_stays_as_it_is() {
    insta::assert_json_snapshot!("openapi", json(), { ".info.version" => "[version]" });
}

#[test]
fn every_route_is_in_the_document_and_the_other_way_round() {
    let documented: BTreeSet<(String, String)> = json()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routed: BTreeSet<(String, String)> = crate::http::listed_routes()
        .into_iter()
        .map(|(method, path)| (method.to_string(), shown_path(path)))
        .collect();
    let missing: Vec<_> = routed.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the document: {missing:?}");
    let invented: Vec<_> = documented.difference(&routed).collect();
    assert!(invented.is_empty(), "in the document, but no route: {invented:?}");
}

#[test]
fn everything_that_is_named_is_there() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if let ("$ref", Value::String(name)) = (key.as_str(), value) {
                        found.insert(name.clone());
                    }
                    references(value, found);
                }
            }
            Value::Array(entries) => entries.iter().for_each(|entry| references(entry, found)),
            _ => {}
        }
    }
    let json = json();
    let mut found = BTreeSet::new();
    references(&json, &mut found);
    assert!(found.len() > 50);
    for name in found {
        let pointer = name.strip_prefix('#').unwrap();
        assert!(json.pointer(pointer).is_some(), "{name} is missing");
    }
    let tags: BTreeSet<&str> = cloud::TAGS.iter().map(|(name, _)| *name).collect();
    let mut ids = BTreeSet::new();
    for item in json["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{operation}");
        }
    }
}

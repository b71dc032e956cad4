//! Documentation of types is written for whoever reads the code; what only means something there is left out here.

use serde_json::Value;

/// Cleans all descriptions of an OpenAPI document that is made from types.
pub fn clean(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = without_code(description);
            }
            if let Some(rest) = fields.get_mut("additionalProperties")
                && rest
                    .as_object()
                    .is_some_and(|rest| rest.keys().all(|key| key == "description"))
            {
                *rest = Value::Bool(true);
            }
            fields.values_mut().for_each(clean);
        }
        Value::Array(entries) => entries.iter_mut().for_each(clean),
        _ => {}
    }
}

/// Without examples in Rust, and without links to Rust items: of those their names stay.
fn without_code(description: &str) -> String {
    let is_text = |(index, _): &(usize, &str)| index % 2 == 0;
    let text: String = description
        .split("```")
        .enumerate()
        .filter(is_text)
        .map(|(_, text)| text)
        .collect();
    let mut rest = text.trim();
    let mut cleaned = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, after)) = after.split_once("`]") else {
            break;
        };
        cleaned.push_str(before);
        cleaned.push('`');
        cleaned.push_str(name);
        cleaned.push('`');
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    cleaned.push_str(rest);
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_means_something_in_rust_is_left_out() {
        for (written, shown) in [
            ("Plain.", "Plain."),
            ("What.\n\n```\nlet x = 1;\n```", "What."),
            ("A.\n\n```text\na\n```\n\nB.", "A.\n\n\n\nB."),
            (
                "As [`Verifier`](crate::webhook::Verifier) and [`X`] do.",
                "As `Verifier` and `X` do.",
            ),
            ("An array [1] and [`half", "An array [1] and [`half"),
        ] {
            assert_eq!(without_code(written), shown);
        }
    }
}

//! JSON as containers wrote it: every digit stays, because no number is read.

use serde::Serialize;

use crate::output::Failure;
use crate::table::json_line;

/// Readable JSON of what holds raw JSON.
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    Ok(indented(&json_line(value)?))
}

/// The same JSON over several lines: only the space between its parts changes.
pub(crate) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut is_string = false;
    let mut is_escaped = false;
    // Whether something was opened and nothing stands in it yet.
    let mut is_open = false;
    for symbol in json.chars() {
        if is_string {
            text.push(symbol);
            is_string = is_escaped || symbol != '"';
            is_escaped = symbol == '\\' && !is_escaped;
            continue;
        }
        if matches!(symbol, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        if is_open && !matches!(symbol, ']' | '}') {
            depth += 1;
            new_line(&mut text, depth);
        }
        match symbol {
            ']' | '}' if !is_open => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(symbol);
            }
            ',' => {
                text.push(symbol);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push(symbol),
        }
        is_string = symbol == '"';
        is_open = matches!(symbol, '[' | '{');
    }
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

/// JSON nested ten thousand deep would else be mostly spaces.
const MAX_INDENT: usize = 40;

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    #[rstest]
    #[case(r#"{"a":[1,{"b":null}],"c":{},"d":[ ]}"#)]
    #[case(r#" [ "x\"y,{" , "\\" , [ [ ] ] , true ] "#)]
    #[case("\"text\"")]
    #[case("17")]
    fn it_looks_as_serde_writes_it(#[case] json: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(indented(json), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn digits_stay() {
        let json = r#"{"n":123456789012345678901234567890.50,"e":1E400}"#;
        assert_eq!(
            indented(json),
            "{\n  \"n\": 123456789012345678901234567890.50,\n  \"e\": 1E400\n}"
        );
    }

    #[test]
    fn depth_costs_no_more_than_it_has_to() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(indented(&deep).len() < 2_000_000);
    }
}

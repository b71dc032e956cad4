//! What JSON has to be before its fields count: well-formed to the end, in every part, and each name once in its object. Of
//! a name that stands there twice one reader takes the first and another the last, so what was checked would not be what
//! is run.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Checks a text; the error says what is wrong, and where.
pub(super) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Strict.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Any value.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(Name(name)) = entries.next_key()? {
            if names.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("{shown:?} stands twice in one object")));
            }
            names.insert(name);
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// A name, borrowed from the text wherever it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_value_passes() {
        let text = r#"{"a": [1, -1, 1.5e3, true, null, "x\n\u00e9"], "b": {"a": {}}, "": [], "\u0061b": ""}"#;
        check(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_readers_may_take_in_two_ways_does_not() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let cases: [(&[u8], &str); 9] = [
            (br#"{"a": 1, "a": 1}"#, "\"a\" stands twice"),
            (br#"[{"x": {"a": 1, "\u0061": 2}}]"#, "\"a\" stands twice"),
            (b"{} {}", "trailing characters"),
            (b"{\"a\": \"\xff\"}", "invalid unicode"),
            (b"{\"\xc3\x28\": 1}", "invalid unicode"),
            (br#"["\ud800"]"#, "hex escape"),
            (b"[1e999]", "out of range"),
            (b"[\"\x00\"]", "control character"),
            (deep.as_bytes(), "recursion limit"),
        ];
        for (text, expected) in cases {
            let error = check(text).expect_err(expected).to_string();
            assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(text));
        }
    }
}

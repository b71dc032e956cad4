//! JSON as the text that it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most arrays and objects within one another that anybody has to be able to read.
const MAX_DEPTH: usize = 100;

/// JSON as the text that somebody wrote: numbers keep their digits, also beyond 64 bits. Two are equal if they are written
/// the same way.
///
/// ```
/// use resultity_core::raw_json::RawJson;
/// let json: RawJson = serde_json::from_str(r#"{"n": 123456789012345678901234567890}"#)?;
/// assert_eq!(serde_json::to_string(&json)?, r#"{"n": 123456789012345678901234567890}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// A value, written out.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Reads it.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    /// The same for serde.
    pub fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    /// The same without white space between its parts; nothing if more than 100 arrays and objects are within one another,
    /// since not every reader copes with that.
    pub fn compact(self) -> Option<Self> {
        let text = self.get();
        let (mut short, mut copied) = (String::new(), 0);
        let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
        for (at, byte) in text.bytes().enumerate() {
            if in_text {
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'[' | b'{' if depth == MAX_DEPTH => return None,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                b' ' | b'\t' | b'\n' | b'\r' => {
                    short.push_str(&text[copied..at]);
                    copied = at + 1;
                }
                _ => {}
            }
        }
        if copied == 0 {
            return Some(self);
        }
        short.push_str(&text[copied..]);
        RawValue::from_string(short).ok().map(Self)
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl FromStr for RawJson {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn compact(text: &str) -> Option<String> {
        let json: RawJson = text.parse().unwrap();
        json.compact().map(|json| json.to_string())
    }

    #[test]
    fn white_space_goes_and_all_else_stays() {
        for (text, short) in [
            (" 1 ", "1"),
            (
                "{\"a b\" :\t[ 1.50 , \"x \\\" [\\\\\" ]\r\n}",
                "{\"a b\":[1.50,\"x \\\" [\\\\\"]}",
            ),
            ("[ 18446744073709551616, 1E400 ]", "[18446744073709551616,1E400]"),
            ("\" \\ud800 é \"", "\" \\ud800 é \""),
            ("null", "null"),
        ] {
            assert_eq!(compact(text).as_deref(), Some(short), "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_for_readers_is_found() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(compact(&nested(100)).is_some());
        assert_eq!(compact(&nested(101)), None);
        assert_eq!(compact(&nested(100_000)), None);
        let flat = format!("[{}[]]", "[],".repeat(1000));
        assert!(compact(&flat).is_some());
    }

    #[test]
    fn it_stands_in_structures_of_any_kind() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Of {
            json: RawJson,
        }
        let of = Of {
            json: RawJson::of(&json!({"a": [1]})).unwrap(),
        };
        let value = serde_json::to_value(&of).unwrap();
        assert_eq!(value, json!({"json": {"a": [1]}}));
        assert_eq!(serde_json::from_value::<Of>(value).unwrap(), of);
        assert!(of.json.is_object());
        assert_eq!(of.json.read::<Value>().unwrap(), json!({"a": [1]}));
    }

    proptest! {
        #[test]
        fn the_short_form_means_the_same(text in "\\PC{0,12}", number in any::<f64>()) {
            let value = json!({&text: [number, &text, {"": null}]});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty).unwrap(), value.to_string());
        }
    }
}

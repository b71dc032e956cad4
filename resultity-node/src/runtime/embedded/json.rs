//! JSON mode: which tokens may come next so that the answer is one JSON object.
//!
//! A small pushdown automaton over bytes. It is stricter than the grammar where that keeps an answer from going on for ever or
//! from being refused by parsers: little whitespace, numbers of bounded length, no halves of surrogate pairs.

/// The deepest nesting.
const MAX_DEPTH: u8 = 64;

/// The most bytes of whitespace in a row.
const MAX_SPACES: u8 = 40;

/// The most digits of each part of a number: what a double can hold.
const MAX_DIGITS: u8 = 15;
const MAX_EXPONENT: u8 = 2;

/// Where in a JSON object an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Json {
    state: State,
    depth: u8,
    /// By depth: whether it is an object, not an array.
    objects: u64,
    /// Whitespace in a row.
    spaces: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Start,
    /// After the brace: a key or the end.
    FirstKey,
    /// After a comma in an object.
    Key,
    Colon,
    Value,
    /// After the bracket: a value or the end.
    FirstValue,
    /// In a text; `key`: it is a key.
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    /// In `\u`: how many digits are to come, and whether the first was a `d`.
    Unicode {
        key: bool,
        left: u8,
        after_d: bool,
    },
    /// In a word: what is to come of it.
    Word(&'static [u8]),
    Number(Part, u8),
    AfterValue,
    Done,
}

/// Where in a number; the count beside it is that of the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Minus,
    Zero,
    Whole,
    Dot,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Json {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Start,
            depth: 0,
            objects: 0,
            spaces: 0,
        }
    }

    /// Whether the object is whole.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Where these bytes lead; nothing if they may not come here.
    pub(super) fn after(mut self, bytes: &[u8]) -> Option<Self> {
        for byte in bytes {
            self = self.step(*byte)?;
        }
        Some(self)
    }

    /// Which tokens may come next, each given by its bytes; `plain` is [`plain`] of each.
    pub(super) fn allowed<'a>(&self, tokens: impl Iterator<Item = (&'a [u8], bool)>) -> Vec<bool> {
        let in_text = matches!(self.state, State::Text { .. });
        let mut first = [false; 256];
        for byte in 0..=u8::MAX {
            first[usize::from(byte)] = self.step(byte).is_some();
        }
        tokens
            .map(|(bytes, plain)| match bytes.first() {
                None => false,
                Some(_) if in_text && plain => true,
                Some(byte) => first[usize::from(*byte)] && self.after(bytes).is_some(),
            })
            .collect()
    }

    fn step(self, byte: u8) -> Option<Self> {
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') && self.takes_spaces() {
            let state = match self.state {
                State::Number(..) => State::AfterValue,
                state => state,
            };
            let spaces = self.spaces + 1;
            return (spaces <= MAX_SPACES).then_some(Self { state, spaces, ..self });
        }
        let next = self.significant(byte)?;
        Some(Self { spaces: 0, ..next })
    }

    fn takes_spaces(&self) -> bool {
        match self.state {
            State::FirstKey | State::Key | State::Colon | State::Value | State::FirstValue | State::AfterValue => true,
            State::Number(part, _) => part.may_end(),
            _ => false,
        }
    }

    fn significant(self, byte: u8) -> Option<Self> {
        match (self.state, byte) {
            (State::Start, b'{') => self.open(true),
            (State::FirstKey | State::Key, b'"') => Some(self.at(State::Text { key: true })),
            (State::FirstKey, b'}') | (State::FirstValue, b']') => Some(self.close()),
            (State::Colon, b':') => Some(self.at(State::Value)),
            (State::Value | State::FirstValue, _) => self.value(byte),
            (State::Text { key: true }, b'"') => Some(self.at(State::Colon)),
            (State::Text { key: false }, b'"') => Some(self.at(State::AfterValue)),
            (State::Text { key }, b'\\') => Some(self.at(State::Escape { key })),
            (State::Text { .. }, 0x20..) => Some(self),
            (State::Escape { key }, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Some(self.at(State::Text { key }))
            }
            (State::Escape { key }, b'u') => Some(self.at(State::Unicode {
                key,
                left: 4,
                after_d: false,
            })),
            (State::Unicode { key, left, after_d }, _) => {
                // \ud800 to \udfff are halves of pairs.
                if !byte.is_ascii_hexdigit() || (after_d && !matches!(byte, b'0'..=b'7')) {
                    return None;
                }
                Some(self.at(match left {
                    1 => State::Text { key },
                    _ => State::Unicode {
                        key,
                        left: left - 1,
                        after_d: left == 4 && matches!(byte, b'd' | b'D'),
                    },
                }))
            }
            (State::Word([expected, rest @ ..]), _) if byte == *expected => Some(self.at(match rest {
                [] => State::AfterValue,
                rest => State::Word(rest),
            })),
            (State::Number(part, digits), _) => match part.step(digits, byte) {
                Some((part, digits)) => Some(self.at(State::Number(part, digits))),
                None if part.may_end() => self.at(State::AfterValue).significant(byte),
                None => None,
            },
            (State::AfterValue, b',') => Some(self.at(if self.in_object() { State::Key } else { State::Value })),
            (State::AfterValue, b'}') if self.in_object() => Some(self.close()),
            (State::AfterValue, b']') if !self.in_object() => Some(self.close()),
            _ => None,
        }
    }

    fn value(self, byte: u8) -> Option<Self> {
        Some(match byte {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' => self.at(State::Text { key: false }),
            b't' => self.at(State::Word(b"rue")),
            b'f' => self.at(State::Word(b"alse")),
            b'n' => self.at(State::Word(b"ull")),
            b'-' => self.at(State::Number(Part::Minus, 0)),
            b'0' => self.at(State::Number(Part::Zero, 1)),
            b'1'..=b'9' => self.at(State::Number(Part::Whole, 1)),
            _ => return None,
        })
    }

    fn at(self, state: State) -> Self {
        Self { state, ..self }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn open(self, object: bool) -> Option<Self> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let bit = 1 << self.depth;
        Some(Self {
            state: if object { State::FirstKey } else { State::FirstValue },
            depth: self.depth + 1,
            objects: if object {
                self.objects | bit
            } else {
                self.objects & !bit
            },
            ..self
        })
    }

    fn close(self) -> Self {
        let depth = self.depth - 1;
        let state = if depth == 0 { State::Done } else { State::AfterValue };
        Self { state, depth, ..self }
    }
}

impl Part {
    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::ExponentDigits)
    }

    fn step(self, digits: u8, byte: u8) -> Option<(Self, u8)> {
        match (self, byte) {
            (Self::Minus, b'0') => Some((Self::Zero, 1)),
            (Self::Minus, b'1'..=b'9') => Some((Self::Whole, 1)),
            (Self::Zero | Self::Whole, b'.') => Some((Self::Dot, 0)),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some((Self::Exponent, 0)),
            (Self::Whole, b'0'..=b'9') if digits < MAX_DIGITS => Some((Self::Whole, digits + 1)),
            (Self::Dot | Self::Fraction, b'0'..=b'9') if digits < MAX_DIGITS => Some((Self::Fraction, digits + 1)),
            (Self::Exponent, b'+' | b'-') => Some((Self::ExponentSign, 0)),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') if digits < MAX_EXPONENT => {
                Some((Self::ExponentDigits, digits + 1))
            }
            _ => None,
        }
    }
}

/// Whether these bytes may stand in any text and leave it open. Parts of characters count: what does not become a whole one is
/// shown as U+FFFD.
pub(super) fn plain(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| !matches!(byte, ..0x20 | b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("{}")]
    #[case(r#"{"a":1}"#)]
    #[case("{ \"a\" : [ 1 , -0.5e-3, 0, 12E4 ] ,\n\t\"b\":{\"c\":[]},\"d\":[[],{}] }")]
    #[case(r#"{"é€🙂":"\"\\\/\b\f\n\r\t\u00e9\ud7ff\uE000","t":true,"f":false,"n":null}"#)]
    fn an_object_is_taken_to_its_end(#[case] text: &str) {
        let end = Json::new().after(text.as_bytes()).unwrap();
        assert!(end.is_done());
        assert_eq!(end.after(b" "), None, "nothing follows the end");
        for cut in 0..text.len() {
            assert!(!Json::new().after(&text.as_bytes()[..cut]).unwrap().is_done());
        }
    }

    #[rstest]
    #[case("[")]
    #[case(" {")]
    #[case("{a")]
    #[case("{,")]
    #[case(r#"{"a",")]"#)]
    #[case(r#"{"a":}"#)]
    #[case(r#"{"a":1,}"#)]
    #[case(r#"{"a":[1,]"#)]
    #[case(r#"{"a":[1}"#)]
    #[case(r#"{"a":01"#)]
    #[case(r#"{"a":1."#)]
    #[case(r#"{"a":.5"#)]
    #[case(r#"{"a":+1"#)]
    #[case(r#"{"a":nul}"#)]
    #[case(r#"{"a":"\x"#)]
    #[case(r#"{"a":"\ud800"#)]
    #[case("{\"a\":\"\n")]
    #[case(r#"{"a":1e999"#)]
    fn what_is_no_object_is_not_taken(#[case] text: &str) {
        let taken = Json::new().after(text.as_bytes());
        // A number may be cut, but not end here.
        assert!(taken.is_none_or(|json| json.after(b"}").is_none()), "{text}");
    }

    #[test]
    fn nesting_and_whitespace_have_a_limit() {
        let deep = "{\"a\":".to_owned() + &"[".repeat(63);
        assert!(Json::new().after(deep.as_bytes()).is_some());
        assert!(Json::new().after((deep + "[").as_bytes()).is_none());
        assert!(
            Json::new()
                .after(("{".to_owned() + &" ".repeat(41)).as_bytes())
                .is_none()
        );
    }

    proptest! {
        /// Whatever walk the automaton allows ends, once it is done, in what a strict parser takes.
        #[test]
        fn what_it_takes_is_json(choices in prop::collection::vec(any::<prop::sample::Index>(), 1..300)) {
            const BYTES: &[u8] = br#"{}[]:,"\/ntrufalse-+.eE0123456789 dDu"#;
            let (mut json, mut text) = (Json::new(), Vec::new());
            for choice in choices {
                let next: Vec<_> = BYTES.iter().filter_map(|byte| Some((*byte, json.step(*byte)?))).collect();
                let Some((byte, after)) = next.get(choice.index(next.len().max(1))) else { break };
                text.push(*byte);
                json = *after;
                let whole = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text);
                prop_assert_eq!(json.is_done(), whole.is_ok(), "{}", String::from_utf8_lossy(&text));
            }
        }

        /// And it takes all JSON that serde writes.
        #[test]
        fn it_takes_what_is_json(texts in prop::collection::vec("\\PC{0,8}", 0..5), numbers in prop::collection::vec(-1e9f64..1e9, 0..4)) {
            let numbers: Vec<f64> = numbers.into_iter().map(f64::round).collect();
            let object = serde_json::json!({"texts": texts, "numbers": numbers, "more": {"a": null, "b": [true, false, {}]}});
            for text in [object.to_string(), serde_json::to_string_pretty(&object).unwrap()] {
                prop_assert!(Json::new().after(text.as_bytes()).is_some_and(|json| json.is_done()), "{}", text);
            }
        }

        #[test]
        fn plain_tokens_are_a_shortcut_only(bytes in prop::collection::vec(any::<u8>(), 1..6)) {
            let json = Json::new().after(br#"{"a":""#).unwrap();
            if plain(&bytes) {
                prop_assert_eq!(json.after(&bytes), Some(json));
            }
            let allowed = json.allowed([(bytes.as_slice(), plain(&bytes))].into_iter());
            prop_assert_eq!(allowed[0], json.after(&bytes).is_some());
        }
    }
}

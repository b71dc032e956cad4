//! Reading single values of the file, each with the path to it.
//!
//! Values are read as leniently as the original reads them: `"3000"` is a number, `"yes"` is true, `null` is an absent key.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::report::Report;

/// How much of a wrong value is shown.
const SHOWN: usize = 40;

/// The keys of an object, in the order of the file.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Each).map(Self)
    }
}

/// A value of the file.
pub(super) struct Item<'a> {
    pub(super) path: String,
    raw: &'a RawValue,
    report: &'a Report,
    secret: bool,
}

impl<'a> Item<'a> {
    /// The whole file.
    pub(super) fn root(text: &'a str, report: &'a Report) -> Result<Self, serde_json::Error> {
        Ok(Self {
            path: String::new(),
            raw: serde_json::from_str(text)?,
            report,
            secret: false,
        })
    }

    /// The same value, never shown.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.raw.get()).ok()
    }

    /// Says that something else was expected here.
    pub(super) fn expected(&self, what: &str) {
        let raw = self.raw.get();
        let found = match raw.as_bytes().first() {
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            _ if self.secret => "something else".to_owned(),
            _ if raw.chars().count() > SHOWN => format!("{}…", raw.chars().take(SHOWN).collect::<String>()),
            _ => raw.to_owned(),
        };
        self.problem(format!("expected {what}, found {found}"));
    }

    /// Says that something is wrong here.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.report.problem(&self.path, message);
    }

    /// A text.
    pub(super) fn text(&self) -> Option<String> {
        let text = self.read();
        if text.is_none() {
            self.expected("a text");
        }
        text
    }

    /// A text, or a number or flag as the text that Python makes of it.
    pub(super) fn as_text(&self) -> Option<String> {
        match self.raw.get().as_bytes().first()? {
            b't' => Some("True".to_owned()),
            b'f' => Some("False".to_owned()),
            b'"' => self.read(),
            b'{' | b'[' => {
                self.expected("a text or a number");
                None
            }
            _ => Some(self.raw.get().to_owned()),
        }
    }

    /// The number as it is written, in quotes or not.
    fn number(&self) -> Option<String> {
        match self.raw.get().as_bytes().first()? {
            b'"' => self.read::<String>().map(|text| text.trim().to_owned()),
            b'-' | b'0'..=b'9' => Some(self.raw.get().to_owned()),
            _ => None,
        }
    }

    /// A whole number in a range, which is called `what`.
    pub(super) fn whole(&self, range: RangeInclusive<u64>, what: &str) -> Option<u64> {
        let number = self.number().and_then(|text| {
            let whole = text
                .split_once('.')
                .filter(|(_, rest)| rest.bytes().all(|digit| digit == b'0'));
            whole.map_or(text.as_str(), |(whole, _)| whole).parse().ok()
        });
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.expected(what);
        }
        number
    }

    /// A whole number that may be larger than 64 bits: its decimal digits.
    pub(super) fn digits(&self) -> Option<String> {
        // 2^256 has 78 digits.
        let digits = self
            .number()
            .filter(|text| (1..=78).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit()));
        if digits.is_none() {
            self.expected("a whole number in decimal digits");
        }
        digits
    }

    /// Whether it is the empty text.
    pub(super) fn is_empty(&self) -> bool {
        self.raw.get() == "\"\""
    }

    /// Whether it is -1, which the original takes for an absent number.
    pub(super) fn is_absent_number(&self) -> bool {
        self.number().is_some_and(|number| number == "-1")
    }

    /// Seconds, with a fraction or without, in a range.
    pub(super) fn seconds(&self, range: RangeInclusive<f64>) -> Option<Duration> {
        let seconds = self.number().and_then(|text| text.parse::<f64>().ok());
        let seconds = seconds.filter(|seconds| range.contains(seconds));
        if seconds.is_none() {
            self.expected(&format!("seconds between {} and {}", range.start(), range.end()));
        }
        seconds.map(Duration::from_secs_f64)
    }

    /// True or false.
    pub(super) fn flag(&self) -> Option<bool> {
        let text = self.as_text_quietly().to_lowercase();
        let flag = match text.as_str() {
            "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
            "false" | "0" | "no" | "off" | "n" | "f" => Some(false),
            _ => None,
        };
        if flag.is_none() {
            self.expected("true or false");
        }
        flag
    }

    fn as_text_quietly(&self) -> String {
        self.read::<String>().unwrap_or_else(|| self.raw.get().to_owned())
    }

    /// A list of values.
    pub(super) fn list(&self) -> Vec<Item<'a>> {
        let Some(list) = self.read::<Vec<&'a RawValue>>() else {
            self.expected("a list");
            return Vec::new();
        };
        let item = |(index, raw)| Item {
            path: format!("{}[{index}]", self.path),
            raw,
            report: self.report,
            secret: self.secret,
        };
        list.into_iter().enumerate().map(item).collect()
    }

    /// A list of texts. Those that are none are told of and left out.
    pub(super) fn texts(&self) -> Vec<(Item<'a>, String)> {
        let texts = self.list().into_iter();
        texts.filter_map(|item| item.text().map(|text| (item, text))).collect()
    }

    /// An object; an empty one if it is none.
    pub(super) fn object(&self) -> Object<'a> {
        let fields = self.read::<Fields<'a>>();
        if fields.is_none() {
            self.expected("an object");
        }
        Object {
            path: self.path.clone(),
            fields: fields.map(|fields| fields.0).unwrap_or_default(),
            report: self.report,
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        self.raw.get().starts_with('[')
    }
}

/// An object of the file. The keys that are asked for are the known ones.
pub(super) struct Object<'a> {
    path: String,
    fields: Vec<(String, &'a RawValue)>,
    report: &'a Report,
}

impl<'a> Object<'a> {
    /// The path to one of its keys.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Takes the value of a key. `null` is none, and so is an absent one.
    pub(super) fn take(&mut self, key: &str) -> Option<Item<'a>> {
        let path = self.path(key);
        self.report.known(&path);
        let mut found = None;
        // The last one of several, as JSON readers do.
        while let Some(index) = self.fields.iter().rposition(|(name, _)| name == key) {
            let (_, raw) = self.fields.remove(index);
            if found.is_some() {
                self.report
                    .warning(&path, "is there more than once; the last one counts");
            } else {
                found = Some(raw);
            }
        }
        let raw = found.filter(|raw| raw.get() != "null")?;
        Some(Item {
            path,
            raw,
            report: self.report,
            secret: false,
        })
    }

    /// Takes an object; an empty one where there is none.
    pub(super) fn section(&mut self, key: &str) -> Object<'a> {
        let found = self.take(key).map(|item| item.object());
        found.unwrap_or_else(|| Object {
            path: self.path(key),
            fields: Vec::new(),
            report: self.report,
        })
    }

    /// Takes a text, which may be empty.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key)?.text()
    }

    /// Takes a flag.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.take(key)?.flag()
    }

    /// Takes a number of something, from 1 to a limit.
    pub(super) fn count(&mut self, key: &str, most: u64) -> Option<u64> {
        self.take(key)?
            .whole(1..=most, &format!("a whole number between 1 and {most}"))
    }

    /// Takes seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<Duration> {
        self.take(key)?.seconds(range)
    }

    /// Takes the texts of a list.
    pub(super) fn texts(&mut self, key: &str) -> Vec<(Item<'a>, String)> {
        self.take(key).map(|item| item.texts()).unwrap_or_default()
    }

    /// The keys that are left, whatever they are called.
    pub(super) fn rest(&mut self) -> Vec<(String, Item<'a>)> {
        let fields = std::mem::take(&mut self.fields).into_iter();
        let item = |(key, raw): (String, &'a RawValue)| {
            let path = self.path(&key);
            let (report, secret) = (self.report, false);
            (
                key,
                Item {
                    path,
                    raw,
                    report,
                    secret,
                },
            )
        };
        fields.map(item).collect()
    }

    /// Says that the keys that are left are unknown.
    pub(super) fn end(self) {
        for (key, _) in &self.fields {
            self.report.unknown(self.path(key));
        }
    }
}

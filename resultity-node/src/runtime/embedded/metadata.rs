//! Reading what a GGUF file says of its model.

use candle_core::quantized::gguf_file::{Content, Value};

use super::Trouble;

/// The keys and values at the head of the file.
pub(super) struct Metadata<'a>(&'a std::collections::HashMap<String, Value>);

impl<'a> Metadata<'a> {
    pub(super) fn of(content: &'a Content) -> Self {
        Self(&content.metadata)
    }

    /// A text that must be there.
    pub(super) fn text(&self, key: &str) -> Result<&'a str, Trouble> {
        self.optional_text(key).ok_or_else(|| missing(key))
    }

    pub(super) fn optional_text(&self, key: &str) -> Option<&'a str> {
        match self.0.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number without sign, whatever its width.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        integer(self.0.get(key)?)
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::F32(value) => Some(f64::from(*value)),
            Value::F64(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A list of texts that must be there.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, Trouble> {
        let list = self.list(key)?.iter().map(|value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        });
        list.collect::<Option<_>>()
            .ok_or_else(|| Trouble::Invalid(format!("{key} is not a list of texts")))
    }

    /// A list of numbers that must be there.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<u64>, Trouble> {
        let list = self.list(key)?.iter().map(integer);
        list.collect::<Option<_>>()
            .ok_or_else(|| Trouble::Invalid(format!("{key} is not a list of numbers")))
    }

    fn list(&self, key: &str) -> Result<&'a [Value], Trouble> {
        match self.0.get(key) {
            Some(Value::Array(values)) => Ok(values),
            _ => Err(missing(key)),
        }
    }
}

fn missing(key: &str) -> Trouble {
    Trouble::Invalid(format!("it does not say {key}"))
}

fn integer(value: &Value) -> Option<u64> {
    match *value {
        Value::U8(value) => Some(value.into()),
        Value::U16(value) => Some(value.into()),
        Value::U32(value) => Some(value.into()),
        Value::U64(value) => Some(value),
        Value::I8(value) => value.try_into().ok(),
        Value::I16(value) => value.try_into().ok(),
        Value::I32(value) => value.try_into().ok(),
        Value::I64(value) => value.try_into().ok(),
        _ => None,
    }
}

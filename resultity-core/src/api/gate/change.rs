//! A field of an object that is to be changed: left out, `null`, or a new value.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is to become of a field that may be empty. On the wire: left out, `null`, or the new value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is emptied.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// Whether nothing is to be changed.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The same with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(change(value)),
        }
    }

    /// The same with another value, if there can be one.
    pub fn try_map<U, E>(self, change: impl FnOnce(T) -> Result<U, E>) -> Result<Change<U>, E> {
        Ok(match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(change(value)?),
        })
    }

    /// How the field is afterwards, if it is `now` before.
    pub fn applied_to(self, now: Option<T>) -> Option<T> {
        match self {
            Self::Keep => now,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T> From<Option<T>> for Change<T> {
    /// Nothing empties the field.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    /// A field that stays has to be left out by `skip_serializing_if`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    /// A field that is left out has to be kept by `default`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.into())
    }
}

/// Amounts as decimal texts. For `#[serde(with = "change::decimal")]`.
pub(super) mod decimal {
    use serde::{Deserializer, Serializer};

    use super::Change;
    use crate::credits::{Credits, decimal_if_any};

    /// Writes the text, or null.
    pub(crate) fn serialize<S: Serializer>(change: &Change<Credits>, serializer: S) -> Result<S::Ok, S::Error> {
        decimal_if_any::serialize(&change.clone().applied_to(None), serializer)
    }

    /// Reads the text, or null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Change<Credits>, D::Error> {
        Ok(decimal_if_any::deserialize(deserializer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Fields {
        #[serde(skip_serializing_if = "Change::is_keep")]
        number: Change<u32>,
        #[serde(with = "decimal", skip_serializing_if = "Change::is_keep")]
        amount: Change<crate::credits::Credits>,
    }

    #[test]
    fn a_field_is_left_out_emptied_or_set() {
        let half = crate::credits::Credits::from_micros(500_000);
        for (json, number, amount) in [
            (json!({}), Change::Keep, Change::Keep),
            (json!({"number": null, "amount": null}), Change::Clear, Change::Clear),
            (json!({"number": 5, "amount": "0.5"}), Change::Set(5), Change::Set(half)),
        ] {
            let fields = Fields { number, amount };
            assert_eq!(serde_json::to_value(&fields).unwrap(), json);
            assert_eq!(serde_json::from_value::<Fields>(json).unwrap(), fields);
        }
    }

    #[test]
    fn a_change_is_applied() {
        assert_eq!(Change::Keep.applied_to(Some(1)), Some(1));
        assert_eq!(Change::Clear.applied_to(Some(1)), None);
        assert_eq!(Change::Set(2).applied_to(None), Some(2));
    }
}

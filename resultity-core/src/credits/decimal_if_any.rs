//! Credits as people write them, or null. For `#[serde(with = "credits::decimal_if_any")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use super::Credits;

/// Writes the text, or null.
pub fn serialize<S: Serializer>(credits: &Option<Credits>, serializer: S) -> Result<S::Ok, S::Error> {
    match credits {
        Some(credits) => serializer.collect_str(credits),
        None => serializer.serialize_none(),
    }
}

/// Reads the text, or null.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Credits>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| text.parse().map_err(D::Error::custom))
        .transpose()
}

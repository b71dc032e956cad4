//! Credits as people write them: a decimal text such as `"1.5"`. For `#[serde(with = "credits::decimal")]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use super::Credits;

/// Writes the text.
pub fn serialize<S: Serializer>(credits: &Credits, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(credits)
}

/// Reads the text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Credits, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

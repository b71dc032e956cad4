//! The limits of a key, as a form asks for them: the same fields for a new key and for one that is there.

use std::num::NonZeroU32;

use maud::{Markup, html};
use resultity_core::api::gate::ApiKey;
use resultity_core::credits::Credits;
use resultity_core::error::ApiError;

use super::super::kit::form::{Field, Fields, Filled};

/// The names of the fields.
pub(super) const FIELDS: [&str; 6] = [
    "label",
    "requests_per_minute",
    "tokens_per_minute",
    "spend_limit",
    "models",
    "ip_addresses",
];

/// What a form says of a key's limits: what is empty is no limit.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) requests_per_minute: Option<NonZeroU32>,
    pub(super) tokens_per_minute: Option<NonZeroU32>,
    pub(super) spend_limit: Option<Credits>,
    pub(super) models: Option<Vec<String>>,
    pub(super) ip_addresses: Option<Vec<String>>,
}

impl Limits {
    pub(super) fn read(fields: &Fields) -> Result<Self, ApiError> {
        Ok(Self {
            requests_per_minute: fields.parsed("requests_per_minute", "a whole number above 0")?,
            tokens_per_minute: fields.parsed("tokens_per_minute", "a whole number above 0")?,
            spend_limit: fields.parsed("spend_limit", "an amount of credits, such as 12.50")?,
            models: list(fields.get("models")),
            ip_addresses: list(fields.get("ip_addresses")),
        })
    }
}

/// Words between commas or spaces; none, if there are none.
fn list(text: &str) -> Option<Vec<String>> {
    let words = text.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

/// The fields, with what the key has now, if there is one.
pub(super) fn fields(filled: &Filled, key: Option<&ApiKey>) -> Markup {
    let number = |number: Option<NonZeroU32>| number.map(|number| number.to_string()).unwrap_or_default();
    let words = |words: Option<&Vec<String>>| words.map(|words| words.join(", ")).unwrap_or_default();
    let label = key.map_or("", |key| &key.label);
    let requests = number(key.and_then(|key| key.requests_per_minute));
    let tokens = number(key.and_then(|key| key.tokens_per_minute));
    let spend = key
        .and_then(|key| key.spend_limit)
        .map(|limit| limit.to_string())
        .unwrap_or_default();
    let models = words(key.and_then(|key| key.models.as_ref()));
    let addresses = words(key.and_then(|key| key.ip_addresses.as_ref()));
    html! {
        (Field::text("label", "Label").hint("What uses this key.").value(label).show(filled))
        details open[key.is_some() || filled.error.is_some()] {
            summary { "Limits" }
            (Field::text("requests_per_minute", "Requests a minute").kind("number", "off").optional().value(&requests).show(filled))
            (Field::text("tokens_per_minute", "Tokens a minute").kind("number", "off").optional().value(&tokens).show(filled))
            (Field::text("spend_limit", "Credits that it may spend in all").optional().value(&spend).show(filled))
            (Field::text("models", "Models that it may ask").hint("Names with commas between; all, if empty.").optional().value(&models).show(filled))
            (Field::text("ip_addresses", "Addresses that it may come from")
                .hint("Such as 203.0.113.7 or 203.0.113.0/24, with commas between; all, if empty.").optional().value(&addresses).show(filled))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_between_commas_or_spaces() {
        assert_eq!(list(" a, b\nc,, "), Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(list(" , "), None);
    }
}

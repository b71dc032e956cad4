//! The Gate API: accounts, namespaces and credits. So far, what an administrator grants.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::error::ApiError;
use crate::id::NamespaceId;

/// `POST /gate/v1/admin/credits`: who gets how much. Exactly one of `api_key` and `namespace` names who.
///
/// ```
/// use resultity_core::api::gate::CreditGrant;
/// let grant: CreditGrant = serde_json::from_str(r#"{"api_key": "rk_test_x", "credits": 10.5}"#)?;
/// assert_eq!(grant.credits.micros(), 10_500_000);
/// assert_eq!(serde_json::to_value(&grant)?["credits"], "10.5");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditGrant {
    /// An API key: the namespace it belongs to is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// The namespace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// How many credits, as a decimal number or text with at most six decimals; never read through a float.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub credits: Credits,
    /// Why: at most 500 characters. Whoever owns the namespace sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// 1 to 255 printable characters: a repeat by the same administrator with the same key grants nothing more. The header
    /// `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl CreditGrant {
    /// A grant to the namespace that this API key belongs to.
    pub fn to_key(api_key: impl Into<String>, credits: Credits) -> Self {
        Self {
            api_key: Some(api_key.into()),
            namespace: None,
            credits,
            reason: None,
            idempotency_key: None,
        }
    }

    /// A grant to this namespace.
    pub const fn to_namespace(namespace: NamespaceId, credits: Credits) -> Self {
        Self {
            api_key: None,
            namespace: Some(namespace),
            credits,
            reason: None,
            idempotency_key: None,
        }
    }

    /// Under this key, however often it is sent.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// For this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl fmt::Debug for CreditGrant {
    /// The key is a secret: only whether there is one is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreditGrant")
            .field("api_key", &self.api_key.as_ref().map(|_| "[hidden]"))
            .field("namespace", &self.namespace)
            .field("credits", &self.credits)
            .field("reason", &self.reason)
            .field("idempotency_key", &self.idempotency_key)
            .finish()
    }
}

/// What was granted. Amounts are texts in credits, such as `"10.5"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditGranted {
    /// Who got it.
    pub namespace: NamespaceId,
    /// How much.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub granted: Credits,
    /// What may be spent now.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub balance: Credits,
}

/// Granting credits: for administrators.
#[async_trait]
pub trait GrantApi: Send + Sync {
    /// Adds credits to a namespace.
    async fn grant_credits(&self, grant: CreditGrant) -> Result<CreditGranted, ApiError>;
}

/// Credits as people write them: a decimal text; when read, a JSON number will do too.
mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::value::RawValue;

    use crate::credits::Credits;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(super) fn serialize<S: Serializer>(credits: &Credits, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(credits)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Credits, D::Error> {
        // The raw text of a number, because a float cannot hold every amount.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text: String = if raw.get().starts_with('"') {
            serde_json::from_str(raw.get()).map_err(D::Error::custom)?
        } else {
            raw.get().to_owned()
        };
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_exactly_from_a_number_or_a_text() {
        let read = |credits: &str| serde_json::from_str::<CreditGrant>(&format!(r#"{{"credits": {credits}}}"#));
        for (text, micros) in [
            ("10", 10_000_000),
            ("\"10\"", 10_000_000),
            ("0.000001", 1),
            ("9007199254740.993001", 9_007_199_254_740_993_001),
            ("\"9007199254740.993001\"", 9_007_199_254_740_993_001),
            ("-1.5", -1_500_000),
        ] {
            assert_eq!(read(text).unwrap().credits.micros(), micros, "{text}");
        }
        for bad in ["1e3", "null", "true", "\"\"", "\"a\"", "[]", "0.0000001", "\" 1\""] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("expected an amount of credits"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_answer_shows_amounts_as_texts() {
        let answer = CreditGranted {
            namespace: NamespaceId::from_uuid(uuid::Uuid::nil()),
            granted: Credits::from_micros(1_500_000),
            balance: Credits::from_whole(12),
        };
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            json,
            r#"{"namespace":"00000000-0000-0000-0000-000000000000","granted":"1.5","balance":"12"}"#
        );
        assert_eq!(serde_json::from_str::<CreditGranted>(&json).unwrap(), answer);
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", CreditGrant::to_key("rk_test_secret", Credits::ZERO));
        assert!(!shown.contains("secret"), "{shown}");
    }
}

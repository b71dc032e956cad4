//! Corrections: a mistake in the books is never edited, but compensated.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::Page;
use crate::credits::{self, Credits};
use crate::error::ApiError;
use crate::id::NamespaceId;

use super::{CreditQuery, LedgerLine};

/// `POST /gate/v1/admin/corrections`: either `transaction` alone, which is undone, or `namespace` with `amount`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewCorrection {
    /// The number of the transaction that is to be undone, as in the ledger. It happens once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The namespace that is to gain or lose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// What it is to gain, or to lose if negative.
    #[serde(default, with = "credits::decimal_if_any", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub amount: Option<Credits>,
    /// Why: 1 to 500 characters. Whoever owns the namespace sees it.
    pub reason: String,
    /// 1 to 255 printable characters: a repeat with the same key gives the first outcome. The header `Idempotency-Key` does
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl NewCorrection {
    /// Undoes a transaction.
    pub fn of_transaction(transaction: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            transaction: Some(transaction.into()),
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// Gives to a namespace, or takes from it if negative.
    pub fn of_namespace(namespace: NamespaceId, amount: Credits, reason: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace),
            amount: Some(amount),
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// Under this key, however often it is sent.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// A correction as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Correction {
    /// The number of its transaction, as a text.
    pub transaction: String,
    /// The transaction that it undoes, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Who gained and lost what.
    pub entries: Vec<CorrectionEntry>,
}

/// One line of a correction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CorrectionEntry {
    /// Whose, such as `namespace:<id>`, `node:<environment>:<id>` or `issuance:<environment>`.
    pub account: String,
    /// What it gained, or lost if negative.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
}

/// Corrections: for administrators.
#[async_trait]
pub trait CorrectionsApi: Send + Sync {
    /// Compensates. Whoever would have less than nothing then is left alone, and it fails with a conflict.
    async fn correct(&self, request: NewCorrection) -> Result<Correction, ApiError>;

    /// A page of the ledger of any namespace.
    async fn ledger_of(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError>;
}

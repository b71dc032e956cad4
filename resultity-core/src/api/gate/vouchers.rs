//! Vouchers: codes that are worth credits. An administrator makes them, accounts redeem them.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::Page;
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{NamespaceId, VoucherId};

use super::{CreditQuery, CreditsReceived, InEnvironment};

/// A voucher, without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Voucher {
    /// Names it.
    pub id: VoucherId,
    /// Where it counts.
    pub environment: Environment,
    /// What each use is worth.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub credits: Credits,
    /// How many accounts may redeem it.
    pub max_uses: u32,
    /// How many have.
    pub uses: u32,
    /// What administrators call it.
    pub label: String,
    /// Until when it can be redeemed: seconds since the Unix epoch; null: for ever.
    pub expires_at: Option<i64>,
    /// When it was revoked: seconds since the Unix epoch.
    pub revoked_at: Option<i64>,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// A voucher with its code, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VoucherWithCode {
    /// The voucher.
    #[serde(flatten)]
    pub voucher: Voucher,
    /// What redeems it, such as `ABCDE-FGHJK-MNPQR-STVWX`.
    pub code: String,
}

impl fmt::Debug for VoucherWithCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoucherWithCode")
            .field("voucher", &self.voucher)
            .field("code", &"[hidden]")
            .finish()
    }
}

/// `POST /gate/v1/admin/vouchers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CreateVoucher {
    /// What each use is worth; more than 0.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub credits: Credits,
    /// Where it is to count; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many accounts may redeem it, each once: 1 to 100000; 1 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Until when: seconds since the Unix epoch; for ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// What administrators call it: at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Why, for the audit log: at most 500 characters.
    pub reason: String,
}

impl CreateVoucher {
    /// One for a single use.
    pub fn new(credits: Credits, reason: impl Into<String>) -> Self {
        Self {
            credits,
            environment: None,
            max_uses: None,
            expires_at: None,
            label: None,
            reason: reason.into(),
        }
    }

    /// To count there.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// For so many accounts.
    #[must_use]
    pub fn max_uses(mut self, uses: u32) -> Self {
        self.max_uses = Some(uses);
        self
    }

    /// Until then: seconds since the Unix epoch.
    #[must_use]
    pub fn expires_at(mut self, seconds: i64) -> Self {
        self.expires_at = Some(seconds);
        self
    }

    /// Under this name.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// `POST /gate/v1/vouchers/redeem`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RedeemVoucher {
    /// The code; case, hyphens and spaces don't matter.
    pub code: String,
    /// The namespace that is to get the credits; one of the voucher's environment.
    pub namespace: NamespaceId,
}

impl RedeemVoucher {
    /// This code, for this namespace.
    pub fn new(code: impl Into<String>, namespace: NamespaceId) -> Self {
        Self {
            code: code.into(),
            namespace,
        }
    }
}

impl fmt::Debug for RedeemVoucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedeemVoucher")
            .field("code", &"[hidden]")
            .field("namespace", &self.namespace)
            .finish()
    }
}

/// Vouchers.
#[async_trait]
pub trait VouchersApi: Send + Sync {
    /// Redeems a code. An account that redeems it for the same namespace again gets the first outcome and no credits.
    async fn redeem_voucher(&self, request: RedeemVoucher) -> Result<CreditsReceived, ApiError>;

    /// Makes a voucher; its code is in this answer alone. For administrators.
    async fn create_voucher(&self, request: CreateVoucher) -> Result<VoucherWithCode, ApiError>;

    /// A page of the vouchers of an environment. For administrators.
    async fn vouchers(&self, query: CreditQuery) -> Result<Page<Voucher>, ApiError>;

    /// Revokes one: what was redeemed stays. For administrators.
    async fn revoke_voucher(&self, id: VoucherId, environment: InEnvironment) -> Result<Voucher, ApiError>;
}

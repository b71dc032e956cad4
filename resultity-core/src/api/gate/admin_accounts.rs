//! The accounts of the network, as administrators see them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::api::page::{DEFAULT_PAGE, MAX_PAGE, Order, Page};
use crate::error::ApiError;
use crate::id::AccountId;

/// An account, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AdminAccount {
    /// Names it.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// Its e-mail address, if it has one that was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What it is in the network.
    pub role: Role,
    /// Since when it may not do anything: seconds since the Unix epoch.
    pub suspended_at: Option<i64>,
    /// How many wallets it has.
    pub wallets: u64,
    /// How many namespaces it has, over all environments.
    pub namespaces: u64,
    /// How many API keys it has that were not revoked.
    pub keys: u64,
    /// How many nodes it has bound, over all environments.
    pub nodes: u64,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// Which accounts, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct AccountsQuery {
    /// Only those whose name or e-mail address holds this, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Only those with this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only those that are suspended, or only those that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<AccountId>,
    /// Which end comes first: `desc` (newest first) if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl AccountsQuery {
    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// `POST /gate/v1/admin/accounts/{id}`: what is to be different. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangeAccount {
    /// Whether it may not do anything: nobody can sign in to it, and its sessions, access tokens and API keys stop at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// What it is in the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Why: 1 to 500 characters, for the audit log.
    pub reason: String,
}

impl ChangeAccount {
    /// It may not do anything.
    pub fn suspend(reason: impl Into<String>) -> Self {
        Self {
            suspended: Some(true),
            role: None,
            reason: reason.into(),
        }
    }

    /// It may do again what it might before.
    pub fn restore(reason: impl Into<String>) -> Self {
        Self {
            suspended: Some(false),
            ..Self::suspend(reason)
        }
    }

    /// It becomes this.
    pub fn role(role: Role, reason: impl Into<String>) -> Self {
        Self {
            suspended: None,
            role: Some(role),
            reason: reason.into(),
        }
    }
}

/// The accounts of the network: for administrators.
#[async_trait]
pub trait AdminAccountsApi: Send + Sync {
    /// A page of them.
    async fn accounts(&self, query: AccountsQuery) -> Result<Page<AdminAccount>, ApiError>;

    /// One of them.
    async fn account_of(&self, id: AccountId) -> Result<AdminAccount, ApiError>;

    /// Suspends, restores, promotes or demotes one. Nobody does it to their own account, and one administrator stays.
    async fn change_account(&self, id: AccountId, request: ChangeAccount) -> Result<AdminAccount, ApiError>;
}

//! The accounts of the network, as administrators see and change them.

use async_trait::async_trait;
use resultity_core::api::gate::Role;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;

use crate::store::StoreError;
use crate::store::admin::AuditEntry;

/// An account with what it has, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountOverview {
    /// Names it.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// Its e-mail address.
    pub email: Option<String>,
    /// What it is in the network.
    pub role: Role,
    /// Since when it may not do anything.
    pub suspended: Option<Timestamp>,
    /// Its wallets.
    pub wallets: u64,
    /// Its namespaces, over all environments.
    pub namespaces: u64,
    /// Its keys that were not revoked.
    pub keys: u64,
    /// Its nodes, over all environments.
    pub nodes: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// Which accounts.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// Only those whose name or address holds this, in any case.
    pub search: Option<String>,
    /// Only those with this role.
    pub role: Option<Role>,
    /// Only those that are suspended, or only those that are not.
    pub suspended: Option<bool>,
    /// Only those after this one.
    pub after: Option<AccountId>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// What is to be different about an account.
#[derive(Debug, Clone)]
pub struct AccountChange {
    /// Which.
    pub id: AccountId,
    /// Whether it may not do anything.
    pub suspended: Option<bool>,
    /// What it is in the network.
    pub role: Option<Role>,
    /// Written if something changed.
    pub audit: AuditEntry,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChanged {
    /// It is so now.
    Done(Box<AccountOverview>),
    /// No administrator that may act would be left.
    LastAdministrator,
    /// There is no such account.
    Unknown,
}

/// The accounts of the network.
#[async_trait]
pub trait AdminAccountStore: Send + Sync {
    /// Some of them.
    async fn accounts(&self, filter: AccountFilter) -> Result<Vec<AccountOverview>, StoreError>;

    /// One of them.
    async fn account_overview(&self, id: AccountId) -> Result<Option<AccountOverview>, StoreError>;

    /// Changes one; an administrator who may act stays. When an account is suspended its sessions and access tokens end for
    /// good, its keys admit nothing, its nodes may not work and its webhooks wait until it is restored.
    async fn change_account(&self, change: AccountChange) -> Result<AccountChanged, StoreError>;
}

//! Namespaces and API keys as their owners manage them.

use std::num::NonZeroU32;

use async_trait::async_trait;
use resultity_core::api::gate::{Change, KeyStatus, Retention};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, KeyId, NamespaceId};
use resultity_core::networks::Networks;

use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, Balance, KeyHash, KeyLimits, StoreError};

/// A namespace, to be made.
#[derive(Debug, Clone)]
pub struct NewNamespace {
    /// Names it.
    pub id: NamespaceId,
    /// Whose it is to be.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// When.
    pub now: Timestamp,
}

/// A namespace, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// Names it.
    pub id: NamespaceId,
    /// What its owner calls it.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// How many of its keys were not revoked and have not ended.
    pub keys: u32,
    /// What is kept of its requests and answers.
    pub retention: Retention,
    /// For how many days, where that is everything.
    pub retention_days: u32,
    /// How many bytes of requests and answers are kept for it, without its files.
    pub kept_bytes: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// What became of a namespace that was to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceMade {
    /// It is there.
    Made(NamespaceRecord),
    /// The account has one of this name in this environment.
    NameTaken,
    /// There are as many as there may be.
    TooMany,
    /// No such account.
    UnknownAccount,
}

/// What is to be changed about a namespace.
#[derive(Debug, Clone, Default)]
pub struct NamespaceChange {
    /// What its owner calls it.
    pub name: Option<String>,
    /// What is kept of its requests and answers.
    pub retention: Option<Retention>,
    /// For how many days, where that is everything.
    pub retention_days: Option<u32>,
}

/// What became of a namespace that was to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceChanged {
    /// How it is now.
    Changed(NamespaceRecord),
    /// Nothing is to be kept, but a job in the background or a batch is under way: nothing was changed.
    Busy,
    /// The account has another one of this name in this environment.
    NameTaken,
    /// No such namespace of this account.
    Unknown,
}

/// What became of a namespace that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceDeletion {
    /// It is gone, and its keys with it: the hashes of those that worked.
    Deleted {
        /// How many keys were revoked.
        keys: u32,
        /// What their secrets are known by.
        hashes: Vec<KeyHash>,
    },
    /// It has credits, or a job that has not ended.
    NotEmpty {
        /// What it has.
        balance: Balance,
    },
    /// No such namespace of this account.
    Unknown,
}

/// A key, to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Names it.
    pub id: KeyId,
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// SHA-256 of its secret.
    pub hash: KeyHash,
    /// By what its owner recognises it.
    pub hint: String,
    /// What its owner calls it.
    pub label: String,
    /// What it may do.
    pub limits: KeyLimits,
    /// When.
    pub now: Timestamp,
}

/// A key, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDetails {
    /// Names it.
    pub id: KeyId,
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Whose it is.
    pub account: AccountId,
    /// Where it counts.
    pub environment: Environment,
    /// What its owner calls it.
    pub label: String,
    /// By what its owner recognises it; empty: not known.
    pub hint: String,
    /// SHA-256 of its secret.
    pub hash: KeyHash,
    /// SHA-256 of the secret before, and until when that one works.
    pub previous: Option<(KeyHash, Timestamp)>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// What it may do.
    pub limits: KeyLimits,
    /// What was spent and is held since it has a limit.
    pub spent: Credits,
}

impl KeyDetails {
    /// What its secrets are known by.
    pub fn hashes(&self) -> impl Iterator<Item = KeyHash> {
        std::iter::once(self.hash).chain(self.previous.map(|(hash, _)| hash))
    }

    /// Whether it works.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked.is_some() {
            KeyStatus::Revoked
        } else if self.limits.is_expired(now) {
            KeyStatus::Expired
        } else {
            KeyStatus::Active
        }
    }
}

/// What became of a key that was to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMade {
    /// It is there.
    Made(Box<KeyDetails>),
    /// Its namespace has as many as it may.
    TooMany,
    /// No such namespace of this account.
    UnknownNamespace,
}

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    /// Of this account.
    pub account: AccountId,
    /// Of this environment.
    pub environment: Environment,
    /// Of this namespace alone.
    pub namespace: Option<NamespaceId>,
    /// Only these.
    pub status: Option<KeyStatus>,
    /// The time that says which have ended.
    pub now: Timestamp,
}

/// What is to be changed about a key.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// What its owner calls it.
    pub label: Option<String>,
    /// When it ends.
    pub expires_at: Change<Timestamp>,
    /// Requests a minute.
    pub requests_per_minute: Change<NonZeroU32>,
    /// Tokens a minute.
    pub tokens_per_minute: Change<NonZeroU32>,
    /// The most that may be spent with it.
    pub spend_limit: Change<Credits>,
    /// The models that it may ask.
    pub models: Change<Vec<String>>,
    /// Where it may be used from.
    pub addresses: Change<Networks>,
}

/// What became of a key that was to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChanged {
    /// How it is now.
    Changed(Box<KeyDetails>),
    /// It was revoked, and stays as it is.
    Revoked,
    /// No such key of this account.
    Unknown,
}

/// A new secret for a key.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// SHA-256 of it.
    pub hash: KeyHash,
    /// By what its owner recognises it.
    pub hint: String,
    /// Until when the one before works.
    pub previous_until: Timestamp,
}

/// What became of a key that was to have a new secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRotated {
    /// How it is now.
    Rotated {
        /// The key.
        key: Box<KeyDetails>,
        /// The secrets that it had until now: they end, or will.
        outdated: Vec<KeyHash>,
    },
    /// It was revoked, and stays as it is.
    Revoked,
    /// No such key of this account.
    Unknown,
}

/// Namespaces and API keys as their owners manage them. Where a verb names an account, whatever belongs to another one is not
/// there. Each line of the audit log is completed by the verb (environment, before, after) and written only if it changed
/// something.
#[async_trait]
pub trait TenancyStore: Send + Sync {
    /// Makes a namespace, unless the account has `most` in its environment.
    async fn create_namespace(
        &self,
        namespace: NewNamespace,
        most: u32,
        audit: AuditEntry,
    ) -> Result<NamespaceMade, StoreError>;

    /// The account's namespaces of this environment. `now` says which of their keys have ended.
    async fn namespaces(
        &self,
        account: AccountId,
        environment: Environment,
        page: PageOf<NamespaceId>,
        now: Timestamp,
    ) -> Result<Vec<NamespaceRecord>, StoreError>;

    /// One of the account's namespaces.
    async fn namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        now: Timestamp,
    ) -> Result<Option<NamespaceRecord>, StoreError>;

    /// The account's namespace of this name.
    async fn namespace_named(
        &self,
        account: AccountId,
        environment: Environment,
        name: &str,
    ) -> Result<Option<NamespaceId>, StoreError>;

    /// Changes a namespace. What is kept beyond a stricter retention is deleted by the next
    /// [`purge`](crate::store::DetachedStore::purge); its files at once, where nothing is to be kept.
    async fn update_namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        change: NamespaceChange,
        audit: AuditEntry,
    ) -> Result<NamespaceChanged, StoreError>;

    /// Deletes a namespace that has nothing: its keys are revoked, its webhooks disabled, its files deleted; what is kept of
    /// its requests and answers goes with the next [`purge`](crate::store::DetachedStore::purge).
    async fn delete_namespace(
        &self,
        account: AccountId,
        id: NamespaceId,
        audit: AuditEntry,
    ) -> Result<NamespaceDeletion, StoreError>;

    /// Makes a key in one of the account's namespaces, unless that has `most` that were not revoked.
    async fn create_key(
        &self,
        account: AccountId,
        key: NewKey,
        most: u32,
        audit: AuditEntry,
    ) -> Result<KeyMade, StoreError>;

    /// The account's keys.
    async fn keys(&self, filter: KeyFilter, page: PageOf<KeyId>) -> Result<Vec<KeyDetails>, StoreError>;

    /// A key of this account; with none, anybody's.
    async fn key_details(&self, account: Option<AccountId>, id: KeyId) -> Result<Option<KeyDetails>, StoreError>;

    /// Changes a key. Rates that are changed count only below those that the network allows each key.
    async fn update_key(
        &self,
        account: AccountId,
        id: KeyId,
        change: KeyChange,
        audit: AuditEntry,
    ) -> Result<KeyChanged, StoreError>;

    /// Gives a key a new secret.
    async fn rotate_key(
        &self,
        account: AccountId,
        id: KeyId,
        secret: NewSecret,
        audit: AuditEntry,
    ) -> Result<KeyRotated, StoreError>;

    /// Revokes a key of this account for good; with none, anybody's. No job is admitted with it from now on. The first time
    /// counts. Nothing: no such key.
    async fn revoke_key_of(
        &self,
        account: Option<AccountId>,
        id: KeyId,
        audit: AuditEntry,
    ) -> Result<Option<KeyDetails>, StoreError>;

    /// What people call these keys.
    async fn key_labels(&self, keys: Vec<KeyId>) -> Result<Vec<(KeyId, String)>, StoreError>;
}

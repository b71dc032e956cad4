//! The store: the truth about accounts, keys, money, jobs, nodes and snapshots.
//!
//! Few, coarse, transactional verbs, named after what happens. A step with money in it never spans two calls, and none
//! relies on a constraint error to decide: what can go wrong is in the answer. Every promise is a test in `contract`.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::Retention;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId, NodeId};

pub mod admin;
pub mod admin_accounts;
pub mod batches;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod detached;
pub mod epochs;
pub mod files;
pub mod fleet;
pub mod funds;
mod history;
pub mod identity;
mod jobs;
mod keys;
pub mod letters;
pub mod node_logs;
mod penalties;
pub mod plans;
pub mod publication;
pub mod sqlite;
pub mod statements;
pub mod subclouds;
pub mod tenancy;
pub mod trust;
pub mod wallets;
pub mod webhooks;

pub use admin::{Actor, AdminStore, AuditEntry, IntakeStop, NewNotification};
pub use admin_accounts::AdminAccountStore;
pub use batches::BatchStore;
pub use detached::{DetachedRecord, DetachedStore, EventSource, Idempotency, NewPayload, Resumable};
pub use epochs::EpochStore;
pub use files::FileStore;
pub use fleet::FleetStore;
pub use funds::FundsStore;
pub use history::{AttemptView, HistoryStore, JobFilter, JobView, ReceiptRecord, UsageFilter, UsageRecord};
pub use identity::IdentityStore;
pub use jobs::{Admission, Ended, JobEnd, JobRecord, LeaseRef, Leased, NewJob, NewLease, Release, Settle};
pub use keys::{KeyLimits, NamespaceRates};
pub use letters::LetterStore;
pub use node_logs::NodeLogStore;
pub use plans::PlanStore;
pub use publication::{Kept, Mark, NewRotation, NewSnapshot, PublicationStore, SnapshotRecord};
pub use statements::StatementStore;
pub use subclouds::SubcloudStore;
pub use tenancy::TenancyStore;
pub use trust::TrustStore;
pub use wallets::WalletStore;
pub use webhooks::WebhookStore;

/// What can go wrong below every verb. What a caller decides on is in the answers instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused: disk full, file damaged, locked by another process.
    #[error("the database failed: {0}")]
    Database(String),
    /// The database was made by a newer version.
    #[error("the database has schema version {found}, this server knows up to {known}: update the server")]
    TooNew {
        /// The version in the file.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The caller asked for what may never be, such as a grant of less than nothing. Nothing was changed.
    #[error("the store was asked for something that may never be: {0}")]
    Invalid(String),
    /// Something is in the database that never should be.
    #[error("the database holds something impossible: {0}")]
    Corrupt(String),
}

/// SHA-256 of an API key: what is stored of it.
pub type KeyHash = B256;

/// An API key's record, with what the hot path needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub id: KeyId,
    /// Whose balance it spends.
    pub namespace: NamespaceId,
    /// Who owns it.
    pub account: AccountId,
    /// Where it counts.
    pub environment: Environment,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether its account is suspended.
    pub suspended: bool,
    /// Until when the secret that was asked for works, since the key has a new one.
    pub replaced_at: Option<Timestamp>,
    /// What it may do.
    pub limits: Arc<KeyLimits>,
    /// What is kept of its requests and answers.
    pub retention: Retention,
}

/// An account with its first namespace and key, made in one step if it is not there.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// The account, if it has to be made.
    pub account: AccountId,
    /// A unique name for it, such as `dev`.
    pub account_name: String,
    /// The namespace, if it has to be made.
    pub namespace: NamespaceId,
    /// Its name in the account.
    pub namespace_name: String,
    /// Where it counts.
    pub environment: Environment,
    /// The key, if it has to be made.
    pub key: KeyId,
    /// SHA-256 of the key.
    pub key_hash: KeyHash,
    /// What people call the key.
    pub key_label: String,
    /// By what people recognise the key: a part of its secret.
    pub key_hint: String,
    /// What the key may do, if it has to be made.
    pub key_limits: KeyLimits,
    /// When.
    pub now: Timestamp,
}

/// Credits given.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Makes a repeat harmless: the payment or request that it belongs to.
    pub idempotency_key: String,
    /// To whom.
    pub namespace: NamespaceId,
    /// How much; more than zero.
    pub amount: Credits,
    /// Why, for the audit.
    pub reason: String,
    /// When.
    pub now: Timestamp,
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// It is there, now or since an earlier call; the balance after it.
    Balance(Credits),
    /// No such namespace.
    UnknownNamespace,
    /// The idempotency key stands for another grant, and nothing was changed: of an audited grant only, since that of
    /// another kind is named by what it belongs to.
    Conflict,
}

/// What a namespace has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// What it may spend.
    pub available: Credits,
    /// What is held for jobs that have not ended.
    pub held: Credits,
}

/// A node as the network knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub id: NodeId,
    /// Where it counts.
    pub environment: Environment,
    /// Who bound it.
    pub account: Option<AccountId>,
    /// Whether it may not connect.
    pub banned: bool,
}

/// What was put right at start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Jobs whose caller was lost with the server: cancelled, their holds released.
    pub cancelled: u64,
    /// Jobs that go on without a caller, and whose lease was lost with the server: queued again.
    pub requeued: u64,
}

/// What an audit found. All is well if `problems` is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// How many transactions were read.
    pub transactions: u64,
    /// How many entries were read.
    pub entries: u64,
    /// How many jobs were read.
    pub jobs: u64,
    /// How many holds are open (jobs that have not ended).
    pub open_holds: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// The truth. See the module's documentation.
#[async_trait]
pub trait Store:
    DetachedStore
    + HistoryStore
    + WebhookStore
    + FileStore
    + BatchStore
    + EpochStore
    + IdentityStore
    + WalletStore
    + TenancyStore
    + FundsStore
    + StatementStore
    + FleetStore
    + SubcloudStore
    + PublicationStore
    + AdminStore
    + TrustStore
    + NodeLogStore
    + Send
    + Sync
    + std::fmt::Debug
{
    /// Makes account, namespace and key where they are not there yet, by their names (the key by its hash). Gives the
    /// key's record.
    async fn ensure_tenant(&self, tenant: NewTenant) -> Result<KeyRecord, StoreError>;

    /// The account with this name.
    async fn account(&self, name: &str) -> Result<Option<AccountId>, StoreError>;

    /// The key with this hash.
    async fn key(&self, hash: KeyHash) -> Result<Option<KeyRecord>, StoreError>;

    /// Revokes a key for good: no job is admitted with it from now on. False: no such key.
    async fn revoke_key(&self, key: KeyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Gives credits, once per idempotency key.
    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError>;

    /// What a namespace has; nothing if there is no such namespace.
    async fn balance(&self, namespace: NamespaceId) -> Result<Option<Balance>, StoreError>;

    /// Holds the price ceiling and queues the job, in one transaction; with a lease, it is leased as the first attempt.
    async fn reserve_and_enqueue(&self, job: NewJob, lease: Option<NewLease>) -> Result<Admission, StoreError>;

    /// Leases a queued job: the next attempt.
    async fn lease(&self, job: JobId, lease: NewLease, now: Timestamp) -> Result<Leased, StoreError>;

    /// The node works on it: `leased` becomes `running`. False: the lease is not the job's (any more).
    async fn mark_running(&self, lease: LeaseRef, now: Timestamp) -> Result<bool, StoreError>;

    /// Moves the deadline of these leases; those that are lost are left out of the answer.
    async fn renew(&self, leases: Vec<(LeaseRef, Timestamp)>) -> Result<Vec<LeaseRef>, StoreError>;

    /// An attempt ended without a result: the job is queued again, and the attempt is kept with the reason. False: the
    /// lease is not the job's (any more).
    async fn requeue(&self, lease: LeaseRef, reason: &'static str, now: Timestamp) -> Result<bool, StoreError>;

    /// Pays for a verified result: job ended, hold settled, rest given back, node credited, receipt and contribution
    /// points stored, in one transaction.
    async fn settle(&self, settle: Settle) -> Result<Ended, StoreError>;

    /// Ends a job without a payment: job ended, hold released in full, in one transaction.
    async fn release(&self, release: Release) -> Result<Ended, StoreError>;

    /// A job.
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError>;

    /// Puts right what an earlier process left. A job whose caller waited on that process is cancelled and its hold
    /// released; so is a stream that had begun, since nobody knows what of it was seen. A job that goes on without a caller
    /// is queued again. To be called once, before anything is served.
    async fn recover(&self, now: Timestamp) -> Result<Recovered, StoreError>;

    /// Registers a node at first contact; gives what is known of it.
    async fn register_node(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<NodeRecord, StoreError>;

    /// Binds a node to an account unless another one has it; gives what is known of it now.
    async fn bind_node(
        &self,
        node: NodeId,
        environment: Environment,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Option<NodeRecord>, StoreError>;

    /// Checks the books: every transaction sums to zero, balances are what the entries say, none that may not be is
    /// negative, every job that has ended has no hold left and every one that has not has exactly its hold.
    async fn audit(&self) -> Result<AuditReport, StoreError>;

    /// Whether it can be written to: for readiness.
    async fn ping(&self) -> Result<(), StoreError>;
}

//! What accounts have, used and earned, and where it went: read for their owners.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId, NodeId};
use resultity_core::job::JobState;
use resultity_core::ledger::PostingKind;

use crate::store::StoreError;

/// What a namespace has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFunds {
    /// Which.
    pub namespace: NamespaceId,
    /// What people call it.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// What it may spend.
    pub available: Credits,
    /// What is held for its jobs.
    pub held: Credits,
    /// The limit below which its owner is told, and whether that was not done yet.
    pub alert: Option<(Credits, bool)>,
}

/// A page of what a namespace has, behind an entry or not.
#[derive(Debug, Clone, Copy)]
pub struct StatementPage<I> {
    /// Entries behind this one.
    pub after: Option<I>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// A line of a namespace's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRecord {
    /// The number of its transaction.
    pub transaction: i64,
    /// Why.
    pub kind: PostingKind,
    /// What the namespace gained.
    pub amount: Credits,
    /// The job that it belongs to.
    pub job: Option<JobId>,
    /// For people.
    pub reason: String,
    /// When.
    pub created: Timestamp,
}

/// What is held for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRecord {
    /// The job.
    pub job: JobId,
    /// Its key.
    pub key: KeyId,
    /// Its model.
    pub model: String,
    /// Where it stands.
    pub state: JobState,
    /// How much is held.
    pub held: Credits,
    /// Since when.
    pub created: Timestamp,
    /// When it ends at the latest.
    pub deadline: Timestamp,
}

/// Whose usage is counted, of when, and by what it is told apart.
#[derive(Debug, Clone)]
pub struct AccountUsageFilter {
    /// Whose.
    pub account: AccountId,
    /// Where.
    pub environment: Environment,
    /// Of this namespace alone.
    pub namespace: Option<NamespaceId>,
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// Of this model alone, by its name in the snapshot.
    pub model: Option<String>,
    /// Jobs that ended at this time or later.
    pub from: Timestamp,
    /// Jobs that ended before this time.
    pub until: Timestamp,
    /// No job that ends from then on was accepted before this time.
    pub accepted_from: Timestamp,
    /// By what rows are told apart.
    pub by: UsageBy,
    /// The most rows.
    pub limit: u32,
}

/// By what rows of usage are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct UsageBy {
    /// The day on which the jobs ended.
    pub day: bool,
    /// The namespace.
    pub namespace: bool,
    /// The key.
    pub key: bool,
    /// The model.
    pub model: bool,
    /// What was asked.
    pub endpoint: bool,
}

/// Usage; what it is not told apart by is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountUsageRecord {
    /// The day of UTC, counted from the Unix epoch.
    pub day: Option<i64>,
    /// The namespace with its name.
    pub namespace: Option<(NamespaceId, String)>,
    /// The key with its label.
    pub key: Option<(KeyId, String)>,
    /// The model's name in the snapshot.
    pub model: Option<String>,
    /// What was asked.
    pub endpoint: Option<String>,
    /// Jobs that ended.
    pub requests: u64,
    /// Those of them that failed or were not taken in time.
    pub failed: u64,
    /// Tokens of the prompts that were paid for.
    pub prompt_tokens: u64,
    /// Tokens made that were paid for.
    pub completion_tokens: u64,
    /// Milliseconds from acceptance to end, over all jobs.
    pub duration_ms: u64,
    /// What was paid.
    pub cost: Credits,
}

/// Something that happened to an account or what it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRecord {
    /// Where it stands in the list; sorts by time.
    pub place: String,
    /// What.
    pub kind: String,
    /// To what.
    pub subject: String,
    /// For people.
    pub message: String,
    /// What a namespace gained.
    pub amount: Option<Credits>,
    /// When.
    pub created: Timestamp,
}

/// What one node of an account earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeEarned {
    /// Which.
    pub node: NodeId,
    /// What it has.
    pub payable: Credits,
    /// What of its earnings was paid out to this account.
    pub paid_out: Credits,
    /// Its contribution points.
    pub points: u64,
}

/// What the nodes of an account earned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountEarned {
    /// Each node that it has now.
    pub nodes: Vec<NodeEarned>,
    /// What was paid out to it, also from nodes that it had.
    pub paid_out: Credits,
}

/// What accounts have, used and earned.
#[async_trait]
pub trait StatementStore: Send + Sync {
    /// What the namespaces of an account have.
    async fn funds(&self, account: AccountId, environment: Environment) -> Result<Vec<NamespaceFunds>, StoreError>;

    /// What one namespace has; of this account, if one is named.
    async fn funds_of(
        &self,
        account: Option<AccountId>,
        namespace: NamespaceId,
    ) -> Result<Option<NamespaceFunds>, StoreError>;

    /// All that changed what a namespace may spend. The lines of a job stand together, where it was accepted. None: the line to
    /// go on from is not of this namespace.
    async fn ledger(
        &self,
        namespace: NamespaceId,
        page: StatementPage<i64>,
    ) -> Result<Option<Vec<LedgerRecord>>, StoreError>;

    /// What is held for jobs of a namespace.
    async fn holds(&self, namespace: NamespaceId, page: StatementPage<JobId>) -> Result<Vec<HoldRecord>, StoreError>;

    /// What an account used.
    async fn account_usage(&self, filter: AccountUsageFilter) -> Result<Vec<AccountUsageRecord>, StoreError>;

    /// What happened to an account and what it owns in an environment.
    async fn activity(
        &self,
        account: AccountId,
        environment: Environment,
        page: StatementPage<String>,
    ) -> Result<Vec<ActivityRecord>, StoreError>;

    /// What the nodes of an account earned.
    async fn earned(&self, account: AccountId, environment: Environment) -> Result<AccountEarned, StoreError>;
}

//! What administrators see and do; the audit log; notifications.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, NotificationId};
use resultity_core::job::Priority;
use serde_json::Value;

use crate::store::StoreError;
use crate::store::admin_accounts::AdminAccountStore;
use crate::store::letters::LetterStore;
use crate::store::plans::PlanStore;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who has signed in.
    Account(AccountId),
    /// Whoever holds the operator's token or the server's shell.
    Operator,
    /// The network by itself.
    Network,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "account:{id}"),
            Self::Operator => f.write_str("operator"),
            Self::Network => f.write_str("network"),
        }
    }
}

/// A text that names no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `account:<id>`, `operator` or `network`")]
pub struct UnknownActor;

impl FromStr for Actor {
    type Err = UnknownActor;

    fn from_str(text: &str) -> Result<Self, UnknownActor> {
        match text {
            "operator" => Ok(Self::Operator),
            "network" => Ok(Self::Network),
            _ => text
                .strip_prefix("account:")
                .and_then(|id| id.parse().ok())
                .map(Self::Account)
                .ok_or(UnknownActor),
        }
    }
}

/// One line of the audit log. A verb that an administrator causes takes one, and writes it in its own transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Names it.
    pub id: AuditId,
    /// Who.
    pub actor: Actor,
    /// What, such as `credits.grant`.
    pub action: String,
    /// To what, such as `namespace:<id>`.
    pub subject: String,
    /// Where, if it counts in one environment.
    pub environment: Option<Environment>,
    /// How it was.
    pub before: Option<Value>,
    /// How it is now. Never a secret.
    pub after: Option<Value>,
    /// Why.
    pub reason: String,
    /// When.
    pub now: Timestamp,
}

/// Something that an account is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotification {
    /// Names it.
    pub id: NotificationId,
    /// Who is told.
    pub account: AccountId,
    /// Where, if it is about one environment.
    pub environment: Option<Environment>,
    /// What kind, such as `credits.low`.
    pub kind: String,
    /// What it is about, such as the id of a namespace or node.
    pub subject: String,
    /// A sentence or two.
    pub message: String,
    /// When.
    pub now: Timestamp,
}

/// Which lines of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only what this one did.
    pub actor: Option<Actor>,
    /// Only this; with a dot at the end all that begins so.
    pub action: Option<String>,
    /// Only what was done to this.
    pub subject: Option<String>,
    /// Only what counts in this environment.
    pub environment: Option<Environment>,
    /// What counts in another environment than this is left out; what counts in none is not.
    pub seen_from: Option<Environment>,
    /// Only from this time on.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// Only those after this one.
    pub after: Option<AuditId>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// Something that an account is told, and whether it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRecord {
    /// What was left; `now` is when.
    pub notification: NewNotification,
    /// When it was read.
    pub read_at: Option<Timestamp>,
}

/// Which notifications of an account.
#[derive(Debug, Clone)]
pub struct NotificationFilter {
    /// Whose.
    pub account: AccountId,
    /// Only those that are about this environment, or about none.
    pub environment: Option<Environment>,
    /// Only those that were not read.
    pub unread: bool,
    /// Only those after this one.
    pub after: Option<NotificationId>,
    /// Whether the oldest comes first.
    pub ascending: bool,
    /// The most entries.
    pub limit: u32,
}

/// What was read.
#[derive(Debug, Clone)]
pub enum Read {
    /// These.
    These(Vec<NotificationId>),
    /// This one and all before it.
    UpTo(NotificationId),
}

/// That an environment takes no new jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeStop {
    /// Why, for administrators.
    pub reason: String,
    /// What askers are told.
    pub message: Option<String>,
    /// Who stopped it.
    pub actor: Actor,
    /// Since when.
    pub since: Timestamp,
}

/// Open jobs of one model and class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenJobs {
    /// The model's name in the snapshot.
    pub model: String,
    /// How urgent they are.
    pub priority: Priority,
    /// How many wait for a node.
    pub waiting: u64,
    /// How many a node has.
    pub running: u64,
    /// When the oldest of those that wait was accepted.
    pub oldest: Option<Timestamp>,
}

/// What there is, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accounts of the network.
    pub accounts: u64,
    /// Those that may not do anything.
    pub suspended: u64,
    /// Administrators.
    pub administrators: u64,
    /// Those that were made since the time that was asked for.
    pub new_accounts: u64,
    /// Namespaces of the environment.
    pub namespaces: u64,
    /// Keys of the environment that were not revoked.
    pub keys: u64,
    /// Nodes that were ever seen in the environment.
    pub nodes: u64,
    /// Those that somebody has bound.
    pub nodes_bound: u64,
    /// Dead letters of the environment.
    pub dead_letters: u64,
    /// What was issued and not taken back.
    pub issued: Credits,
    /// What namespaces may spend.
    pub available: Credits,
    /// What is held for jobs.
    pub held: Credits,
    /// What nodes have earned and not been paid out.
    pub earned: Credits,
    /// The network's share.
    pub fees: Credits,
}

/// What administrators see and do.
#[async_trait]
pub trait AdminStore: AdminAccountStore + LetterStore + PlanStore + Send + Sync {
    /// Writes a line of something that changes nothing else, and that has to be known all the same.
    async fn keep_audit_line(&self, line: AuditEntry) -> Result<(), StoreError>;

    /// Lines of the audit log.
    async fn audit_lines(&self, filter: AuditFilter) -> Result<Vec<AuditEntry>, StoreError>;

    /// What an account is told.
    async fn notifications(&self, filter: NotificationFilter) -> Result<Vec<NotificationRecord>, StoreError>;

    /// How many of an account's notifications were not read: those that are about this environment or none, or all.
    async fn unread_notifications(
        &self,
        account: AccountId,
        environment: Option<Environment>,
    ) -> Result<u64, StoreError>;

    /// An account read some, of this environment and of none, or of all. The first time counts.
    async fn read_notifications(
        &self,
        account: AccountId,
        environment: Option<Environment>,
        read: Read,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whether an environment takes no new jobs.
    async fn intake_stop(&self, environment: Environment) -> Result<Option<IntakeStop>, StoreError>;

    /// Stops the intake of an environment, or, with none, reopens it. What it was before goes into the line of the audit
    /// log, which is written if something changed.
    async fn set_intake(
        &self,
        environment: Environment,
        stop: Option<IntakeStop>,
        audit: AuditEntry,
    ) -> Result<(), StoreError>;

    /// Jobs of an environment that have not ended, by model and class.
    async fn open_jobs(&self, environment: Environment) -> Result<Vec<OpenJobs>, StoreError>;

    /// What was issued in an environment and not taken back: one look-up.
    async fn credits_issued(&self, environment: Environment) -> Result<Credits, StoreError>;

    /// What there is in an environment. Reads all balances: not for every minute.
    async fn totals(&self, environment: Environment, accounts_since: Timestamp) -> Result<Totals, StoreError>;
}

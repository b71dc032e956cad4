//! What administrators see and do; the audit log; notifications.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, AuditId, NotificationId};
use serde_json::Value;

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

/// What administrators see and do.
#[async_trait]
pub trait AdminStore: Send + Sync {}

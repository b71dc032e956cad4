//! Credits of the caller's namespaces: what there is, where it went, moving it, the faucet, the alert before it runs out.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api::page::{Order, Page};
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{JobId, KeyId, NamespaceId, TransferId};
use crate::job::JobState;
use crate::ledger::PostingKind;

use super::InEnvironment;

/// What the namespaces of an account have in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountCredits {
    /// Always `credits`.
    pub object: String,
    /// Where.
    pub environment: Environment,
    /// Each namespace.
    pub namespaces: Vec<NamespaceCredits>,
    /// What all of them may spend.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// What is held for jobs of all of them.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// The sum of both.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub total: Credits,
}

/// What a namespace has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamespaceCredits {
    /// Which.
    pub namespace: NamespaceId,
    /// What people call it.
    pub name: String,
    /// What it may spend.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub available: Credits,
    /// What is held for jobs that have not ended.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// The sum of both.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub total: Credits,
    /// The alert that was set, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<CreditAlert>,
}

/// When an account is told that a namespace runs out of credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditAlert {
    /// Once the total is below this.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub below: Credits,
    /// Whether it will be told. Once it was, not again before the total was raised to the limit or more.
    pub armed: bool,
}

/// `POST /gate/v1/namespaces/{id}/alert`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SetCreditAlert {
    /// Tell once the total is below this, more than 0; null: no alert.
    #[serde(with = "credits::decimal_if_any")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub below: Option<Credits>,
}

impl SetCreditAlert {
    /// Tell once the total is below this.
    pub fn below(below: Credits) -> Self {
        Self { below: Some(below) }
    }

    /// Tell nothing.
    pub fn off() -> Self {
        Self::default()
    }
}

/// A page of something that a namespace has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct CreditQuery {
    /// `testnet` or `mainnet`: a namespace of the other one is not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `asc` (oldest first) or `desc` (newest first, the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl CreditQuery {
    /// The first page of this size.
    pub fn first(limit: u32) -> Self {
        Self {
            limit: Some(limit),
            ..Self::default()
        }
    }

    /// The page after the entry with this id.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }
}

/// A line of a namespace's ledger. Those of a job stand together, where the job was accepted; all others where they happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerLine {
    /// The number of its transaction, as a text.
    pub id: String,
    /// Why.
    pub kind: PostingKind,
    /// What the namespace gained, or lost if negative.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
    /// The job that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The same for people.
    pub reason: String,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
}

/// What is held for a job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditHold {
    /// The job.
    pub job: JobId,
    /// With which key it was asked.
    pub key: KeyId,
    /// The model.
    pub model: String,
    /// Where the job stands.
    pub state: JobState,
    /// How much is held.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub held: Credits,
    /// Since when: seconds since the Unix epoch.
    pub created_at: i64,
    /// When the job ends at the latest: seconds since the Unix epoch.
    pub deadline: i64,
}

/// `POST /gate/v1/transfers`: between namespaces of the caller's account in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewTransfer {
    /// The namespace that gives.
    pub from: NamespaceId,
    /// The namespace that gets.
    pub to: NamespaceId,
    /// How much; more than 0.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
    /// 1 to 255 printable characters: a repeat with the same key gives the first outcome. The header `Idempotency-Key` does
    /// the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl NewTransfer {
    /// So much from one to the other.
    pub fn new(from: NamespaceId, to: NamespaceId, amount: Credits) -> Self {
        Self {
            from,
            to,
            amount,
            idempotency_key: None,
        }
    }

    /// Under this key, however often it is sent.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditTransfer {
    /// Names it.
    pub id: TransferId,
    /// Where.
    pub environment: Environment,
    /// The namespace that gave.
    pub from: NamespaceId,
    /// The namespace that got.
    pub to: NamespaceId,
    /// How much.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
}

/// `POST /gate/v1/faucet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AskFaucet {
    /// The namespace that is to get the credits; one of testnet.
    pub namespace: NamespaceId,
}

impl AskFaucet {
    /// For this namespace.
    pub fn new(namespace: NamespaceId) -> Self {
        Self { namespace }
    }
}

/// Credits that a namespace was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreditsReceived {
    /// Who got them.
    pub namespace: NamespaceId,
    /// How many.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub received: Credits,
    /// What may be spent now.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub balance: Credits,
}

/// Credits of the caller's namespaces. Those of others are not found.
#[async_trait]
pub trait CreditsApi: Send + Sync {
    /// What each namespace of an environment has.
    async fn credits(&self, environment: InEnvironment) -> Result<AccountCredits, ApiError>;

    /// A page of all that changed what a namespace may spend.
    async fn ledger(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError>;

    /// A page of what is held for its jobs.
    async fn holds(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<CreditHold>, ApiError>;

    /// Sets or ends the alert before a namespace runs out of credits: a notification, an event `credits.low` for its
    /// webhooks, and a mail if the account has an address. None comes at once if the total is below the limit already.
    async fn set_credit_alert(
        &self,
        namespace: NamespaceId,
        environment: InEnvironment,
        request: SetCreditAlert,
    ) -> Result<NamespaceCredits, ApiError>;

    /// Moves credits between own namespaces of one environment.
    async fn transfer_credits(&self, request: NewTransfer) -> Result<CreditTransfer, ApiError>;

    /// Asks for the day's credits of the testnet: once a day (UTC) and account.
    async fn ask_faucet(&self, request: AskFaucet) -> Result<CreditsReceived, ApiError>;
}

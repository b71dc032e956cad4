//! Plans, and which account has which.

use std::num::NonZeroU32;

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId};

use crate::store::StoreError;
use crate::store::admin::AuditEntry;

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// Where it counts.
    pub environment: Environment,
    /// Names it there.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Requests a minute of each namespace.
    pub requests_per_minute: Option<NonZeroU32>,
    /// The share of each namespace against that of others, where jobs wait: 1 to 100.
    pub weight: NonZeroU32,
    /// Tokens a minute of each namespace.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Credits that come once a month.
    pub monthly_credits: Credits,
    /// Whether anybody may choose it.
    pub open: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// The plan of an account in an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountPlanRecord {
    /// The plan, since when, and who gets the monthly credits.
    pub plan: Option<(PlanRecord, Timestamp)>,
    /// Who gets the monthly credits, if that was said.
    pub namespace: Option<NamespaceId>,
    /// The last month whose credits came.
    pub credited_month: Option<String>,
}

/// A plan that an account is to have.
#[derive(Debug, Clone)]
pub struct PlanChoice {
    /// Which account.
    pub account: AccountId,
    /// Where.
    pub environment: Environment,
    /// Which plan; none: none.
    pub plan: Option<String>,
    /// Who gets the monthly credits, if that is to change.
    pub namespace: Option<NamespaceId>,
    /// Whether plans that are not open may be chosen too.
    pub by_administrator: bool,
    /// The month that it is, such as `2026-11`: its credits come at once, if none came in it.
    pub month: String,
    /// Written if something changed.
    pub audit: AuditEntry,
}

/// What became of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanChosen {
    /// It is so now.
    Done(Box<AccountPlanRecord>),
    /// There is no such plan, or it is not open.
    UnknownPlan,
    /// The account has no such namespace there.
    UnknownNamespace,
    /// There is no such account.
    UnknownAccount,
}

/// What became of a plan that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanGone {
    /// It is gone.
    Gone,
    /// So many accounts have it.
    InUse(u64),
    /// There is no such plan.
    Unknown,
}

/// Plans, and which account has which.
#[async_trait]
pub trait PlanStore: Send + Sync {
    /// The plans of an environment, by name.
    async fn plans(&self, environment: Environment) -> Result<Vec<PlanRecord>, StoreError>;

    /// Makes a plan, or replaces the one of this name; `created` stays then. None: there are `most` already.
    async fn put_plan(&self, plan: PlanRecord, most: u32, audit: AuditEntry) -> Result<Option<PlanRecord>, StoreError>;

    /// Deletes a plan that no account has.
    async fn delete_plan(
        &self,
        environment: Environment,
        name: String,
        audit: AuditEntry,
    ) -> Result<PlanGone, StoreError>;

    /// The plan of an account.
    async fn account_plan(&self, account: AccountId, environment: Environment)
    -> Result<AccountPlanRecord, StoreError>;

    /// Gives an account a plan, with the credits of the month.
    async fn choose_plan(&self, choice: PlanChoice) -> Result<PlanChosen, StoreError>;

    /// Gives the credits of a month to some accounts that have a plan and did not get them; how many there were. Accounts
    /// without a namespace there, and suspended ones, get none.
    async fn credit_plans(
        &self,
        environment: Environment,
        month: String,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError>;
}

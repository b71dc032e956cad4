//! Subscriptions: plans with limits and monthly credits, and the plan of an account in each environment.

use std::num::NonZeroU32;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::InEnvironment;
use crate::credits::{Credits, decimal};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{AccountId, NamespaceId};

/// A plan that accounts can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Names it within its environment: 1 to 40 of `a`–`z`, `0`–`9`, `-`.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Requests a minute of each namespace; none: the network's own limit.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute of each namespace; none: the network's own limit.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The share of each namespace against that of others, where jobs wait: 1 to 100.
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 100))]
    pub weight: NonZeroU32,
    /// Credits that come once a month.
    #[serde(with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub monthly_credits: Credits,
    /// Whether anybody may choose it; else an administrator gives it.
    pub open: bool,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
}

/// `POST /gate/v1/admin/plans`: a plan to be made, or to be replaced if there is one of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PutPlan {
    /// Names it within its environment: 1 to 40 of `a`–`z`, `0`–`9`, `-`.
    pub name: String,
    /// Where it counts; the environment that the session looks at if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What people call it: at most 80 characters.
    pub title: String,
    /// What it is for: at most 500 characters.
    #[serde(default)]
    pub description: String,
    /// Requests a minute of each namespace; none: the network's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute of each namespace; none: the network's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1))]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The share of each namespace against that of others, where jobs wait: 1 to 100; 1 if nothing is said.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(value_type = u32, minimum = 1, maximum = 100, default = 1))]
    pub weight: NonZeroU32,
    /// Credits that come once a month.
    #[serde(default, with = "decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub monthly_credits: Credits,
    /// Whether anybody may choose it; else an administrator gives it.
    #[serde(default)]
    pub open: bool,
    /// Why: at most 500 characters, for the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl PutPlan {
    /// A plan without limits or credits of its own, which anybody may choose.
    pub fn new(environment: Environment, name: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            environment: Some(environment),
            title: title.into(),
            description: String::new(),
            requests_per_minute: None,
            tokens_per_minute: None,
            weight: NonZeroU32::MIN,
            monthly_credits: Credits::ZERO,
            open: true,
            reason: None,
        }
    }

    /// Sets the credits that come once a month.
    #[must_use]
    pub const fn monthly_credits(mut self, credits: Credits) -> Self {
        self.monthly_credits = credits;
        self
    }

    /// Sets the limits of each namespace.
    #[must_use]
    pub const fn limits(mut self, requests: Option<NonZeroU32>, tokens: Option<NonZeroU32>) -> Self {
        self.requests_per_minute = requests;
        self.tokens_per_minute = tokens;
        self
    }

    /// Sets the share of each namespace against that of others: 1 to 100.
    #[must_use]
    pub const fn weight(mut self, weight: NonZeroU32) -> Self {
        self.weight = weight;
        self
    }

    /// Only administrators give it.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.open = false;
        self
    }
}

/// The plan of an account in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountPlan {
    /// Where it counts.
    pub environment: Environment,
    /// The plan; none: the network's own limits.
    pub plan: Option<Plan>,
    /// Who gets the monthly credits.
    pub namespace: Option<NamespaceId>,
    /// Since when: seconds since the Unix epoch.
    pub since: Option<i64>,
    /// The last month whose credits came, such as `2026-11`.
    pub credited_month: Option<String>,
}

/// `POST /gate/v1/account/plan`: which plan the account is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ChoosePlan {
    /// Where; the environment that the session looks at if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The plan's name; none: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Who gets the monthly credits: a namespace of the account. If none is named it stays, or is the account's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// Why: at most 500 characters, for the audit log where an administrator does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ChoosePlan {
    /// This plan of this environment.
    pub fn new(environment: Environment, plan: impl Into<String>) -> Self {
        Self {
            environment: Some(environment),
            plan: Some(plan.into()),
            ..Self::default()
        }
    }

    /// No plan.
    pub fn none(environment: Environment) -> Self {
        Self {
            environment: Some(environment),
            ..Self::default()
        }
    }

    /// Says who gets the monthly credits.
    #[must_use]
    pub const fn namespace(mut self, namespace: NamespaceId) -> Self {
        self.namespace = Some(namespace);
        self
    }
}

/// A plan that is there no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanDeleted {
    /// Which.
    pub name: String,
    /// Where it counted.
    pub environment: Environment,
    /// Always true.
    pub deleted: bool,
}

/// The plans that an environment has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plans {
    /// By name.
    pub data: Vec<Plan>,
}

/// Plans, and the account's own.
#[async_trait]
pub trait PlansApi: Send + Sync {
    /// The plans of an environment: for administrators all, for others those that anybody may choose.
    async fn plans(&self, query: InEnvironment) -> Result<Plans, ApiError>;

    /// The account's plan in an environment.
    async fn account_plan(&self, query: InEnvironment) -> Result<AccountPlan, ApiError>;

    /// Chooses the account's plan. The month's credits come at once, but only once a month.
    async fn choose_plan(&self, request: ChoosePlan) -> Result<AccountPlan, ApiError>;

    /// Makes or replaces a plan: for administrators.
    async fn put_plan(&self, request: PutPlan) -> Result<Plan, ApiError>;

    /// Deletes a plan that no account has: for administrators.
    async fn delete_plan(&self, name: &str, query: InEnvironment) -> Result<PlanDeleted, ApiError>;

    /// Gives an account a plan, or takes it: for administrators.
    async fn give_plan(&self, account: AccountId, request: ChoosePlan) -> Result<AccountPlan, ApiError>;
}

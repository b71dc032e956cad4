//! Plans, and the account's own.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
use resultity_core::api::gate::{
    AccountPlan, ChoosePlan, InEnvironment, Plan, PlanDeleted, Plans, PlansApi, PutPlan, Scope,
};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;
use tokio_util::sync::CancellationToken;

use super::{Gate, GateSession, failed, not_found, reason};
use crate::store::plans::{AccountPlanRecord, PlanChoice, PlanChosen, PlanGone, PlanRecord};
use crate::store::{Actor, StoreError};

/// The longest name: characters.
const LONGEST_NAME: usize = 40;

/// The longest title: characters.
const LONGEST_TITLE: usize = 80;

/// The longest description: characters.
const LONGEST_DESCRIPTION: usize = 500;

/// The most plans of an environment.
const MOST: u32 = 100;

/// The most credits a month: a mistyped amount should not upset the books.
const MAX_MONTHLY: Credits = Credits::from_whole(1_000_000);

/// The greatest share of a namespace against that of others.
const HEAVIEST: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");

/// How many accounts get the credits of a month in one operation.
const AT_ONCE: u32 = 200;

/// How often it is looked whether a month has begun.
const PAUSE: Duration = Duration::from_mins(10);

/// The month of UTC that it is, such as `2026-11`.
fn month(now: Timestamp) -> String {
    let instant = Instant::from_millisecond(now.as_millis()).unwrap_or(Instant::UNIX_EPOCH);
    instant.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

fn shown(plan: PlanRecord) -> Plan {
    Plan {
        name: plan.name,
        environment: plan.environment,
        title: plan.title,
        description: plan.description,
        requests_per_minute: plan.requests_per_minute,
        weight: plan.weight,
        tokens_per_minute: plan.tokens_per_minute,
        monthly_credits: plan.monthly_credits,
        open: plan.open,
        created_at: plan.created.as_seconds(),
    }
}

fn of_account(environment: Environment, record: AccountPlanRecord) -> AccountPlan {
    let (plan, since) = record.plan.unzip();
    AccountPlan {
        environment,
        plan: plan.map(shown),
        namespace: record.namespace,
        since: since.map(Timestamp::as_seconds),
        credited_month: record.credited_month,
    }
}

fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_good)
}

impl GateSession {
    async fn choose(
        &self,
        account: AccountId,
        request: ChoosePlan,
        actor: Actor,
        by_administrator: bool,
    ) -> Result<AccountPlan, ApiError> {
        let environment = self.flow(request.environment)?.environment;
        let reason = reason::optional(request.reason.as_deref())?;
        let audit = self.audit(actor, "account.plan", format!("account:{account}"), reason);
        let choice = PlanChoice {
            account,
            environment,
            plan: request.plan,
            namespace: request.namespace,
            by_administrator,
            month: month(audit.now),
            audit,
        };
        match self.gate.store.choose_plan(choice).await.map_err(failed)? {
            PlanChosen::Done(record) => {
                // What its namespaces may ask for is remembered with its keys.
                self.gate.keys.forget_account(account);
                Ok(of_account(environment, *record))
            }
            PlanChosen::UnknownPlan => Err(not_found("plan").with_param("plan")),
            PlanChosen::UnknownNamespace => Err(not_found("namespace").with_param("namespace")),
            PlanChosen::UnknownAccount => Err(not_found("account")),
        }
    }
}

#[async_trait]
impl PlansApi for GateSession {
    async fn plans(&self, query: InEnvironment) -> Result<Plans, ApiError> {
        self.may(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let all = self.administrator().is_ok();
        let plans = self.gate.store.plans(environment).await.map_err(failed)?;
        let data = plans.into_iter().filter(|plan| plan.open || all).map(shown).collect();
        Ok(Plans { data })
    }

    async fn account_plan(&self, query: InEnvironment) -> Result<AccountPlan, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let found = self.gate.store.account_plan(account, environment).await;
        Ok(of_account(environment, found.map_err(failed)?))
    }

    async fn choose_plan(&self, request: ChoosePlan) -> Result<AccountPlan, ApiError> {
        let account = self.account(Scope::Account)?;
        self.choose(account, request, Actor::Account(account), false).await
    }

    async fn put_plan(&self, request: PutPlan) -> Result<Plan, ApiError> {
        let actor = self.administrator()?;
        let environment = self.flow(request.environment)?.environment;
        if !is_name(&request.name) {
            let message = format!("name must have 1 to {LONGEST_NAME} of the characters a to z, 0 to 9 and -");
            return Err(invalid("name", message));
        }
        let title = reason::text("title", &request.title, LONGEST_TITLE)?;
        if title.is_empty() {
            return Err(invalid("title", "title must say what people call it"));
        }
        if request.monthly_credits < Credits::ZERO || request.monthly_credits > MAX_MONTHLY {
            let message = format!("monthly_credits must be at least 0 and at most {MAX_MONTHLY}");
            return Err(invalid("monthly_credits", message));
        }
        if request.weight > HEAVIEST {
            return Err(invalid("weight", format!("weight must be from 1 to {HEAVIEST}")));
        }
        let reason = reason::optional(request.reason.as_deref())?;
        let audit = self.audit(
            actor,
            "plan.put",
            format!("plan:{environment}:{}", request.name),
            reason,
        );
        let plan = PlanRecord {
            environment,
            description: reason::text("description", &request.description, LONGEST_DESCRIPTION)?,
            name: request.name,
            title,
            requests_per_minute: request.requests_per_minute,
            weight: request.weight,
            tokens_per_minute: request.tokens_per_minute,
            monthly_credits: request.monthly_credits,
            open: request.open,
            created: audit.now,
        };
        let made = self.gate.store.put_plan(plan, MOST, audit).await.map_err(failed)?;
        made.map(shown).ok_or_else(|| {
            let message = format!("there are {MOST} plans already: delete one before");
            ApiError::new(ErrorCode::Conflict, message)
        })
    }

    async fn delete_plan(&self, name: &str, query: InEnvironment) -> Result<PlanDeleted, ApiError> {
        let actor = self.administrator()?;
        let environment = self.flow(query.environment)?.environment;
        let audit = self.audit(actor, "plan.delete", format!("plan:{environment}:{name}"), "");
        let gone = self.gate.store.delete_plan(environment, name.to_owned(), audit).await;
        match gone.map_err(failed)? {
            PlanGone::Gone => Ok(PlanDeleted {
                name: name.to_owned(),
                environment,
                deleted: true,
            }),
            PlanGone::InUse(accounts) => {
                let message = format!("{accounts} accounts have this plan: give them another one before");
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
            PlanGone::Unknown => Err(not_found("plan")),
        }
    }

    async fn give_plan(&self, account: AccountId, request: ChoosePlan) -> Result<AccountPlan, ApiError> {
        let actor = self.administrator()?;
        self.choose(account, request, actor, true).await
    }
}

impl Gate {
    /// Gives out the credits of every month once it has begun, until the server stops.
    pub async fn credit_plans(&self, stop: CancellationToken) {
        let gives = async {
            loop {
                if let Err(error) = self.credit_plans_now().await {
                    tracing::error!(%error, "the monthly credits of plans could not be given; trying again later");
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = gives => {}
        }
    }

    async fn credit_plans_now(&self) -> Result<(), StoreError> {
        for flow in self.flows.iter() {
            loop {
                let now = self.clock.now();
                let given = self
                    .store
                    .credit_plans(flow.environment, month(now), AT_ONCE, now)
                    .await?;
                if given < u64::from(AT_ONCE) {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        for (millis, expected) in [
            (0, "1970-01"),
            (1_795_305_599_999, "2026-11"),
            (1_796_083_199_999, "2026-11"),
            (1_796_083_200_000, "2026-12"),
        ] {
            assert_eq!(month(Timestamp::from_millis(millis)), expected);
        }
    }

    #[test]
    fn names_are_plain() {
        for good in ["free", "pro-2", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Pro", "a b", "a/b", "ä", &"x".repeat(41)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

//! Plans, which account has which, and the credits that come with them once a month.

use std::num::NonZeroU32;

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId};
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::rows::{all, counted, credits, execute, first, parsed, parsed_if_any};
use super::{SqliteStore, audit_log, tenants};
use crate::store::admin::AuditEntry;
use crate::store::plans::{AccountPlanRecord, PlanChoice, PlanChosen, PlanGone, PlanRecord, PlanStore};
use crate::store::{Grant, StoreError};

#[async_trait]
impl PlanStore for SqliteStore {
    async fn plans(&self, environment: Environment) -> Result<Vec<PlanRecord>, StoreError> {
        self.readers.call(move |connection| list(connection, environment)).await
    }

    async fn put_plan(&self, plan: PlanRecord, most: u32, audit: AuditEntry) -> Result<Option<PlanRecord>, StoreError> {
        self.writer
            .call(move |connection| put(connection, &plan, most, &audit))
            .await
    }

    async fn delete_plan(
        &self,
        environment: Environment,
        name: String,
        audit: AuditEntry,
    ) -> Result<PlanGone, StoreError> {
        self.writer
            .call(move |connection| delete(connection, environment, &name, &audit))
            .await
    }

    async fn account_plan(
        &self,
        account: AccountId,
        environment: Environment,
    ) -> Result<AccountPlanRecord, StoreError> {
        self.readers
            .call(move |connection| of_account(connection, account, environment))
            .await
    }

    async fn choose_plan(&self, choice: PlanChoice) -> Result<PlanChosen, StoreError> {
        self.writer.call(move |connection| choose(connection, &choice)).await
    }

    async fn credit_plans(
        &self,
        environment: Environment,
        month: String,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| credit(connection, environment, None, &month, limit, now))
            .await
    }
}

/// The columns that [`plan`] reads.
const PLAN: &str = "plans.environment, plans.name, plans.title, plans.description, plans.requests_per_minute,
    plans.tokens_per_minute, plans.monthly_credits, plans.open, plans.created_at, plans.weight";

fn plan(row: &Row<'_>) -> rusqlite::Result<PlanRecord> {
    Ok(PlanRecord {
        environment: parsed(row, 0)?,
        name: row.get(1)?,
        title: row.get(2)?,
        description: row.get(3)?,
        requests_per_minute: row.get::<_, Option<u32>>(4)?.and_then(NonZeroU32::new),
        tokens_per_minute: row.get::<_, Option<u32>>(5)?.and_then(NonZeroU32::new),
        monthly_credits: credits(row, 6)?,
        open: row.get(7)?,
        created: Timestamp::from_millis(row.get(8)?),
        weight: NonZeroU32::new(row.get(9)?).unwrap_or(NonZeroU32::MIN),
    })
}

fn list(connection: &Connection, environment: Environment) -> Result<Vec<PlanRecord>, StoreError> {
    let sql = format!("SELECT {PLAN} FROM plans WHERE environment = ?1 ORDER BY name");
    all(connection, &sql, &[&environment.as_str()], plan)
}

fn read(connection: &Connection, environment: Environment, name: &str) -> Result<Option<PlanRecord>, StoreError> {
    let sql = format!("SELECT {PLAN} FROM plans WHERE environment = ?1 AND name = ?2");
    first(connection, &sql, &[&environment.as_str(), &name], plan)
}

/// What the audit log shows of a plan.
fn shown(plan: &PlanRecord) -> Value {
    json!({
        "title": plan.title,
        "requests_per_minute": plan.requests_per_minute,
        "tokens_per_minute": plan.tokens_per_minute,
        "monthly_credits": plan.monthly_credits.to_string(),
        "open": plan.open,
        "weight": plan.weight,
    })
}

fn put(
    connection: &Connection,
    wanted: &PlanRecord,
    most: u32,
    audit: &AuditEntry,
) -> Result<Option<PlanRecord>, StoreError> {
    let before = read(connection, wanted.environment, &wanted.name)?;
    if before.is_none() {
        let there = first(
            connection,
            "SELECT count(*) FROM plans WHERE environment = ?1",
            &[&wanted.environment.as_str()],
            |row| row.get::<_, u32>(0),
        )?;
        if there.unwrap_or_default() >= most {
            return Ok(None);
        }
    }
    execute(
        connection,
        "INSERT INTO plans (environment, name, title, description, requests_per_minute, tokens_per_minute,
                            monthly_credits, open, created_at, weight)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (environment, name) DO UPDATE SET title = excluded.title, description = excluded.description,
             requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute,
             monthly_credits = excluded.monthly_credits, open = excluded.open,
             weight = excluded.weight",
        &[
            &wanted.environment.as_str(),
            &wanted.name,
            &wanted.title,
            &wanted.description,
            &wanted.requests_per_minute.map(NonZeroU32::get),
            &wanted.tokens_per_minute.map(NonZeroU32::get),
            &wanted.monthly_credits.micros(),
            &wanted.open,
            &wanted.created.as_millis(),
            &wanted.weight.get(),
        ],
    )?;
    let after = read(connection, wanted.environment, &wanted.name)?;
    if before != after {
        let audit = AuditEntry {
            environment: Some(wanted.environment),
            before: before.as_ref().map(shown),
            after: after.as_ref().map(shown),
            ..audit.clone()
        };
        audit_log::append(connection, &audit)?;
    }
    Ok(after)
}

fn delete(
    connection: &Connection,
    environment: Environment,
    name: &str,
    audit: &AuditEntry,
) -> Result<PlanGone, StoreError> {
    let Some(before) = read(connection, environment, name)? else {
        return Ok(PlanGone::Unknown);
    };
    let users = first(
        connection,
        "SELECT count(*) FROM account_plans WHERE environment = ?1 AND plan = ?2",
        &[&environment.as_str(), &name],
        |row| counted(row, 0),
    )?;
    if let Some(users @ 1..) = users {
        return Ok(PlanGone::InUse(users));
    }
    execute(
        connection,
        "DELETE FROM plans WHERE environment = ?1 AND name = ?2",
        &[&environment.as_str(), &name],
    )?;
    let audit = AuditEntry {
        environment: Some(environment),
        before: Some(shown(&before)),
        ..audit.clone()
    };
    audit_log::append(connection, &audit)?;
    Ok(PlanGone::Gone)
}

fn of_account(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
) -> Result<AccountPlanRecord, StoreError> {
    let (account, environment) = (account.to_string(), environment.as_str());
    let found = first(
        connection,
        &format!(
            "SELECT {PLAN}, account_plans.since, account_plans.namespace
             FROM account_plans JOIN plans ON plans.environment = account_plans.environment AND plans.name = account_plans.plan
             WHERE account_plans.account = ?1 AND account_plans.environment = ?2"
        ),
        &[&account, &environment],
        |row| {
            let since = Timestamp::from_millis(row.get(10)?);
            Ok((plan(row)?, since, parsed_if_any::<NamespaceId>(row, 11)?))
        },
    )?;
    let credited_month = first(
        connection,
        "SELECT month FROM plan_credits WHERE account = ?1 AND environment = ?2",
        &[&account, &environment],
        |row| row.get(0),
    )?;
    let namespace = found.as_ref().and_then(|(_, _, namespace)| *namespace);
    Ok(AccountPlanRecord {
        plan: found.map(|(plan, since, _)| (plan, since)),
        namespace,
        credited_month,
    })
}

fn choose(connection: &Connection, choice: &PlanChoice) -> Result<PlanChosen, StoreError> {
    let (account, environment) = (choice.account.to_string(), choice.environment.as_str());
    let is_there = first(connection, "SELECT 1 FROM accounts WHERE id = ?1", &[&account], |_| {
        Ok(())
    })?;
    if is_there.is_none() {
        return Ok(PlanChosen::UnknownAccount);
    }
    let before = of_account(connection, choice.account, choice.environment)?;
    if let Some(namespace) = choice.namespace {
        let its = first(
            connection,
            "SELECT 1 FROM namespaces WHERE id = ?1 AND account = ?2 AND environment = ?3 AND deleted_at IS NULL",
            &[&namespace.to_string(), &account, &environment],
            |_| Ok(()),
        )?;
        if its.is_none() {
            return Ok(PlanChosen::UnknownNamespace);
        }
    }
    let now = choice.audit.now;
    if let Some(name) = &choice.plan {
        let has_it = before.plan.as_ref().is_some_and(|(plan, _)| plan.name == *name);
        let wanted = read(connection, choice.environment, name)?;
        // Who has a plan keeps it when it is closed.
        if !wanted.is_some_and(|plan| plan.open || choice.by_administrator || has_it) {
            return Ok(PlanChosen::UnknownPlan);
        }
        execute(
            connection,
            "INSERT INTO account_plans (account, environment, plan, namespace, since) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, environment) DO UPDATE
             SET since = CASE plan WHEN excluded.plan THEN since ELSE excluded.since END,
                 plan = excluded.plan, namespace = coalesce(excluded.namespace, namespace)",
            &[
                &account,
                &environment,
                &name,
                &choice.namespace.map(|id| id.to_string()),
                &now.as_millis(),
            ],
        )?;
        credit(
            connection,
            choice.environment,
            Some(choice.account),
            &choice.month,
            1,
            now,
        )?;
    } else {
        execute(
            connection,
            "DELETE FROM account_plans WHERE account = ?1 AND environment = ?2",
            &[&account, &environment],
        )?;
    }
    let after = of_account(connection, choice.account, choice.environment)?;
    let name = |record: &AccountPlanRecord| json!(record.plan.as_ref().map(|(plan, _)| &plan.name));
    if before.plan != after.plan {
        let audit = AuditEntry {
            environment: Some(choice.environment),
            before: Some(name(&before)),
            after: Some(name(&after)),
            ..choice.audit.clone()
        };
        audit_log::append(connection, &audit)?;
    }
    Ok(PlanChosen::Done(Box::new(after)))
}

/// Gives a month's credits to those who have a plan and did not get them: to one account, or to some of all. Months only go
/// forward.
fn credit(
    connection: &Connection,
    environment: Environment,
    only: Option<AccountId>,
    month: &str,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let due = all(
        connection,
        "SELECT account_plans.account,
                coalesce(
                    (SELECT id FROM namespaces WHERE id = account_plans.namespace AND deleted_at IS NULL),
                    (SELECT min(id) FROM namespaces
                     WHERE namespaces.account = account_plans.account
                       AND namespaces.environment = account_plans.environment AND deleted_at IS NULL)) AS receiver,
                plans.name, plans.monthly_credits
         FROM account_plans
         JOIN plans ON plans.environment = account_plans.environment AND plans.name = account_plans.plan
         JOIN accounts ON accounts.id = account_plans.account
         LEFT JOIN plan_credits ON plan_credits.account = account_plans.account
             AND plan_credits.environment = account_plans.environment
         WHERE account_plans.environment = ?1 AND (?2 IS NULL OR account_plans.account = ?2)
           AND plans.monthly_credits > 0 AND accounts.suspended_at IS NULL
           AND (plan_credits.month IS NULL OR plan_credits.month < ?3) AND receiver IS NOT NULL
         LIMIT ?4",
        &[
            &environment.as_str(),
            &only.map(|account| account.to_string()),
            &month,
            &limit,
        ],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                parsed::<NamespaceId>(row, 1)?,
                row.get::<_, String>(2)?,
                credits(row, 3)?,
            ))
        },
    )?;
    for (account, namespace, plan, amount) in &due {
        execute(
            connection,
            "INSERT INTO plan_credits (account, environment, month) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, environment) DO UPDATE SET month = excluded.month",
            &[account, &environment.as_str(), &month],
        )?;
        let grant = Grant {
            idempotency_key: format!("plan:{environment}:{account}:{month}"),
            namespace: *namespace,
            amount: *amount,
            reason: format!("plan {plan}, {month}"),
            now,
        };
        tenants::grant(connection, &grant)?;
    }
    Ok(due.len() as u64)
}

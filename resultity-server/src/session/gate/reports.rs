//! What an account used, earned and did.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountUsage, AccountUsageQuery, AccountUsageRow, Activity, CreditQuery, InEnvironment, NodeRewards, ReportsApi,
    Rewards, Scope,
};
use resultity_core::api::page::Page;
use resultity_core::api::usage::UsageCounts;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::error::ApiError;

use super::credits::{invalid, page_of, unknown_after};
use super::{GateSession, failed};
use crate::session::usage::{DAY_MS, date, days};
use crate::store::statements::{AccountUsageFilter, AccountUsageRecord, ActivityRecord, StatementPage, UsageBy};

/// The most rows of a report.
const MAX_ROWS: u32 = 20_000;

/// The longest place of an activity.
const LONGEST_PLACE: usize = 200;

#[async_trait]
impl ReportsApi for GateSession {
    async fn account_usage(&self, query: AccountUsageQuery) -> Result<AccountUsage, ApiError> {
        let account = self.account(Scope::Read)?;
        let flow = self.flow(query.environment)?;
        let environment = flow.environment;
        if let Some(namespace) = query.namespace {
            self.own_funds(account, namespace, Some(environment))
                .await
                .map_err(|error| error.with_param("namespace"))?;
        }
        let (start, end) = days(self.gate.clock.now(), query.start.as_deref(), query.end.as_deref())?;
        let filter = AccountUsageFilter {
            account,
            environment,
            namespace: query.namespace,
            key: query.key,
            model: query
                .model
                .map(|name| flow.model(&name).map_or(name, |model| model.name)),
            from: Timestamp::from_millis(start * DAY_MS),
            until: Timestamp::from_millis((end + 1) * DAY_MS),
            // No job lives for a day.
            accepted_from: Timestamp::from_millis((start - 1) * DAY_MS),
            by: grouping(query.group_by.as_deref().unwrap_or("day,model"))?,
            limit: MAX_ROWS + 1,
        };
        let records = self.gate.store.account_usage(filter).await.map_err(failed)?;
        if records.len() > MAX_ROWS as usize {
            let message = format!("the report has more than {MAX_ROWS} rows: ask for fewer days, or tell less apart");
            return Err(invalid("group_by", message));
        }
        let mut total = UsageCounts::default();
        let data: Vec<AccountUsageRow> = records.into_iter().map(row).collect();
        for row in &data {
            total.add(&row.counts);
        }
        Ok(AccountUsage {
            object: "usage".into(),
            environment,
            start: date(start),
            end: date(end),
            data,
            total,
        })
    }

    async fn activity(&self, query: CreditQuery) -> Result<Page<Activity>, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let (page, size): (StatementPage<String>, u32) = page_of(&query)?;
        let is_place = |text: &String| text.len() <= LONGEST_PLACE && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !page.after.as_ref().is_none_or(is_place) {
            return Err(unknown_after());
        }
        let records = self.gate.store.activity(account, environment, page).await;
        let activities = records.map_err(failed)?.into_iter().map(activity).collect();
        Ok(Page::of(activities, size, |activity: &Activity| activity.id.clone()))
    }

    async fn rewards(&self, environment: InEnvironment) -> Result<Rewards, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(environment.environment)?.environment;
        let funds = self.gate.store.funds(account, environment).await.map_err(failed)?;
        let earned = self.gate.store.earned(account, environment).await.map_err(failed)?;
        let payable = sum(earned.nodes.iter().map(|node| node.payable));
        let nodes = earned.nodes.iter().map(|node| NodeRewards {
            node: node.node,
            earned: sum([node.payable, node.paid_out]),
            payable: node.payable,
            points: node.points,
        });
        Ok(Rewards {
            object: "rewards".into(),
            environment,
            earned: sum([payable, earned.paid_out]),
            paid_out: earned.paid_out,
            payable,
            credits: sum(funds.iter().map(|namespace| namespace.available)),
            points: earned.nodes.iter().map(|node| node.points).sum(),
            nodes: nodes.collect(),
        })
    }
}

fn sum(amounts: impl IntoIterator<Item = Credits>) -> Credits {
    let micros = amounts
        .into_iter()
        .fold(0_i64, |sum, amount| sum.saturating_add(amount.micros()));
    Credits::from_micros(micros)
}

fn row(record: AccountUsageRecord) -> AccountUsageRow {
    let (namespace, namespace_name) = record.namespace.unzip();
    let (key, key_label) = record.key.unzip();
    AccountUsageRow {
        day: record.day.map(date),
        namespace,
        namespace_name,
        key,
        key_label,
        model: record.model,
        endpoint: record.endpoint,
        counts: UsageCounts {
            requests: record.requests,
            failed: record.failed,
            prompt_tokens: record.prompt_tokens,
            completion_tokens: record.completion_tokens,
            duration_ms: record.duration_ms,
            cost: record.cost,
        },
    }
}

fn activity(record: ActivityRecord) -> Activity {
    Activity {
        id: record.place,
        kind: record.kind,
        subject: record.subject,
        message: record.message,
        amount: record.amount,
        created_at: record.created.as_seconds(),
    }
}

fn grouping(text: &str) -> Result<UsageBy, ApiError> {
    let mut by = UsageBy::default();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let chosen = match name {
            "day" => &mut by.day,
            "namespace" => &mut by.namespace,
            "key" => &mut by.key,
            "model" => &mut by.model,
            "endpoint" => &mut by.endpoint,
            _ => {
                let message = "group_by may name day, namespace, key, model and endpoint, separated by commas";
                return Err(invalid("group_by", message));
            }
        };
        *chosen = true;
    }
    Ok(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_group_is_named() {
        let by = grouping("day, namespace,key").unwrap();
        assert!(by.day && by.namespace && by.key && !by.model && !by.endpoint);
        assert_eq!(grouping("").unwrap(), UsageBy::default());
        assert_eq!(grouping("month").unwrap_err().param.as_deref(), Some("group_by"));
    }
}

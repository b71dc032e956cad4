//! How the queues of jobs are doing, and the environment at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountCounts, CreditTotals, InEnvironment, ModelQueue, Overview, OverviewApi, QueueApi, QueueCounts, QueueHealth,
    Throughput,
};
use resultity_core::clock::Timestamp;
use resultity_core::error::ApiError;
use resultity_core::job::Priority;

use super::{GateSession, failed, intake};
use crate::flow::Flow;
use crate::flow::schedule::Loads;
use crate::flow::tally::Ends;
use crate::store::admin::OpenJobs;

/// The times that are told of.
const TIMES: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(5), Duration::from_hours(1)];

/// The time that is told of for each model.
const OF_A_MODEL: Duration = Duration::from_mins(5);

/// Who counts as new.
const NEW: Duration = Duration::from_hours(24);

#[async_trait]
impl QueueApi for GateSession {
    async fn queue_health(&self, query: InEnvironment) -> Result<QueueHealth, ApiError> {
        self.administrator()?;
        let flow = self.flow(query.environment)?;
        let open = flow.store.open_jobs(flow.environment).await.map_err(failed)?;
        let now = flow.clock.now();
        let loads = flow.loads();
        let lately = flow.tally.lately(now, OF_A_MODEL);
        let models: BTreeSet<&str> = open
            .iter()
            .map(|jobs| jobs.model.as_str())
            .chain(loads.nodes.values().flat_map(|node| &node.models).map(String::as_str))
            .chain(lately.keys().map(String::as_str))
            .collect();
        let models = models.into_iter().map(|model| {
            let ends = lately.get(model).copied().unwrap_or_default();
            ModelQueue {
                model: model.to_owned(),
                counts: counts(&open, &loads, Some(model), now),
                ended: throughput(&ends, OF_A_MODEL),
            }
        });
        Ok(QueueHealth {
            environment: flow.environment,
            intake_stopped: flow.intake_stop().is_some(),
            total: counts(&open, &loads, None, now),
            ended: TIMES.iter().map(|time| all_ended(flow, now, *time)).collect(),
            models: models.collect(),
        })
    }
}

#[async_trait]
impl OverviewApi for GateSession {
    async fn overview(&self, query: InEnvironment) -> Result<Overview, ApiError> {
        self.administrator()?;
        let flow = self.flow(query.environment)?;
        let now = flow.clock.now();
        let since = Timestamp::from_millis(now.as_millis() - NEW.as_millis() as i64);
        let totals = flow.store.totals(flow.environment, since).await.map_err(failed)?;
        let open = flow.store.open_jobs(flow.environment).await.map_err(failed)?;
        let loads = flow.loads();
        let snapshot = flow.snapshot();
        Ok(Overview {
            environment: flow.environment,
            intake: intake::shown(flow),
            snapshot_version: snapshot.version,
            models: snapshot.models.len() as u64,
            models_served: flow.served_models(None).len() as u64,
            queue: counts(&open, &loads, None, now),
            ended: all_ended(flow, now, Duration::from_hours(1)),
            dead_letters: totals.dead_letters,
            accounts: AccountCounts {
                total: totals.accounts,
                suspended: totals.suspended,
                administrators: totals.administrators,
                new: totals.new_accounts,
            },
            namespaces: totals.namespaces,
            keys: totals.keys,
            nodes: totals.nodes,
            nodes_bound: totals.nodes_bound,
            credits: CreditTotals {
                issued: totals.issued,
                available: totals.available,
                held: totals.held,
                earned: totals.earned,
                fees: totals.fees,
            },
        })
    }
}

/// What waits and runs: of one model, or of all.
fn counts(open: &[OpenJobs], loads: &Loads, model: Option<&str>, now: Timestamp) -> QueueCounts {
    let mut counts = QueueCounts::default();
    let of_model = |jobs: &&OpenJobs| model.is_none_or(|model| model == jobs.model);
    for jobs in open.iter().filter(of_model) {
        match jobs.priority {
            Priority::Bulk => counts.waiting_bulk += jobs.waiting,
            _ => counts.waiting_normal += jobs.waiting,
        }
        counts.running += jobs.running;
        let waited = jobs.oldest.map(|oldest| now.since(oldest).as_millis() as u64);
        counts.oldest_wait_ms = counts.oldest_wait_ms.max(waited);
    }
    for node in loads.nodes.values() {
        if model.map_or(!node.models.is_empty(), |model| node.models.contains(model)) {
            counts.nodes += 1;
            counts.slots += u64::from(node.slots);
        }
    }
    counts
}

fn all_ended(flow: &Flow, now: Timestamp, time: Duration) -> Throughput {
    let by_model: BTreeMap<String, Ends> = flow.tally.lately(now, time);
    let mut sum = Ends::default();
    for ends in by_model.values() {
        sum.add(ends);
    }
    throughput(&sum, time)
}

fn throughput(ends: &Ends, time: Duration) -> Throughput {
    let bad = ends.failed + ends.expired;
    let judged = ends.succeeded + bad;
    Throughput {
        seconds: time.as_secs(),
        succeeded: ends.succeeded,
        failed: ends.failed,
        expired: ends.expired,
        cancelled: ends.cancelled,
        per_minute: ends.succeeded as f64 * 60.0 / time.as_secs_f64(),
        failure_rate: if judged == 0 { 0.0 } else { bad as f64 / judged as f64 },
        mean_ms: (ends.took.as_millis() as u64).checked_div(ends.succeeded),
        tokens: ends.tokens,
    }
}

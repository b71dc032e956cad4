//! How the queues of jobs are doing, and the environment at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountCounts, CreditTotals, InEnvironment, JobDecision, JobWhy, ModelQueue, NodesForJob, Overview, OverviewApi,
    QueueApi, QueueCounts, QueueHealth, Throughput,
};
use resultity_core::clock::Timestamp;
use resultity_core::error::ApiError;
use resultity_core::id::JobId;
use resultity_core::job::Priority;

use super::{GateSession, failed, intake, not_found};
use crate::flow::Flow;
use crate::flow::schedule::{Counts, Loads, Now, Verdict, Why};
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

    async fn job_why(&self, job: JobId, query: InEnvironment) -> Result<JobWhy, ApiError> {
        self.administrator()?;
        let flow = self.flow(query.environment)?;
        let explained = flow.explain(job);
        let (place, node, waiting) = match explained.now {
            Now::Waiting(ahead, counts) => ("waiting", None, Some((ahead, nodes(counts)))),
            Now::Working(node) => ("working", Some(node), None),
            Now::Elsewhere if explained.decisions.is_empty() => return Err(not_found("decision about this job")),
            Now::Elsewhere => ("elsewhere", None, None),
        };
        let (jobs_ahead, nodes) = waiting.unzip();
        Ok(JobWhy {
            job,
            environment: flow.environment,
            place: place.to_owned(),
            node,
            jobs_ahead,
            nodes,
            decisions: explained.decisions.iter().map(decision).collect(),
        })
    }
}

/// What was decided about a job, in words.
fn in_words(why: &Why) -> String {
    let Counts {
        serving,
        unfit,
        tried,
        left_out,
        busy,
        free,
    } = why.counts;
    let nodes = [
        (unfit, "not what it wants"),
        (tried, "tried it already"),
        (left_out, "left out for a while after failures"),
        (busy, "busy"),
        (free, "free"),
    ];
    let nodes: Vec<String> = nodes
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{count} {how}"))
        .collect();
    let nodes = match serving {
        0 => "no node serves the model".to_owned(),
        _ => format!("of {serving} nodes that serve the model: {}", nodes.join(", ")),
    };
    let what = match (why.verdict, why.is_trial) {
        (Verdict::Given, true) => "given at once to a node that has to show what it can do",
        (Verdict::Given, false) => "given at once to the better of two free nodes",
        (Verdict::GivenLater, _) => "it was its turn when this node became free",
        (Verdict::Waits, _) => "no node that may take it is free: it waits",
        (Verdict::NoNode, _) => "no node that is online could take it",
    };
    format!("{what}; {nodes}")
}

const fn nodes(counts: Counts) -> NodesForJob {
    NodesForJob {
        serving: counts.serving,
        unfit: counts.unfit,
        tried: counts.tried,
        left_out: counts.left_out,
        busy: counts.busy,
        free: counts.free,
    }
}

fn decision(why: &Why) -> JobDecision {
    let is_chosen = why.verdict == Verdict::Given;
    JobDecision {
        at_ms: why.at.as_millis(),
        verdict: why.verdict.as_str().to_owned(),
        node: why.node,
        score: is_chosen.then_some(why.scores.0),
        over: why.over,
        score_of_other: why.over.map(|_| why.scores.1),
        trial: why.is_trial,
        waited_ms: why.waited.as_millis() as u64,
        nodes: nodes(why.counts),
        summary: in_words(why),
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

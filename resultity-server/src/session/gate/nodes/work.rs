//! What a node did and earned, and paying it out.

use std::collections::BTreeMap;

use resultity_core::api::gate::{
    DayOfNode, InEnvironment, ModelOfNode, NodeEarnings, NodeJob, NodeJobsQuery, NodePaidOut, NodeWork, NodeWorkQuery,
    PayOutNode, Scope,
};
use resultity_core::api::page::Page;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, JobId, NodeId, TransferId};
use uuid::Uuid;

use super::{checked_text, conflict, page_of};
use crate::session::gate::{GateSession, failed, not_found};
use crate::session::jobs::page_size;
use crate::session::usage::date;
use crate::store::fleet::{NodeJobRecord, NodeWorkRecord};
use crate::store::funds::{NewPayout, PaidOut};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// How much is counted if nothing is said, and at most.
const USUAL_DAYS: i64 = 30;
const MAX_DAYS: i64 = 92;

impl GateSession {
    pub(super) async fn jobs_of_node(&self, id: NodeId, query: NodeJobsQuery) -> Result<Page<NodeJob>, ApiError> {
        let size = page_size(query.limit)?;
        let after = query.after.as_deref().map(read_cursor).transpose()?;
        let (flow, _, record) = self.own_node(Scope::Read, id, query.environment).await?;
        // What it did for an owner before is not this one's to see.
        let since = record.bound.unwrap_or(record.created);
        let page = page_of(after, query.order, size);
        let jobs = self.gate.store.node_jobs(id, flow.environment, since, page).await;
        let jobs = jobs.map_err(failed)?.into_iter().map(job_shown);
        Ok(Page::of(jobs.collect(), size, |job| {
            format!("{}.{}", job.id, job.attempt)
        }))
    }

    pub(super) async fn earnings_of_node(&self, id: NodeId, query: NodeWorkQuery) -> Result<NodeEarnings, ApiError> {
        let (flow, _, record) = self.own_node(Scope::Read, id, query.environment).await?;
        let to = query.to.unwrap_or_else(|| self.gate.clock.now().as_seconds() + 1);
        let from = query
            .from
            .unwrap_or_else(|| to.saturating_sub(USUAL_DAYS * DAY_SECONDS));
        if from > to || from < 0 || to.saturating_sub(from) > MAX_DAYS * DAY_SECONDS {
            let message = format!("from must be before to, and at most {MAX_DAYS} days may be counted at once");
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("from"));
        }
        let since = record.bound.unwrap_or(record.created);
        let [first, until] = [from, to].map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
        let store = &self.gate.store;
        let work = store.node_work(id, flow.environment, first.max(since), until).await;
        let work = work.map_err(failed)?;
        let (mut days, mut models) = (BTreeMap::<i64, NodeWork>::new(), BTreeMap::<String, NodeWork>::new());
        let mut earned = Credits::ZERO;
        for record in work {
            add(days.entry(record.day).or_default(), &record);
            add(models.entry(record.model.clone()).or_default(), &record);
            earned = sum_of(earned, record.earned);
        }
        let days = days.into_iter().map(|(day, work)| DayOfNode { day: date(day), work });
        let models = models.into_iter().map(|(model, work)| ModelOfNode { model, work });
        Ok(NodeEarnings {
            node: id,
            object: "node.earnings".into(),
            environment: flow.environment,
            available: store.node_balance(id, flow.environment).await.map_err(failed)?,
            from,
            to,
            earned,
            days: days.collect(),
            models: models.collect(),
        })
    }

    pub(super) async fn pay_out(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PayOutNode,
    ) -> Result<NodePaidOut, ApiError> {
        let account = self.account(Scope::Credits)?;
        let environment = self.flow(place.environment)?.environment;
        if request.amount.is_some_and(|amount| amount <= Credits::ZERO) {
            return Err(ApiError::new(ErrorCode::InvalidValue, "amount must be more than 0").with_param("amount"));
        }
        let payout = NewPayout {
            id: match &request.idempotency_key {
                Some(key) => payout_id(account, id, environment, &checked_text("idempotency_key", key, 100)?),
                None => TransferId::new(&*self.gate.clock, &*self.gate.entropy),
            },
            account,
            node: id,
            environment,
            namespace: request.namespace,
            amount: request.amount,
            now: self.gate.clock.now(),
        };
        let name = payout.id;
        match self.gate.store.payout(payout).await.map_err(failed)? {
            PaidOut::Done { amount, left, .. } => {
                tracing::info!(node.id = %id, namespace.id = %request.namespace, credits = %amount, "earnings paid out");
                Ok(NodePaidOut {
                    id: name,
                    object: "node.payout".into(),
                    node: id,
                    environment,
                    namespace: request.namespace,
                    amount,
                    remaining: left,
                })
            }
            PaidOut::UnknownNode => Err(not_found("node")),
            PaidOut::UnknownNamespace => Err(not_found("namespace").with_param("namespace")),
            PaidOut::Insufficient { available } => {
                let message = format!("the node has {available} credits to pay out");
                Err(conflict(message).with_param("amount"))
            }
            PaidOut::Conflict => {
                let message = "this idempotency_key named another payout before";
                Err(ApiError::new(ErrorCode::Conflict, message).with_param("idempotency_key"))
            }
        }
    }
}

/// The same for the same key of the same node and account, so that a repeat is known.
fn payout_id(account: AccountId, node: NodeId, environment: Environment, key: &str) -> TransferId {
    let hash = sha256(format!("payout\n{account}\n{node}\n{environment}\n{key}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    TransferId::from_uuid(Uuid::from_bytes(bytes))
}

/// `<job>.<attempt>`: the place of an entry.
fn read_cursor(text: &str) -> Result<(JobId, u32), ApiError> {
    let parts = text.split_once('.');
    let place = parts.and_then(|(job, attempt)| Some((job.parse().ok()?, attempt.parse().ok()?)));
    place.ok_or_else(|| {
        let message = "after must be the last_id of a page of this list";
        ApiError::new(ErrorCode::InvalidValue, message).with_param("after")
    })
}

fn job_shown(record: NodeJobRecord) -> NodeJob {
    let duration = record.ended.since(record.created);
    NodeJob {
        id: record.job,
        object: "node.job".into(),
        attempt: record.attempt,
        endpoint: record.endpoint,
        model: record.model,
        state: record.state,
        reason: record.reason,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        earned: record.earned,
        created_at: record.created.as_seconds(),
        finished_at: record.ended.as_seconds(),
    }
}

fn add(sum: &mut NodeWork, record: &NodeWorkRecord) {
    sum.jobs += record.jobs;
    sum.prompt_tokens += record.prompt_tokens;
    sum.completion_tokens += record.completion_tokens;
    sum.earned = sum_of(sum.earned, record.earned);
}

const fn sum_of(one: Credits, other: Credits) -> Credits {
    Credits::from_micros(one.micros().saturating_add(other.micros()))
}

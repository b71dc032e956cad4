//! Nodes, for administrators: flags, penalties, appeals. Each change is in the audit log, and counts on a live link at once.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    AdminNode, AdminNodesApi, AdminNodesQuery, AppealDecision, AppealsQuery, DecideAppeal, FlagNode, InEnvironment,
    NodeCheck, NodeChecksQuery, NodeFlag, NodeLog, NodeLogsQuery, PenaliseNode, PenaltiesQuery, Penalty,
    PseudonymResolved, ResolvePseudonym, UnflagNode,
};
use resultity_core::api::page::Page;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{NodeId, NotificationId, PenaltyId};
use serde_json::json;

use super::{checked_text, conflict, page_of, shown, strangers};
use crate::flow::Flow;
use crate::session::gate::{GateSession, failed, not_found};
use crate::session::jobs::page_size;
use crate::store::fleet::{Decided, Decision, FleetRecord, NewFlag, NewPenalty, NodeFilter, OwnerNotice};

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// How long a shadow lasts at most.
const LONGEST_SHADOW: Duration = Duration::from_hours(72);

/// How far ahead anything may end: what is longer has no end.
const LONGEST: Duration = Duration::from_hours(24 * 3660);

#[async_trait]
impl AdminNodesApi for GateSession {
    async fn admin_nodes(&self, query: AdminNodesQuery) -> Result<Page<AdminNode>, ApiError> {
        self.administrator()?;
        let size = page_size(query.limit)?;
        let flow = self.flow(query.environment)?;
        let filter = NodeFilter {
            environment: flow.environment,
            account: query.account,
            unbound: query.unbound.unwrap_or_default(),
            flag: query.flag,
            page: page_of(query.after, query.order, size),
            now: self.gate.clock.now(),
        };
        let records = self.gate.store.fleet_nodes(filter.clone()).await.map_err(failed)?;
        let records = strangers::with_linked(flow, &filter, records);
        let mut nodes = Vec::with_capacity(records.len());
        for record in records {
            nodes.push(self.shown_to_admin(flow, record).await?);
        }
        Ok(Page::of(nodes, size, |node| node.node.id.to_string()))
    }

    async fn admin_node(&self, id: NodeId, place: InEnvironment) -> Result<AdminNode, ApiError> {
        self.administrator()?;
        let flow = self.flow(place.environment)?;
        let now = self.gate.clock.now();
        let record = self.gate.store.fleet_node(id, flow.environment, now).await;
        let record = record.map_err(failed)?.or_else(|| strangers::linked(flow, id));
        self.shown_to_admin(flow, record.ok_or_else(|| not_found("node"))?)
            .await
    }

    async fn flag_node(&self, id: NodeId, place: InEnvironment, request: FlagNode) -> Result<AdminNode, ApiError> {
        let actor = self.administrator()?;
        let flow = self.flow(place.environment)?;
        let reason = checked_text("reason", &request.reason, MAX_REASON)?;
        let flag = request.flag;
        let until = self.checked_end(request.until)?;
        let until = if flag == NodeFlag::Shadow {
            Some(self.checked_shadow(until)?)
        } else {
            until
        };
        let mut audit = self.audit(actor, "node.flag", format!("node:{id}"), reason.clone());
        audit.environment = Some(flow.environment);
        audit.after = Some(json!({ "flag": flag, "reason": reason, "until": until.map(Timestamp::as_seconds) }));
        let what = match flag {
            NodeFlag::Freeze => "froze",
            NodeFlag::Trusted => "trust",
            _ => "paused",
        };
        let message = format!(
            "The network's administrators {what} your node {id}{}: {reason}",
            ends(until)
        );
        let new = NewFlag {
            node: id,
            environment: flow.environment,
            flag,
            reason,
            until,
            audit,
            notice: flag.is_shown().then(|| self.notice("node.flag", message)),
        };
        self.keep_linked(flow, id).await?;
        let record = self.gate.store.flag_node(new).await.map_err(failed)?;
        let record = record.ok_or_else(|| not_found("node"))?;
        tracing::info!(node.id = %id, %flag, "a flag was put on a node");
        flow.fleet_changed(id);
        self.shown_to_admin(flow, record).await
    }

    async fn unflag_node(&self, id: NodeId, flag: NodeFlag, query: UnflagNode) -> Result<AdminNode, ApiError> {
        let actor = self.administrator()?;
        let flow = self.flow(query.environment)?;
        let reason = checked_text("reason", &query.reason, MAX_REASON)?;
        let mut audit = self.audit(actor, "node.unflag", format!("node:{id}"), reason.clone());
        audit.environment = Some(flow.environment);
        let message = if flag.keeps_from_work() {
            format!("The network's administrators let your node {id} work again (`{flag}`): {reason}")
        } else {
            format!("The network's administrators took a flag off your node {id} (`{flag}`): {reason}")
        };
        let notice = flag.is_shown().then(|| self.notice("node.flag", message));
        let store = &self.gate.store;
        let record = store.unflag_node(id, flow.environment, flag, audit, notice).await;
        let record = record
            .map_err(failed)?
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such node, or it has no such flag"))?;
        tracing::info!(node.id = %id, %flag, "a flag was taken off a node");
        flow.fleet_changed(id);
        self.shown_to_admin(flow, record).await
    }

    async fn admin_node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        self.logs_for_admin(id, query).await
    }

    async fn node_checks(&self, id: NodeId, query: NodeChecksQuery) -> Result<Page<NodeCheck>, ApiError> {
        self.administrator()?;
        let size = page_size(query.limit)?;
        let flow = self.flow(query.environment)?;
        let (store, now) = (&self.gate.store, self.gate.clock.now());
        let there = store.fleet_node(id, flow.environment, now).await.map_err(failed)?;
        there.ok_or_else(|| not_found("node"))?;
        // One more says whether there are more.
        let records = store.node_checks(id, flow.environment, query.after, size + 1).await;
        let checks = records.map_err(failed)?.into_iter().map(shown::check);
        Ok(Page::of(checks.collect(), size, |check| check.id.to_string()))
    }

    async fn admin_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError> {
        self.administrator()?;
        let size = page_size(query.limit)?;
        let flow = self.flow(query.environment)?;
        let now = self.gate.clock.now();
        let store = &self.gate.store;
        let there = store.fleet_node(id, flow.environment, now).await.map_err(failed)?;
        there.ok_or_else(|| not_found("node"))?;
        let page = page_of(query.after, query.order, size);
        let records = store.node_penalties(id, flow.environment, None, page, now).await;
        Ok(penalties(records.map_err(failed)?, size, now))
    }

    async fn penalise_node(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PenaliseNode,
    ) -> Result<Penalty, ApiError> {
        let actor = self.administrator()?;
        let flow = self.flow(place.environment)?;
        let reason = checked_text("reason", &request.reason, MAX_REASON)?;
        let until = self.checked_end(request.until)?;
        let penalty = PenaltyId::new(&*self.gate.clock, &*self.gate.entropy);
        let mut audit = self.audit(actor, "node.penalise", format!("node:{id}"), reason.clone());
        audit.environment = Some(flow.environment);
        audit.after = Some(json!({ "penalty": penalty, "until": until.map(Timestamp::as_seconds) }));
        let message = format!(
            "Your node {id} got a penalty{}: {reason}. You can appeal against it.",
            ends(until)
        );
        let new = NewPenalty {
            id: penalty,
            node: id,
            environment: flow.environment,
            reason,
            until,
            audit,
            notice: Some(self.notice("node.penalty", message)),
        };
        self.keep_linked(flow, id).await?;
        let record = self.gate.store.penalise_node(new).await.map_err(failed)?;
        let record = record.ok_or_else(|| not_found("node"))?;
        tracing::info!(node.id = %id, penalty.id = %penalty, "a node got a penalty");
        flow.fleet_changed(id);
        Ok(shown::penalty(record, self.gate.clock.now()))
    }

    async fn resolve_pseudonym(&self, request: ResolvePseudonym) -> Result<PseudonymResolved, ApiError> {
        self.resolved(request).await
    }

    async fn appeals(&self, query: AppealsQuery) -> Result<Page<Penalty>, ApiError> {
        self.administrator()?;
        let size = page_size(query.limit)?;
        let environment = self.flow(query.environment)?.environment;
        let open = !query.decided.unwrap_or_default();
        let page = page_of(query.after, query.order, size);
        let records = self.gate.store.appeals(environment, open, page).await;
        Ok(penalties(records.map_err(failed)?, size, self.gate.clock.now()))
    }

    async fn decide_appeal(&self, penalty: PenaltyId, request: DecideAppeal) -> Result<Penalty, ApiError> {
        let actor = self.administrator()?;
        let reason = checked_text("reason", &request.reason, MAX_REASON)?;
        let decided = match request.decision {
            AppealDecision::Lift => "The penalty is lifted",
            AppealDecision::Uphold => "The penalty stays",
        };
        let mut audit = self.audit(actor, "penalty.decide", "", reason.clone());
        audit.after = Some(json!({ "penalty": penalty, "decision": request.decision }));
        let decision = Decision {
            penalty,
            decision: request.decision,
            notice: self.notice("node.appeal", format!("Your appeal was decided. {decided}: {reason}")),
            reason,
            audit,
        };
        let environments = Environment::ALL
            .into_iter()
            .filter(|environment| self.sees(*environment));
        let decided = self.gate.store.decide_appeal(environments.collect(), decision).await;
        match decided.map_err(failed)? {
            Decided::Done(record) => {
                tracing::info!(node.id = %record.node, penalty.id = %penalty, "an appeal was decided");
                if let Some(flow) = self.gate.flows.get(record.environment) {
                    flow.fleet_changed(record.node);
                }
                Ok(shown::penalty(*record, self.gate.clock.now()))
            }
            Decided::NoAppeal => Err(conflict("nobody appealed against this penalty")),
            Decided::Already => Err(conflict("this appeal was decided before")),
            Decided::UnknownPenalty => Err(not_found("penalty")),
        }
    }
}

impl GateSession {
    async fn shown_to_admin(&self, flow: &Flow, record: FleetRecord) -> Result<AdminNode, ApiError> {
        let now = self.gate.clock.now();
        let id = record.standing.node;
        let mut node = shown::node(flow, &record, now);
        node.in_rotation = shown::is_routed(flow, &record, now);
        let flags = NodeFlag::ALL
            .into_iter()
            .filter_map(|flag| record.standing.flag(flag, now));
        node.flags = flags.map(shown::flagged).collect();
        let earned = self
            .gate
            .store
            .node_balance(id, flow.environment)
            .await
            .map_err(failed)?;
        let reasons = flow.why(id, &record.standing);
        let penalties = record.standing.penalties.into_iter();
        Ok(AdminNode {
            node,
            account: record.standing.account,
            earned,
            penalties: penalties.map(|record| shown::penalty(record, now)).collect(),
            reasons,
        })
    }

    fn notice(&self, kind: &str, message: String) -> OwnerNotice {
        OwnerNotice {
            id: NotificationId::new(&*self.gate.clock, &*self.gate.entropy),
            kind: kind.to_owned(),
            message,
        }
    }

    fn checked_end(&self, seconds: Option<i64>) -> Result<Option<Timestamp>, ApiError> {
        let now = self.gate.clock.now();
        let until = seconds.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
        match until {
            Some(until) if until <= now || until > now.after(LONGEST) => {
                let message = "until must be in the future, within ten years, in seconds since the Unix epoch";
                Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("until"))
            }
            until => Ok(until),
        }
    }

    fn checked_shadow(&self, until: Option<Timestamp>) -> Result<Timestamp, ApiError> {
        let longest = self.gate.clock.now().after(LONGEST_SHADOW);
        match until {
            Some(until) if until > longest => {
                let message = "a shadow ends within 72 hours: look into it, then give a penalty or let the node go";
                Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("until"))
            }
            until => Ok(until.unwrap_or(longest)),
        }
    }
}

fn penalties(records: Vec<crate::store::fleet::PenaltyRecord>, size: u32, now: Timestamp) -> Page<Penalty> {
    let shown = records.into_iter().map(|record| shown::penalty(record, now));
    Page::of(shown.collect(), size, |penalty| penalty.id.to_string())
}

/// As part of a sentence.
fn ends(until: Option<Timestamp>) -> String {
    until.map(|until| format!(" until {until}")).unwrap_or_default()
}

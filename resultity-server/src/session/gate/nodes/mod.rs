//! Nodes of an account: binding, looking at them, telling them what to do. Administrators have a file of their own.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::api::gate::{
    AppealPenalty, AskBinding, BindChallenge, BindNode, ControlNode, CreateJoinCode, InEnvironment, JoinCode, Node,
    NodeAction, NodeEarnings, NodeJob, NodeJobsQuery, NodeLog, NodeLogsQuery, NodePaidOut, NodeUnbound, NodeWhy,
    NodeWorkQuery, NodesApi, NodesQuery, PayOutNode, PenaltiesQuery, Penalty, Scope, UpdateNode,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NodeId, PenaltyId};
use resultity_core::wire::ControlAction;

use super::{GateSession, failed, not_found};
use crate::flow::Flow;
use crate::session::jobs::page_size;
use crate::store::Actor;
use crate::store::fleet::{Appealed, FleetRecord, NodeChange, NodeFilter, Unbound};
use crate::store::webhooks::PageOf;

mod admin;
mod binding;
mod logs;
mod pseudonyms;
mod shown;
mod strangers;
mod work;

/// The most nodes of an account in an environment.
const NODES_PER_ACCOUNT: u32 = 1000;

/// The longest name of a node, in characters.
const MAX_NAME: usize = 100;

/// The longest appeal, in characters.
const MAX_APPEAL: usize = 2000;

#[async_trait]
impl NodesApi for GateSession {
    async fn create_join_code(&self, request: CreateJoinCode) -> Result<JoinCode, ApiError> {
        self.new_join_code(request).await
    }

    async fn ask_binding(&self, request: AskBinding) -> Result<BindChallenge, ApiError> {
        self.binding_message(request).await
    }

    async fn bind_node(&self, request: BindNode) -> Result<Node, ApiError> {
        self.bind_by_wallet(request).await
    }

    async fn nodes(&self, query: NodesQuery) -> Result<Page<Node>, ApiError> {
        let account = self.account(Scope::Read)?;
        let flow = self.flow(query.environment)?;
        let size = page_size(query.limit)?;
        let now = self.gate.clock.now();
        let filter = NodeFilter {
            environment: flow.environment,
            account: Some(account),
            unbound: false,
            flag: None,
            page: page_of(query.after, query.order, size),
            now,
        };
        let records = self.gate.store.fleet_nodes(filter).await.map_err(failed)?;
        let nodes = records.iter().map(|record| shown::node(flow, record, now));
        Ok(Page::of(nodes.collect(), size, |node| node.id.to_string()))
    }

    async fn node(&self, id: NodeId, place: InEnvironment) -> Result<Node, ApiError> {
        let (flow, _, record) = self.own_node(Scope::Read, id, place.environment).await?;
        let now = self.gate.clock.now();
        let mut node = shown::node(flow, &record, now);
        node.pseudonyms = pseudonyms::of(flow, &record, now);
        Ok(node)
    }

    async fn update_node(&self, id: NodeId, place: InEnvironment, request: UpdateNode) -> Result<Node, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let name = request.name.map(|name| checked_name(&name)).transpose()?;
        let flow = self.flow(place.environment)?;
        let change = NodeChange { name, paused: None };
        self.changed(flow, account, id, change).await
    }

    async fn unbind_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeUnbound, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let flow = self.flow(place.environment)?;
        let mut audit = self.audit(Actor::Account(account), "node.unbind", format!("node:{id}"), "");
        audit.environment = Some(flow.environment);
        let notice = self.gate.owner_notice(
            "node.unbound",
            "You gave this node up: it gets no work until it is bound again.",
        );
        let store = &self.gate.store;
        let unbound = store.unbind_node(account, id, flow.environment, audit, notice).await;
        match unbound.map_err(failed)? {
            Unbound::Done => {
                tracing::info!(node.id = %id, account.id = %account, "a node was unbound");
                flow.fleet_changed(id);
                Ok(NodeUnbound {
                    id,
                    environment: flow.environment,
                    object: "node.unbound".into(),
                    unbound: true,
                })
            }
            Unbound::Busy => Err(conflict(
                "the node works on jobs: drain it first, so that what it earns is yours",
            )),
            Unbound::HasEarnings(left) => Err(conflict(format!(
                "the node has {left} credits that were not paid out: pause it, pay them out, then unbind it"
            ))),
            Unbound::UnknownNode => Err(not_found("node")),
        }
    }

    async fn control_node(&self, id: NodeId, place: InEnvironment, request: ControlNode) -> Result<Node, ApiError> {
        let (flow, account, record) = self.own_node(Scope::Nodes, id, place.environment).await?;
        let pause = |paused| NodeChange {
            name: None,
            paused: Some(paused),
        };
        tracing::info!(node.id = %id, account.id = %account, action = %request.action, "an owner controls a node");
        match request.action {
            NodeAction::Pause => self.changed(flow, account, id, pause(true)).await,
            NodeAction::Resume => self.changed(flow, account, id, pause(false)).await,
            NodeAction::Drain => {
                check_connected(flow, id)?;
                // Kept, so that it does not come back to work by itself.
                let node = self.changed(flow, account, id, pause(true)).await?;
                tell(flow, id, ControlAction::Drain)?;
                Ok(node)
            }
            NodeAction::Restart => {
                check_connected(flow, id)?;
                tell(flow, id, ControlAction::RestartRuntime)?;
                Ok(shown::node(flow, &record, self.gate.clock.now()))
            }
            _ => Err(ApiError::new(ErrorCode::InvalidValue, "no node can do that").with_param("action")),
        }
    }

    async fn why_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeWhy, ApiError> {
        let (flow, _, record) = self.own_node(Scope::Read, id, place.environment).await?;
        Ok(NodeWhy {
            node: id,
            environment: flow.environment,
            object: "node.why".into(),
            in_rotation: shown::in_rotation(flow, &record, self.gate.clock.now()),
            reasons: flow.why(id, &record.standing),
        })
    }

    async fn node_jobs(&self, id: NodeId, query: NodeJobsQuery) -> Result<Page<NodeJob>, ApiError> {
        self.jobs_of_node(id, query).await
    }

    async fn node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        self.logs_of_node(id, query).await
    }

    async fn node_earnings(&self, id: NodeId, query: NodeWorkQuery) -> Result<NodeEarnings, ApiError> {
        self.earnings_of_node(id, query).await
    }

    async fn pay_out_node(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PayOutNode,
    ) -> Result<NodePaidOut, ApiError> {
        self.pay_out(id, place, request).await
    }

    async fn node_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError> {
        let size = page_size(query.limit)?;
        let (flow, account, _) = self.own_node(Scope::Read, id, query.environment).await?;
        let now = self.gate.clock.now();
        let page = page_of(query.after, query.order, size);
        let store = &self.gate.store;
        let records = store.node_penalties(id, flow.environment, Some(account), page, now);
        let records = records.await.map_err(failed)?.into_iter();
        // What an owner before said is not this one's to read.
        let penalties = records.map(|mut record| {
            record.appeal = record.appeal.filter(|_| record.account == Some(account));
            shown::penalty(record, now)
        });
        Ok(Page::of(penalties.collect(), size, |penalty| penalty.id.to_string()))
    }

    async fn appeal_penalty(
        &self,
        id: NodeId,
        penalty: PenaltyId,
        place: InEnvironment,
        request: AppealPenalty,
    ) -> Result<Penalty, ApiError> {
        let account = self.account(Scope::Nodes)?;
        let flow = self.flow(place.environment)?;
        let text = checked_text("text", &request.text, MAX_APPEAL)?;
        let now = self.gate.clock.now();
        let store = &self.gate.store;
        let appealed = store.appeal_penalty(account, id, flow.environment, penalty, text, now);
        match appealed.await.map_err(failed)? {
            Appealed::Filed(record) => Ok(shown::penalty(*record, now)),
            Appealed::Already => Err(conflict("there is an appeal against this penalty already")),
            Appealed::Over => Err(conflict("the penalty is over: there is nothing to appeal against")),
            Appealed::UnknownPenalty => Err(not_found("penalty")),
        }
    }
}

impl GateSession {
    /// A node of the caller's account, for this.
    pub(super) async fn own_node(
        &self,
        scope: Scope,
        id: NodeId,
        environment: Option<Environment>,
    ) -> Result<(&Arc<Flow>, AccountId, FleetRecord), ApiError> {
        let account = self.account(scope)?;
        let flow = self.flow(environment)?;
        let now = self.gate.clock.now();
        let record = self.gate.store.fleet_node(id, flow.environment, now).await;
        let record = record.map_err(failed)?;
        let own = record.filter(|record| record.standing.account == Some(account));
        Ok((flow, account, own.ok_or_else(|| not_found("node"))?))
    }

    /// Changes a node of this account, and has its link look at once.
    async fn changed(&self, flow: &Flow, account: AccountId, id: NodeId, change: NodeChange) -> Result<Node, ApiError> {
        let now = self.gate.clock.now();
        let store = &self.gate.store;
        let record = store.update_node(account, id, flow.environment, change, now).await;
        let record = record.map_err(failed)?.ok_or_else(|| not_found("node"))?;
        flow.fleet_changed(id);
        Ok(shown::node(flow, &record, now))
    }
}

fn check_connected(flow: &Flow, id: NodeId) -> Result<(), ApiError> {
    if flow.fleet.node(id).is_some_and(|view| view.is_connected()) {
        return Ok(());
    }
    Err(conflict("the node is not connected: nothing was changed"))
}

fn tell(flow: &Flow, id: NodeId, action: ControlAction) -> Result<(), ApiError> {
    if flow.control(id, action) {
        return Ok(());
    }
    Err(conflict(
        "the node's connection was lost just now: try again once it is back",
    ))
}

/// A part of a list, with one entry more than is shown: whether it is there says whether there are more.
fn page_of<I>(after: Option<I>, order: Option<Order>, size: u32) -> PageOf<I> {
    PageOf {
        after,
        ascending: order == Some(Order::Asc),
        limit: size + 1,
    }
}

/// What a node is to be called; nothing is a name, too.
fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    let message = format!("name must have at most {MAX_NAME} characters, and none that controls a terminal");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("name"))
}

/// Words of people: some, not too many, and none that controls a terminal.
fn checked_text(field: &str, text: &str, most: usize) -> Result<String, ApiError> {
    let text = text.trim();
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    if (1..=most).contains(&text.chars().count()) && !text.chars().any(is_control) {
        return Ok(text.to_owned());
    }
    let message = format!("{field} must have 1 to {most} characters, and none that controls a terminal");
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param(field))
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Conflict, message)
}

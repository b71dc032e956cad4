//! Nodes: the owner's side.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AppealPenalty, AskBinding, BindChallenge, BindNode, ControlNode, CreateJoinCode, InEnvironment, JoinCode, Node,
    NodeEarnings, NodeJob, NodeJobsQuery, NodeLog, NodeLogsQuery, NodePaidOut, NodeUnbound, NodeWhy, NodeWorkQuery,
    NodesApi, NodesQuery, PayOutNode, PenaltiesQuery, Penalty, UpdateNode,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::{NodeId, PenaltyId};

use crate::gate::GateClient;

#[async_trait]
impl NodesApi for GateClient {
    async fn create_join_code(&self, request: CreateJoinCode) -> Result<JoinCode, ApiError> {
        let call = self.transport.post(&["nodes", "codes"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn ask_binding(&self, request: AskBinding) -> Result<BindChallenge, ApiError> {
        let call = self.transport.post(&["nodes", "bind", "challenge"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn bind_node(&self, request: BindNode) -> Result<Node, ApiError> {
        let call = self.transport.post(&["nodes", "bind"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn nodes(&self, query: NodesQuery) -> Result<Page<Node>, ApiError> {
        let call = self.transport.get(&["nodes"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn node(&self, id: NodeId, place: InEnvironment) -> Result<Node, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string()]).with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn update_node(&self, id: NodeId, place: InEnvironment, request: UpdateNode) -> Result<Node, ApiError> {
        let call = self.transport.post(&["nodes", &id.to_string()], &request)?;
        // It says how the node is to be called.
        let call = call.with_query(&place)?.repeatable();
        Ok(self.transport.json(call).await?.body)
    }

    async fn unbind_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeUnbound, ApiError> {
        let call = self.transport.delete(&["nodes", &id.to_string()]).with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn control_node(&self, id: NodeId, place: InEnvironment, request: ControlNode) -> Result<Node, ApiError> {
        let call = self
            .transport
            .post(&["nodes", &id.to_string(), "control"], &request)?
            .with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn why_node(&self, id: NodeId, place: InEnvironment) -> Result<NodeWhy, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string(), "why"]);
        Ok(self.transport.json(call.with_query(&place)?).await?.body)
    }

    async fn node_jobs(&self, id: NodeId, query: NodeJobsQuery) -> Result<Page<NodeJob>, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string(), "jobs"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string(), "logs"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn node_earnings(&self, id: NodeId, query: NodeWorkQuery) -> Result<NodeEarnings, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string(), "earnings"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn pay_out_node(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PayOutNode,
    ) -> Result<NodePaidOut, ApiError> {
        let call = self
            .transport
            .post(&["nodes", &id.to_string(), "payout"], &request)?
            .with_query(&place)?;
        let is_once = request.idempotency_key.is_some();
        let call = if is_once { call.repeatable() } else { call };
        Ok(self.transport.json(call).await?.body)
    }

    async fn node_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError> {
        let call = self.transport.get(&["nodes", &id.to_string(), "penalties"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn appeal_penalty(
        &self,
        id: NodeId,
        penalty: PenaltyId,
        place: InEnvironment,
        request: AppealPenalty,
    ) -> Result<Penalty, ApiError> {
        let (id, penalty) = (id.to_string(), penalty.to_string());
        let call = self
            .transport
            .post(&["nodes", &id, "penalties", &penalty, "appeal"], &request)?
            .with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }
}

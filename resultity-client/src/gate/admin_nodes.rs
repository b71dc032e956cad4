//! Nodes: the administrator's side.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AdminNode, AdminNodesApi, AdminNodesQuery, AppealsQuery, DecideAppeal, FlagNode, InEnvironment, NodeCheck,
    NodeChecksQuery, NodeFlag, NodeLog, NodeLogsQuery, PenaliseNode, PenaltiesQuery, Penalty, PseudonymResolved,
    ResolvePseudonym, UnflagNode,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::{NodeId, PenaltyId};

use crate::gate::GateClient;

#[async_trait]
impl AdminNodesApi for GateClient {
    async fn admin_nodes(&self, query: AdminNodesQuery) -> Result<Page<AdminNode>, ApiError> {
        let call = self.transport.get(&["admin", "nodes"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn admin_node(&self, id: NodeId, place: InEnvironment) -> Result<AdminNode, ApiError> {
        let call = self.transport.get(&["admin", "nodes", &id.to_string()]);
        Ok(self.transport.json(call.with_query(&place)?).await?.body)
    }

    async fn flag_node(&self, id: NodeId, place: InEnvironment, request: FlagNode) -> Result<AdminNode, ApiError> {
        let call = self
            .transport
            .post(&["admin", "nodes", &id.to_string(), "flags"], &request)?
            .with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn unflag_node(&self, id: NodeId, flag: NodeFlag, query: UnflagNode) -> Result<AdminNode, ApiError> {
        let path = ["admin", "nodes", &id.to_string(), "flags", flag.as_str()];
        let call = self.transport.delete(&path).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn admin_node_logs(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        let call = self.transport.get(&["admin", "nodes", &id.to_string(), "logs"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn node_checks(&self, id: NodeId, query: NodeChecksQuery) -> Result<Page<NodeCheck>, ApiError> {
        let call = self.transport.get(&["admin", "nodes", &id.to_string(), "checks"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn admin_penalties(&self, id: NodeId, query: PenaltiesQuery) -> Result<Page<Penalty>, ApiError> {
        let call = self.transport.get(&["admin", "nodes", &id.to_string(), "penalties"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn penalise_node(
        &self,
        id: NodeId,
        place: InEnvironment,
        request: PenaliseNode,
    ) -> Result<Penalty, ApiError> {
        let call = self
            .transport
            .post(&["admin", "nodes", &id.to_string(), "penalties"], &request)?
            .with_query(&place)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn resolve_pseudonym(&self, request: ResolvePseudonym) -> Result<PseudonymResolved, ApiError> {
        let call = self.transport.post(&["admin", "pseudonyms"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn appeals(&self, query: AppealsQuery) -> Result<Page<Penalty>, ApiError> {
        let call = self.transport.get(&["admin", "appeals"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn decide_appeal(&self, penalty: PenaltyId, request: DecideAppeal) -> Result<Penalty, ApiError> {
        let call = self
            .transport
            .post(&["admin", "appeals", &penalty.to_string()], &request)?;
        Ok(self.transport.json(call).await?.body)
    }
}

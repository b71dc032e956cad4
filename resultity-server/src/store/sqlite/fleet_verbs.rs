//! The verbs of [`FleetStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, NodeId, PenaltyId};

use super::{SqliteStore, bindings, fleet, node_work, nodes, penalties};
use crate::store::fleet::{
    Appealed, Decided, Decision, FleetRecord, FleetStore, Joined, NewBinding, NewFlag, NewPenalty, NodeChange,
    NodeFacts, NodeFilter, NodeJobRecord, NodeOffer, NodeStanding, NodeWorkRecord, OwnerNotice, PenaltyRecord, Unbound,
};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, StoreError};

#[async_trait]
impl FleetStore for SqliteStore {
    async fn offer_node(&self, offer: NodeOffer, most: u32) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| bindings::offer(connection, &offer, most))
            .await
    }

    async fn join_node(
        &self,
        code_hash: B256,
        node: NodeId,
        environment: Environment,
        binding: NewBinding,
    ) -> Result<Joined, StoreError> {
        self.writer
            .call(move |connection| bindings::join(connection, code_hash, node, environment, binding.clone()))
            .await
    }

    async fn claim_node(
        &self,
        message_hash: B256,
        account: AccountId,
        environments: Vec<Environment>,
        binding: NewBinding,
    ) -> Result<(Joined, Option<(NodeId, Environment)>), StoreError> {
        self.writer
            .call(move |connection| bindings::claim(connection, message_hash, account, &environments, binding.clone()))
            .await
    }

    async fn forget_nodes(
        &self,
        environment: Environment,
        unseen_since: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| nodes::forget(connection, environment, unseen_since, most))
            .await
    }

    async fn node_standing(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<Option<NodeStanding>, StoreError> {
        let record = self.fleet_node(node, environment, now).await?;
        Ok(record.map(|record| record.standing))
    }

    async fn saw_node(
        &self,
        node: NodeId,
        environment: Environment,
        facts: NodeFacts,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| fleet::saw(connection, node, environment, &facts, now))
            .await
    }

    async fn fleet_node(
        &self,
        node: NodeId,
        environment: Environment,
        now: Timestamp,
    ) -> Result<Option<FleetRecord>, StoreError> {
        self.readers
            .call(move |connection| fleet::record(connection, node, environment, now))
            .await
    }

    async fn fleet_nodes(&self, filter: NodeFilter) -> Result<Vec<FleetRecord>, StoreError> {
        self.readers
            .call_long(move |connection| fleet::records(connection, &filter))
            .await
    }

    async fn update_node(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        change: NodeChange,
        now: Timestamp,
    ) -> Result<Option<FleetRecord>, StoreError> {
        self.writer
            .call(move |connection| fleet::update(connection, account, node, environment, &change, now))
            .await
    }

    async fn unbind_node(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        audit: AuditEntry,
        notice: OwnerNotice,
    ) -> Result<Unbound, StoreError> {
        self.writer
            .call(move |connection| bindings::unbind(connection, account, node, environment, audit.clone(), &notice))
            .await
    }

    async fn flag_node(&self, flag: NewFlag) -> Result<Option<FleetRecord>, StoreError> {
        self.writer
            .call(move |connection| fleet::flag(connection, flag.clone()))
            .await
    }

    async fn unflag_node(
        &self,
        node: NodeId,
        environment: Environment,
        flag: NodeFlag,
        audit: AuditEntry,
        notice: Option<OwnerNotice>,
    ) -> Result<Option<FleetRecord>, StoreError> {
        self.writer
            .call(move |connection| fleet::unflag(connection, node, environment, flag, audit.clone(), notice.as_ref()))
            .await
    }

    async fn penalise_node(&self, penalty: NewPenalty) -> Result<Option<PenaltyRecord>, StoreError> {
        self.writer
            .call(move |connection| penalties::penalise(connection, &penalty))
            .await
    }

    async fn node_penalties(
        &self,
        node: NodeId,
        environment: Environment,
        account: Option<AccountId>,
        page: PageOf<PenaltyId>,
        now: Timestamp,
    ) -> Result<Vec<PenaltyRecord>, StoreError> {
        self.readers
            .call(move |connection| penalties::list(connection, node, environment, account, &page, now))
            .await
    }

    async fn appeal_penalty(
        &self,
        account: AccountId,
        node: NodeId,
        environment: Environment,
        penalty: PenaltyId,
        text: String,
        now: Timestamp,
    ) -> Result<Appealed, StoreError> {
        self.writer
            .call(move |connection| penalties::appeal(connection, account, (node, environment), penalty, &text, now))
            .await
    }

    async fn appeals(
        &self,
        environment: Environment,
        open: bool,
        page: PageOf<PenaltyId>,
    ) -> Result<Vec<PenaltyRecord>, StoreError> {
        self.readers
            .call(move |connection| penalties::appeals(connection, environment, open, &page))
            .await
    }

    async fn decide_appeal(&self, environments: Vec<Environment>, decision: Decision) -> Result<Decided, StoreError> {
        self.writer
            .call(move |connection| penalties::decide(connection, &environments, decision.clone()))
            .await
    }

    async fn node_jobs(
        &self,
        node: NodeId,
        environment: Environment,
        since: Timestamp,
        page: PageOf<(JobId, u32)>,
    ) -> Result<Vec<NodeJobRecord>, StoreError> {
        self.readers
            .call_long(move |connection| node_work::jobs(connection, node, environment, since, &page))
            .await
    }

    async fn node_work(
        &self,
        node: NodeId,
        environment: Environment,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<NodeWorkRecord>, StoreError> {
        self.readers
            .call_long(move |connection| node_work::work(connection, node, environment, from, until))
            .await
    }

    async fn node_balance(&self, node: NodeId, environment: Environment) -> Result<Credits, StoreError> {
        self.readers
            .call(move |connection| fleet::balance(connection, node, environment))
            .await
    }
}

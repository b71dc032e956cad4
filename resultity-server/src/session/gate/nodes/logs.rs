//! What nodes tell of themselves, for their owners and for administrators.

use resultity_core::api::gate::{NodeLog, NodeLogsQuery, Scope};
use resultity_core::api::page::Page;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NodeId};

use super::page_of;
use crate::session::gate::{GateSession, failed, not_found};
use crate::session::jobs::page_size;
use crate::store::node_logs::{NodeLogFilter, NodeLogRecord};

impl GateSession {
    pub(super) async fn logs_of_node(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        let (flow, account, _) = self.own_node(Scope::Read, id, query.environment).await?;
        self.logs(id, flow.environment, Some(account), query).await
    }

    pub(super) async fn logs_for_admin(&self, id: NodeId, query: NodeLogsQuery) -> Result<Page<NodeLog>, ApiError> {
        self.administrator()?;
        let environment = self.flow(query.environment)?.environment;
        let (store, now) = (&self.gate.store, self.gate.clock.now());
        let there = store.fleet_node(id, environment, now).await.map_err(failed)?;
        there.ok_or_else(|| not_found("node"))?;
        self.logs(id, environment, None, query).await
    }

    /// What it told while somebody else had it is not this account's to see.
    async fn logs(
        &self,
        node: NodeId,
        environment: Environment,
        account: Option<AccountId>,
        query: NodeLogsQuery,
    ) -> Result<Page<NodeLog>, ApiError> {
        let size = page_size(query.limit)?;
        let after = query.after.as_deref().map(|text| {
            text.parse().map_err(|_| {
                let message = "after must be the last_id of a page of this list";
                ApiError::new(ErrorCode::InvalidValue, message).with_param("after")
            })
        });
        let filter = NodeLogFilter {
            node,
            environment,
            account,
            level: query.level,
            job: query.job,
            page: page_of(after.transpose()?, query.order, size),
        };
        let records = self.gate.store.node_logs(filter).await.map_err(failed)?;
        let logs = records.into_iter().map(shown).collect();
        Ok(Page::of(logs, size, |log: &NodeLog| log.id.clone()))
    }
}

fn shown(record: NodeLogRecord) -> NodeLog {
    NodeLog {
        id: record.number.to_string(),
        object: "node.log".into(),
        line: record.line,
        received_at: record.received.as_millis(),
    }
}

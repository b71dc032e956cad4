//! The audit log.

use async_trait::async_trait;
use resultity_core::api::gate::{AuditApi, AuditLine, AuditQuery};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use super::GateClient;

#[async_trait]
impl AuditApi for GateClient {
    async fn audit_log(&self, query: AuditQuery) -> Result<Page<AuditLine>, ApiError> {
        let call = self.transport.get(&["admin", "audit"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}

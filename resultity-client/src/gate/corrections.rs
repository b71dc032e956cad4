//! Corrections.

use async_trait::async_trait;
use resultity_core::api::gate::{Correction, CorrectionsApi, CreditQuery, LedgerLine, NewCorrection};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::NamespaceId;

use super::GateClient;

#[async_trait]
impl CorrectionsApi for GateClient {
    async fn correct(&self, request: NewCorrection) -> Result<Correction, ApiError> {
        let mut call = self.transport.post(&["admin", "corrections"], &request)?;
        if request.idempotency_key.is_some() || request.transaction.is_some() {
            call = call.repeatable();
        }
        Ok(self.transport.json(call).await?.body)
    }

    async fn ledger_of(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError> {
        let path = ["admin", "namespaces", &namespace.to_string(), "ledger"];
        let call = self.transport.get(&path).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}

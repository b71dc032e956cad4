//! Credits: balances, ledger, transfers, the faucet.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountCredits, AskFaucet, CreditHold, CreditQuery, CreditTransfer, CreditsApi, CreditsReceived, InEnvironment,
    LedgerLine, NamespaceCredits, NewTransfer, SetCreditAlert,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::NamespaceId;

use super::GateClient;

#[async_trait]
impl CreditsApi for GateClient {
    async fn credits(&self, environment: InEnvironment) -> Result<AccountCredits, ApiError> {
        let call = self.transport.get(&["credits"]).with_query(&environment)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn ledger(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError> {
        let call = self.transport.get(&["namespaces", &namespace.to_string(), "ledger"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn holds(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<CreditHold>, ApiError> {
        let call = self.transport.get(&["namespaces", &namespace.to_string(), "holds"]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn set_credit_alert(
        &self,
        namespace: NamespaceId,
        environment: InEnvironment,
        request: SetCreditAlert,
    ) -> Result<NamespaceCredits, ApiError> {
        let path = ["namespaces", &namespace.to_string(), "alert"];
        let call = self.transport.post(&path, &request)?.with_query(&environment)?;
        // It says how the alert is to be.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn transfer_credits(&self, request: NewTransfer) -> Result<CreditTransfer, ApiError> {
        let mut call = self.transport.post(&["transfers"], &request)?;
        if request.idempotency_key.is_some() {
            call = call.repeatable();
        }
        Ok(self.transport.json(call).await?.body)
    }

    async fn ask_faucet(&self, request: AskFaucet) -> Result<CreditsReceived, ApiError> {
        let call = self.transport.post(&["faucet"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }
}

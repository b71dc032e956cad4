//! Plans, and the account's own.

use async_trait::async_trait;
use resultity_core::api::gate::{AccountPlan, ChoosePlan, InEnvironment, Plan, PlanDeleted, Plans, PlansApi, PutPlan};
use resultity_core::error::ApiError;
use resultity_core::id::AccountId;

use super::GateClient;

#[async_trait]
impl PlansApi for GateClient {
    async fn plans(&self, query: InEnvironment) -> Result<Plans, ApiError> {
        let call = self.transport.get(&["plans"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn account_plan(&self, query: InEnvironment) -> Result<AccountPlan, ApiError> {
        let call = self.transport.get(&["account", "plan"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn choose_plan(&self, request: ChoosePlan) -> Result<AccountPlan, ApiError> {
        let call = self.transport.post(&["account", "plan"], &request)?;
        // It says what the plan is to be; credits come once a month.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn put_plan(&self, request: PutPlan) -> Result<Plan, ApiError> {
        let call = self.transport.post(&["admin", "plans"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn delete_plan(&self, name: &str, query: InEnvironment) -> Result<PlanDeleted, ApiError> {
        let call = self.transport.delete(&["admin", "plans", name]);
        Ok(self.transport.json(call.with_query(&query)?).await?.body)
    }

    async fn give_plan(&self, account: AccountId, request: ChoosePlan) -> Result<AccountPlan, ApiError> {
        let account = account.to_string();
        let call = self
            .transport
            .post(&["admin", "accounts", &account, "plan"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }
}

//! What an account used, earned and did.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountUsage, AccountUsageQuery, Activity, CreditQuery, InEnvironment, ReportsApi, Rewards,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use super::GateClient;
use crate::error;

#[async_trait]
impl ReportsApi for GateClient {
    async fn account_usage(&self, query: AccountUsageQuery) -> Result<AccountUsage, ApiError> {
        let call = self.transport.get(&["usage"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn activity(&self, query: CreditQuery) -> Result<Page<Activity>, ApiError> {
        let call = self.transport.get(&["activity"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn rewards(&self, environment: InEnvironment) -> Result<Rewards, ApiError> {
        let call = self.transport.get(&["rewards"]).with_query(&environment)?;
        Ok(self.transport.json(call).await?.body)
    }
}

impl GateClient {
    /// The same report as [`account_usage`](ReportsApi::account_usage), as comma-separated values with a line of names.
    pub async fn account_usage_csv(&self, query: AccountUsageQuery) -> Result<String, ApiError> {
        let mut call = self.transport.get(&["usage"]).with_query(&query)?.accepting("text/csv");
        call.url.query_pairs_mut().append_pair("format", "csv");
        let body = self.transport.whole(call).await?.body;
        String::from_utf8(body.into()).map_err(|_| error::invalid_answer("the report is not UTF-8"))
    }
}

//! Usage and credits.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::usage::{CreditBalance, UsageApi, UsageQuery, UsageReport};
use resultity_core::error::ApiError;

use crate::cloud::CloudClient;
use crate::error;

#[async_trait]
impl UsageApi for CloudClient {
    async fn usage(&self, query: UsageQuery) -> Result<Reply<UsageReport>, ApiError> {
        let call = self.transport.get(&["usage"]).with_query(&query)?;
        self.transport.json(call).await
    }

    async fn credits(&self) -> Result<Reply<CreditBalance>, ApiError> {
        self.transport.json(self.transport.get(&["credits"])).await
    }
}

impl CloudClient {
    /// The same report as [`usage`](UsageApi::usage), as comma-separated values with a line of names.
    pub async fn usage_csv(&self, query: UsageQuery) -> Result<Reply<String>, ApiError> {
        let mut call = self.transport.get(&["usage"]).with_query(&query)?.accepting("text/csv");
        call.url.query_pairs_mut().append_pair("format", "csv");
        let Reply { body, meta } = self.transport.whole(call).await?;
        let body = String::from_utf8(body.into()).map_err(|_| error::invalid_answer("the report is not UTF-8"))?;
        Ok(Reply { body, meta })
    }
}

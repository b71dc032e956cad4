//! The Gate API over HTTP.

use async_trait::async_trait;
use resultity_core::api::gate::{CreditGrant, CreditGranted, GrantApi};
use resultity_core::error::ApiError;

use crate::builder::ClientBuilder;
use crate::transport::Transport;

mod account;
mod admin_accounts;
mod admin_nodes;
mod audit;
mod configuration;
mod corrections;
mod credits;
mod keys;
mod logins;
mod namespaces;
mod nodes;
mod notifications;
mod operations;
mod payments;
mod plans;
mod reports;
mod second_factor;
mod sign_in;
mod subclouds;
mod tokens;
mod vouchers;
mod wallets;

/// The Gate API of one server, for one caller. So far: granting credits as an administrator, by [`GrantApi`].
///
/// ```no_run
/// use resultity_client::GateClient;
/// use resultity_client::core::api::gate::{CreditGrant, GrantApi};
///
/// # async fn grant() -> Result<(), Box<dyn std::error::Error>> {
/// let gate = GateClient::builder().base_url("http://127.0.0.1:8080/gate/v1").admin_token("…").build()?;
/// let granted = gate.grant_credits(CreditGrant::to_key("rk_test_0123", "10.5".parse()?)).await?;
/// println!("{} credits may be spent", granted.balance);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct GateClient {
    transport: Transport,
}

impl GateClient {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport }
    }

    /// Sets up a client.
    pub fn builder() -> ClientBuilder<Self> {
        ClientBuilder::new()
    }

    /// Where it sends its requests.
    pub fn base_url(&self) -> &url::Url {
        &self.transport.base_url
    }
}

#[async_trait]
impl GrantApi for GateClient {
    async fn grant_credits(&self, grant: CreditGrant) -> Result<CreditGranted, ApiError> {
        let mut call = self.transport.post(&["admin", "credits"], &grant)?;
        if grant.idempotency_key.is_some() {
            call = call.repeatable();
        }
        Ok(self.transport.json(call).await?.body)
    }
}

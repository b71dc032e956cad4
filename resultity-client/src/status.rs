//! The Status API over HTTP.

use async_trait::async_trait;
use resultity_core::api::gate::InEnvironment;
use resultity_core::api::status::{
    ConfigStatus, Epochs, Models, NetworkStatus, Pricing, Regions, Seen, StatusApi, StatusEvents, Versions,
};
use resultity_core::error::ApiError;
use serde::de::DeserializeOwned;

use crate::builder::ClientBuilder;
use crate::sse;
use crate::transport::Transport;

/// The Status API of one server: what the public may see of a network, by [`StatusApi`]. It needs no key.
///
/// ```no_run
/// use resultity_client::StatusClient;
/// use resultity_client::core::api::gate::InEnvironment;
/// use resultity_client::core::api::status::StatusApi;
///
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// let status = StatusClient::builder().base_url("http://127.0.0.1:8080/status/v1").build()?;
/// let network = status.network(InEnvironment::default()).await?;
/// println!("{} nodes, {} jobs a second", network.body.nodes.in_rotation, network.body.jobs.per_second);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StatusClient {
    transport: Transport,
}

impl StatusClient {
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

    async fn get<T: DeserializeOwned>(&self, what: &str, of: InEnvironment) -> Result<T, ApiError> {
        let call = self.transport.get(&[what]).with_query(&of)?;
        Ok(self.transport.json(call).await?.body)
    }
}

#[async_trait]
impl StatusApi for StatusClient {
    async fn network(&self, of: InEnvironment) -> Result<Seen<NetworkStatus>, ApiError> {
        self.get("network", of).await
    }

    async fn models(&self, of: InEnvironment) -> Result<Seen<Models>, ApiError> {
        self.get("models", of).await
    }

    async fn regions(&self, of: InEnvironment) -> Result<Seen<Regions>, ApiError> {
        self.get("regions", of).await
    }

    async fn versions(&self, of: InEnvironment) -> Result<Seen<Versions>, ApiError> {
        self.get("versions", of).await
    }

    async fn pricing(&self, of: InEnvironment) -> Result<Seen<Pricing>, ApiError> {
        self.get("pricing", of).await
    }

    async fn config(&self, of: InEnvironment) -> Result<Seen<ConfigStatus>, ApiError> {
        self.get("config", of).await
    }

    async fn epochs(&self, of: InEnvironment) -> Result<Seen<Epochs>, ApiError> {
        self.get("epochs", of).await
    }

    async fn events(&self, of: InEnvironment) -> Result<StatusEvents, ApiError> {
        let call = self.transport.get(&["events"]).with_query(&of)?;
        sse::items(
            self.transport.begin(call.accepting_events()).await?,
            self.transport.idle_timeout,
        )
    }
}

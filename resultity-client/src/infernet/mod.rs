//! A node's own REST API over HTTP.

use std::collections::BTreeMap;

use async_trait::async_trait;
use resultity_core::api::node::{JobStream, NodeApi};
use resultity_core::infernet::resources::{ModelSupport, Said, ServiceResources};
use resultity_core::infernet::subscription::DelegatedRequest;
use resultity_core::infernet::{
    BatchAnswer, BatchRequest, HealthInfo, JobId, JobRequest, JobResponse, JobResult, NodeError, NodeErrorKind,
    NodeInfo, StatusUpdate,
};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::builder::{ClientBuilder, DEFAULT_NODE, NODE_IDLE_TIMEOUT, NODE_TIMEOUT};
use crate::call::Call;
use crate::error::ConfigError;
use crate::transport::Transport;

mod answer;
mod delegate;
mod ids;
mod stream;
mod wait;

pub use wait::RunError;

const JOBS: &[&str] = &["api", "jobs"];

/// The REST API of one node, ours or the original Infernet node. Cheap to clone; clones share their connections.
///
/// Its calls are those of [`NodeApi`]. Beside them it has what only makes sense from afar: [`wait_for`](Self::wait_for) a
/// job's end, [`run`](Self::run) one and take its output, [`delegate`](Self::delegate) a subscription.
///
/// Calls that only read are repeated where they fail in passing; a job is sent again only where it cannot have begun: no
/// connection came about, or the node said 429 or 503.
///
/// ```no_run
/// use std::time::Duration;
/// use resultity_client::InfernetClient;
/// use resultity_client::core::api::node::NodeApi;
/// use resultity_client::core::infernet::JobRequest;
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let node = InfernetClient::new_at("http://127.0.0.1:4000")?;
/// for container in node.info().await?.containers {
///     println!("{}: {}", container.id, container.description);
/// }
/// let request = JobRequest::new(["summarise"], &serde_json::json!({"text": "…"}))?;
/// let output = node.run(request, Duration::from_mins(5)).await?;
/// println!("{} says {}", output.container, output.output);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct InfernetClient {
    transport: Transport<NodeError>,
}

impl InfernetClient {
    pub(crate) fn new(transport: Transport<NodeError>) -> Self {
        Self { transport }
    }

    /// Sets up a client.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resultity_client::InfernetClient;
    ///
    /// let node = InfernetClient::builder()
    ///     .base_url("http://127.0.0.1:4000")
    ///     .timeout(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok::<(), resultity_client::ConfigError>(())
    /// ```
    pub fn builder() -> ClientBuilder<Self> {
        ClientBuilder::new()
            .timeout(NODE_TIMEOUT)
            .idle_timeout(NODE_IDLE_TIMEOUT)
    }

    /// A client of the node at this address, such as `http://127.0.0.1:4000`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new_at(base_url: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder().base_url(base_url).build()
    }

    /// A client of the node that the environment names by `RESULTITY_NODE_URL`; default: where `resultity-node infernet`
    /// listens.
    ///
    /// # Errors
    /// What stands there is no address.
    pub fn from_env() -> Result<Self, ConfigError> {
        let url = std::env::var("RESULTITY_NODE_URL").ok();
        let url = url.filter(|url| !url.trim().is_empty());
        Self::new_at(url.unwrap_or_else(|| DEFAULT_NODE.to_owned()))
    }

    /// Where it sends its requests.
    pub fn base_url(&self) -> &url::Url {
        &self.transport.base_url
    }

    /// The whole answer, as what it should be.
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, NodeError> {
        answer::read(&self.transport.whole(call).await?.body)
    }

    /// A request that begins something.
    fn post(&self, path: &[&str], body: &(impl Serialize + Sync)) -> Result<Call, NodeError> {
        self.transport.post(path, body)
    }
}

#[async_trait]
impl NodeApi for InfernetClient {
    async fn health(&self) -> Result<HealthInfo, NodeError> {
        self.json(self.transport.get(&["health"])).await
    }

    async fn info(&self) -> Result<NodeInfo, NodeError> {
        self.json(self.transport.get(&["info"])).await
    }

    async fn resources(&self) -> Result<BTreeMap<String, Said<ServiceResources>>, NodeError> {
        self.json(self.transport.get(&["resources"])).await
    }

    async fn model_support(&self, model_id: &str) -> Result<BTreeMap<String, Said<ModelSupport>>, NodeError> {
        let mut call = self.transport.get(&["resources"]);
        call.url.query_pairs_mut().append_pair("model_id", model_id);
        self.json(call).await
    }

    async fn create_job(&self, request: JobRequest) -> Result<JobId, NodeError> {
        let response: JobResponse = self.json(self.post(JOBS, &request)?).await?;
        Ok(response.id)
    }

    async fn create_delegated(&self, request: DelegatedRequest) -> Result<(), NodeError> {
        match self.json(self.post(JOBS, &request)?).await? {
            BatchAnswer::Delegated => Ok(()),
            BatchAnswer::Job(JobResponse { id }) => Err(NodeError::new(
                NodeErrorKind::InvalidAnswer,
                format!("the node took the subscription for a job: {id}"),
            )),
            BatchAnswer::Error(error) => Err(NodeError::from_response(NodeErrorKind::Refused, error)),
        }
    }

    async fn create_batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchAnswer>, NodeError> {
        let answers: Vec<BatchAnswer> = self.json(self.post(&["api", "jobs", "batch"], &requests)?).await?;
        if answers.len() == requests.len() {
            return Ok(answers);
        }
        // Which of them belongs to which request cannot be known.
        let (sent, got) = (requests.len(), answers.len());
        let message = format!("the node gave {got} answers to {sent} requests");
        Err(NodeError::new(NodeErrorKind::InvalidAnswer, message))
    }

    async fn stream_job(&self, request: JobRequest) -> Result<JobStream, NodeError> {
        let call = self.post(&["api", "jobs", "stream"], &request)?.accepting("*/*");
        let response = self.transport.begin(call).await?;
        stream::read(response, self.transport.idle_timeout).await
    }

    /// Many ids are asked for in several requests, one after the other.
    async fn job_results(&self, ids: &[JobId], intermediate: bool) -> Result<Vec<JobResult>, NodeError> {
        let mut results = Vec::with_capacity(ids.len());
        // Without an id the node would list all of them.
        for some in ids::groups(ids) {
            let mut call = self.transport.get(JOBS);
            let pairs = some.iter().map(|id| ("id", id.as_str()));
            let pairs = pairs.chain(intermediate.then_some(("intermediate", "true")));
            call.url.query_pairs_mut().extend_pairs(pairs);
            results.extend(self.json::<Vec<JobResult>>(call).await?);
        }
        Ok(results)
    }

    async fn job_ids(&self, pending: Option<bool>) -> Result<Vec<JobId>, NodeError> {
        let mut call = self.transport.get(JOBS);
        if let Some(pending) = pending {
            let text = if pending { "true" } else { "false" };
            call.url.query_pairs_mut().append_pair("pending", text);
        }
        self.json(call).await
    }

    async fn set_status(&self, update: StatusUpdate) -> Result<(), NodeError> {
        let call = self.transport.put(&["api", "status"], &update)?;
        self.json::<IgnoredAny>(call).await.map(drop)
    }
}

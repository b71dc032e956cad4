//! The Cloud API over HTTP. One file a resource; here is what they share, and the models.

use async_trait::async_trait;
use resultity_core::api::cloud::{CallOptions, ModelsApi, Reply};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::model::{Model, ModelList};
use serde::Serialize;

use crate::builder::ClientBuilder;
use crate::call::Call;
use crate::error::ConfigError;
use crate::transport::Transport;

mod ask;
mod batches;
mod files;
mod follow;
mod jobs;
mod responses;
mod usage;
mod wait;
mod webhooks;

/// The Cloud API of one server, for one caller. Cheap to clone; clones share their connections.
///
/// Its calls are those of [`CloudApi`](resultity_core::api::cloud::CloudApi), one trait a resource. Beside them it has what
/// only makes sense from afar: lists as streams ([`jobs_stream`](Self::jobs_stream) …), waiting
/// ([`wait_for_job`](Self::wait_for_job) …), streams that resume ([`follow_response`](Self::follow_response)), files by
/// their path ([`upload_path`](Self::upload_path), [`download_to`](Self::download_to)), batches from requests
/// ([`submit_batch`](Self::submit_batch)).
///
/// Dropping a call, or a stream, closes its connection: the server cancels the job then, unless it is one that goes on
/// without its asker.
///
/// ```no_run
/// use resultity_client::CloudClient;
/// use resultity_client::core::api::cloud::{CallOptions, ChatApi};
/// use resultity_client::core::openai::chat::{ChatRequest, Message};
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let client = CloudClient::from_env()?;
/// let request = ChatRequest::new("smollm2-135m", [Message::user("Name the capital of France.")]);
/// // With an idempotency key the same question is never paid twice, so that it may be sent again after any failure.
/// let answer = client.with_options(CallOptions::idempotent("order-17")).chat(request).await?;
/// println!("{} (given again: {})", answer.text(), answer.meta.replayed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CloudClient {
    transport: Transport,
    options: CallOptions,
}

impl CloudClient {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            options: CallOptions::default(),
        }
    }

    /// Sets up a client.
    pub fn builder() -> ClientBuilder<Self> {
        ClientBuilder::new()
    }

    /// A client for the server and key that the environment names: `RESULTITY_BASE_URL` (default: where
    /// `resultity-server dev` listens) and `RESULTITY_API_KEY`; if neither is set, `OPENAI_BASE_URL` and
    /// `OPENAI_API_KEY`, but only together: a key is never sent to a server that it was not given for.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let mut base_url = variable("RESULTITY_BASE_URL");
        let mut key = variable("RESULTITY_API_KEY");
        if base_url.is_none() && key.is_none() {
            base_url = variable("OPENAI_BASE_URL");
            key = base_url.as_ref().and_then(|_| variable("OPENAI_API_KEY"));
        }
        let mut builder = Self::builder().api_key(key.ok_or(ConfigError::NoKeyInEnvironment)?.trim());
        if let Some(url) = base_url {
            builder = builder.base_url(url);
        }
        builder.build()
    }

    /// A client that says this beside each of its requests that make a job: chat, completions, embeddings, responses and
    /// jobs. An idempotency key names one request: take another client for the next one.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self {
            transport: self.transport.clone(),
            options,
        }
    }

    /// Where it sends its requests.
    pub fn base_url(&self) -> &url::Url {
        &self.transport.base_url
    }

    /// A request that makes a job.
    fn ask(&self, path: &[&str], body: &impl Serialize) -> Result<Call, ApiError> {
        self.transport.post(path, body)?.with_options(&self.options)
    }
}

#[async_trait]
impl ModelsApi for CloudClient {
    async fn models(&self) -> Result<Reply<ModelList>, ApiError> {
        let call = self.transport.get(&["models"]).with_subcloud(&self.options)?;
        self.transport.json(call).await
    }

    async fn model(&self, id: &str) -> Result<Reply<Model>, ApiError> {
        // As parts of a path these would lead elsewhere.
        if matches!(id, "" | "." | "..") {
            return Err(ApiError::new(
                ErrorCode::ModelNotFound,
                format!("no model is named {id:?}"),
            ));
        }
        self.transport.json(self.transport.get(&["models", id])).await
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ours(&[("RESULTITY_BASE_URL", "http://a/v1"), ("RESULTITY_API_KEY", "k"), ("OPENAI_BASE_URL", "http://b/v1")], Some("http://a/v1"))]
    #[case::key_alone(&[("RESULTITY_API_KEY", "k"), ("OPENAI_BASE_URL", "http://b/v1")], Some("http://127.0.0.1:8080/v1"))]
    #[case::openai_pair(&[("OPENAI_BASE_URL", "http://b/v1"), ("OPENAI_API_KEY", "k")], Some("http://b/v1"))]
    #[case::empty_is_unset(&[("RESULTITY_API_KEY", ""), ("OPENAI_BASE_URL", "http://b/v1"), ("OPENAI_API_KEY", "k")], Some("http://b/v1"))]
    #[case::openai_key_alone_is_not_ours(&[("OPENAI_API_KEY", "k")], None)]
    #[case::keys_stay_with_their_server(&[("RESULTITY_BASE_URL", "http://a/v1"), ("OPENAI_API_KEY", "k")], None)]
    #[case::nothing(&[], None)]
    fn the_environment_names_server_and_key(#[case] variables: &[(&str, &str)], #[case] expected: Option<&str>) {
        let find = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        match (CloudClient::from_variables(find), expected) {
            (Ok(client), Some(url)) => assert_eq!(client.base_url().as_str(), url),
            (Err(ConfigError::NoKeyInEnvironment), None) => {}
            (result, _) => panic!("{result:?}"),
        }
    }
}

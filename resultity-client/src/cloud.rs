//! The Cloud API over HTTP.

use async_trait::async_trait;
use resultity_core::api::cloud::{ChatApi, ChatStream, ModelsApi, Reply};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::{ChatCompletion, ChatRequest};
use resultity_core::openai::model::{Model, ModelList};

use crate::builder::ClientBuilder;
use crate::error::{self, ConfigError};
use crate::sse;
use crate::transport::{Transport, reply_meta};

/// The Cloud API of one server, for one caller. Cheap to clone; clones share their connections.
///
/// Its calls are those of [`ChatApi`] and [`ModelsApi`]. Dropping a call, or a stream, closes its connection: the server
/// cancels the job then.
#[derive(Debug, Clone)]
pub struct CloudClient {
    transport: Transport,
}

impl CloudClient {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport }
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

    /// Where it sends its requests.
    pub fn base_url(&self) -> &url::Url {
        &self.transport.base_url
    }
}

#[async_trait]
impl ChatApi for CloudClient {
    async fn chat(&self, mut request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError> {
        request.stream = None;
        // OpenAI refuses it where nothing is streamed.
        request.stream_options = None;
        self.transport
            .json(self.transport.post(&["chat", "completions"], &request)?)
            .await
    }

    async fn chat_stream(&self, mut request: ChatRequest) -> Result<ChatStream, ApiError> {
        request.stream = Some(true);
        let call = self
            .transport
            .post(&["chat", "completions"], &request)?
            .accepting_events();
        let response = self.transport.begin(call).await?;
        let meta = reply_meta(response.headers());
        let kind = response
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream")) {
            let kind = kind.unwrap_or("nothing");
            let mut error = error::invalid_answer(format_args!("a stream was asked for, its content type is {kind}"));
            error.request_id = meta.request_id;
            return Err(error);
        }
        Ok(ChatStream::new(
            meta,
            sse::chunks(response, self.transport.idle_timeout),
        ))
    }
}

#[async_trait]
impl ModelsApi for CloudClient {
    async fn models(&self) -> Result<Reply<ModelList>, ApiError> {
        self.transport.json(self.transport.get(&["models"])).await
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

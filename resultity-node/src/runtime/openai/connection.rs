//! The HTTP connection to an engine.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::{RequestBuilder, Response, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::engine::{Ask, Engine, Said};
use super::{OpenAiRuntimeError, failure};
use crate::http_client;
use crate::runtime::RuntimeError;

/// What is needed to ask an engine; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    client: reqwest::Client,
    /// Ends in `/v1/`.
    base: Url,
    pub(super) key: Option<SecretString>,
}

impl Connection {
    pub(super) fn new(base_url: &str, read_timeout: Duration) -> Result<Self, OpenAiRuntimeError> {
        Self::with(http_client::builder(), base_url, read_timeout)
    }

    /// To whoever listens on a Unix socket.
    #[cfg(unix)]
    pub(super) fn over_socket(path: &std::path::Path, read_timeout: Duration) -> Result<Self, OpenAiRuntimeError> {
        // A new connection for each request costs nothing here, and llama.cpp closes one after each stream without a word: the
        // next request on it may be lost.
        let builder = http_client::builder().unix_socket(path).pool_max_idle_per_host(0);
        Self::with(builder, "http://engine", read_timeout)
    }

    fn with(
        builder: reqwest::ClientBuilder,
        base_url: &str,
        read_timeout: Duration,
    ) -> Result<Self, OpenAiRuntimeError> {
        // A redirect would carry prompts and the key to a host that the operator did not name.
        let client = builder
            .read_timeout(read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // Shorter than the 5 s after which llama.cpp and vLLM close one: a request must not meet the end of its connection.
            .pool_idle_timeout(Duration::from_secs(3))
            .build()?;
        Ok(Self {
            client,
            base: base(base_url)?,
            key: None,
        })
    }

    /// Asks for what is at `path`, such as `models`.
    pub(super) async fn get(&self, path: &str, timeout: Duration) -> Result<Response, RuntimeError> {
        self.send(self.client.get(self.url(path)?).timeout(timeout)).await
    }

    fn url(&self, path: &str) -> Result<Url, RuntimeError> {
        self.base
            .join(path)
            .map_err(|_| RuntimeError::Unavailable("its address can't be a base".to_owned()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RuntimeError> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        };
        request.send().await.map_err(|error| failure::transport(&error, false))
    }
}

#[async_trait]
impl Engine for Connection {
    async fn ask(&self, ask: Ask<'_>) -> Result<Said, RuntimeError> {
        let request = self
            .client
            .post(self.url(ask.endpoint.path())?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(String::from(Box::<str>::from(ask.body)));
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response, ask.model).await);
        }
        if !ask.stream {
            return Ok(Said::Whole(read(response, ask.limit).await?.into()));
        }
        let bytes = response
            .bytes_stream()
            .map(|bytes| bytes.map_err(|error| failure::transport(&error, true)));
        Ok(Said::Events(bytes.boxed()))
    }
}

/// Reads the body of a refusal, as far as it is short, and says what it means.
async fn refusal(response: Response, model: &str) -> RuntimeError {
    let status = response.status();
    let body = read(response, 64 << 10).await.unwrap_or_default();
    failure::of_status(status, &body, model)
}

/// The whole body, if it is not longer than `limit` bytes.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, RuntimeError> {
    let expected = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(limit));
    while let Some(bytes) = response
        .chunk()
        .await
        .map_err(|error| failure::transport(&error, true))?
    {
        if body.len() + bytes.len() > limit {
            return Err(RuntimeError::Failed("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn invalid(url: &str, reason: &'static str) -> OpenAiRuntimeError {
    OpenAiRuntimeError::InvalidUrl(url.to_owned(), reason)
}

/// The address that ends in `/v1/`.
fn base(text: &str) -> Result<Url, OpenAiRuntimeError> {
    let mut url = Url::parse(text).map_err(|_| invalid(text, "expected something like http://127.0.0.1:8000/v1"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(text, "expected http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Don't repeat it: it holds a password.
        return Err(invalid("the address", "a key does not belong into it"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let mut path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/v1") {
        path.push_str("/v1");
    }
    path.push('/');
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("http://h:1", "http://h:1/v1/")]
    #[case("http://h:1/", "http://h:1/v1/")]
    #[case("http://h:1/v1", "http://h:1/v1/")]
    #[case("https://h/v1/", "https://h/v1/")]
    #[case("https://h/openai/v1?x=1#y", "https://h/openai/v1/")]
    #[case("https://h/engine", "https://h/engine/v1/")]
    fn an_address_may_end_with_v1_or_not(#[case] given: &str, #[case] expected: &str) {
        assert_eq!(base(given).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case("h:1")]
    #[case("")]
    #[case("ftp://h")]
    #[case("http://user:secret@h")]
    fn other_addresses_are_refused(#[case] given: &str) {
        let error = base(given).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

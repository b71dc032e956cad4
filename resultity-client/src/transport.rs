//! One request and its answer: the key, the time limit and the repeats. What all clients share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method};
use reqwest::Response;
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::clock::Clock;
use resultity_core::error::{ApiError, ErrorCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::error;
use crate::retry::{self, LONGEST_WAIT, Repeat, RetryPolicy};

/// The most that is read of an answer that is not streamed: bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A configured connection to one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) base_url: Url,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base_url", &self.base_url.as_str())
            .field("api_key", &self.api_key.as_ref().map(|_| "[hidden]"))
            .field("timeout", &self.timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// What is asked for.
pub(crate) struct Call {
    method: Method,
    url: Url,
    body: Option<Bytes>,
    accept: &'static str,
    repeat: Repeat,
}

impl Call {
    /// A streamed answer is wanted.
    pub(crate) fn accepting_events(mut self) -> Self {
        self.accept = "text/event-stream";
        self
    }
}

/// Why one attempt failed, and whether another is worth it.
struct Failure {
    error: ApiError,
    again: bool,
}

impl Transport {
    /// A call that only reads.
    pub(crate) fn get(&self, path: &[&str]) -> Call {
        let (url, accept) = (self.url(path), "application/json");
        Call {
            method: Method::GET,
            url,
            body: None,
            accept,
            repeat: Repeat::Harmless,
        }
    }

    /// A call that does something.
    pub(crate) fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Call, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            ApiError::new(
                ErrorCode::InvalidValue,
                format!("the request cannot be written as JSON: {error}"),
            )
        })?;
        let (url, accept) = (self.url(path), "application/json");
        Ok(Call {
            method: Method::POST,
            url,
            body: Some(body.into()),
            accept,
            repeat: Repeat::OnlyIfUndone,
        })
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base_url.clone();
        // The builder refuses base URLs that have no path; a slash inside a segment becomes %2F.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Asks and reads the whole answer, within the time limit.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<Reply<T>, ApiError> {
        let (headers, body) = self
            .retrying(|| async {
                let mut response = self.attempt(&call).await?;
                let headers = std::mem::take(response.headers_mut());
                let again = call.repeat == Repeat::Harmless;
                let body = self
                    .read(response, LARGEST_ANSWER)
                    .await
                    .map_err(|error| Failure { error, again })?;
                Ok((headers, body))
            })
            .await?;
        let meta = reply_meta(&headers);
        let body = serde_json::from_slice(&body).map_err(|why| {
            let mut error = error::invalid_answer(&why).with_source(why);
            error.request_id.clone_from(&meta.request_id);
            error
        })?;
        Ok(Reply { body, meta })
    }

    /// Asks and gives the answer as soon as it begins. The time limit ends there.
    pub(crate) async fn begin(&self, call: Call) -> Result<Response, ApiError> {
        self.retrying(|| self.attempt(&call)).await
    }

    /// Tries until it succeeds, it is not worth another attempt, or the time is up.
    async fn retrying<T, A>(&self, attempt: impl Fn() -> A + Send + Sync) -> Result<T, ApiError>
    where
        A: Future<Output = Result<T, Failure>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let mut delays = self.retry.delays();
        loop {
            let failure = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(error::timed_out(self.timeout)),
            };
            if !failure.again {
                return Err(failure.error);
            }
            let Some(delay) = delays.next() else {
                return Err(failure.error);
            };
            let wait = delay.max(failure.error.retry_after.unwrap_or_default());
            if wait > LONGEST_WAIT.max(delay) || Instant::now() + wait >= deadline {
                return Err(failure.error);
            }
            tracing::debug!(error = %failure.error, wait_ms = wait.as_millis(), "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Response, Failure> {
        let mut request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .header(ACCEPT, call.accept);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = request.send().await.map_err(|error| Failure {
            // Where no connection came about, the server cannot have begun anything.
            again: error.is_connect() || call.repeat == Repeat::Harmless,
            error: error::from_transport(error, &self.place()),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // An error answer that breaks off still has its status.
        let body = self.read(response, error::LARGEST_ERROR_BODY).await.unwrap_or_default();
        let mut error = error::from_answer(status, &headers, &body);
        error.retry_after = retry::retry_after(&headers, self.clock.now());
        Err(Failure {
            error,
            again: retry::is_retried(call.repeat, status.as_u16(), &headers),
        })
    }

    async fn read(&self, mut response: Response, limit: usize) -> Result<Bytes, ApiError> {
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() + piece.len() > limit => {
                    return Err(error::invalid_answer(format_args!("it is longer than {limit} bytes")));
                }
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok(body.freeze()),
                Err(error) => return Err(error::from_transport(error, &self.place())),
            }
        }
    }

    /// The server, for messages.
    pub(crate) fn place(&self) -> String {
        self.base_url.origin().ascii_serialization()
    }
}

/// What the headers say beside the body.
pub(crate) fn reply_meta(headers: &HeaderMap) -> ReplyMeta {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut meta = ReplyMeta::default();
    meta.request_id = error::request_id(headers);
    meta.job_id = text("x-resultity-job-id").and_then(|id| id.parse().ok());
    meta.cost = text("x-resultity-cost").and_then(|cost| cost.parse().ok());
    meta.rate = error::rate_limits(headers);
    meta
}

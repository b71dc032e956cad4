//! One request and its answer: the key, the time limit and the repeats. What all clients share.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::multipart::Form;
use reqwest::{RequestBuilder, Response};
use resultity_core::api::cloud::{Reply, ReplyMeta};
use resultity_core::clock::Clock;
use resultity_core::error::ApiError;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::call::Call;
use crate::error;
use crate::retry::{self, LONGEST_WAIT, Repeat, RetryPolicy};

/// The most that is read of an answer that is not streamed: bytes.
pub(crate) const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The errors of one API, as a transport makes them.
pub(crate) trait Fault: fmt::Display + Clone + Send + Sync {
    /// What an answer of this status and body stands for, and when to try again.
    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], retry_after: Option<Duration>) -> Self;

    /// What the client met by itself: no connection, no answer in time, an answer of another shape.
    fn of_client(error: ApiError) -> Self;

    /// When to try again, where the server said so.
    fn retry_after(&self) -> Option<Duration>;
}

impl Fault for ApiError {
    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], retry_after: Option<Duration>) -> Self {
        let mut error = error::from_answer(status, headers, body);
        error.retry_after = retry_after;
        error
    }

    fn of_client(error: ApiError) -> Self {
        error
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A configured connection to one server, whose failures are told as `E`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Transport<E = ApiError> {
    pub(crate) http: reqwest::Client,
    pub(crate) base_url: Url,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) errors: PhantomData<fn() -> E>,
}

impl<E> fmt::Debug for Transport<E> {
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

/// Why one attempt failed, and whether another is worth it.
struct Failure<E> {
    error: E,
    again: bool,
}

impl<E: Fault> Transport<E> {
    /// A call that only reads.
    pub(crate) fn get(&self, path: &[&str]) -> Call {
        Call::new(Method::GET, self.url(path))
    }

    /// A call that does something.
    pub(crate) fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Call, E> {
        self.post_nothing(path).with_json(body).map_err(E::of_client)
    }

    /// A call that does something, without more to say.
    pub(crate) fn post_nothing(&self, path: &[&str]) -> Call {
        Call::new(Method::POST, self.url(path))
    }

    /// A call that puts something in its place: done twice it does no more than once.
    pub(crate) fn put(&self, path: &[&str], body: &impl Serialize) -> Result<Call, E> {
        let call = Call::new(Method::PUT, self.url(path)).repeatable();
        call.with_json(body).map_err(E::of_client)
    }

    /// A call that deletes.
    pub(crate) fn delete(&self, path: &[&str]) -> Call {
        Call::new(Method::DELETE, self.url(path))
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
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<Reply<T>, E> {
        from_json(self.whole(call).await?).map_err(E::of_client)
    }

    /// The same, without reading it as JSON.
    pub(crate) async fn whole(&self, call: Call) -> Result<Reply<Bytes>, E> {
        self.retrying(|| async { self.read_answer(self.attempt(&call).await?, call.repeat).await })
            .await
    }

    /// Sends a form and reads the whole answer. The form is made for each attempt; one that cannot be made again says so.
    pub(crate) async fn form<T, F>(&self, call: Call, form: impl Fn() -> F + Send + Sync) -> Result<Reply<T>, E>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<Form, ApiError>> + Send,
    {
        let answer = self.retrying(|| async {
            let form = form().await.map_err(|error| Failure {
                error: E::of_client(error),
                again: false,
            })?;
            let request = self.request(&call).multipart(form);
            self.read_answer(self.send(request, call.repeat).await?, call.repeat)
                .await
        });
        from_json(answer.await?).map_err(E::of_client)
    }

    async fn read_answer(&self, mut response: Response, repeat: Repeat) -> Result<Reply<Bytes>, Failure<E>> {
        let meta = reply_meta(&std::mem::take(response.headers_mut()));
        let again = repeat == Repeat::Harmless;
        let body = self.read(response, LARGEST_ANSWER).await;
        let body = body.map_err(|error| Failure {
            error: E::of_client(error),
            again,
        })?;
        Ok(Reply { body, meta })
    }

    /// Asks and gives the answer as soon as it begins. The time limit ends there.
    pub(crate) async fn begin(&self, call: Call) -> Result<Response, E> {
        self.retrying(|| self.attempt(&call)).await
    }

    /// Tries until it succeeds, it is not worth another attempt, or the time is up.
    async fn retrying<T, A>(&self, attempt: impl Fn() -> A + Send + Sync) -> Result<T, E>
    where
        A: Future<Output = Result<T, Failure<E>>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let mut delays = self.retry.delays();
        loop {
            let failure = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(E::of_client(error::timed_out(self.timeout))),
            };
            if !failure.again {
                return Err(failure.error);
            }
            let Some(delay) = delays.next() else {
                return Err(failure.error);
            };
            let wait = delay.max(failure.error.retry_after().unwrap_or_default());
            if wait > LONGEST_WAIT.max(delay) || Instant::now() + wait >= deadline {
                return Err(failure.error);
            }
            tracing::debug!(error = %failure.error, wait_ms = wait.as_millis(), "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Response, Failure<E>> {
        let mut request = self.request(call);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        self.send(request, call.repeat).await
    }

    /// All but the body.
    fn request(&self, call: &Call) -> RequestBuilder {
        let request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .header(ACCEPT, call.accept);
        match &self.api_key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder, repeat: Repeat) -> Result<Response, Failure<E>> {
        let response = request.send().await.map_err(|error| Failure {
            // Where no connection came about, the server cannot have begun anything.
            again: repeat == Repeat::Harmless || (repeat == Repeat::OnlyIfUndone && error.is_connect()),
            error: E::of_client(error::from_transport(error, &self.place())),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // An error answer that breaks off still has its status.
        let body = self.read(response, error::LARGEST_ERROR_BODY).await.unwrap_or_default();
        let retry_after = retry::retry_after(&headers, self.clock.now());
        Err(Failure {
            error: E::of_answer(status, &headers, &body, retry_after),
            again: retry::is_retried(repeat, status.as_u16(), &headers),
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

/// The answer as what it should be.
fn from_json<T: DeserializeOwned>(answer: Reply<Bytes>) -> Result<Reply<T>, ApiError> {
    let Reply { body, meta } = answer;
    let body = serde_json::from_slice(&body).map_err(|why| {
        let mut error = error::invalid_answer(&why).with_source(why);
        error.request_id.clone_from(&meta.request_id);
        error
    })?;
    Ok(Reply { body, meta })
}

/// What the headers say beside the body.
pub(crate) fn reply_meta(headers: &HeaderMap) -> ReplyMeta {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut meta = ReplyMeta::default();
    meta.request_id = error::request_id(headers);
    meta.job_id = text("x-resultity-job-id").and_then(|id| id.parse().ok());
    meta.cost = text("x-resultity-cost").and_then(|cost| cost.parse().ok());
    meta.rate = error::rate_limits(headers);
    meta.replayed = text("x-resultity-replayed") == Some("true");
    meta
}

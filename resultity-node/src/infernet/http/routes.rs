//! The routes: which there are, and what each does.

use std::net::IpAddr;
use std::sync::Once;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Uri};
use hyper::body::Body;
use resultity_core::api::node::NodeApi;
use resultity_core::infernet::{BatchAnswer, BatchRequest, JobResponse, NodeError, NodeErrorKind};

use super::answer::{self, Answer};
use super::body::Unread;
use super::forwarded::{self, Caller};
use super::query::JobsQuery;
use super::{Api, Sessions, openapi, query, requests};

/// A method at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Health,
    Info,
    Resources,
    CreateJob,
    CreateBatch,
    StreamJob,
    Jobs,
    SetStatus,
    OpenApi,
}

/// All of them. `HEAD` is answered wherever `GET` is.
pub(super) const TABLE: [(Method, &str, Route); 9] = [
    (Method::GET, "/health", Route::Health),
    (Method::GET, "/info", Route::Info),
    (Method::GET, "/resources", Route::Resources),
    (Method::POST, "/api/jobs", Route::CreateJob),
    (Method::GET, "/api/jobs", Route::Jobs),
    (Method::POST, "/api/jobs/batch", Route::CreateBatch),
    (Method::POST, "/api/jobs/stream", Route::StreamJob),
    (Method::PUT, "/api/status", Route::SetStatus),
    (Method::GET, "/openapi.json", Route::OpenApi),
];

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Path,
    /// Other methods are there.
    Method(&'static str),
}

fn find(method: &Method, path: &str) -> Result<Route, Missing> {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let mut others = (false, false, false);
    for (method, at, route) in &TABLE {
        if *at != path {
            continue;
        }
        if method == asked {
            return Ok(*route);
        }
        others.0 |= method == Method::GET;
        others.1 |= method == Method::POST;
        others.2 |= method == Method::PUT;
    }
    Err(match others {
        (true, false, _) => Missing::Method("GET, HEAD"),
        (true, true, _) => Missing::Method("GET, HEAD, POST"),
        (false, true, _) => Missing::Method("POST"),
        (false, false, true) => Missing::Method("PUT"),
        (false, false, false) => Missing::Path,
    })
}

impl<S: Sessions> Api<S> {
    /// Answers a request that came from `peer`.
    pub(super) async fn answer<B>(&self, peer: IpAddr, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let mut unread = Unread::new(&parts.headers, body, &self.bodies);
        let mut answer = self.routed(peer, &parts, &mut unread).await;
        if !unread.finish().await {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(http::header::CONNECTION, close);
        }
        tracing::debug!(%peer, method = %parts.method, path = parts.uri.path(), status = answer.status().as_u16(), "answered");
        answer
    }

    async fn routed<B>(&self, peer: IpAddr, parts: &Parts, unread: &mut Unread<'_, B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let route = match find(&parts.method, parts.uri.path()) {
            Ok(route) => route,
            Err(Missing::Path) => return answer::not_found(),
            Err(Missing::Method(others)) => return answer::method_not_allowed(others),
        };
        let caller = match forwarded::caller(peer, &parts.headers, &self.proxies) {
            Ok(caller) => caller,
            Err(error) => return answer::error(&error),
        };
        // Not limited in the original either: containers of this machine call it.
        if route == Route::SetStatus {
            let answered = self.set_status(caller, unread).await;
            return answered.unwrap_or_else(|error| answer::error(&error));
        }
        if let Err(error) = caller.check_named() {
            return answer::error(&error);
        }
        let (left, wait) = self.limits.count(route, caller.address);
        let answered = if let Some(wait) = wait {
            let error = NodeError::new(NodeErrorKind::RateLimited, "Too many requests");
            Err(error.retry_after(wait))
        } else {
            let answered = self.done(route, caller, &parts.uri, unread).await;
            answer::hold(answered, &self.answers).await
        };
        let mut answer = answered.unwrap_or_else(|error| answer::error(&error));
        answer::describe_limit(&mut answer, &left);
        answer
    }

    async fn done<B>(
        &self,
        route: Route,
        caller: Caller,
        uri: &Uri,
        unread: &mut Unread<'_, B>,
    ) -> Result<Answer, NodeError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let query = uri.query().unwrap_or_default();
        let session = self.sessions.session(caller.address);
        match route {
            Route::Health => answer::json(&session.health().await?),
            Route::Info => answer::json(&session.info().await?),
            Route::Resources => match query::model_id(query) {
                Some(model_id) => answer::json(&session.model_support(&model_id).await?),
                None => answer::json(&session.resources().await?),
            },
            Route::CreateJob => {
                let body = unread.read_json(self.max_body_bytes).await?;
                create_job(&session, requests::posted(&body)?).await
            }
            Route::CreateBatch => {
                let body = unread.read(self.max_body_bytes).await?;
                create_batch(&session, requests::batch(&body)?).await
            }
            Route::StreamJob => {
                let body = unread.read_json(self.max_body_bytes).await?;
                stream_job(&session, requests::posted(&body)?).await
            }
            Route::Jobs => match query::jobs(query) {
                JobsQuery::Results { ids, intermediate } => {
                    answer::json(&session.job_results(&ids, intermediate).await?)
                }
                JobsQuery::Ids { pending } => answer::json(&session.job_ids(pending).await?),
            },
            Route::OpenApi => Ok(answer::json_text(openapi::served())),
            // Answered above.
            Route::SetStatus => Ok(answer::not_found()),
        }
    }

    async fn set_status<B>(&self, caller: Caller, unread: &mut Unread<'_, B>) -> Result<Answer, NodeError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if !caller.is_local(&self.status_networks) {
            // Once, as anybody can cause it. The original lets the usual networks of Docker in.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    peer = %caller.address,
                    "PUT /api/status is refused: it is for this machine and `status_networks` of the file's object `resultity`, such as 172.17.0.0/16 for Docker's containers; told once"
                );
            });
            return Err(NodeError::new(NodeErrorKind::Unauthorized, "Unauthorized"));
        }
        let body = unread.read(self.max_body_bytes).await?;
        let update = requests::status(&body)?;
        drop(body);
        self.sessions.session(caller.address).set_status(update).await?;
        Ok(answer::json_text(Bytes::from_static(b"null")))
    }
}

async fn create_job<N: NodeApi>(session: &N, request: BatchRequest) -> Result<Answer, NodeError> {
    match request {
        BatchRequest::Job(request) => {
            let id = session.create_job(request).await?;
            answer::json(&JobResponse { id })
        }
        BatchRequest::Delegated(request) => {
            session.create_delegated(*request).await?;
            answer::json(&BatchAnswer::Delegated)
        }
    }
}

/// Those that can't be read are answered here, in their places among the others.
async fn create_batch<N: NodeApi>(
    session: &N,
    entries: Vec<Result<BatchRequest, NodeError>>,
) -> Result<Answer, NodeError> {
    let mut requests = Vec::with_capacity(entries.len());
    let mut unreadable = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        match entry {
            Ok(request) => requests.push(request),
            Err(error) => {
                let error = NodeError::invalid("Could not parse message").with("reason", error.message());
                unreadable.push((place, BatchAnswer::Error(error.to_response())));
            }
        }
    }
    let expected = requests.len();
    let answered = if requests.is_empty() {
        Vec::new()
    } else {
        session.create_batch(requests).await?
    };
    if answered.len() != expected {
        let message = format!("{} answers to {expected} requests", answered.len());
        return Err(NodeError::new(NodeErrorKind::Internal, message));
    }
    answer::json(&in_their_places(answered, unreadable))
}

/// The second ones stand at the places that they name, in ascending order; the first ones fill the rest.
fn in_their_places<T>(others: Vec<T>, placed: Vec<(usize, T)>) -> Vec<T> {
    let mut all = Vec::with_capacity(others.len() + placed.len());
    let mut others = others.into_iter();
    for (place, entry) in placed {
        all.extend(others.by_ref().take(place - all.len()));
        all.push(entry);
    }
    all.extend(others);
    all
}

async fn stream_job<N: NodeApi>(session: &N, request: BatchRequest) -> Result<Answer, NodeError> {
    match request {
        BatchRequest::Job(request) => Ok(answer::stream(session.stream_job(request).await?.into())),
        BatchRequest::Delegated(_) => {
            let message = "Streaming only supported for OffchainJob requests.";
            Err(NodeError::new(NodeErrorKind::Refused, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("GET", "/health", Ok(Route::Health))]
    #[case("HEAD", "/api/jobs", Ok(Route::Jobs))]
    #[case("POST", "/api/jobs", Ok(Route::CreateJob))]
    #[case("PUT", "/api/status", Ok(Route::SetStatus))]
    #[case("POST", "/health", Err(Missing::Method("GET, HEAD")))]
    #[case("DELETE", "/api/jobs", Err(Missing::Method("GET, HEAD, POST")))]
    #[case("GET", "/api/jobs/batch", Err(Missing::Method("POST")))]
    #[case("OPTIONS", "/api/jobs/stream", Err(Missing::Method("POST")))]
    #[case("HEAD", "/api/status", Err(Missing::Method("PUT")))]
    #[case("GET", "/", Err(Missing::Path))]
    #[case("GET", "/health/", Err(Missing::Path))]
    #[case("GET", "//health", Err(Missing::Path))]
    #[case("GET", "/api/jobs/1", Err(Missing::Path))]
    fn a_route_is_a_method_at_a_path(
        #[case] method: Method,
        #[case] path: &str,
        #[case] expected: Result<Route, Missing>,
    ) {
        assert_eq!(find(&method, path), expected);
    }

    #[rstest]
    #[case(&["a", "b"], &[], "ab")]
    #[case(&[], &[(0, "x"), (1, "y")], "xy")]
    #[case(&["a", "b"], &[(0, "x"), (2, "y"), (3, "z")], "xayzb")]
    #[case(&["a"], &[(1, "x")], "ax")]
    fn entries_keep_their_places(#[case] others: &[&str], #[case] placed: &[(usize, &str)], #[case] expected: &str) {
        assert_eq!(in_their_places(others.to_vec(), placed.to_vec()).concat(), expected);
    }
}

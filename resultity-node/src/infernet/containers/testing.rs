//! Containers for tests: one server with many of them, each under a path of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::infernet::config::settings::{ContainerSettings, Settings};

/// Digits that no binary number of 64 bits has.
pub(crate) const DIGITS: &str = r#"{"big":123456789012345678901234567890,"exact":0.10000000000000000000000000001}"#;

/// What the server saw, and what it waits for.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Bodies and headers, in order: the container, what it got, and its `Authorization`.
    pub(crate) calls: Mutex<Vec<(String, String, Option<String>)>>,
    /// Calls of `gate` that are going on.
    pub(crate) inside: watch::Sender<usize>,
    /// The most of them at once.
    pub(crate) peak: AtomicUsize,
    /// Lets calls of `gate` out.
    pub(crate) gate: Semaphore,
    /// What `stream` sends next.
    pub(crate) pieces: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

/// A server with containers.
pub(crate) struct Server {
    pub(crate) seen: Arc<Seen>,
    address: std::net::SocketAddr,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let seen = Arc::new(Seen {
            calls: Mutex::default(),
            inside: watch::Sender::new(0),
            peak: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            pieces: Mutex::default(),
        });
        let router = Router::new()
            .route("/{id}/service_output", post(output))
            .route("/{id}/service-resources", get(resources))
            .with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            seen,
            address,
            _task: tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve)),
        }
    }

    /// Settings with these containers. `down` is one that nobody answers for.
    pub(crate) fn settings(&self, ids: &[&str]) -> Settings {
        let container = |id: &&str| {
            let url = match *id {
                "down" => "http://127.0.0.1:1".to_owned(),
                id => format!("http://{}/{id}", self.address),
            };
            ContainerSettings::new(*id, url.parse().unwrap())
        };
        Settings::new("unused", ids.iter().map(container).collect())
    }

    /// What the containers got.
    pub(crate) fn bodies(&self) -> Vec<(String, String)> {
        let calls = self.seen.calls.lock().unwrap();
        calls.iter().map(|(id, body, _)| (id.clone(), body.clone())).collect()
    }

    /// Waits until so many calls of `gate` go on.
    pub(crate) async fn inside(&self, count: usize) {
        let mut inside = self.seen.inside.subscribe();
        inside.wait_for(|inside| *inside == count).await.unwrap();
    }
}

/// A call that goes on; counted until it is dropped, which is when its caller leaves.
struct Inside(Arc<Seen>);

impl Inside {
    fn new(seen: Arc<Seen>) -> Self {
        seen.inside.send_modify(|inside| {
            *inside += 1;
            seen.peak.fetch_max(*inside, Ordering::Relaxed);
        });
        Self(seen)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.send_modify(|inside| *inside -= 1);
    }
}

async fn output(State(seen): State<Arc<Seen>>, Path(id): Path<String>, headers: HeaderMap, body: String) -> Response {
    let bearer = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    seen.calls.lock().unwrap().push((id.clone(), body.clone(), bearer));
    let json = [("content-type", "application/json")];
    match id.as_str() {
        "echo" => (json, body).into_response(),
        "a" | "b" | "c" => (json, format!(r#"{{"from":"{id}"}}"#)).into_response(),
        "digits" => (json, format!(" {DIGITS}\n")).into_response(),
        "null" => "null".into_response(),
        "error" => (
            StatusCode::INTERNAL_SERVER_ERROR,
            json,
            r#"{"error":"it broke","more":1}"#,
        )
            .into_response(),
        "odd" => (StatusCode::BAD_REQUEST, json, r#"{"detail":["x"]}"#).into_response(),
        "text" => "no JSON here".into_response(),
        "empty" => "".into_response(),
        "elsewhere" => (StatusCode::FOUND, [("location", "/a/service_output")]).into_response(),
        "huge" => "9".repeat(100_000).into_response(),
        "cut" => {
            let pieces = [Ok(Bytes::from("{\"a\":")), Err(std::io::Error::other("cut"))];
            Body::from_stream(futures::stream::iter(pieces)).into_response()
        }
        "gate" => {
            let _inside = Inside::new(seen.clone());
            seen.gate.acquire().await.unwrap().forget();
            (json, "{}").into_response()
        }
        "stream" => {
            let pieces = seen.pieces.lock().unwrap().take().unwrap();
            let inside = Inside::new(seen.clone());
            let pieces = futures::stream::unfold((pieces, inside), |(mut pieces, inside)| async move {
                let piece = pieces.recv().await?;
                Some((Ok::<_, Infallible>(piece), (pieces, inside)))
            });
            Body::from_stream(pieces).into_response()
        }
        "endless" => {
            let inside = Inside::new(seen.clone());
            let pieces = futures::stream::repeat_with(move || {
                let _ = &inside;
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096]))
            });
            Body::from_stream(pieces).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn resources(State(seen): State<Arc<Seen>>, Path(id): Path<String>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    match id.as_str() {
        "a" if query.is_empty() => format!(r#"{{"service_id":"a","more":{DIGITS}}}"#).into_response(),
        "a" => format!(r#"{{"supported":true,"query":"{query}"}}"#).into_response(),
        "text" => "no JSON here".into_response(),
        "error" => (StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response(),
        "gate" => {
            let _inside = Inside::new(seen);
            std::future::pending().await
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The same calls of a map, for tests that look one up.
pub(crate) fn by_id<T>(
    said: impl IntoIterator<Item = (String, resultity_core::infernet::resources::Said<T>)>,
) -> HashMap<String, String> {
    said.into_iter()
        .map(|(id, said)| (id, said.json().to_owned()))
        .collect()
}

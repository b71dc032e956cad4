//! What a request still had to say when it was answered: an error often comes before the body was read. If that stays in the
//! connection, it has to be closed, and a client that was not told so sends its next request into nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, EXPECT};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The most bytes that are read for nothing.
const MAX_REST: usize = 64 * 1024;

/// How long the rest may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reads a small rest, so that the connection can go on; else says that it ends.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // It waits until it is asked for its body.
    let waits = request.headers().contains_key(EXPECT);
    let (give_back, mut left) = oneshot::channel();
    let request = request.map(|body| {
        Body::new(Watched {
            body: Some(body),
            give_back: Some(give_back),
        })
    });
    let mut response = next.run(request).await;
    if let Ok(rest) = left.try_recv()
        && (waits || !is_read(rest).await)
    {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the rest could be read to its end.
async fn is_read(rest: Body) -> bool {
    let is_small = rest.size_hint().lower() <= MAX_REST as u64;
    is_small
        && matches!(
            timeout(PATIENCE, Limited::new(rest, MAX_REST).collect()).await,
            Ok(Ok(_))
        )
}

/// A body that is given back if it is dropped before its end.
struct Watched {
    body: Option<Body>,
    give_back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(rest), Some(give_back)) = (rest, self.give_back.take()) {
            // Nobody waits for it any more where the connection is gone.
            let _ = give_back.send(rest);
        }
    }
}

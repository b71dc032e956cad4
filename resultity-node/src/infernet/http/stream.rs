//! The body of a job that is streamed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hyper::body::{Body, Frame};
use resultity_core::api::node::JobStream;
use resultity_core::infernet::NodeError;
use tokio::time::{Sleep, sleep};

/// How far the id runs ahead of the container's bytes. Clients take what they read first as the id, so it has to leave, and to
/// be read, alone. Containers that compute something take longer anyway.
const LEAD: Duration = Duration::from_millis(20);

/// A line with the job's id, then the container's bytes. If it is dropped, the job is cancelled.
pub(super) struct JobBody {
    id: Option<Bytes>,
    lead: Option<Pin<Box<Sleep>>>,
    /// None once it has ended.
    bytes: Option<BoxStream<'static, Result<Bytes, NodeError>>>,
}

impl From<JobStream> for JobBody {
    fn from(job: JobStream) -> Self {
        Self {
            id: Some(format!("{}\n", job.id).into()),
            lead: None,
            bytes: Some(job.bytes),
        }
    }
}

impl Body for JobBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(id) = self.id.take() {
            self.lead = Some(Box::pin(sleep(LEAD)));
            return Poll::Ready(Some(Ok(Frame::data(id))));
        }
        // While this waits, the connection sends what it has.
        if let Some(lead) = &mut self.lead {
            ready!(lead.as_mut().poll(context));
            self.lead = None;
        }
        loop {
            let Some(bytes) = &mut self.bytes else {
                return Poll::Ready(None);
            };
            match ready!(bytes.poll_next_unpin(context)) {
                // An empty chunk would end the body.
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                // As the original ends it; the job says why.
                Some(Err(_)) | None => self.bytes = None,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.id.is_none() && self.bytes.is_none()
    }
}

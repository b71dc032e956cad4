//! What a container answers, read within its bounds.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde_json::value::RawValue;
use tokio::time::{Instant, Sleep};

use super::error::{self, CallError};

/// The most bytes that are read of a refusal.
const REFUSAL_LIMIT: usize = 64 * 1024;

/// An answer with success whose body is still to be read. Dropping it ends the call.
#[derive(Debug)]
pub(crate) struct Answer {
    id: String,
    body: Incoming,
    content: Content,
    seen: usize,
    bounds: Bounds,
}

/// How long an answer may take, and how large it may be.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    pub(super) bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl Bounds {
    /// Bounds from now on.
    pub(super) fn new(time: Duration, bytes: usize) -> Self {
        let timer = Box::pin(tokio::time::sleep(time));
        Self { time, bytes, timer }
    }

    /// What comes of this in time.
    pub(super) async fn within<T>(&mut self, id: &str, future: impl Future<Output = T>) -> Result<T, CallError> {
        tokio::select! {
            biased;
            result = future => Ok(result),
            () = &mut self.timer => Err(CallError::Timeout { id: id.to_owned(), after: self.time }),
        }
    }
}

impl Answer {
    /// The answer, if it is one with success; else what the container says about it.
    pub(super) async fn read(id: &str, response: Response<Incoming>, bounds: Bounds) -> Result<Self, CallError> {
        let (parts, body) = response.into_parts();
        let content = parts
            .headers
            .get(header::CONTENT_TYPE)
            .map_or(Content::Other, Content::of);
        let mut answer = Self {
            id: id.to_owned(),
            body,
            content,
            seen: 0,
            bounds,
        };
        if parts.status.is_success() {
            return Ok(answer);
        }
        let said = answer.beginning().await;
        Err(error::refusal(id, parts.status.as_u16(), &said))
    }

    /// What it says it is.
    pub(crate) const fn content(&self) -> Content {
        self.content
    }

    /// When the time for it is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.bounds.timer.deadline()
    }

    /// What it is when that time is over.
    pub(crate) fn timeout(&self) -> CallError {
        CallError::Timeout {
            id: self.id.clone(),
            after: self.bounds.time,
        }
    }

    /// The next bytes; none at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = self.bounds.within(&self.id, self.body.frame()).await?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| CallError::Cut(self.id.clone()))?;
            // Trailers say nothing to us.
            let Ok(bytes) = frame.into_data() else { continue };
            if bytes.is_empty() {
                continue;
            }
            self.seen += bytes.len();
            if self.seen > self.bounds.bytes {
                return Err(self.too_large());
            }
            return Ok(Some(bytes));
        }
    }

    /// The whole of it, which has to be JSON.
    pub(crate) async fn json(&mut self) -> Result<Box<RawValue>, CallError> {
        let bytes = self.whole().await?;
        match serde_json::from_slice::<&RawValue>(&bytes) {
            Ok(json) => Ok(json.to_owned()),
            Err(_) if bytes.is_empty() => Err(CallError::NotJson(format!(
                "the answer of container {:?} is empty",
                self.id
            ))),
            Err(_) => Err(CallError::NotJson(error::text(&bytes))),
        }
    }

    async fn whole(&mut self) -> Result<Bytes, CallError> {
        let announced = self.body.size_hint().lower();
        if announced > self.bounds.bytes as u64 {
            return Err(self.too_large());
        }
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        // Most answers come in one piece, which needs no copy.
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = Vec::with_capacity((announced as usize).max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(bytes) = self.chunk().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }

    /// What there is of a refusal, as far as it is short.
    async fn beginning(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < REFUSAL_LIMIT {
            match self.chunk().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) | Err(_) => break,
            }
        }
        all
    }

    fn too_large(&self) -> CallError {
        CallError::TooLarge {
            id: self.id.clone(),
            limit: self.bounds.bytes,
        }
    }
}

/// What an answer says it is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Json,
    /// Server-sent events.
    Events,
    Other,
}

impl Content {
    fn of(content_type: &HeaderValue) -> Self {
        let essence = content_type.as_bytes().split(|byte| *byte == b';').next();
        let is = |name: &str| essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
        match () {
            () if is("application/json") => Self::Json,
            () if is("text/event-stream") => Self::Events,
            () => Self::Other,
        }
    }
}

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
use crate::infernet::memory::{Memory, Share};

/// How long a job that has large answers already waits for room for more.
const PATIENCE: Duration = Duration::from_secs(2);

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
    memory: Memory,
    /// What this answer has of it.
    share: Share,
    /// How many bytes of answers the job has already.
    before: usize,
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
    pub(super) async fn read(
        id: &str,
        response: Response<Incoming>,
        bounds: Bounds,
        memory: &Memory,
        before: usize,
    ) -> Result<Self, CallError> {
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
            memory: memory.clone(),
            before,
            share: Share::after(before),
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
            self.make_room(self.seen).await?;
            return Ok(Some(bytes));
        }
    }

    /// What it has of the memory.
    pub(crate) fn into_share(self) -> Share {
        self.share
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
        let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        // All at once: who has some and waits for more holds up others.
        self.make_room(announced).await?;
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        // Most answers come in one piece, which needs no copy.
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = Vec::with_capacity(announced.max(first.len() + second.len()));
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

    /// Waits until an answer of so many bytes can be held.
    async fn make_room(&mut self, bytes: usize) -> Result<(), CallError> {
        let limit = self.bounds.bytes;
        if bytes > limit {
            let id = self.id.clone();
            return Err(CallError::TooLarge { id, limit });
        }
        let all = self.before.saturating_add(bytes);
        if all > limit {
            return Err(CallError::TooMuch { limit });
        }
        if Memory::counts(self.share.bytes()) {
            // Those who have some and wait for more could wait for one another.
            let room = self.memory.cover_within(PATIENCE, &mut self.share, all);
            let is_room = self.bounds.within(&self.id, room).await?;
            return is_room.then_some(()).ok_or(CallError::Crowded);
        }
        let room = self.memory.cover(&mut self.share, all);
        self.bounds.within(&self.id, room).await
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

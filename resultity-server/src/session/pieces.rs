//! What becomes of a job as a stream of chunks, in the shape of its endpoint.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::api::cloud::Streamed;
use resultity_core::error::ApiError;
use resultity_core::openai::chat::{ChunkChoice, Usage};
use tokio::time::timeout;

use crate::flow::{JobEvent, lost};
use crate::session::run::{Running, with_rate};

/// How long a stream waits for the first output before it begins all the same, so that an early failure is a plain error.
pub(super) const FIRST_OUTPUT: Duration = Duration::from_secs(10);

/// How the chunks of an endpoint look.
pub(super) trait Shape: Send + 'static {
    type Chunk: Send + 'static;

    /// What comes before any output of a choice, if something does.
    fn begin(&self, _choice: u32) -> Option<Self::Chunk> {
        None
    }

    /// What is new in a choice, or its end.
    fn piece(&self, piece: ChunkChoice) -> Self::Chunk;

    /// The token counts.
    fn usage(&self, usage: Usage) -> Self::Chunk;
}

/// A job as chunks: ends and usage only after settlement.
struct Pieces<S: Shape> {
    shape: S,
    choices: u32,
    include_usage: bool,
    due: VecDeque<Result<S::Chunk, ApiError>>,
}

/// The stream of a job that has just begun. A failure before any output is the answer itself.
pub(super) async fn stream<S: Shape>(
    mut running: Running,
    shape: S,
    choices: u64,
    include_usage: bool,
) -> Result<Streamed<S::Chunk>, ApiError> {
    let mut pieces = Pieces {
        shape,
        choices: choices as u32,
        include_usage,
        due: VecDeque::new(),
    };
    pieces.due.extend(
        (0..pieces.choices)
            .filter_map(|choice| pieces.shape.begin(choice))
            .map(Ok),
    );
    let first = timeout(FIRST_OUTPUT, running.events.next()).await;
    let is_over = match first {
        Err(_) => false,
        Ok(Some(JobEvent::Failed(error))) => return Err(with_rate(error, &running.meta)),
        Ok(event) => pieces.take(event),
    };
    let chunks = stream::unfold((pieces, running.events, is_over), next_chunk);
    Ok(Streamed::new(running.meta, chunks.boxed()))
}

impl<S: Shape> Pieces<S> {
    /// Takes an event; whether it was the last one.
    fn take(&mut self, event: Option<JobEvent>) -> bool {
        match event {
            Some(JobEvent::Delta(pieces)) => {
                // A frame of a node may hold several pieces; each is a chunk of its own again.
                for piece in pieces {
                    self.due.push_back(Ok(self.shape.piece(piece)));
                }
                false
            }
            Some(JobEvent::Answer(answer)) => {
                for index in 0..self.choices {
                    let reason = answer.finish_reasons.get(&index).map_or("stop", String::as_str);
                    let end = self.shape.piece(ChunkChoice::finish(index, reason));
                    self.due.push_back(Ok(end));
                }
                if self.include_usage {
                    self.due.push_back(Ok(self.shape.usage(answer.usage)));
                }
                true
            }
            Some(JobEvent::Failed(error)) => {
                self.due.push_back(Err(error));
                true
            }
            None => {
                self.due.push_back(Err(lost()));
                true
            }
        }
    }
}

type State<S> = (Pieces<S>, BoxStream<'static, JobEvent>, bool);

async fn next_chunk<S: Shape>(
    (mut pieces, mut events, mut is_over): State<S>,
) -> Option<(Result<S::Chunk, ApiError>, State<S>)> {
    loop {
        if let Some(chunk) = pieces.due.pop_front() {
            return Some((chunk, (pieces, events, is_over)));
        }
        if is_over {
            return None;
        }
        is_over = pieces.take(events.next().await);
    }
}

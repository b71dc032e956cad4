//! Runs jobs on the Runtime: one task each, which also hashes, signs and encodes, so that the link's task only copies
//! bytes.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use resultity_core::clock::Clock;
use resultity_core::openai::chat::{ChatRequest, Choice, ChunkChoice, Delta, Usage};
use resultity_core::signing::{Domain, Keypair, Outcome};
use resultity_core::wire::{Chunk, FailureCode, Job, NodeFrame, OutputHasher, Timings, Transcript};
use serde_json::value::to_raw_value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::actor::Event;
use super::assemble::Assembler;
use super::event::{Input, Stop};
use super::signed::{self, Answer};
use super::{JobKey, Text};
use crate::runtime::{Runtime, RuntimeError, RuntimeEvent};

/// A message to people is cut here: characters.
const MAX_MESSAGE: usize = 500;

/// How many events of a Runtime that are ready at once go into one chunk.
const MERGED: usize = 64;

/// Starts and stops jobs.
pub(super) struct Executor {
    runtime: Arc<dyn Runtime>,
    key: Arc<Keypair>,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    tasks: TaskTracker,
    stops: HashMap<JobKey, oneshot::Sender<Stop>>,
}

impl Executor {
    pub(super) fn new(
        runtime: Arc<dyn Runtime>,
        key: Keypair,
        clock: Arc<dyn Clock>,
        events: mpsc::Sender<Event>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            runtime,
            key: Arc::new(key),
            clock,
            events,
            tasks,
            stops: HashMap::new(),
        }
    }

    /// Begins to work on a job. Chunks and the end come as events.
    pub(super) fn start(&mut self, job: Job, domain: Domain) {
        let (stop, stopped) = oneshot::channel();
        self.stops.insert((job.job_id, job.attempt), stop);
        let time_left = job.deadline.since(self.clock.now());
        let work = Work {
            job,
            domain,
            key: Arc::clone(&self.key),
            runtime: Arc::clone(&self.runtime),
            events: self.events.clone(),
        };
        self.tasks.spawn(work.run(stopped, time_left));
    }

    /// Tells a job to stop.
    pub(super) fn stop(&mut self, key: JobKey, how: Stop) {
        if let Some(stop) = self.stops.remove(&key) {
            // A job that has just ended does not listen any more.
            let _ = stop.send(how);
        }
    }

    /// A job is over.
    pub(super) fn ended(&mut self, key: JobKey) {
        self.stops.remove(&key);
    }
}

/// One job.
struct Work {
    job: Job,
    domain: Domain,
    key: Arc<Keypair>,
    runtime: Arc<dyn Runtime>,
    events: mpsc::Sender<Event>,
}

/// How the work on a job came to an end.
enum End {
    Done(Result<Usage, (FailureCode, String)>),
    Stopped(Stop),
    TooLate,
}

impl Work {
    async fn run(self, stopped: oneshot::Receiver<Stop>, time_left: Duration) {
        let key = (self.job.job_id, self.job.attempt);
        // A Runtime that panics costs its job, not the node.
        let frame = match AssertUnwindSafe(self.answer(stopped, time_left)).catch_unwind().await {
            Ok(frame) => frame,
            Err(_) => Some(self.failure(FailureCode::EngineFailed, "the Runtime broke")),
        };
        let input = match frame {
            Some(frame) => Input::Finished(key, frame.encode().into()),
            None => Input::Dropped(key),
        };
        // Fails only when the Agent is gone.
        let _ = self.events.send(Event::Input(input)).await;
    }

    /// The signed end of the job; nothing if nobody waits for it.
    async fn answer(&self, stopped: oneshot::Receiver<Stop>, time_left: Duration) -> Option<NodeFrame> {
        let begun = Instant::now();
        let mut request: ChatRequest = match serde_json::from_str(self.job.body.get()) {
            Ok(request) => request,
            Err(error) => return Some(self.failure(FailureCode::InvalidRequest, &error.to_string())),
        };
        // The body may hold an alias; what counts is what the network sold.
        request.model.clone_from(&self.job.model);
        request.stream = Some(self.job.stream);
        let mut progress = Progress::default();
        let end = tokio::select! {
            biased;
            how = stopped => End::Stopped(how.unwrap_or(Stop::Drop)),
            done = self.drive(request, begun, &mut progress) => End::Done(done),
            () = tokio::time::sleep(time_left) => End::TooLate,
        };
        // By now the Runtime's stream is dropped, which cancels its work.
        let failure = |code, message: &str| Some(self.failure(code, message));
        match end {
            End::Done(Ok(usage)) => Some(self.result(progress, begun, Outcome::Complete, usage)),
            End::Done(Err((code, message))) => failure(code, &message),
            End::TooLate => failure(FailureCode::DeadlineExceeded, "the job took longer than it may"),
            End::Stopped(Stop::Drop) => None,
            End::Stopped(Stop::Interrupt) => failure(FailureCode::Interrupted, "the node stops"),
            End::Stopped(Stop::Cancel) if progress.first_output.is_none() => {
                failure(FailureCode::Cancelled, "cancelled before there was any output")
            }
            End::Stopped(Stop::Cancel) => {
                // Without the engine's own count: four bytes a token, and a token a piece.
                let prompt = progress.prompt_tokens.unwrap_or(self.job.body.get().len() as u64 / 4);
                let usage = Usage::new(prompt, progress.pieces);
                Some(self.result(progress, begun, Outcome::Partial, usage))
            }
        }
    }

    /// Runs the Runtime to its end and sends chunks. Can be dropped at any await: what `progress` holds has been sent.
    async fn drive(
        &self,
        request: ChatRequest,
        begun: Instant,
        progress: &mut Progress,
    ) -> Result<Usage, (FailureCode, String)> {
        // What an engine made at once leaves in one frame; whoever waits for it gets it in its pieces all the same.
        let mut events = self.runtime.chat(request).await.map_err(explain)?.ready_chunks(MERGED);
        while let Some(batch) = events.next().await {
            let mut pieces = Vec::with_capacity(batch.len());
            let mut end = None;
            for event in batch {
                match event {
                    Ok(RuntimeEvent::Prompt { tokens }) => progress.prompt_tokens = Some(tokens),
                    Ok(RuntimeEvent::Delta(delta)) => pieces.extend(delta),
                    Ok(RuntimeEvent::Answer(choices)) => pieces.extend(choices.into_iter().map(whole_choice)),
                    Ok(RuntimeEvent::Done(usage)) => end = Some(Ok(usage)),
                    Err(error) => end = Some(Err(explain(error))),
                }
                if end.is_some() {
                    break;
                }
            }
            if !pieces.is_empty() {
                self.pass_on(pieces, begun, progress).await?;
            }
            if let Some(end) = end {
                return end;
            }
        }
        Err((FailureCode::EngineFailed, "the answer ended early".into()))
    }

    /// Sends new pieces of a stream, or keeps those of an answer that is sent whole.
    async fn pass_on(
        &self,
        pieces: Vec<ChunkChoice>,
        begun: Instant,
        progress: &mut Progress,
    ) -> Result<(), (FailureCode, String)> {
        if !self.job.stream {
            progress.count(&pieces, begun);
            progress.whole.add(pieces);
            return Ok(());
        }
        let delta = to_raw_value(&pieces)
            .map_err(|error| (FailureCode::EngineFailed, format!("an answer that is no JSON: {error}")))?;
        // No await between counting a chunk and sending it: a cancelled job must not sign what never left.
        let Ok(permit) = self.events.reserve().await else {
            return Ok(());
        };
        progress.count(&pieces, begun);
        progress.transcript.add(delta.get());
        progress.output.add(&pieces);
        let (job_id, attempt, index) = (self.job.job_id, self.job.attempt, progress.chunks);
        progress.chunks += 1;
        let chunk = Chunk {
            job_id,
            attempt,
            index,
            delta,
        };
        let text: Text = NodeFrame::Chunk(chunk).encode().into();
        permit.send(Event::Input(Input::Chunk((job_id, attempt), text)));
        Ok(())
    }

    fn result(&self, progress: Progress, begun: Instant, outcome: Outcome, usage: Usage) -> NodeFrame {
        let total = begun.elapsed();
        let finish_reason = progress.finish_reason.unwrap_or_else(|| match outcome {
            Outcome::Complete => "stop".to_owned(),
            Outcome::Partial => "cancelled".to_owned(),
        });
        let (mut transcript, mut hasher, mut output) = (progress.transcript, progress.output, None);
        if !self.job.stream {
            let choices = progress.whole.finish();
            match to_raw_value(&choices) {
                Ok(raw) => {
                    transcript.add(raw.get());
                    hasher = choices.iter().collect();
                    output = Some(raw);
                }
                Err(error) => return self.failure(FailureCode::EngineFailed, &error.to_string()),
            }
        }
        let answer = Answer {
            transcript_hash: transcript.finish(),
            output_hash: hasher.finish(),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            finish_reason,
            outcome,
            output,
            timings: Timings {
                first_output_ms: progress.first_output.unwrap_or(total).as_millis() as u64,
                total_ms: total.as_millis() as u64,
            },
        };
        signed::result(&self.key, &self.domain, &self.job, answer).into()
    }

    fn failure(&self, code: FailureCode, message: &str) -> NodeFrame {
        let key = (self.job.job_id, self.job.attempt);
        let message: String = message.chars().take(MAX_MESSAGE).collect();
        signed::failure(&self.key, &self.domain, key, self.job.lease_token, code, message).into()
    }
}

/// What a job has made so far.
#[derive(Default)]
struct Progress {
    transcript: Transcript,
    output: OutputHasher,
    whole: Assembler,
    chunks: u64,
    /// Pieces of text: about as many as tokens.
    pieces: u64,
    prompt_tokens: Option<u64>,
    finish_reason: Option<String>,
    first_output: Option<Duration>,
}

impl Progress {
    fn count(&mut self, pieces: &[ChunkChoice], begun: Instant) {
        for piece in pieces {
            let has_text = piece.delta.content.as_deref().is_some_and(|text| !text.is_empty());
            if has_text || !piece.delta.extra.is_empty() {
                self.pieces += 1;
                self.first_output.get_or_insert_with(|| begun.elapsed());
            }
            if piece.index == 0 && piece.finish_reason.is_some() {
                self.finish_reason.clone_from(&piece.finish_reason);
            }
        }
    }
}

/// A whole choice as one piece.
fn whole_choice(choice: Choice) -> ChunkChoice {
    ChunkChoice {
        index: choice.index,
        delta: Delta {
            role: None,
            content: choice.message.content,
            extra: choice.message.extra,
        },
        logprobs: choice.logprobs,
        finish_reason: choice.finish_reason,
    }
}

fn explain(error: RuntimeError) -> (FailureCode, String) {
    let code = match &error {
        RuntimeError::Unavailable(_) => FailureCode::EngineUnavailable,
        RuntimeError::ModelMissing(_) => FailureCode::ModelMissing,
        RuntimeError::InvalidRequest(_) => FailureCode::InvalidRequest,
        RuntimeError::ContextLengthExceeded(_) => FailureCode::ContextLengthExceeded,
        RuntimeError::Failed(_) => FailureCode::EngineFailed,
    };
    (code, error.to_string())
}

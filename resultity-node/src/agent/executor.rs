//! Runs jobs on the Runtime: one task each, which also hashes, signs and encodes, so that the link's task only copies
//! bytes.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use resultity_core::clock::Clock;
use resultity_core::compute::ComputeRequest;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{ChatRequest, Choice, ChunkChoice, Delta, Usage};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::{EmbeddingRequest, encode_floats};
use resultity_core::raw_json::RawJson;
use resultity_core::score::{Score, ScoreRequest};
use resultity_core::signing::{Domain, Keypair, Outcome};
use resultity_core::wire::{
    Chunk, FailureCode, Job, MAX_CHUNK_BYTES, MAX_FRAME_BYTES, NodeFrame, OutputHasher, Timings, Transcript,
    output_hash,
};
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::actor::Event;
use super::assemble::Assembler;
use super::cutting::in_chunks;
use super::event::{Input, Stop};
use super::signed::{self, Answer, Reason};
use super::{JobKey, Text};
use crate::runtime::{ContainerRequest, Embeddings, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};

/// A message to people is cut here: characters.
const MAX_MESSAGE: usize = 500;

/// The most bytes of an answer that is sent whole; the rest of its frame is small.
const MAX_OUTPUT: usize = MAX_FRAME_BYTES - 64 * 1024;

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

/// What a job asks of the Runtime.
enum Request {
    Chat(ChatRequest),
    Completion(CompletionRequest),
    Embedding(EmbeddingRequest),
    Container(ContainerRequest),
    Score(ScoreRequest),
}

impl Request {
    /// The body may hold an alias and say nothing of a stream; what counts is what the network sold.
    fn of(job: &Job) -> Result<Self, Reason> {
        match job.kind {
            JobKind::ChatCompletion => {
                let mut request: ChatRequest = read(job)?;
                request.model.clone_from(&job.model);
                request.stream = Some(job.stream);
                Ok(Self::Chat(request))
            }
            JobKind::Completion => {
                let mut request: CompletionRequest = read(job)?;
                request.model.clone_from(&job.model);
                request.stream = Some(job.stream);
                Ok(Self::Completion(request))
            }
            JobKind::Embedding => {
                let mut request: EmbeddingRequest = read(job)?;
                request.model.clone_from(&job.model);
                Ok(Self::Embedding(request))
            }
            JobKind::Container => {
                let request: ComputeRequest = read(job)?;
                let needs_proof = request.requires_proof.unwrap_or(false);
                let request = ContainerRequest::new(&job.model, request.data.into_raw());
                Ok(Self::Container(request.requires_proof(needs_proof)))
            }
            JobKind::Score => Ok(Self::Score(read(job)?)),
            kind => Err(Reason::new(
                FailureCode::InvalidRequest,
                format!("this version does not know jobs of the kind {kind}"),
            )),
        }
    }
}

fn read<T: DeserializeOwned>(job: &Job) -> Result<T, Reason> {
    serde_json::from_str(job.body.get()).map_err(|error| Reason::new(FailureCode::InvalidRequest, error.to_string()))
}

/// How the work on a job came to an end.
enum End {
    Done(Result<Usage, Reason>),
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
        let request = match Request::of(&self.job) {
            Ok(request) => request,
            Err(reason) => return Some(self.failed(reason)),
        };
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
            End::Done(Err(reason)) => Some(self.failed(reason)),
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
    async fn drive(&self, request: Request, begun: Instant, progress: &mut Progress) -> Result<Usage, Reason> {
        let events = match request {
            Request::Chat(request) => self.runtime.chat(request).await.map_err(explain)?,
            Request::Completion(request) => self.runtime.complete(request).await.map_err(explain)?,
            Request::Embedding(request) => {
                let texts = request.input.count();
                let embeddings = self.runtime.embed(request).await.map_err(explain)?;
                progress.embeddings = Some(encode(&embeddings, texts)?);
                progress.first_output = Some(begun.elapsed());
                return Ok(Usage::new(embeddings.prompt_tokens, 0));
            }
            Request::Container(request) => {
                let output = self.runtime.compute(request).await.map_err(explain)?;
                progress.computed = Some([readable(output)?]);
                progress.first_output = Some(begun.elapsed());
                return Ok(Usage::new(0, 0));
            }
            Request::Score(request) => {
                let score = self.runtime.score(&self.job.model, request).await.map_err(explain)?;
                progress.computed = Some([written(&score)?]);
                progress.first_output = Some(begun.elapsed());
                return Ok(Usage::new(score.prompt_tokens, 0));
            }
        };
        self.follow(events, begun, progress).await
    }

    async fn follow(&self, events: RuntimeStream, begun: Instant, progress: &mut Progress) -> Result<Usage, Reason> {
        // What an engine made at once leaves in one frame; whoever waits for it gets it in its pieces all the same.
        let mut events = events.ready_chunks(MERGED);
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
        Err(Reason::new(FailureCode::EngineFailed, "the answer ended early"))
    }

    /// Sends new pieces of a stream, or keeps those of an answer that is sent whole.
    async fn pass_on(&self, pieces: Vec<ChunkChoice>, begun: Instant, progress: &mut Progress) -> Result<(), Reason> {
        if !self.job.stream {
            progress.count(&pieces, begun);
            progress.whole.add(pieces);
            return Ok(());
        }
        let delta = delta_of(&pieces)?;
        if delta.get().len() <= MAX_CHUNK_BYTES {
            self.send_chunk(&pieces, delta, begun, progress).await;
            return Ok(());
        }
        let too_large = || {
            let message = "a piece of the answer is too large to be sent at once: ask for less";
            Reason::new(FailureCode::InvalidRequest, message)
        };
        for pieces in in_chunks(pieces).ok_or_else(too_large)? {
            self.send_chunk(&pieces, delta_of(&pieces)?, begun, progress).await;
        }
        Ok(())
    }

    async fn send_chunk(&self, pieces: &[ChunkChoice], delta: Box<RawValue>, begun: Instant, progress: &mut Progress) {
        // No await between counting a chunk and sending it: a cancelled job must not sign what never left.
        let Ok(permit) = self.events.reserve().await else {
            return;
        };
        progress.count(pieces, begun);
        progress.transcript.add(delta.get());
        progress.output.add(pieces);
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
    }

    fn result(&self, progress: Progress, begun: Instant, outcome: Outcome, usage: Usage) -> NodeFrame {
        let total = begun.elapsed();
        let finish_reason = progress.finish_reason.unwrap_or_else(|| match outcome {
            Outcome::Complete => "stop".to_owned(),
            Outcome::Partial => "cancelled".to_owned(),
        });
        let (mut transcript, mut hash, mut output) = (progress.transcript, progress.output.finish(), None);
        let whole = if let Some(embeddings) = &progress.embeddings {
            hash = output_hash((0..).zip(embeddings.iter().map(String::as_str)));
            Some(to_raw_value(embeddings))
        } else if let Some(computed) = &progress.computed {
            hash = output_hash((0..).zip(computed.iter().map(RawJson::get)));
            Some(to_raw_value(computed))
        } else if !self.job.stream {
            let choices = progress.whole.finish();
            hash = choices.iter().collect::<OutputHasher>().finish();
            Some(to_raw_value(&choices))
        } else {
            None
        };
        match whole {
            // A longer frame would cost the link, and with it all jobs.
            Some(Ok(raw)) if raw.get().len() > MAX_OUTPUT => {
                return self.failure(
                    FailureCode::InvalidRequest,
                    "the answer is too large to be sent at once: ask for less, or for a stream",
                );
            }
            Some(Ok(raw)) => {
                transcript.add(raw.get());
                output = Some(raw);
            }
            Some(Err(error)) => return self.failure(FailureCode::EngineFailed, &error.to_string()),
            None => {}
        }
        let answer = Answer {
            transcript_hash: transcript.finish(),
            output_hash: hash,
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
        self.failed(Reason::new(code, message))
    }

    fn failed(&self, mut reason: Reason) -> NodeFrame {
        let key = (self.job.job_id, self.job.attempt);
        if let Some((end, _)) = reason.message.char_indices().nth(MAX_MESSAGE) {
            reason.message.truncate(end);
        }
        signed::failure(&self.key, &self.domain, key, self.job.lease_token, reason).into()
    }
}

/// What a job has made so far.
#[derive(Default)]
struct Progress {
    transcript: Transcript,
    output: OutputHasher,
    whole: Assembler,
    embeddings: Option<Vec<String>>,
    computed: Option<[RawJson; 1]>,
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

/// Pieces as a chunk has them.
fn delta_of(pieces: &[ChunkChoice]) -> Result<Box<RawValue>, Reason> {
    to_raw_value(pieces)
        .map_err(|error| Reason::new(FailureCode::EngineFailed, format!("an answer that is no JSON: {error}")))
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

/// The vectors as they are sent, if there is one for each text and they are numbers of one length.
fn encode(embeddings: &Embeddings, texts: usize) -> Result<Vec<String>, Reason> {
    let vectors = &embeddings.vectors;
    let length = vectors.first().map_or(0, Vec::len);
    let sound = |vector: &Vec<f32>| vector.len() == length && vector.iter().all(|number| number.is_finite());
    if vectors.len() != texts || length == 0 || !vectors.iter().all(sound) {
        return Err(Reason::new(
            FailureCode::EngineFailed,
            "the engine made embeddings that can't be used",
        ));
    }
    Ok(vectors.iter().map(|vector| encode_floats(vector)).collect())
}

/// What a container gave, as it is sent.
fn readable(output: Box<RawValue>) -> Result<RawJson, Reason> {
    RawJson::from(output).compact().ok_or_else(|| {
        let message = "the container gave arrays and objects that are too deep within one another";
        Reason::new(FailureCode::EngineFailed, message)
    })
}

/// A score, as it is sent.
fn written(score: &Score) -> Result<RawJson, Reason> {
    let written = to_raw_value(score).map(RawJson::from);
    written.map_err(|error| Reason::new(FailureCode::EngineFailed, error.to_string()))
}

fn explain(error: RuntimeError) -> Reason {
    let message = error.to_string();
    let (code, param) = match error {
        RuntimeError::Unavailable(_) => (FailureCode::EngineUnavailable, None),
        RuntimeError::ModelMissing(_) => (FailureCode::ModelMissing, None),
        RuntimeError::InvalidRequest { param, .. } => (FailureCode::InvalidRequest, param),
        RuntimeError::ContextLengthExceeded(_) => (FailureCode::ContextLengthExceeded, None),
        RuntimeError::Failed(_) => (FailureCode::EngineFailed, None),
    };
    Reason { code, message, param }
}

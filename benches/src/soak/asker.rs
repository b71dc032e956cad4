//! Who asks: every way to ask, in a mix that the seed decides, and a check of everything that comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use resultity_client::CloudClient;
use resultity_core::api::batches::BatchesApi as _;
use resultity_core::api::cloud::{CallOptions, ChatApi as _, Reply};
use resultity_core::api::files::{FileUpload, FilesApi as _};
use resultity_core::api::jobs::{Job, JobRequest, JobsApi as _};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{BatchId, FileId, JobId};
use resultity_core::job::{Endpoint, JobState};
use resultity_core::openai::batch::BatchRequest;
use resultity_core::openai::chat::{ChatCompletion, ChatRequest, Message};
use resultity_core::openai::file::FilePurpose;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::roles::PRICE;
use super::tally::Tally;
use crate::engine::MODEL;
use crate::prompt::{ANSWER_TOKENS, Pace, answer, question, streamed_answer};
use crate::proxy::Luck;

/// How long somebody goes on asking after the last fault, before what they wait for counts as lost.
const PATIENCE: Duration = Duration::from_mins(2);

/// Lines of a batch.
const LINES: u64 = 10;

/// What all who ask share.
pub(super) struct Asking {
    pub(super) client: CloudClient,
    pub(super) seed: u64,
    /// How many jobs there are to be.
    pub(super) jobs: u64,
    /// When no new ones are begun in any case.
    pub(super) until: Instant,
    /// The number of the next request.
    pub(super) next: AtomicU64,
    pub(super) tally: Tally,
    /// When the last fault was, once there are no more.
    pub(super) calm_since: watch::Receiver<Option<Instant>>,
}

/// What the server could not say, since it was away or the line was.
fn is_line(error: &ApiError) -> bool {
    matches!(
        error.code,
        ErrorCode::Connection | ErrorCode::Timeout | ErrorCode::StreamCut | ErrorCode::InvalidResponse
    )
}

/// What may be better a moment later.
fn is_passing(error: &ApiError) -> bool {
    is_line(error)
        || error
            .code
            .http_status()
            .is_none_or(|status| status >= 500 || status == 429)
}

impl Asking {
    /// Asks, one thing after the other, until there were enough jobs.
    pub(super) async fn run(self: Arc<Self>) {
        while self.tally.ended() < self.jobs && Instant::now() < self.until {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let mut luck = Luck::of(self.seed, number);
            let nonce = format!("{}-{number}", self.seed);
            match luck.up_to(99) {
                0..=24 => self.whole(&nonce).await,
                25..=49 => self.streamed(&nonce, &mut luck).await,
                50..=56 => self.left(&nonce, &mut luck).await,
                57..=74 => self.background(&nonce, None).await,
                75..=79 => self.background(&nonce, Some(luck.up_to(30))).await,
                80..=97 => self.named(&nonce).await,
                _ => self.batch(&nonce).await,
            }
        }
    }

    /// Whether it makes sense to go on asking for something.
    fn goes_on(&self) -> bool {
        self.calm_since.borrow().is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// Waits a moment before the next try.
    async fn pause(&self) {
        sleep(Duration::from_millis(50)).await;
    }

    async fn failed(&self, error: &ApiError) {
        self.tally.failed(error.code);
        if is_passing(error) {
            self.pause().await;
        }
    }

    fn request(nonce: &str) -> ChatRequest {
        ChatRequest::new(MODEL, [Message::user(question(nonce, None, None, false))]).max_tokens(64)
    }

    /// Checks an answer that came whole; gives whether it is right.
    fn check(&self, nonce: &str, reply: &ChatCompletion) -> bool {
        let text = reply.choices.first().and_then(|choice| choice.message.content.as_ref());
        let is_right = text.is_some_and(|text| *text == answer(nonce))
            && reply.choices.len() == 1
            && reply
                .usage
                .is_some_and(|usage| usage.completion_tokens == ANSWER_TOKENS);
        if !is_right {
            self.tally.wrong(format!("asked for {nonce}, got {reply:?}"));
        }
        is_right
    }

    /// Writes down what an answer cost.
    fn charged(&self, nonce: &str, reply: &Reply<ChatCompletion>) {
        let cost = reply
            .usage
            .map(|usage| PRICE.cost(usage.prompt_tokens, usage.completion_tokens));
        match (reply.meta.job_id, cost) {
            (Some(job), Some(cost)) if reply.meta.cost.is_none_or(|said| said == cost) => {
                self.tally.answered(job, cost);
            }
            told => self
                .tally
                .wrong(format!("{nonce} is billed as {told:?}, and as {:?}", reply.meta.cost)),
        }
    }

    async fn whole(&self, nonce: &str) {
        match self.client.chat(Self::request(nonce)).await {
            Ok(reply) => {
                if self.check(nonce, &reply) {
                    self.charged(nonce, &reply);
                }
            }
            Err(error) => self.failed(&error).await,
        }
    }

    async fn streamed(&self, nonce: &str, luck: &mut Luck) {
        let chunks = 1 + luck.up_to(39) as u32;
        // A third of them take so long that something happens to them.
        let pace = luck
            .happens(3_333)
            .then(|| Pace::from_millis(luck.up_to(20), luck.up_to(30)));
        let text = question(nonce, Some(chunks), pace, luck.happens(5_000));
        let request = ChatRequest::new(MODEL, [Message::user(text)])
            .max_tokens(64)
            .include_usage();
        let mut stream = match self.client.chat_stream(request).await {
            Ok(stream) => stream,
            Err(error) => return self.failed(&error).await,
        };
        let (job, expected) = (stream.meta().job_id, streamed_answer(nonce, chunks));
        let (mut seen, mut usage) = (String::new(), None);
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => {
                    seen.push_str(chunk.text());
                    usage = chunk.usage.or(usage);
                    if !expected.starts_with(&seen) {
                        return self
                            .tally
                            .wrong(format!("two answers in one stream for {nonce}: {seen:?}"));
                    }
                }
                Err(error) => {
                    // What the server itself says to have failed costs nothing; whether it heard that a line was cut is its secret.
                    if let Some(job) = job.filter(|_| !is_line(&error)) {
                        self.tally.free(job);
                    }
                    return self.failed(&error).await;
                }
            }
        }
        let cost = usage.map(|usage| PRICE.cost(usage.prompt_tokens, usage.completion_tokens));
        match (job, cost) {
            (Some(job), Some(cost)) if seen == expected => self.tally.answered(job, cost),
            told => self
                .tally
                .wrong(format!("a stream for {nonce} ended with {seen:?}, {told:?}")),
        }
    }

    /// Asks and goes away.
    async fn left(&self, nonce: &str, luck: &mut Luck) {
        let patience = Duration::from_millis(luck.up_to(20));
        let asked = async {
            let text = question(nonce, Some(40), None, true);
            if luck.happens(5_000) {
                let mut stream = self
                    .client
                    .chat_stream(ChatRequest::new(MODEL, [Message::user(text)]))
                    .await?;
                for _ in 0..luck.up_to(39) {
                    stream.next().await.transpose()?;
                }
            } else {
                self.client.chat(Self::request(nonce)).await?;
            }
            Ok::<_, ApiError>(())
        };
        match timeout(patience, asked).await {
            Ok(Err(error)) => self.failed(&error).await,
            _ => self.tally.left(),
        }
    }

    /// A job in the background, perhaps cancelled so many milliseconds after it was accepted. One that was acknowledged
    /// must come to an end.
    async fn background(&self, nonce: &str, cancel_after: Option<u64>) {
        let request = JobRequest::chat(&Self::request(nonce)).expect("texts are JSON");
        let job = match self.client.create_job(request).await {
            Ok(job) => job.id,
            Err(error) => return self.failed(&error).await,
        };
        self.tally.acknowledged(job);
        if let Some(millis) = cancel_after {
            sleep(Duration::from_millis(millis)).await;
            // If this fails, the job goes on.
            let _ = self.client.cancel_job(job).await;
        }
        while self.goes_on() {
            match self.client.job(job).await {
                Ok(found) if found.status.is_final() => return self.job_ended(nonce, &found, cancel_after.is_some()),
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return self.tally.lost(format!("job {job}: {error}")),
            }
            self.pause().await;
        }
        self.tally.lost(format!("job {job} has not ended"));
    }

    fn job_ended(&self, nonce: &str, job: &Job, was_cancelled: bool) {
        match job.status {
            JobState::Succeeded => {
                let body = job
                    .result
                    .as_ref()
                    .and_then(|result| serde_json::from_str(result.get()).ok());
                let cost = job
                    .usage
                    .map(|usage| PRICE.cost(usage.prompt_tokens, usage.completion_tokens));
                match (body, cost) {
                    (Some(body), Some(cost)) if job.cost == Some(cost) => {
                        if self.check(nonce, &body) {
                            self.tally.answered(job.id, cost);
                        }
                    }
                    _ => self.tally.wrong(format!("{nonce} ended as {job:?}")),
                }
            }
            JobState::Cancelled if was_cancelled => self.tally.cancelled(),
            _ => {
                self.tally.free(job.id);
                let code = job.error.as_ref().and_then(|error| error.code.as_deref());
                let code = code.and_then(ErrorCode::from_wire).unwrap_or(ErrorCode::Internal);
                self.tally.failed(code);
            }
        }
    }

    /// A request with an idempotency key: repeated until it is answered, and once more. Whatever failed on the way, it is
    /// one answer and one bill.
    async fn named(&self, nonce: &str) {
        let client = self.client.with_options(CallOptions::idempotent(nonce));
        let mut first: Option<Reply<ChatCompletion>> = None;
        while self.goes_on() {
            match (client.chat(Self::request(nonce)).await, &first) {
                (Ok(reply), None) => {
                    if !self.check(nonce, &reply) {
                        return;
                    }
                    first = Some(reply);
                }
                (Ok(again), Some(first)) => {
                    if again.meta.job_id != first.meta.job_id || again.body != first.body {
                        return self
                            .tally
                            .wrong(format!("{nonce} was answered {first:?}, then {again:?}"));
                    }
                    return self.charged(nonce, first);
                }
                (Err(error), _) if is_passing(&error) => self.pause().await,
                (Err(error), _) => return self.tally.lost(format!("{nonce}, which has a key: {error}")),
            }
        }
        self.tally.lost(format!("{nonce}, which has a key, was not answered"));
    }

    /// Tries until the server answers, for what may be done twice.
    async fn surely<T, F: Future<Output = Result<T, ApiError>>>(&self, step: impl Fn() -> F) -> Result<T, ApiError> {
        loop {
            match step().await {
                Err(error) if is_passing(&error) && self.goes_on() => self.pause().await,
                ended => return ended,
            }
        }
    }

    async fn batch(&self, nonce: &str) {
        let names: Vec<String> = (0..LINES).map(|line| format!("{nonce}-{line}")).collect();
        let lines = names.iter().map(|name| {
            json!({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": Self::request(name)})
                .to_string()
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let upload = || {
            let upload = FileUpload::new("in.jsonl", FilePurpose::Batch, text.clone());
            async { self.client.upload_file(upload).await }
        };
        let Ok(file) = self.surely(upload).await else { return };
        // Not repeated: a second batch would be a second bill.
        let created = self
            .client
            .create_batch(BatchRequest::new(file.id, Endpoint::ChatCompletions));
        let batch = match created.await {
            Ok(batch) => batch.id,
            Err(error) => return self.failed(&error).await,
        };
        if let Err(why) = self.batch_ended(batch, &names).await {
            self.tally.lost(format!("batch {batch}: {why}"));
        }
    }

    async fn batch_ended(&self, batch: BatchId, names: &[String]) -> Result<(), String> {
        let ended = loop {
            let found = self
                .surely(|| self.client.batch(batch))
                .await
                .map_err(|error| error.to_string())?;
            if found.status.is_final() {
                break found;
            }
            if !self.goes_on() {
                return Err(format!("has not ended: {:?}", found.status));
            }
            self.pause().await;
        };
        let mut missing: Vec<&str> = names.iter().map(String::as_str).collect();
        for file in [&ended.output_file_id, &ended.error_file_id].into_iter().flatten() {
            for line in self.content(file).await?.lines() {
                let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
                let name = line["custom_id"].as_str().unwrap_or_default();
                let Some(place) = missing.iter().position(|missing| *missing == name) else {
                    return Err(format!("tells of {name} twice, or nobody asked for it"));
                };
                missing.swap_remove(place);
                if Some(file) == ended.output_file_id.as_ref() {
                    self.line(name, &line["response"]["body"]);
                } else {
                    let code = line["error"]["code"]
                        .as_str()
                        .or(line["response"]["body"]["error"]["code"].as_str());
                    self.tally
                        .failed(code.and_then(ErrorCode::from_wire).unwrap_or(ErrorCode::Internal));
                }
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("says nothing of {missing:?} ({ended:?})"))
        }
    }

    fn line(&self, name: &str, body: &Value) {
        let job = body["id"].as_str().and_then(JobId::of_answer);
        match (serde_json::from_value::<ChatCompletion>(body.clone()).ok(), job) {
            (Some(reply), Some(job)) => {
                if self.check(name, &reply) {
                    let usage = reply.usage.unwrap_or_default();
                    self.tally
                        .answered(job, PRICE.cost(usage.prompt_tokens, usage.completion_tokens));
                }
            }
            _ => self.tally.wrong(format!("{name} was answered {body}")),
        }
    }

    async fn content(&self, file: &FileId) -> Result<String, String> {
        let read = || async {
            let mut pieces = self.client.file_content(*file).await?;
            let mut content = Vec::new();
            while let Some(piece) = pieces.next().await {
                content.extend_from_slice(&piece?);
            }
            Ok(content)
        };
        let content = self.surely(read).await.map_err(|error| error.to_string())?;
        String::from_utf8(content).map_err(|error| error.to_string())
    }
}

//! The load generator: keeps a number of requests in flight, checks every answer and takes the times.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::check::{Fault, StreamCheck, check_whole};
use crate::error::LoadError;
use crate::http::{self, Connection};
use crate::prompt::{self, ANSWER_TOKENS, Pace};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a worker waits after an error before it asks again.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// How often a slice looks how far its workers are.
const POLL: Duration = Duration::from_millis(2);

/// How many kinds of errors are told apart, and how many examples of wrong answers each worker keeps.
const KEPT_EXAMPLES: usize = 5;

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Target {
    address: SocketAddr,
    host: String,
    path: String,
    key: Option<String>,
    model: String,
}

impl Target {
    /// The API at this base URL, such as `http://127.0.0.1:8080/v1`; nothing if it isn't `http://IP:PORT/…`.
    pub fn new(base_url: &str, key: Option<&str>, model: &str) -> Option<Self> {
        let (address, host, path) = http::split_url(base_url)?;
        Some(Self {
            address,
            host: host.to_owned(),
            path: format!("{path}/chat/completions"),
            key: key.map(str::to_owned),
            model: model.to_owned(),
        })
    }

    fn request(&self, question: &Question, nonce: &str) -> Vec<u8> {
        let headers = self
            .key
            .as_ref()
            .map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
        let (model, chunks) = (&self.model, question.chunks);
        let text = prompt::question(nonce, chunks, question.pace, question.flush);
        let options = match chunks {
            None => format!("\"max_tokens\":{}", ANSWER_TOKENS * 2),
            Some(chunks) => {
                let limit = chunks.saturating_mul(2);
                format!("\"max_tokens\":{limit},\"stream\":true,\"stream_options\":{{\"include_usage\":true}}")
            }
        };
        let body =
            format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],{options}}}");
        http::request(&self.host, &self.path, &headers, Some(&body))
    }
}

/// What is asked, but for the nonce.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question {
    /// In how many parts the answer is streamed; absent: not streamed.
    pub chunks: Option<u32>,
    /// How fast the engine makes it; absent: as fast as it can.
    pub pace: Option<Pace>,
    /// Whether the engine writes each part by itself.
    pub flush: bool,
}

/// What was counted and timed in one slice of time.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How long the slice was.
    pub window: Duration,
    /// Time to the end of each answer that ended in the slice.
    pub total: Vec<Duration>,
    /// Time to the first text of the same answers; streams alone.
    pub first: Vec<Duration>,
    /// Parts of streams that came in the slice.
    pub parts: u64,
    /// Answers that were checked and right, in the slice or around it.
    pub checked: u64,
    /// Answers that were refused, cut with an error or lost, by what was said.
    pub errors: BTreeMap<String, u64>,
    /// Answers that were wrong: a few examples.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Adds what another worker or slice has; the windows are left alone.
    pub fn add(&mut self, other: Self) {
        self.total.extend(other.total);
        self.first.extend(other.first);
        self.parts += other.parts;
        self.checked += other.checked;
        for (error, count) in other.errors {
            self.add_error(error, count);
        }
        self.wrong.extend(other.wrong);
    }

    fn add_error(&mut self, error: String, count: u64) {
        let known = self.errors.len() < KEPT_EXAMPLES || self.errors.contains_key(&error);
        *self
            .errors
            .entry(if known { error } else { "others".into() })
            .or_default() += count;
    }

    /// How many errors there were.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A slice that runs: workers ask, until it is finished.
#[derive(Debug)]
pub struct Slice {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Tally>>,
    workers: usize,
    window: Duration,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    question: Question,
    phase: AtomicU8,
    warm: AtomicUsize,
    counted: AtomicUsize,
    turn: AtomicU64,
}

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const STOPPING: u8 = 2;

impl Slice {
    /// Starts `workers` that ask one question after the other, the last of them after `spread`, and waits until each
    /// has had its first answer.
    pub async fn start(
        target: &Target,
        question: Question,
        workers: usize,
        spread: Duration,
    ) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared {
            target: target.clone(),
            question,
            phase: AtomicU8::new(WARMING),
            warm: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            turn: AtomicU64::new(0),
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let thread_count = cores.min(4).min(workers);
        let mut threads = Vec::new();
        for thread in 0..thread_count {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(LoadError::io("starting a load thread"))?;
            let shared = shared.clone();
            let spawned = std::thread::Builder::new().name("load".into()).spawn(move || {
                let local = (thread..workers).step_by(thread_count).map(|index| {
                    let delay = spread.mul_f64(index as f64 / workers as f64);
                    runtime.spawn(Worker::new(shared.clone(), index, delay).run())
                });
                let local: Vec<_> = local.collect();
                runtime.block_on(async {
                    let mut all = Tally::default();
                    for worker in local {
                        match worker.await {
                            Ok(tally) => all.add(tally),
                            Err(error) => all.wrong.push(format!("a worker broke: {error}")),
                        }
                    }
                    all
                })
            });
            threads.push(spawned.map_err(LoadError::io("starting a load thread"))?);
        }
        let slice = Self {
            shared,
            threads,
            workers,
            window: Duration::ZERO,
        };
        let limit = Instant::now() + ANSWER_TIMEOUT + spread;
        while slice.shared.warm.load(Ordering::Acquire) < slice.workers && Instant::now() < limit {
            tokio::time::sleep(POLL).await;
        }
        Ok(slice)
    }

    /// Counts for this long, and on until there is one answer for each worker on average.
    pub async fn count(&mut self, window: Duration) {
        let began = Instant::now();
        self.shared.phase.store(COUNTING, Ordering::Release);
        tokio::time::sleep(window).await;
        let limit = Instant::now() + ANSWER_TIMEOUT;
        while self.shared.counted.load(Ordering::Acquire) < self.workers && Instant::now() < limit {
            tokio::time::sleep(POLL).await;
        }
        self.shared.phase.store(STOPPING, Ordering::Release);
        self.window = began.elapsed();
    }

    /// Waits for the answers that are under way; they are checked, not counted.
    pub async fn finish(mut self) -> Result<Tally, LoadError> {
        self.shared.phase.store(STOPPING, Ordering::Release);
        let threads = std::mem::take(&mut self.threads);
        let join = tokio::task::spawn_blocking(move || {
            let mut all = Tally::default();
            for thread in threads {
                match thread.join() {
                    Ok(tally) => all.add(tally),
                    Err(_) => all.wrong.push("a load thread broke".into()),
                }
            }
            all
        });
        let mut tally = join
            .await
            .map_err(|error| LoadError::Wrong(format!("the driver broke: {error}")))?;
        tally.window = self.window;
        Ok(tally)
    }
}

impl Drop for Slice {
    /// A slice that is given up lets its workers end after their answers.
    fn drop(&mut self) {
        self.shared.phase.store(STOPPING, Ordering::Release);
    }
}

struct Worker {
    shared: Arc<Shared>,
    delay: Duration,
    index: usize,
    connection: Option<Connection>,
    body: Vec<u8>,
    tally: Tally,
}

impl Worker {
    fn new(shared: Arc<Shared>, index: usize, delay: Duration) -> Self {
        Self {
            shared,
            delay,
            index,
            connection: None,
            body: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn counting(&self) -> bool {
        self.shared.phase.load(Ordering::Acquire) == COUNTING
    }

    async fn run(mut self) -> Tally {
        tokio::time::sleep(self.delay).await;
        let mut warm = false;
        // Each worker gets at least its first answer, so that a slice never passes without a check.
        while !warm || self.shared.phase.load(Ordering::Acquire) != STOPPING {
            let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
            let nonce = format!("{}-{turn}", self.index);
            let asked = Instant::now();
            let answer = match tokio::time::timeout(ANSWER_TIMEOUT, self.ask(&nonce)).await {
                Ok(answer) => answer,
                Err(_) => Err(Fault::Error("no answer in time".into())),
            };
            match answer {
                Ok(first) => {
                    let total = asked.elapsed();
                    self.tally.checked += 1;
                    if self.counting() {
                        self.shared.counted.fetch_add(1, Ordering::Release);
                        self.tally.total.push(total);
                        self.tally.first.extend(first.map(|first| first - asked));
                    }
                }
                Err(fault) => {
                    self.connection = None;
                    match fault {
                        Fault::Error(error) => self.tally.add_error(error, 1),
                        Fault::Wrong(wrong) if self.tally.wrong.len() < KEPT_EXAMPLES => self.tally.wrong.push(wrong),
                        Fault::Wrong(_) => {}
                    }
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
            if !warm {
                warm = true;
                self.shared.warm.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.tally
    }

    /// Asks once and checks the answer; gives when the first text of a stream came.
    async fn ask(&mut self, nonce: &str) -> Result<Option<Instant>, Fault> {
        let request = self.shared.target.request(&self.shared.question, nonce);
        // Not left in place while it is in use: after a timeout in the middle of an answer it would be out of step.
        let mut connection = match self.connection.take().filter(Connection::is_reusable) {
            Some(connection) => connection,
            None => Connection::open(self.shared.target.address).await?,
        };
        let status = connection.send(&request).await?;
        self.body.clear();
        let first = match self.shared.question.chunks {
            Some(chunks) if status == 200 => Some(self.check_stream(&mut connection, nonce, chunks).await?),
            _ => {
                connection.read_all(&mut self.body).await?;
                check_whole(status, &self.body, nonce)?;
                None
            }
        };
        self.connection = Some(connection);
        Ok(first)
    }

    async fn check_stream(&mut self, connection: &mut Connection, nonce: &str, chunks: u32) -> Result<Instant, Fault> {
        let mut check = StreamCheck::new(nonce, chunks);
        let mut first = None;
        while connection.read(&mut self.body).await? {
            let mut from = 0;
            let mut parts = 0;
            while let Some(end) = self.body[from..].iter().position(|byte| *byte == b'\n') {
                parts += u64::from(check.line(&self.body[from..from + end])?);
                from += end + 1;
            }
            self.body.drain(..from);
            if parts > 0 {
                first.get_or_insert_with(Instant::now);
                if self.counting() {
                    self.tally.parts += parts;
                }
            }
        }
        check.end()?;
        first.ok_or_else(|| Fault::Wrong("a stream without text".into()))
    }
}

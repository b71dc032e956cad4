//! Waiting for what goes on by itself, by asking again and again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::stream::{self, BoxStream, StreamExt};
use resultity_core::api::batches::BatchesApi;
use resultity_core::api::cloud::Reply;
use resultity_core::api::jobs::{Job, JobsApi};
use resultity_core::api::responses::ResponsesApi;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{BatchId, JobId, ResponseId};
use resultity_core::openai::batch::Batch;
use resultity_core::openai::response::Response;
use tokio::time::Instant;

use crate::cloud::CloudClient;
use crate::error::shown;

/// The pauses between two questions: the first, and the longest.
const JOB: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
const BATCH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How many questions in a row may fail, each with its repeats, before the waiting ends.
const MAX_FAILURES: usize = 5;

/// Something each time it was asked for; its end is the last item, or the first error. Pauses lie between the questions.
type Watched<T> = BoxStream<'static, Result<Reply<T>, ApiError>>;

/// What can be waited for.
trait Waited {
    fn is_final(&self) -> bool;
    fn status(&self) -> &'static str;
}

impl Waited for Job {
    fn is_final(&self) -> bool {
        self.status.is_final()
    }
    fn status(&self) -> &'static str {
        self.status.as_str()
    }
}

impl Waited for Response {
    fn is_final(&self) -> bool {
        self.status.is_final()
    }
    fn status(&self) -> &'static str {
        self.status.as_str()
    }
}

impl Waited for Batch {
    fn is_final(&self) -> bool {
        self.status.is_final()
    }
    fn status(&self) -> &'static str {
        self.status.as_str()
    }
}

impl CloudClient {
    /// A job each time it was asked for, until it has ended: at first every fifth of a second, later every five seconds. A
    /// server that can't be reached for a moment is waited for.
    pub fn watch_job(&self, id: JobId) -> BoxStream<'static, Result<Reply<Job>, ApiError>> {
        let client = self.clone();
        watch(JOB, move || {
            let client = client.clone();
            async move { client.job(id).await }
        })
    }

    /// The same for a response in the background.
    pub fn watch_response(&self, id: ResponseId) -> BoxStream<'static, Result<Reply<Response>, ApiError>> {
        let client = self.clone();
        watch(JOB, move || {
            let client = client.clone();
            async move { client.response(id).await }
        })
    }

    /// The same for a batch: at first every second, later every half minute.
    pub fn watch_batch(&self, id: BatchId) -> BoxStream<'static, Result<Reply<Batch>, ApiError>> {
        let client = self.clone();
        watch(BATCH, move || {
            let client = client.clone();
            async move { client.batch(id).await }
        })
    }

    /// Waits until a job has ended, with or without an answer: its `status` tells. Asks as
    /// [`watch_job`](Self::watch_job) does.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use resultity_client::CloudClient;
    /// use resultity_client::core::api::jobs::{JobRequest, JobsApi};
    /// use resultity_client::core::openai::chat::{ChatRequest, Message};
    ///
    /// # async fn run(client: CloudClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = ChatRequest::new("smollm2-135m", [Message::user("Name three rivers.")]);
    /// let job = client.create_job(JobRequest::chat(&request)?).await?;
    /// let job = client.wait_for_job(job.id, Duration::from_mins(5)).await?;
    /// println!("{}: {:?} for {:?} credits", job.status, job.result, job.cost);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorCode::Timeout`] if it has not ended after this time: it goes on all the same.
    pub async fn wait_for_job(&self, id: JobId, patience: Duration) -> Result<Reply<Job>, ApiError> {
        wait(self.watch_job(id), patience, &format!("job {id}")).await
    }

    /// Waits until a response in the background has ended: its `status` tells how.
    ///
    /// # Errors
    /// As of [`wait_for_job`](Self::wait_for_job).
    pub async fn wait_for_response(&self, id: ResponseId, patience: Duration) -> Result<Reply<Response>, ApiError> {
        wait(self.watch_response(id), patience, &format!("response {id}")).await
    }

    /// Waits until a batch has ended: its `status` tells how.
    ///
    /// # Errors
    /// As of [`wait_for_job`](Self::wait_for_job).
    pub async fn wait_for_batch(&self, id: BatchId, patience: Duration) -> Result<Reply<Batch>, ApiError> {
        wait(self.watch_batch(id), patience, &format!("batch {id}")).await
    }
}

fn watch<T, F>((first, longest): (Duration, Duration), ask: impl Fn() -> F + Send + 'static) -> Watched<T>
where
    T: Waited + Send + 'static,
    F: Future<Output = Result<Reply<T>, ApiError>> + Send + 'static,
{
    let pauses = ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build();
    let begin = Some((Duration::ZERO, pauses, ask));
    stream::try_unfold(begin, move |state| async move {
        let Some((mut pause, mut pauses, ask)) = state else {
            return Ok(None);
        };
        let mut failures = 0;
        loop {
            tokio::time::sleep(pause).await;
            pause = pauses.next().unwrap_or(longest);
            match ask().await {
                Ok(reply) if reply.is_final() => return Ok(Some((reply, None))),
                Ok(reply) => return Ok(Some((reply, Some((pause, pauses, ask))))),
                Err(error) if failures < MAX_FAILURES && may_pass(&error) => {
                    failures += 1;
                    tracing::debug!(%error, "asking again");
                }
                Err(error) => return Err(error),
            }
        }
    })
    .boxed()
}

async fn wait<T: Waited>(mut watched: Watched<T>, patience: Duration, what: &str) -> Result<Reply<T>, ApiError> {
    // None: for ever. The first question is asked in any case.
    let deadline = Instant::now().checked_add(patience);
    let mut last = watched.next().await;
    loop {
        let reply = match last {
            Some(Ok(reply)) if reply.is_final() => return Ok(reply),
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return Err(error),
            // A stream of this kind ends with one of the others.
            None => {
                return Err(ApiError::new(
                    ErrorCode::Internal,
                    format!("{what} is not watched any more"),
                ));
            }
        };
        last = match deadline {
            None => watched.next().await,
            Some(deadline) => tokio::time::timeout_at(deadline, watched.next()).await.map_err(|_| {
                let (waited, status) = (shown(patience), reply.status());
                let message = format!("{what} has not ended after {waited}: it is {status}");
                ApiError::new(ErrorCode::Timeout, message)
            })?,
        };
    }
}

/// Whether the server may answer a little later.
fn may_pass(error: &ApiError) -> bool {
    matches!(
        error.code,
        ErrorCode::Connection
            | ErrorCode::Timeout
            | ErrorCode::RateLimitExceeded
            | ErrorCode::NoCapacity
            | ErrorCode::NodeFailed
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use resultity_core::api::cloud::ReplyMeta;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(bool);

    impl Waited for Thing {
        fn is_final(&self) -> bool {
            self.0
        }
        fn status(&self) -> &'static str {
            "running"
        }
    }

    /// Waits for what gives these answers, the last one for ever; and how often it was asked.
    async fn waited(patience: Duration, answers: Vec<Result<bool, ErrorCode>>) -> (Result<bool, ApiError>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let watched = watch(JOB, move || {
            let answer = answers[count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
            let meta = ReplyMeta::default();
            let reply = answer.map(|is_final| Reply {
                body: Thing(is_final),
                meta,
            });
            async move { reply.map_err(|code| ApiError::new(code, "why")) }
        });
        let result = wait(watched, patience, "thing 1").await;
        (result.map(|reply| reply.body.0), asked.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_until_the_end() {
        let begin = Instant::now();
        let (result, asked) = waited(Duration::from_mins(1), vec![Ok(false), Ok(false), Ok(true)]).await;
        assert_eq!((result.unwrap(), asked), (true, 3));
        // 200 and 400 ms, and as much again at most.
        assert!(
            (600..=1250).contains(&begin.elapsed().as_millis()),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_what_is_known() {
        let error = waited(Duration::from_secs(3), vec![Ok(false)]).await.0.unwrap_err();
        assert_eq!(error.code, ErrorCode::Timeout);
        assert_eq!(error.message, "thing 1 has not ended after 3 s: it is running");
        let (result, asked) = waited(Duration::ZERO, vec![Ok(true)]).await;
        assert_eq!(
            (result.unwrap(), asked),
            (true, 1),
            "the first question is always asked"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_for_a_moment_is_waited_for() {
        let down = Err(ErrorCode::Connection);
        let answers = vec![Ok(false), down, down, Ok(false), down, Ok(true)];
        assert!(waited(Duration::MAX, answers).await.0.unwrap());
        let (result, asked) = waited(Duration::MAX, vec![down]).await;
        assert_eq!(
            (result.unwrap_err().code, asked),
            (ErrorCode::Connection, MAX_FAILURES + 1)
        );
        let (result, asked) = waited(Duration::MAX, vec![Err(ErrorCode::NotFound)]).await;
        assert_eq!((result.unwrap_err().code, asked), (ErrorCode::NotFound, 1));
    }
}

//! Waiting for what goes on by itself, by asking again and again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
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
    /// Waits until a job has ended, with or without an answer: its `status` tells. Asks at first every fifth of a second,
    /// later every five seconds.
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
    /// [`ErrorCode::Timeout`] if it has not ended after this time: it goes on all the same. A server that can't be reached
    /// for a moment is waited for.
    pub async fn wait_for_job(&self, id: JobId, patience: Duration) -> Result<Reply<Job>, ApiError> {
        wait(JOB, patience, &format!("job {id}"), || self.job(id)).await
    }

    /// Waits until a response in the background has ended: its `status` tells how.
    ///
    /// # Errors
    /// As of [`wait_for_job`](Self::wait_for_job).
    pub async fn wait_for_response(&self, id: ResponseId, patience: Duration) -> Result<Reply<Response>, ApiError> {
        wait(JOB, patience, &format!("response {id}"), || self.response(id)).await
    }

    /// Waits until a batch has ended: its `status` tells how. Asks at first every second, later every half minute.
    ///
    /// # Errors
    /// As of [`wait_for_job`](Self::wait_for_job).
    pub async fn wait_for_batch(&self, id: BatchId, patience: Duration) -> Result<Reply<Batch>, ApiError> {
        wait(BATCH, patience, &format!("batch {id}"), || self.batch(id)).await
    }
}

async fn wait<T: Waited, F>(
    (first, longest): (Duration, Duration),
    patience: Duration,
    what: &str,
    ask: impl Fn() -> F,
) -> Result<Reply<T>, ApiError>
where
    F: Future<Output = Result<Reply<T>, ApiError>>,
{
    // None: for ever.
    let deadline = Instant::now().checked_add(patience);
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .without_max_times()
        .with_jitter()
        .build();
    let mut failures = 0;
    loop {
        let status = match ask().await {
            Ok(reply) if reply.is_final() => return Ok(reply),
            Ok(reply) => {
                failures = 0;
                reply.status()
            }
            Err(error) if failures < MAX_FAILURES && may_pass(&error) => {
                failures += 1;
                tracing::debug!(%error, what, "asking again");
                "not known"
            }
            Err(error) => return Err(error),
        };
        let pause = pauses.next().unwrap_or(longest);
        let wake = Instant::now() + pause;
        if deadline.is_some_and(|deadline| wake > deadline) {
            return Err(ApiError::new(
                ErrorCode::Timeout,
                format!("{what} has not ended after {}: it is {status}", shown(patience)),
            ));
        }
        tokio::time::sleep_until(wake).await;
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
    use std::cell::RefCell;

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

    /// Waits for what gives these answers, the last one for ever.
    async fn waited(patience: Duration, answers: Vec<Result<bool, ErrorCode>>) -> (Result<bool, ApiError>, usize) {
        let asked = RefCell::new(0);
        let result = wait(JOB, patience, "thing 1", || {
            let answer = answers[(*asked.borrow()).min(answers.len() - 1)];
            *asked.borrow_mut() += 1;
            async move {
                answer.map_err(|code| ApiError::new(code, "why")).map(|is_final| Reply {
                    body: Thing(is_final),
                    meta: ReplyMeta::default(),
                })
            }
        });
        let result = result.await.map(|reply| reply.body.0);
        (result, asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_until_the_end() {
        let begin = Instant::now();
        let (result, asked) = waited(Duration::from_mins(1), vec![Ok(false), Ok(false), Ok(true)]).await;
        assert_eq!((result.unwrap(), asked), (true, 3));
        // 200 and 400 ms, and as much again at most.
        assert!(
            (600..=1200).contains(&begin.elapsed().as_millis()),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_what_is_known() {
        let begin = Instant::now();
        let error = waited(Duration::from_secs(3), vec![Ok(false)]).await.0.unwrap_err();
        assert_eq!(error.code, ErrorCode::Timeout);
        assert_eq!(error.message, "thing 1 has not ended after 3 s: it is running");
        assert!(begin.elapsed() <= Duration::from_secs(3));
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
        let (result, _) = waited(Duration::MAX, vec![Ok(false), down, down, Ok(false), down, Ok(true)]).await;
        assert!(result.unwrap());
        let (result, asked) = waited(Duration::MAX, vec![down]).await;
        assert_eq!(
            (result.unwrap_err().code, asked),
            (ErrorCode::Connection, MAX_FAILURES + 1)
        );
        let (result, asked) = waited(Duration::MAX, vec![Err(ErrorCode::NotFound)]).await;
        assert_eq!((result.unwrap_err().code, asked), (ErrorCode::NotFound, 1));
    }
}

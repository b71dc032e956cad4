//! The contract of [`NodeApi`]: what every implementation has to do, whether it runs in-process or over HTTP. One file a
//! topic; [`all`] runs them all.
//!
//! The node under test has the containers that are named here and no chain. Its caller counts as local, is the only one,
//! and has no jobs yet. No gate is open, and rate limits are out of the way.
//!
//! ```no_run
//! use resultity_core::api::node::NodeApi;
//! use resultity_core::testing::node::{self, Setting};
//!
//! # async fn example(node: impl NodeApi, setting: &Setting<'_>) {
//! node::all(&node, setting).await;
//! # }
//! ```

use std::fmt;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::api::node::NodeApi;
use crate::infernet::{ContainerResult, JobId, JobRequest, JobResult, JobStatus};

pub mod about;
pub mod batch;
pub mod jobs;
pub mod listing;
pub mod pipelines;
pub mod refusals;
pub mod status;
pub mod stream;

/// Answers with all that it was sent: `source`, `destination`, `data`, `requires_proof`. Says that it supports [`MODEL`].
pub const ECHO: &str = "echo";

/// Answers `{"text": …}` with `data.text` in capitals.
pub const UPPER: &str = "upper";

/// As [`UPPER`], but not external.
pub const INTERNAL: &str = "internal";

/// As [`ECHO`], and generates proofs.
pub const PROVER: &str = "prover";

/// Answers with the status 500, the type `text/plain` and `data.message`, or some words where there is none. What it says of its resources is no JSON.
pub const FAIL: &str = "fail";

/// Answers once the gate `data.gate` is open: `{"gate": …}`. Of a stream, `first ` comes at once and `second` after that.
pub const SLOW: &str = "slow";

/// Streams `data.text`, a word with the blank before it at a time, or the bytes that `data.hex`, a list, gives piece by
/// piece. If it is not asked to stream, it answers `{"output": …}` with all of the text.
pub const STREAM: &str = "stream";

/// As [`ECHO`], but not for the caller's address.
pub const CLOSED: &str = "closed";

/// Cannot be reached.
pub const DOWN: &str = "down";

/// A container that the node does not have.
pub const NOBODY: &str = "nobody";

/// What [`ECHO`] supports, and nothing else: an id that has to be escaped in an address.
pub const MODEL: &str = "org/a model&x=1#2?%41+é";

/// What the scenarios need to know of where they run.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The caller's address, as the node sees and writes it.
    pub caller: &'a str,
    /// Opens a gate for good: [`SLOW`] goes on.
    pub open: &'a (dyn Fn(&str) -> BoxFuture<'static, ()> + Sync),
    /// A short pause between two questions, such as 5 ms.
    pub pause: &'a (dyn Fn() -> BoxFuture<'static, ()> + Sync),
}

impl fmt::Debug for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// Defines `all` of a topic: its scenarios one after the other, each named on standard error.
macro_rules! scenarios {
    ($topic:literal: $($scenario:ident)*) => {
        /// Runs all scenarios of this topic, one after the other. Panics at the first that fails.
        pub async fn all<A: $crate::api::node::NodeApi + ?Sized>(api: &A, setting: &$crate::testing::node::Setting<'_>) {
            $(
                eprintln!("contract: node: {}: {}", $topic, stringify!($scenario));
                $scenario(api, setting).await;
            )*
        }
    };
}
use scenarios;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    about::all(api, setting).await;
    jobs::all(api, setting).await;
    pipelines::all(api, setting).await;
    refusals::all(api, setting).await;
    batch::all(api, setting).await;
    stream::all(api, setting).await;
    listing::all(api, setting).await;
    status::all(api, setting).await;
}

fn request(containers: &[&str], data: Value) -> JobRequest {
    JobRequest::new(containers.iter().copied(), &data).expect("a request is JSON")
}

async fn create<A: NodeApi + ?Sized>(api: &A, request: JobRequest) -> JobId {
    api.create_job(request).await.expect("a job is accepted")
}

/// What is known of a job, with the results of all its containers.
async fn job<A: NodeApi + ?Sized>(api: &A, id: &JobId) -> JobResult {
    let found = api.job_results(std::slice::from_ref(id), true).await;
    let [job] = <[JobResult; 1]>::try_from(found.expect("results can be asked for")).expect("the job is there, once");
    assert_eq!(&job.id, id);
    job
}

/// The job when it has ended.
async fn ended<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>, id: &JobId) -> JobResult {
    loop {
        let job = job(api, id).await;
        if job.status != JobStatus::Running {
            return job;
        }
        assert!(job.result.is_none(), "a running job has no result yet: {job:?}");
        (setting.pause)().await;
    }
}

async fn run<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>, request: JobRequest) -> JobResult {
    let id = create(api, request).await;
    ended(api, setting, &id).await
}

/// Which container gave a result, and what it is.
fn output(result: &ContainerResult) -> (&str, Value) {
    match result {
        ContainerResult::Output(output) => {
            let json = serde_json::from_str(output.output.get()).expect("an output is JSON");
            (&output.container, json)
        }
        ContainerResult::Error(error) => unreachable!("it failed: {error:?}"),
    }
}

/// The output of a job that succeeded: of its last container.
fn succeeded(job: &JobResult) -> (&str, Value) {
    assert_eq!(job.status, JobStatus::Success, "{job:?}");
    output(job.result.as_ref().expect("a job that succeeded has its output"))
}

/// Which container failed, and what it said.
fn failed(job: &JobResult) -> (&str, &str) {
    assert_eq!(job.status, JobStatus::Failed, "{job:?}");
    match &job.result {
        Some(ContainerResult::Error(error)) => (&error.container, &error.error),
        other => unreachable!("a job that failed says why: {other:?}"),
    }
}

fn intermediate(job: &JobResult) -> Vec<(&str, Value)> {
    let results = job.intermediate_results.as_ref().expect("they were asked for");
    results.iter().map(output).collect()
}

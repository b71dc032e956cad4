//! The contract of [`JobsApi`]: against a model that answers in text, of any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use std::collections::BTreeSet;

use crate::api::jobs::{Feedback, Job, JobQuery, JobRequest, JobsApi, Rating};
use crate::api::page::Order;
use crate::api::usage::UsageApi;
use crate::credits::Credits;
use crate::error::{ApiError, ErrorCode};
use crate::id::JobId;
use crate::job::{Endpoint, JobKind, JobState};
use crate::openai::chat::{ChatCompletion, ChatRequest, Message};
use crate::openai::completion::{Completion, CompletionRequest};
use crate::signing::Domain;
use crate::testing::Setting;
use crate::wire::output_hash;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all<A: JobsApi + UsageApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: jobs: {}", stringify!($scenario));
            $scenario(api, setting).await;
        )*};
    }
    run! {
        a_job_is_polled_for
        any_endpoint_makes_jobs
        an_answered_job_has_a_receipt_that_can_be_checked
        jobs_are_listed_a_page_at_a_time
        a_job_can_be_cancelled
        feedback_is_taken
        a_quote_runs_nothing
        bad_requests_name_the_field
        what_is_not_there_is_not_found
    }
}

/// A request that costs little and is answered the same way every time.
fn chat(model: &str, max_tokens: u64) -> ChatRequest {
    let question = Message::user("Count from one to one hundred, in words.");
    ChatRequest::new(model, [question])
        .temperature(0.0)
        .max_tokens(max_tokens)
}

fn request(model: &str, max_tokens: u64) -> JobRequest {
    JobRequest::chat(&chat(model, max_tokens)).expect("a request is JSON")
}

async fn create<A: JobsApi + ?Sized>(api: &A, request: JobRequest) -> Job {
    let job = api.create_job(request).await.expect("a job is accepted");
    assert_eq!(job.meta.job_id, Some(job.id), "the job is named beside the answer too");
    job.body
}

/// The job when it has ended.
async fn ended<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>, id: JobId) -> Job {
    loop {
        let job = api.job(id).await.expect("a job can be asked for").body;
        assert_eq!(job.id, id);
        if job.status.is_final() {
            return job;
        }
        assert!(job.finished_at.is_none() && job.result.is_none(), "{job:?}");
        (setting.pause)().await;
    }
}

async fn answered<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) -> Job {
    let job = create(api, request(setting.model, 4)).await;
    ended(api, setting, job.id).await
}

fn check_not_found<T>(outcome: Result<T, ApiError>) {
    match outcome {
        Ok(_) => panic!("it should not be there"),
        Err(error) => assert_eq!(error.code, ErrorCode::NotFound, "{error}"),
    }
}

/// A job is there at once, and after a while it has the answer that the same request gets. Panics if not.
pub async fn a_job_is_polled_for<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let accepted = create(api, request(setting.model, 8)).await;
    assert_eq!(accepted.object, "job");
    assert_eq!(
        (accepted.endpoint, accepted.kind),
        (Endpoint::ChatCompletions, JobKind::ChatCompletion)
    );
    assert_eq!(
        accepted.model, setting.model,
        "the job echoes the name that was asked for"
    );
    assert!(accepted.detached && accepted.held > Credits::ZERO, "{accepted:?}");
    assert!(accepted.deadline_at >= accepted.created_at, "{accepted:?}");

    let job = ended(api, setting, accepted.id).await;
    assert_eq!((job.status, &job.error), (JobState::Succeeded, &None), "{job:?}");
    assert!(
        job.finished_at.is_some_and(|finished| finished >= job.created_at),
        "{job:?}"
    );
    assert!(!job.attempts.is_empty(), "somebody answered: {job:?}");
    assert!(
        job.expires_at.is_some_and(|expires| expires > job.created_at),
        "it says how long the answer is kept: {job:?}"
    );
    let cost = job.cost.expect("what was answered has its price");
    assert!(Credits::ZERO < cost && cost <= job.held, "{job:?}");
    let result = job.result.clone().expect("an answered job has its answer");
    let answer: ChatCompletion = result.read().expect("the answer is as its endpoint gives it");
    assert!(!answer.text().is_empty(), "there is no text in {answer:?}");
    assert_eq!(answer.usage, job.usage);
    assert_eq!(ended(api, setting, job.id).await, job, "nothing changes any more");
}

/// Completions can be polled for as well; what would be streamed comes as a whole. Panics if not.
pub async fn any_endpoint_makes_jobs<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let text = CompletionRequest::new(setting.model, "One, two, three, four,")
        .max_tokens(4)
        .with("stream", true);
    let request = JobRequest::completion(&text).expect("a request is JSON");
    let job = create(api, request).await;
    assert_eq!((job.endpoint, job.kind), (Endpoint::Completions, JobKind::Completion));
    let result = ended(api, setting, job.id).await.result;
    let answer: Completion = result.expect("it was answered").read().expect("a whole completion");
    assert_eq!(answer.object, "text_completion");
    assert!(!answer.choices.is_empty(), "{answer:?}");
}

/// A receipt says what was asked, answered and paid, and anyone who knows the network's key can check it. Panics if not.
pub async fn an_answered_job_has_a_receipt_that_can_be_checked<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = answered(api, setting).await;
    let signed = api.receipt(job.id).await.expect("it was paid for").body;
    let receipt = &signed.receipt;
    let domain = Domain::new(receipt.environment, setting.network_key);
    let verdict = signed.verify(&domain, setting.network_key);
    assert!(verdict.is_ok(), "{verdict:?}: {signed:?}");
    assert_eq!((receipt.job_id, receipt.model.as_str()), (job.id, setting.model));
    assert_eq!(Some(receipt.cost), job.cost);
    let usage = job.usage.expect("an answer has its token counts");
    assert_eq!(
        (receipt.prompt_tokens, receipt.completion_tokens),
        (usage.prompt_tokens, usage.completion_tokens)
    );
    let result = job.result.expect("an answered job has its answer");
    let answer: ChatCompletion = result.read().expect("the answer is as its endpoint gives it");
    assert_eq!(receipt.output_hash, output_hash([(0, answer.text())]));
    assert_eq!(Some(&receipt.finish_reason), answer.choices[0].finish_reason.as_ref());
    let again = api.receipt(job.id).await.expect("it is still there").body;
    assert_eq!(again, signed, "a receipt is the same every time");
}

/// Lists are in order, without answers, each job once, however large the pages are. Panics if not.
pub async fn jobs_are_listed_a_page_at_a_time<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let mut made = BTreeSet::new();
    for _ in 0..3 {
        made.insert(answered(api, setting).await.id);
    }
    let mut seen: Vec<Job> = Vec::new();
    for size in [2, 1] {
        let query = JobQuery {
            limit: Some(size),
            after: seen.last().map(|job| job.id),
            ..JobQuery::default()
        };
        let page = api.jobs(query).await.expect("jobs can be listed").body;
        assert_eq!(page.data.len(), size as usize, "{page:?}");
        assert_eq!(page.first_id, page.data.first().map(|job| job.id.to_string()));
        assert_eq!(page.last_id, page.data.last().map(|job| job.id.to_string()));
        seen.extend(page.data);
    }
    assert_eq!(
        seen.iter().map(|job| job.id).collect::<BTreeSet<_>>(),
        made,
        "the newest come first, each once"
    );
    assert!(seen.iter().all(|job| job.result.is_none()), "answers are not in lists");
    assert!(seen.is_sorted_by(|one, other| one.created_at >= other.created_at));

    let oldest = seen.last().map(|job| job.id);
    let forward = JobQuery {
        after: oldest,
        order: Some(Order::Asc),
        ..JobQuery::default()
    };
    let forward = api.jobs(forward).await.expect("jobs can be listed").body;
    assert!(!forward.has_more, "{forward:?}");
    let forward: Vec<JobId> = forward.data.iter().map(|job| job.id).collect();
    assert_eq!(forward, [seen[1].id, seen[0].id], "the other way round");

    let query = |status, model: &str| JobQuery {
        status: Some(status),
        model: Some(model.into()),
        ..JobQuery::default()
    };
    let found = api.jobs(query(JobState::Succeeded, setting.model)).await;
    let found = found.expect("jobs can be listed").body;
    assert!(made.iter().all(|id| found.data.iter().any(|job| job.id == *id)));
    assert!(found.data.iter().all(|job| job.status == JobState::Succeeded));
    let running = api.jobs(query(JobState::Running, setting.model)).await;
    assert_eq!(running.expect("jobs can be listed").body.data, []);
}

/// A job that is cancelled ends, with nothing to pay if it was not answered; a second time changes nothing. Panics if not.
pub async fn a_job_can_be_cancelled<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = create(api, request(setting.model, 200)).await;
    api.cancel_job(job.id).await.expect("a job can be cancelled");
    let job = ended(api, setting, job.id).await;
    match job.status {
        JobState::Cancelled => {
            assert!(job.result.is_none() && job.error.is_some(), "{job:?}");
            assert!(job.cost.is_none_or(|cost| cost <= job.held), "{job:?}");
        }
        // It was faster.
        JobState::Succeeded => {}
        status => panic!("a job that is cancelled is {status}: {job:?}"),
    }
    let again = api.cancel_job(job.id).await.expect("once more does no harm").body;
    assert_eq!(again, job);
}

/// What the asker thinks of an answer is kept as it was said; of a job that is not there nothing is. Panics if not.
pub async fn feedback_is_taken<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = answered(api, setting).await;
    let mut feedback = Feedback {
        rating: Rating::Down,
        category: Some("wrong".into()),
        comment: Some("It counts badly.".into()),
        review: true,
    };
    for rating in [Rating::Down, Rating::Up] {
        feedback.rating = rating;
        let kept = api.feedback(job.id, feedback.clone()).await;
        assert_eq!(kept.expect("feedback is taken, and may be changed").body, feedback);
    }
    feedback.category = Some("x".repeat(65));
    let error = api
        .feedback(job.id, feedback.clone())
        .await
        .expect_err("it is too long");
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::InvalidValue, Some("category"))
    );
    feedback.category = None;
    check_not_found(api.feedback(JobId::from_uuid(uuid::Uuid::nil()), feedback).await);
}

/// A quote tells the most that a request can cost, and leaves no job and no trace in the credits. Panics if not.
pub async fn a_quote_runs_nothing<A: JobsApi + UsageApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let paid = answered(api, setting).await;
    let before = api.credits().await.expect("credits can be asked for").body;
    let quote = api
        .quote(request(setting.model, 4))
        .await
        .expect("a quote is given")
        .body;
    assert_eq!(quote.object, "dry_run");
    assert_eq!(
        (quote.endpoint, quote.model.as_str()),
        (Endpoint::ChatCompletions, setting.model)
    );
    assert!(quote.can_be_served, "{quote:?}");
    assert_eq!(quote.max_completion_tokens, 4);
    assert_eq!(quote.price_ceiling, paid.held, "the same request holds as much");
    assert_eq!(quote.available, before.available);
    let more = api.quote(request(setting.model, 40)).await.expect("a quote is given");
    assert!(more.price_ceiling >= quote.price_ceiling, "{more:?}");
    assert_eq!(api.credits().await.expect("credits can be asked for").body, before);
    let query = JobQuery {
        limit: Some(1),
        ..JobQuery::default()
    };
    let newest = api.jobs(query).await.expect("jobs can be listed").body;
    assert_eq!(newest.data[0].id, paid.id, "no job was made");
    let error = api.quote(request("no-such-model", 4)).await;
    let error = error.expect_err("there is no such model");
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::ModelNotFound, Some("model"))
    );
}

/// Bad values are refused with their code and their place in the body. Panics if not.
pub async fn bad_requests_name_the_field<A: JobsApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let of = |request: &ChatRequest| JobRequest::chat(request).expect("a request is JSON");
    let good = || chat(setting.model, 4);
    let cases = [
        (
            of(&good().temperature(3.0)),
            ErrorCode::InvalidValue,
            "body.temperature",
        ),
        (
            of(&ChatRequest::new(setting.model, [])),
            ErrorCode::InvalidValue,
            "body.messages",
        ),
        (request("no-such-model", 4), ErrorCode::ModelNotFound, "body.model"),
    ];
    for (request, code, param) in cases {
        let error = api.create_job(request).await.expect_err(param);
        assert_eq!((error.code, error.param.as_deref()), (code, Some(param)), "{error}");
    }
    let query = JobQuery {
        limit: Some(1000),
        ..JobQuery::default()
    };
    let error = api.jobs(query).await.expect_err("that is too many");
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::InvalidValue, Some("limit"))
    );
}

/// What never was cannot be asked for, cancelled or proven. Panics if not.
pub async fn what_is_not_there_is_not_found<A: JobsApi + ?Sized>(api: &A, _setting: &Setting<'_>) {
    let nobody = JobId::from_uuid(uuid::Uuid::nil());
    check_not_found(api.job(nobody).await);
    check_not_found(api.cancel_job(nobody).await);
    check_not_found(api.receipt(nobody).await);
}

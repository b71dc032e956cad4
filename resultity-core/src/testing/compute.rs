//! The contract of [`ComputeApi`]: against a container that answers with the data that it gets.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use crate::api::cloud::CloudApi;
use crate::api::compute::ComputeApi;
use crate::api::jobs::JobRequest;
use crate::compute::{Compute, ComputeRequest};
use crate::credits::Credits;
use crate::error::ErrorCode;
use crate::job::{Endpoint, JobKind, JobState};
use crate::openai::chat::Usage;
use crate::raw_json::RawJson;
use crate::signing::Domain;
use crate::testing::Setting;
use crate::wire::output_hash;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn CloudApi, model: &str, setting: &Setting<'_>) {
    eprintln!("contract: compute: an_answer_comes_as_the_container_gave_it");
    an_answer_comes_as_the_container_gave_it(api, model).await;
    eprintln!("contract: compute: it_can_be_polled_for_and_has_a_receipt");
    it_can_be_polled_for_and_has_a_receipt(api, model, setting).await;
    eprintln!("contract: compute: a_quote_is_the_price_of_a_request");
    a_quote_is_the_price_of_a_request(api, model).await;
    eprintln!("contract: compute: bad_requests_name_the_field");
    bad_requests_name_the_field(api, model, setting.model).await;
}

/// Numbers that are kept as text alone.
const DATA: &str = r#"{"n":[123456789012345678901234567890,0.10,-1E-2],"text":"a b\n","deep":{"":[[],{},null]}}"#;

fn data(text: &str) -> RawJson {
    text.parse().expect("it is JSON")
}

fn request(model: &str) -> ComputeRequest {
    ComputeRequest::of(model, data(DATA))
}

/// Every digit comes back, for the price of a request. Panics if not.
pub async fn an_answer_comes_as_the_container_gave_it<A: ComputeApi + ?Sized>(api: &A, model: &str) {
    let answer = api.compute(request(model)).await.expect("a container answers");
    assert_eq!((answer.object.as_str(), answer.model.as_str()), ("compute", model));
    assert!(answer.id.starts_with("compute-") && answer.created > 0, "{answer:?}");
    assert_eq!(answer.output.get(), DATA);
    let spaced = ComputeRequest::of(model, data("{ \"a\" :\n[ 1 , 2 ] }"));
    let answer = api.compute(spaced).await.expect("a container answers");
    assert_eq!(
        answer.output.get(),
        r#"{"a":[1,2]}"#,
        "there is no white space between its parts"
    );
}

/// A job of a container has the answer, the cost and the receipt that others have. Panics if not.
pub async fn it_can_be_polled_for_and_has_a_receipt(api: &dyn CloudApi, model: &str, setting: &Setting<'_>) {
    let request = JobRequest::compute(&request(model)).expect("a request is JSON");
    let job = api.create_job(request).await.expect("a job is accepted");
    assert_eq!((job.endpoint, job.kind), (Endpoint::Compute, JobKind::Container));
    let job = loop {
        let job = api.job(job.id).await.expect("a job can be asked for").body;
        if job.status.is_final() {
            break job;
        }
        (setting.pause)().await;
    };
    assert_eq!(job.status, JobState::Succeeded, "{job:?}");
    assert_eq!(job.cost, Some(job.held), "it costs what was held");
    assert_eq!(job.usage, Some(Usage::new(0, 0)), "there are no tokens");
    let answer: Compute = job.result.expect("it was answered").read().expect("an answer");
    assert_eq!(answer.output.get(), DATA);

    let signed = api.receipt(job.id).await.expect("it was paid for").body;
    let domain = Domain::new(signed.receipt.environment, setting.network_key);
    let verdict = signed.verify(&domain, setting.network_key);
    assert!(verdict.is_ok(), "{verdict:?}: {signed:?}");
    assert_eq!(signed.receipt.output_hash, output_hash([(0, DATA)]));
    assert_eq!(Some(signed.receipt.cost), job.cost);
}

/// What it may cost is known before. Panics if not.
pub async fn a_quote_is_the_price_of_a_request(api: &dyn CloudApi, model: &str) {
    let quote = api.quote(JobRequest::compute(&request(model)).expect("a request is JSON"));
    let quote = quote.await.expect("it can be asked for").body;
    assert_eq!((quote.max_prompt_tokens, quote.max_completion_tokens), (0, 0));
    assert_eq!(quote.endpoint, Endpoint::Compute);
    let answer = api.compute(request(model)).await.expect("a container answers");
    assert!(answer.meta.cost.is_none_or(|cost| cost == quote.price_ceiling));
    assert!(quote.price_ceiling >= Credits::ZERO);
}

/// Bad values are refused with their code and their place. Panics if not.
pub async fn bad_requests_name_the_field<A: ComputeApi + ?Sized>(api: &A, model: &str, other: &str) {
    use ErrorCode::{InvalidValue, ModelNotFound, UnsupportedParameter};
    let of = |text: &str| ComputeRequest::of(model, data(text));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(110), "]".repeat(110));
    let cases = [
        ("an array", of("[1]"), InvalidValue, "data"),
        ("a text", of("\"a\""), InvalidValue, "data"),
        ("nothing", of("null"), InvalidValue, "data"),
        ("too deep", of(&deep), InvalidValue, "data"),
        (
            "a stream",
            request(model).with("stream", true),
            UnsupportedParameter,
            "stream",
        ),
        (
            "an unknown field",
            request(model).with("n", 2),
            UnsupportedParameter,
            "n",
        ),
        ("no such model", request("no-such-model"), ModelNotFound, "model"),
        ("a model that is no container", request(other), InvalidValue, "model"),
    ];
    for (name, request, code, param) in cases {
        match api.compute(request).await {
            Err(error) => assert_eq!(
                (error.code, error.param.as_deref()),
                (code, Some(param)),
                "{name}: {error}"
            ),
            Ok(answer) => panic!("{name} was answered: {answer:?}"),
        }
    }
}

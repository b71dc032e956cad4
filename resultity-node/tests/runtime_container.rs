//! Containers as a Runtime: the contract against a container with real models, what containers may answer, and faults.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]
#![cfg(all(feature = "embedded", feature = "infernet"))]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_node::infernet::config::settings::{ContainerModel, ContainerSettings, Settings, Takes};
use resultity_node::infernet::containers::Containers;
use resultity_node::infernet::pipeline::Pipeline;
use resultity_node::infernet::runtime::ContainerRuntime;
use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, demo_model, embedding_model};
use resultity_node::runtime::embedded::{BertFiles, BertRuntime, EmbeddedRuntime};
use resultity_node::runtime::several::Several;
use resultity_node::runtime::{ContainerRequest, Runtime, RuntimeError, RuntimeEvent, RuntimeStream, testing};
use rstest::rstest;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const CHAT: &str = "smollm2-135m";
const EMBEDDINGS: &str = "all-minilm-l6-v2";

/// What a container gets.
#[derive(Deserialize)]
struct Input {
    source: u8,
    destination: u8,
    data: Value,
    requires_proof: bool,
}

/// A Runtime whose models are served by containers at these paths.
async fn containers(router: Router, models: &[(&str, Takes)]) -> ContainerRuntime {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let containers = models.iter().map(|(name, takes)| {
        let url = format!("http://{address}/{name}").parse().unwrap();
        let mut container = ContainerSettings::new(format!("container-of-{name}"), url);
        container.max_concurrency = Some(1);
        container.model = Some(ContainerModel {
            name: (*name).to_owned(),
            takes: *takes,
        });
        container
    });
    of(Settings::new("unused", containers.collect())).unwrap()
}

fn of(settings: Settings) -> Option<ContainerRuntime> {
    let containers = Arc::new(Containers::new(&settings).unwrap());
    ContainerRuntime::new(Pipeline::new(containers, settings.queue, settings.calls))
}

/// A thin container around the models in this process.
mod adapter {
    use super::*;

    async fn models() -> Arc<Several> {
        static LOADED: OnceCell<Arc<Several>> = OnceCell::const_new();
        let load = || async {
            let fetcher = Fetcher::new().unwrap().with_progress(TerminalProgress::new());
            let text = fetcher.fetch_model(&demo_model(), &cache_dir()).await.unwrap();
            let bert = fetcher.fetch_model(&embedding_model(), &cache_dir()).await.unwrap();
            let load = move || -> Arc<Several> {
                let files = BertFiles::new(bert.try_into().unwrap());
                Arc::new(Several::new(vec![
                    Arc::new(EmbeddedRuntime::load(&text[0], CHAT).unwrap().with_slots(2)),
                    Arc::new(BertRuntime::load(&files, EMBEDDINGS).unwrap()),
                ]))
            };
            tokio::task::spawn_blocking(load).await.unwrap()
        };
        Arc::clone(LOADED.get_or_init(load).await)
    }

    pub(super) async fn runtime() -> ContainerRuntime {
        let router = Router::new().route("/{id}/service_output", post(output));
        containers(router, &[(CHAT, Takes::OpenAi), (EMBEDDINGS, Takes::OpenAi)]).await
    }

    async fn output(body: String) -> Response {
        let input: Input = serde_json::from_str(&body).unwrap();
        assert_eq!((input.source, input.requires_proof), (1, false));
        let stream = input.data["stream"] == true;
        assert_eq!(input.destination, if stream { 2 } else { 1 });
        let (models, data) = (models().await, input.data);
        let is_chat = data.get("messages").is_some();
        let events = if is_chat {
            models.chat(serde_json::from_value(data).unwrap()).await
        } else if data.get("prompt").is_some() {
            models.complete(serde_json::from_value(data).unwrap()).await
        } else {
            let made = models.embed(serde_json::from_value(data).unwrap()).await;
            return made.map_or_else(refuse, |made| {
                let data = made.vectors.iter().enumerate();
                let data: Vec<_> = data
                    .map(|(index, vector)| json!({"index": index, "embedding": vector}))
                    .collect();
                json_answer(&json!({"data": data, "usage": {"prompt_tokens": made.prompt_tokens}}))
            });
        };
        match events {
            Err(error) => refuse(error),
            Ok(events) if stream => streamed(events, is_chat),
            Ok(events) => whole(events, is_chat).await,
        }
    }

    fn json_answer(body: &Value) -> Response {
        ([("content-type", "application/json")], body.to_string()).into_response()
    }

    fn refuse(error: RuntimeError) -> Response {
        let (status, param) = match &error {
            RuntimeError::ModelMissing(_) => (StatusCode::NOT_FOUND, None),
            RuntimeError::InvalidRequest { param, .. } => (StatusCode::BAD_REQUEST, param.clone()),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        (
            status,
            json!({"error": {"message": error.to_string(), "param": param}}).to_string(),
        )
            .into_response()
    }

    async fn whole(mut events: RuntimeStream, is_chat: bool) -> Response {
        let (mut choices, mut usage) = (Vec::new(), Value::Null);
        while let Some(event) = events.next().await {
            match event.unwrap() {
                RuntimeEvent::Answer(all) => choices = all,
                RuntimeEvent::Done(counts) => usage = json!(counts),
                RuntimeEvent::Prompt { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let choices: Vec<_> = choices
            .into_iter()
            .map(|choice| {
                if is_chat {
                    json!(choice)
                } else {
                    as_text(json!(choice), "message")
                }
            })
            .collect();
        json_answer(&json!({"object": "x", "choices": choices, "usage": usage}))
    }

    fn streamed(events: RuntimeStream, is_chat: bool) -> Response {
        let events = events.filter_map(move |event| {
            let event = match event.unwrap() {
                RuntimeEvent::Delta(pieces) => {
                    let pieces = pieces.into_iter().map(|piece| json!(piece));
                    let pieces = pieces.map(|piece| if is_chat { piece } else { as_text(piece, "delta") });
                    Some(json!({"choices": pieces.collect::<Vec<_>>()}).to_string())
                }
                RuntimeEvent::Done(usage) => {
                    Some(format!("{}\n\ndata: [DONE]", json!({"choices": [], "usage": usage})))
                }
                _ => None,
            };
            std::future::ready(event.map(|event| Ok::<_, std::io::Error>(format!("data: {event}\n\n"))))
        });
        (
            [("content-type", "text/event-stream; charset=utf-8")],
            Body::from_stream(events),
        )
            .into_response()
    }

    fn as_text(mut choice: Value, field: &str) -> Value {
        choice["text"] = choice[field]["content"].as_str().unwrap_or_default().into();
        choice
    }
}

#[tokio::test]
async fn passes_the_contract() {
    let runtime = adapter::runtime().await;
    testing::all(&runtime, CHAT).await;
    testing::logprobs(&runtime, CHAT).await;
}

#[tokio::test]
async fn passes_the_contract_of_completions() {
    let runtime = adapter::runtime().await;
    testing::completions(&runtime, CHAT).await;
    testing::echoes(&runtime, CHAT).await;
    testing::completion_logprobs(&runtime, CHAT).await;
}

#[tokio::test]
async fn passes_the_contract_of_embeddings() {
    testing::embeddings(&adapter::runtime().await, EMBEDDINGS).await;
}

/// A container that answers with its data.
fn echo() -> Router {
    async fn output(body: String) -> Response {
        #[derive(Deserialize)]
        struct Input {
            data: Box<RawValue>,
        }
        let input: Input = serde_json::from_str(&body).unwrap();
        input.data.get().to_owned().into_response()
    }
    Router::new().route("/{id}/service_output", post(output))
}

#[tokio::test]
async fn passes_the_contract_of_containers() {
    let runtime = containers(echo(), &[("echo", Takes::Anything)]).await;
    testing::compute(&runtime, "echo").await;
    let data = RawValue::from_string("{}".to_owned()).unwrap();
    let proof = ContainerRequest::new("echo", data).requires_proof(true);
    let refused = runtime.compute(proof).await.unwrap_err();
    assert!(
        matches!(&refused, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "requires_proof"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_a_container_is_not_for_is_refused() {
    let runtime = containers(echo(), &[("any", Takes::Anything), ("openai", Takes::OpenAi)]).await;
    let data = RawValue::from_string("{}".to_owned()).unwrap();
    let refusals = [
        runtime
            .chat(ChatRequest::new("any", [Message::user("x")]))
            .await
            .map(|_| ()),
        runtime.complete(CompletionRequest::new("any", "x")).await.map(|_| ()),
        runtime.embed(EmbeddingRequest::new("any", "x")).await.map(|_| ()),
        runtime.compute(ContainerRequest::new("openai", data)).await.map(|_| ()),
    ];
    for refused in refusals {
        assert!(
            matches!(&refused, Err(RuntimeError::InvalidRequest { param: Some(param), .. }) if param == "model"),
            "{refused:?}"
        );
    }
}

/// A container that answers everything with one body.
async fn answering(status: StatusCode, content_type: &'static str, body: &'static str) -> ContainerRuntime {
    let output = move |State(()): State<()>, Path(_): Path<String>| async move {
        (status, [("content-type", content_type)], body)
    };
    let router = Router::new().route("/{id}/service_output", post(output)).with_state(());
    containers(router, &[("m", Takes::OpenAi)]).await
}

#[rstest]
#[case(r#""Grüße""#)]
#[case(r#"{"output":"Grüße","more":1}"#)]
#[case(r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Grüße"},"text":"Grüße","finish_reason":"stop"}]}"#)]
#[case(r#"{"output":{"choices":[{"index":0,"message":{"role":"assistant","content":"Grüße"},"text":"Grüße","finish_reason":"stop"}]}}"#)]
#[tokio::test]
async fn less_than_openai_s_answer_will_do(#[case] body: &'static str) {
    let runtime = answering(StatusCode::OK, "application/json", body).await;
    let mut chat = ChatRequest::new("m", [Message::user("12345678")]);
    let mut completion = CompletionRequest::new("m", "12345678");
    for stream in [false, true] {
        (chat.stream, completion.stream) = (Some(stream), Some(stream));
        let answers = [
            runtime.chat(chat.clone()).await,
            runtime.complete(completion.clone()).await,
        ];
        for answer in answers {
            let outcome = testing::gather(answer.unwrap()).await;
            assert_eq!(
                (outcome.text.as_str(), outcome.finish_reason.as_deref()),
                ("Grüße", Some("stop"))
            );
            assert_eq!(outcome.usage.completion_tokens, 2, "seven bytes");
            assert!(matches!(outcome.usage.prompt_tokens, 2 | 3), "{:?}", outcome.usage);
        }
    }
}

#[tokio::test]
async fn one_text_is_not_two_choices() {
    let runtime = answering(StatusCode::OK, "text/plain", "\"x\"").await;
    let mut request = ChatRequest::new("m", [Message::user("x")]);
    request.n = Some(2);
    for stream in [false, true] {
        request.stream = Some(stream);
        let refused = runtime.chat(request.clone()).await.map(|_| ());
        assert!(
            matches!(&refused, Err(RuntimeError::InvalidRequest { param: Some(param), .. }) if param == "n"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_events_are_the_text() {
    let output = async |_: Path<String>| {
        let pieces = [&b"Gr"[..], b"\xc3", b"\xbc\xc3\x9fe", b"!"];
        let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece)));
        Body::from_stream(futures::stream::iter(pieces))
    };
    let router = Router::new().route("/{id}/service_output", post(output));
    let runtime = containers(router, &[("m", Takes::OpenAi)]).await;
    let mut request = ChatRequest::new("m", [Message::user("x")]);
    request.stream = Some(true);
    let mut events = runtime.chat(request.clone()).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, RuntimeEvent::Delta(_)), "{first:?}");
    drop(events);
    let outcome = testing::gather(runtime.chat(request).await.unwrap()).await;
    assert_eq!(
        (outcome.text.as_str(), outcome.finish_reason.as_deref()),
        ("Grüße!", Some("stop"))
    );
    assert_eq!(outcome.usage.completion_tokens, 2);
}

#[rstest]
#[case(500, "text/plain", "secret-host broke", "status 500")]
#[case(
    400,
    "application/json",
    r#"{"error":"the context length is 5, secret-host"}"#,
    "context"
)]
#[case(
    400,
    "application/json",
    r#"{"error":{"message":"secret-host","param":"top_p"}}"#,
    "top_p"
)]
#[case(404, "text/plain", "secret-host", "\"m\"")]
#[case(200, "text/plain", "secret-host", "can't be read")]
#[case(200, "application/json", r#"{"error":"secret-host"}"#, "failed")]
#[case(200, "application/json", r#"{"choices":[]}"#, "empty")]
// Half a character, which only some readers of JSON take.
#[case(200, "application/json", r#""\ud800""#, "can't be read")]
#[case(200, "application/json", r#"{"output":"secret-host \ud800"}"#, "can't be read")]
#[tokio::test]
async fn faults_are_told_in_our_words(
    #[case] status: u16,
    #[case] content_type: &'static str,
    #[case] body: &'static str,
    #[case] says: &str,
) {
    let runtime = answering(StatusCode::from_u16(status).unwrap(), content_type, body).await;
    let request = ChatRequest::new("m", [Message::user("x")]);
    let error = match runtime.chat(request).await {
        Err(error) => error.to_string(),
        Ok(mut events) => events.next().await.unwrap().unwrap_err().to_string(),
    };
    assert!(error.contains(says) && !error.contains("secret-host"), "{error}");
}

#[tokio::test]
async fn containers_that_are_not_there_offer_nothing() {
    let container = |id: &str, url: &str, model: Option<&str>| {
        let mut container = ContainerSettings::new(id, url.parse().unwrap());
        container.model = model.map(|name| ContainerModel {
            name: name.to_owned(),
            takes: Takes::OpenAi,
        });
        container
    };
    assert!(
        of(Settings::new(
            "unused",
            vec![container("a", "http://127.0.0.1:1", None)]
        ))
        .is_none()
    );
    let down = container("a", "http://127.0.0.1:1", Some("m"));
    let runtime = of(Settings::new("unused", vec![down.clone()])).unwrap();
    assert!(matches!(runtime.models().await, Err(RuntimeError::Unavailable(_))));
    let refused = runtime
        .chat(ChatRequest::new("m", [Message::user("x")]))
        .await
        .map(|_| ());
    assert!(matches!(refused, Err(RuntimeError::Unavailable(_))), "{refused:?}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut there = container("b", &format!("http://{}", listener.local_addr().unwrap()), Some("n"));
    there.max_concurrency = Some(3);
    let runtime = of(Settings::new("unused", vec![down, there])).unwrap();
    let models = runtime.models().await.unwrap();
    assert_eq!(
        models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(),
        ["n"]
    );
    assert_eq!(runtime.slots(), 8 + 3);
}

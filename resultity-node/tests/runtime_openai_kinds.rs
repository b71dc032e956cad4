//! Completions and embeddings of engines behind a URL, in the shapes of llama.cpp and vLLM, and what can go wrong.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it should be"
)]

use futures::StreamExt as _;
use mockito::{Matcher, Mock, Server, ServerGuard};
use resultity_core::openai::chat::{ChunkChoice, Usage};
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_core::openai::embedding::{EmbeddingRequest, encode_floats};
use resultity_node::runtime::openai::OpenAiRuntime;
use resultity_node::runtime::{Embeddings, Runtime, RuntimeError, RuntimeEvent, testing};
use rstest::rstest;
use serde_json::{Value, json};

async fn engine() -> (ServerGuard, OpenAiRuntime) {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/models")
        .with_body(r#"{"data":[{"id":"m"}]}"#)
        .create_async()
        .await;
    let runtime = OpenAiRuntime::new(&server.url()).unwrap();
    (server, runtime)
}

/// The engine's answer to a body that holds `wanted`.
async fn answers(server: &mut ServerGuard, path: &str, wanted: Value, status: usize, body: impl AsRef<[u8]>) -> Mock {
    server
        .mock("POST", path)
        .match_body(Matcher::PartialJson(wanted))
        .with_status(status)
        .with_body(body)
        .create_async()
        .await
}

async fn events(runtime: &OpenAiRuntime, request: CompletionRequest) -> Vec<Result<RuntimeEvent, String>> {
    match runtime.complete(request).await {
        Ok(stream) => {
            stream
                .map(|event| event.map_err(|error| error.to_string()))
                .collect()
                .await
        }
        Err(error) => vec![Err(error.to_string())],
    }
}

fn streaming(mut request: CompletionRequest) -> CompletionRequest {
    request.stream = Some(true);
    request
}

fn sse(events: &[&str]) -> String {
    events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect()
}

#[tokio::test]
async fn each_prompt_is_asked_alone_and_the_choices_are_numbered_through() {
    let (mut server, runtime) = engine().await;
    for (prompt, texts) in [("a", ["a0", "a1"]), ("b", ["b0", "b1"])] {
        let body = json!({
            "id": "host-1", "system_fingerprint": "host",
            "choices": [
                {"index": 1, "text": texts[1], "finish_reason": "stop", "stop_reason": "host"},
                {"index": 0, "text": texts[0], "finish_reason": "length", "logprobs": null},
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        });
        // Where nothing is said, OpenAI's 16 tokens are the limit.
        let wanted = json!({"model": "m", "prompt": prompt, "n": 2, "max_tokens": 16});
        answers(&mut server, "/v1/completions", wanted, 200, body.to_string()).await;
    }
    let mut request = CompletionRequest::new("m", "").choices(2);
    request.prompt = Prompt::Texts(vec!["a".into(), "b".into()]);
    let outcome = testing::gather(runtime.complete(request).await.unwrap()).await;
    assert_eq!(
        outcome.texts.into_values().collect::<Vec<_>>(),
        ["a0", "a1", "b0", "b1"]
    );
    assert_eq!(
        (outcome.usage, outcome.finish_reason.as_deref()),
        (Usage::new(6, 10), Some("length"))
    );
}

#[tokio::test]
async fn pieces_of_text_come_as_they_are_and_nothing_of_the_host() {
    let (mut server, runtime) = engine().await;
    let first = sse(&[
        r#"{"id":"host","object":"text_completion","choices":[{"index":0,"text":"Hi","logprobs":null,"finish_reason":null}],"timings":{"host":1}}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop","stop_reason":"host"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":1}}"#,
        "[DONE]",
    ]);
    let wanted = json!({"prompt": [7, 8], "stream": true, "stream_options": {"include_usage": true}});
    answers(&mut server, "/v1/completions", wanted, 200, first).await;
    // An engine that counts nothing: 1 for two pieces with text in one of them, 2 for 8 bytes of prompt.
    let second = sse(&[
        r#"{"choices":[{"index":0,"text":"Ho"}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#,
        "[DONE]",
    ]);
    answers(&mut server, "/v1/completions", json!({"prompt": [9, 10]}), 200, second).await;
    let mut request = streaming(CompletionRequest::new("m", ""));
    request.prompt = Prompt::TokenLists(vec![vec![7, 8], vec![9, 10]]);
    let all = events(&runtime, request).await;
    assert!(!format!("{all:?}").contains("host"), "{all:?}");
    let text = |index, text: &str, reason: Option<&str>| {
        let mut piece = ChunkChoice::text(index, text);
        piece.finish_reason = reason.map(str::to_owned);
        Ok(RuntimeEvent::Delta(vec![piece]))
    };
    let expected = [
        text(0, "Hi", None),
        text(0, "", Some("stop")),
        text(1, "Ho", None),
        text(1, "", Some("length")),
        Ok(RuntimeEvent::Done(Usage::new(6, 2))),
    ];
    assert_eq!(all, expected);
}

#[tokio::test]
async fn log_probabilities_come_in_the_shape_of_completions_whatever_the_engine_writes() {
    let (mut server, runtime) = engine().await;
    let llama = sse(&[
        r#"{"choices":[{"index":0,"text":"Hi","logprobs":{"content":[{"id":3,"token":"Hi","logprob":-0.5,"top_logprobs":[{"token":"Ho","logprob":-1.5}]}]}}]}"#,
        r#"{"choices":[{"index":0,"text":"!","logprobs":{"content":[{"token":"!","logprob":-0.25,"top_logprobs":[]}]},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    answers(&mut server, "/v1/completions", json!({"logprobs": 1}), 200, llama).await;
    let mut request = streaming(CompletionRequest::new("m", "a"));
    request.logprobs = Some(1);
    let outcome = testing::gather(runtime.complete(request).await.unwrap()).await;
    assert_eq!(
        outcome.logprobs,
        [
            json!({"tokens": ["Hi"], "token_logprobs": [-0.5], "top_logprobs": [{"Ho": -1.5, "Hi": -0.5}], "text_offset": [0]}),
            json!({"tokens": ["!"], "token_logprobs": [-0.25], "top_logprobs": [{"!": -0.25}], "text_offset": [2]}),
        ]
    );
}

#[rstest]
#[case::cut(200, r#"data: {"choices":[{"index":0,"text":"a"}]}"#, "cut")]
#[case::too_many(200, r#"data: {"choices":[{"index":1,"text":"a"}]}"#, "nobody asked for")]
#[case::garbage(200, "data: <html>secret-host", "can't be read")]
#[case::field(
    400,
    r#"{"error":{"message":"secret-host","param":"echo"}}"#,
    "echo: it does not accept"
)]
#[case::no_such_way(501, r#"{"error":{"message":"secret-host"}}"#, "status 501")]
#[case::too_long(
    400,
    r#"{"error":{"type":"exceed_context_size_error","message":"secret-host"}}"#,
    "context"
)]
#[tokio::test]
async fn a_completion_that_fails_is_an_error_in_our_words(
    #[case] status: usize,
    #[case] body: &str,
    #[case] says: &str,
) {
    let (mut server, runtime) = engine().await;
    answers(&mut server, "/v1/completions", json!({}), status, format!("{body}\n\n")).await;
    let all = events(&runtime, streaming(CompletionRequest::new("m", "a"))).await;
    let error = all.last().unwrap().as_ref().unwrap_err();
    assert!(error.contains(says) && !error.contains("secret-host"), "{error}");
}

/// llama.cpp answers as if these fields were not there.
#[tokio::test]
async fn an_echo_is_made_here_and_what_engines_ignore_is_refused() {
    let (mut server, runtime) = engine().await;
    let whole = r#"{"choices":[{"text":" b","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    answers(&mut server, "/v1/completions", json!({"prompt": "a"}), 200, whole).await;
    let stream = sse(&[
        r#"{"choices":[{"text":" b","index":0,"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    answers(&mut server, "/v1/completions", json!({"stream": true}), 200, stream).await;
    let mut request = CompletionRequest::new("m", "a");
    request.echo = Some(true);
    for request in [request.clone(), streaming(request.clone())] {
        let outcome = testing::gather(runtime.complete(request).await.unwrap()).await;
        assert_eq!(outcome.text, "a b");
    }
    for request in [request.clone(), streaming(request.clone())] {
        let stream = runtime.complete(request.choices(2).max_tokens(0)).await.unwrap();
        let outcome = testing::gather(stream).await;
        assert_eq!(outcome.texts.into_values().collect::<Vec<_>>(), ["a", "a"]);
        assert_eq!(
            (outcome.usage, outcome.finish_reason.as_deref()),
            (Usage::new(3, 0), Some("length"))
        );
    }
    let mut told = request.clone();
    told.logprobs = Some(1);
    let mut ids = request.clone();
    ids.prompt = Prompt::Tokens(vec![1, 2]);
    for (request, field) in [
        (told, "echo:"),
        (ids, "echo:"),
        (request.clone().with("suffix", "c"), "suffix:"),
        (request.with("best_of", 3), "best_of:"),
    ] {
        let all = events(&runtime, request).await;
        assert!(all.last().unwrap().as_ref().unwrap_err().contains(field), "{all:?}");
    }
}

/// As programs that evaluate models ask vLLM.
#[tokio::test]
async fn an_engine_that_knows_echo_tells_the_log_probabilities_of_the_prompt() {
    let (mut server, runtime) = engine().await;
    let logprobs = json!({"tokens": ["a", "b"], "token_logprobs": [null, -0.5], "top_logprobs": [null, {"b": -0.5}], "text_offset": [0, 1]});
    let body = json!({"choices": [{"text": "ab", "index": 0, "logprobs": logprobs, "finish_reason": "length"}]});
    let wanted = json!({"echo": true, "prompt": [1, 2], "max_tokens": 0});
    answers(&mut server, "/v1/completions", wanted, 200, body.to_string()).await;
    let mut request = CompletionRequest::new("m", "").max_tokens(0);
    request.prompt = Prompt::TokenLists(vec![vec![1, 2]]);
    (request.echo, request.logprobs) = (Some(true), Some(1));
    for request in [request.clone(), streaming(request)] {
        let outcome = testing::gather(runtime.complete(request).await.unwrap()).await;
        assert_eq!(
            (outcome.text.as_str(), &outcome.logprobs),
            ("ab", &vec![logprobs.clone()])
        );
    }
}

fn texts() -> EmbeddingRequest {
    EmbeddingRequest::new("m", vec!["a".to_owned(), "bcdef".to_owned()])
}

#[rstest]
#[case::base64(json!([
    {"object": "embedding", "index": 1, "embedding": encode_floats(&[0.0, -2.0])},
    {"index": 0, "embedding": encode_floats(&[1.0, 0.5])},
]), 7)]
#[case::numbers(json!([{"index": 0, "embedding": [1, 0.5]}, {"index": 1, "embedding": [0, -2.0]}]), 7)]
#[case::in_their_order(json!([{"embedding": [1, 0.5]}, {"embedding": [0, -2.0]}]), 7)]
#[tokio::test]
async fn embeddings_are_taken_as_base64_or_numbers(#[case] data: Value, #[case] tokens: u64) {
    let (mut server, runtime) = engine().await;
    let body = json!({"object": "list", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}});
    let wanted = json!({"model": "m", "input": ["a", "bcdef"], "encoding_format": "base64"});
    answers(&mut server, "/v1/embeddings", wanted, 200, body.to_string()).await;
    let expected = Embeddings {
        vectors: vec![vec![1.0, 0.5], vec![0.0, -2.0]],
        prompt_tokens: tokens,
    };
    assert_eq!(runtime.embed(texts()).await.unwrap(), expected);
}

#[tokio::test]
async fn an_engine_that_refuses_base64_is_asked_for_numbers() {
    let (mut server, runtime) = engine().await;
    let refusal = r#"{"error":{"message":"base64","param":"encoding_format"}}"#;
    answers(
        &mut server,
        "/v1/embeddings",
        json!({"encoding_format": "base64"}),
        400,
        refusal,
    )
    .await;
    let body = r#"{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[3,4]}]}"#;
    answers(
        &mut server,
        "/v1/embeddings",
        json!({"encoding_format": "float"}),
        200,
        body,
    )
    .await;
    let embeddings = runtime.embed(texts()).await.unwrap();
    // Nothing was counted: 6 bytes are two tokens.
    assert_eq!((embeddings.vectors.len(), embeddings.prompt_tokens), (2, 2));
}

#[rstest]
#[case::too_few(r#"[{"index":0,"embedding":[1]}]"#)]
#[case::one_twice(r#"[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]"#)]
#[case::out_of_range(r#"[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]"#)]
#[case::uneven(r#"[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]"#)]
#[case::empty(r#"[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]"#)]
#[case::no_number(r#"[{"index":0,"embedding":[1]},{"index":1,"embedding":[null]}]"#)]
#[case::infinite(r#"[{"index":0,"embedding":[1]},{"index":1,"embedding":[1e300]}]"#)]
#[case::half_a_number(r#"[{"index":0,"embedding":"AAAA"},{"index":1,"embedding":"AAAA"}]"#)]
#[tokio::test]
async fn embeddings_that_can_not_be_used_are_an_error(#[case] data: &str) {
    let (mut server, runtime) = engine().await;
    let body = format!(r#"{{"data":{data},"usage":{{"prompt_tokens":1}}}}"#);
    answers(&mut server, "/v1/embeddings", json!({}), 200, body).await;
    let error = runtime.embed(texts()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Failed(_)), "{error}");
}

#[tokio::test]
async fn an_engine_that_ignores_dimensions_does_not_support_them() {
    let (mut server, runtime) = engine().await;
    let body = r#"{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[3,4]}]}"#;
    answers(&mut server, "/v1/embeddings", json!({"dimensions": 3}), 200, body).await;
    let error = runtime.embed(texts().dimensions(3)).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == "dimensions"),
        "{error}"
    );
    for (status, body, says) in [
        (
            400,
            r#"{"error":{"param":"dimensions"}}"#,
            "dimensions: it does not accept",
        ),
        (404, "", "\"m\""),
        (429, "", "busy"),
    ] {
        answers(&mut server, "/v1/embeddings", json!({}), status, body).await;
        let error = runtime.embed(texts()).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_model_that_the_engine_does_not_list_is_missing() {
    let (_server, runtime) = engine().await;
    let error = runtime.embed(EmbeddingRequest::new("x", "a")).await.unwrap_err();
    assert!(matches!(error, RuntimeError::ModelMissing(_)), "{error}");
    let error = runtime.complete(CompletionRequest::new("x", "a")).await.map(|_| ());
    let Err(RuntimeError::ModelMissing(_)) = error else {
        panic!("{error:?}")
    };
}

//! The Runtime for engines behind a URL: the contract against a small engine over real sockets, and faults with mockito.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it should be"
)]

use futures::StreamExt as _;
use mockito::{Matcher, Server};
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Message, Usage};
use resultity_node::runtime::openai::OpenAiRuntime;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError, RuntimeEvent, testing};
use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A deterministic engine that speaks HTTP/1.1 over real sockets.
mod engine {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    pub(super) struct Engine {
        pub(super) url: String,
        /// Connections that were ever made.
        pub(super) connections: Arc<AtomicUsize>,
        /// Set when a client goes away in the middle of a stream.
        pub(super) left: CancellationToken,
    }

    pub(super) async fn start() -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (connections, left) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let engine = Engine {
            url,
            connections: Arc::clone(&connections),
            left: left.clone(),
        };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let left = left.clone();
                tokio::spawn(async move {
                    if serve(socket).await == Some(Gone) {
                        left.cancel();
                    }
                });
            }
        });
        engine
    }

    #[derive(PartialEq)]
    struct Gone;

    async fn serve(socket: TcpStream) -> Option<Gone> {
        socket.set_nodelay(true).unwrap();
        let mut socket = BufReader::new(socket);
        loop {
            let mut head = String::new();
            let mut length = 0;
            loop {
                let mut line = String::new();
                if socket.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await.ok()?;
            if head.starts_with("GET /v1/models ") {
                reply(
                    &mut socket,
                    200,
                    &json!({"data": [{"id": "tiny", "max_model_len": 64}]}),
                )
                .await?;
                continue;
            }
            let request: Value = serde_json::from_slice(&body).unwrap();
            if chat(&mut socket, &request).await.is_none() {
                return Some(Gone);
            }
        }
    }

    async fn reply(socket: &mut BufReader<TcpStream>, status: u16, body: &Value) -> Option<()> {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await.ok()
    }

    /// Words that depend on the prompt; a long story has many.
    fn words(prompt: &str) -> Vec<String> {
        let count = if prompt.contains("long") { 1500 } else { 14 };
        (0..count).map(|index| format!("{}{index} ", &prompt[..4])).collect()
    }

    async fn chat(socket: &mut BufReader<TcpStream>, request: &Value) -> Option<()> {
        let prompt = request["messages"][0]["content"].as_str().unwrap();
        let mut tokens = words(prompt);
        let limit = request["max_tokens"].as_u64().unwrap_or(u64::MAX) as usize;
        let mut reason = "stop";
        if tokens.len() > limit {
            tokens.truncate(limit);
            reason = "length";
        }
        for stop in request["stop"].as_array().into_iter().flatten() {
            let text = tokens.concat();
            if let Some(at) = text.find(stop.as_str().unwrap()) {
                (tokens, reason) = (vec![text[..at].to_owned()], "stop");
            }
        }
        let usage = json!({"prompt_tokens": 9, "completion_tokens": tokens.len(), "total_tokens": 0});
        if request["stream"] != true {
            let message = json!({"role": "assistant", "content": tokens.concat()});
            let choices = json!([{"index": 0, "message": message, "finish_reason": reason}]);
            return reply(
                socket,
                200,
                &json!({"id": "host-1", "choices": choices, "usage": usage}),
            )
            .await;
        }
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .ok()?;
        let slow = tokens.len() > 100;
        for token in tokens {
            event(
                socket,
                &json!({"choices": [{"index": 0, "delta": {"content": token}}]}).to_string(),
            )
            .await?;
            if slow {
                // As a model does: some time for each token, in which it may learn that nobody listens.
                let mut byte = [0];
                let listened = tokio::time::timeout(Duration::from_millis(1), socket.read(&mut byte)).await;
                if matches!(listened, Ok(Ok(0) | Err(_))) {
                    return None;
                }
            }
        }
        event(
            socket,
            &json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string(),
        )
        .await?;
        event(socket, &json!({"choices": [], "usage": usage}).to_string()).await?;
        event(socket, "[DONE]").await?;
        socket.write_all(b"0\r\n\r\n").await.ok()
    }

    async fn event(socket: &mut BufReader<TcpStream>, data: &str) -> Option<()> {
        let event = format!("data: {data}\n\n");
        socket
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await
            .ok()
    }
}

fn request(stream: bool) -> ChatRequest {
    let mut request = ChatRequest::new("m", [Message::user("Hello, how are you?")]);
    request.stream = Some(stream);
    request
}

/// An engine that lists the model `m` and answers any chat with `status` and `body`.
async fn faulty(status: usize, body: &str) -> (mockito::ServerGuard, OpenAiRuntime) {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/models")
        .with_body(r#"{"data":[{"id":"m"}]}"#)
        .create_async()
        .await;
    server
        .mock("POST", "/v1/chat/completions")
        .with_status(status)
        .with_body(body)
        .create_async()
        .await;
    let runtime = OpenAiRuntime::new(&server.url()).unwrap();
    (server, runtime)
}

async fn events(runtime: &OpenAiRuntime, stream: bool) -> Vec<Result<RuntimeEvent, String>> {
    match runtime.chat(request(stream)).await {
        Ok(events) => {
            events
                .map(|event| event.map_err(|error| error.to_string()))
                .collect()
                .await
        }
        Err(error) => vec![Err(error.to_string())],
    }
}

#[tokio::test]
async fn passes_the_contract() {
    let engine = engine::start().await;
    testing::all(&OpenAiRuntime::new(&engine.url).unwrap(), "tiny").await;
}

#[tokio::test]
async fn one_connection_serves_many_streams() {
    let engine = engine::start().await;
    let runtime = OpenAiRuntime::new(&(engine.url.clone() + "/v1")).unwrap();
    for _ in 0..5 {
        let mut request = ChatRequest::new("tiny", [Message::user("Hello there")]);
        request.stream = Some(true);
        assert_eq!(testing::ask(&runtime, request).await.usage, Usage::new(9, 14));
    }
    assert_eq!(engine.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn dropping_a_stream_tells_the_engine() {
    let engine = engine::start().await;
    let runtime = OpenAiRuntime::new(&engine.url).unwrap();
    let mut request = ChatRequest::new("tiny", [Message::user("A long story")]);
    request.stream = Some(true);
    let mut stream = runtime.chat(request).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(RuntimeEvent::Delta(_)))));
    drop(stream);
    let left: &CancellationToken = &engine.left;
    tokio::time::timeout(std::time::Duration::from_mins(2), left.cancelled())
        .await
        .expect("the engine is told");
}

#[tokio::test]
async fn models_come_with_what_the_engine_says_of_their_context() {
    let mut server = Server::new_async().await;
    let list =
        json!({"data": [{"id": "a", "max_model_len": 8192}, {"id": "b", "meta": {"n_ctx_train": 2048}}, {"id": "c"}]});
    let mock = server
        .mock("GET", "/v1/models")
        .match_header("authorization", "Bearer k1")
        .with_body(list.to_string());
    mock.create_async().await;
    let runtime = OpenAiRuntime::new(&server.url())
        .unwrap()
        .with_key("k1".to_owned().into());
    let expected = [
        EngineModel::new("a").with_context_length(8192),
        EngineModel::new("b").with_context_length(2048),
        EngineModel::new("c"),
    ];
    assert_eq!(runtime.models().await.unwrap(), expected);
    assert!(!format!("{runtime:?}").contains("k1"), "a key is not shown");
}

#[tokio::test]
async fn an_engine_without_a_list_is_asked_all_the_same() {
    let mut server = Server::new_async().await;
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    server
        .mock("POST", "/v1/chat/completions")
        .with_body(body)
        .create_async()
        .await;
    server.mock("GET", "/v1/models").with_status(404).create_async().await;
    let runtime = OpenAiRuntime::new(&server.url()).unwrap();
    assert!(events(&runtime, false).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn the_engine_is_asked_to_count_and_nothing_of_it_goes_on() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/models")
        .with_body(r#"{"data":[{"id":"m"}]}"#)
        .create_async()
        .await;
    let body = concat!(
        r#"data: {"id":"host-1","system_fingerprint":"host","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        "\n\n",
        r#"data: {"id":"host-1","choices":[{"index":0,"delta":{"content":"Hi"},"stop_reason":"host"}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"host":1},"usage":{"prompt_tokens":4,"completion_tokens":1}}"#,
        "\n\n",
        "data: [DONE]\n\n",
    );
    let mock = server
        .mock("POST", "/v1/chat/completions")
        .match_body(Matcher::PartialJson(
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ))
        .with_body(body)
        .create_async()
        .await;
    let runtime = OpenAiRuntime::new(&server.url()).unwrap();
    let all = events(&runtime, true).await;
    mock.assert_async().await;
    assert!(!format!("{all:?}").contains("host"), "{all:?}");
    assert_eq!(all.len(), 4, "one delta for each chunk");
    assert_eq!(all[1], Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(0, "Hi")])));
    assert_eq!(all[3], Ok(RuntimeEvent::Done(Usage::new(4, 1))));
}

#[tokio::test]
async fn tokens_are_estimated_where_the_engine_does_not_count() {
    let body = concat!(
        r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"length"}]}"#,
        "\n\n",
    );
    let (_server, runtime) = faulty(200, body).await;
    // "user" and the prompt: 23 bytes.
    assert_eq!(
        events(&runtime, true).await.last(),
        Some(&Ok(RuntimeEvent::Done(Usage::new(6, 2))))
    );
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"12345"},"finish_reason":"stop"}]}"#;
    let (_server, runtime) = faulty(200, whole).await;
    assert_eq!(
        events(&runtime, false).await.last(),
        Some(&Ok(RuntimeEvent::Done(Usage::new(6, 2))))
    );
}

#[rstest]
#[case::cut(r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#, "cut")]
#[case::nothing("", "cut")]
#[case::only_the_end("[DONE]", "empty")]
#[case::garbage("data: {\"choices\":[", "can't be read")]
#[case::binary("data: \u{0}", "can't be read")]
#[case::error(r#"data: {"error":{"message":"secret-host","code":500}}"#, "status 500")]
#[case::too_long(
    r#"data: {"error":{"message":"context length exceeded on secret-host","code":400}}"#,
    "context"
)]
#[tokio::test]
async fn a_stream_that_does_not_end_well_is_an_error(#[case] event: &str, #[case] says: &str) {
    let event = if event == "[DONE]" { "data: [DONE]" } else { event };
    let (_server, runtime) = faulty(200, &format!("{event}\n\n")).await;
    let all = events(&runtime, true).await;
    let error = all.last().unwrap().as_ref().unwrap_err();
    assert!(error.contains(says) && !error.contains("secret-host"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_stream_is_an_error() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/models")
        .with_body(r#"{"data":[{"id":"m"}]}"#)
        .create_async()
        .await;
    let chunks = |writer: &mut dyn std::io::Write| {
        writer.write_all(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n")?;
        Err(std::io::Error::other("the engine dies"))
    };
    server
        .mock("POST", "/v1/chat/completions")
        .with_chunked_body(chunks)
        .create_async()
        .await;
    let all = events(&OpenAiRuntime::new(&server.url()).unwrap(), true).await;
    assert!(all.last().unwrap().as_ref().unwrap_err().contains("cut"), "{all:?}");
}

#[rstest]
#[case::garbage("<html>secret-host</html>")]
#[case::empty(r#"{"choices":[]}"#)]
#[case::error(r#"{"error":{"message":"secret-host"}}"#)]
#[tokio::test]
async fn an_answer_that_can_not_be_used_is_an_error(#[case] body: &str) {
    let (_server, runtime) = faulty(200, body).await;
    let error = events(&runtime, false).await.remove(0).unwrap_err();
    assert!(
        error.starts_with("the engine failed") && !error.contains("secret-host"),
        "{error}"
    );
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let runtime = OpenAiRuntime::new("http://127.0.0.1:1").unwrap();
    for stream in [true, false] {
        let error = runtime.chat(request(stream)).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable(_)), "{error}");
    }
    assert!(matches!(runtime.models().await, Err(RuntimeError::Unavailable(_))));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/models")
        .with_body(r#"{"data":[{"id":"m"}]}"#)
        .create_async()
        .await;
    let elsewhere = server.mock("POST", "/elsewhere").expect(0).create_async().await;
    let mock = server
        .mock("POST", "/v1/chat/completions")
        .with_status(307)
        .with_header("location", "/elsewhere");
    mock.create_async().await;
    let all = events(&OpenAiRuntime::new(&server.url()).unwrap(), true).await;
    assert!(all[0].is_err());
    elsewhere.assert_async().await;
}

#[tokio::test]
async fn an_engine_that_sends_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limit = std::time::Duration::from_millis(50);
    let runtime = OpenAiRuntime::with_read_timeout(&url, limit).unwrap();
    assert!(runtime.models().await.unwrap_err().to_string().contains("sent nothing"));
}

#[tokio::test]
async fn an_engine_is_asked_which_one_it_is_where_it_tells() {
    for (owner, path, said, name, version) in [
        (
            "llamacpp",
            "/props",
            json!({"build_info": "b4567-3e0ba0e60", "n_ctx": 1}),
            "llama-server",
            "b4567-3e0ba0e60",
        ),
        ("llamacpp", "/none", json!({}), "llama-server", ""),
        (
            "vllm",
            "/version",
            json!({"version": "0.6.3.post1"}),
            "vllm",
            "0.6.3.post1",
        ),
        (
            "library",
            "/api/version",
            json!({"version": "0.5.1"}),
            "ollama",
            "0.5.1",
        ),
        ("organization", "/none", json!({}), "", ""),
    ] {
        let mut server = Server::new_async().await;
        let list = json!({"data": [{"id": "a", "owned_by": owner}]});
        server
            .mock("GET", "/v1/models")
            .with_body(list.to_string())
            .create_async()
            .await;
        server
            .mock("GET", path)
            .with_body(said.to_string())
            .create_async()
            .await;
        let runtime = OpenAiRuntime::new(&server.url()).unwrap();
        assert_eq!(runtime.version(), "unknown", "it was not asked yet");
        let engine = runtime.models().await.unwrap().remove(0).engine_of(&runtime);
        if name.is_empty() {
            assert_eq!(
                (engine.name.as_str(), engine.version.as_str()),
                ("openai", "unknown"),
                "{owner}"
            );
        } else {
            assert_eq!(
                (engine.name.as_str(), engine.version.as_str()),
                (name, version),
                "{owner}"
            );
            assert_eq!(runtime.version(), format!("{name} {version}").trim());
        }
    }
}

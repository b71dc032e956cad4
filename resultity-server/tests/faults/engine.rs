//! An engine with OpenAI's API that does what the question says: `fail`, `garbage`, `silent`, `cut`, `late`, `half`, `hang`, `boast`, or
//! answers.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use futures::future::ready;
use futures::stream;
use resultity_node::runtime::openai::OpenAiRuntime;
use serde_json::{Value, json};

/// What it says where it says anything.
pub const ANSWER: &str = "Yes, it is.";

/// How long a node waits for it: for one that hangs in vain, for the others longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(5);

async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "test"}]}))
}

fn usage(tokens: u64) -> Value {
    json!({"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens})
}

fn whole(tokens: u64) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
        "usage": usage(tokens),
    })
    .to_string()
}

fn event(choices: Value, usage: Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices, "usage": usage,
    });
    format!("data: {chunk}\n\n")
}

fn streamed(tokens: u64) -> String {
    let first = event(
        json!([{"index": 0, "delta": {"role": "assistant", "content": "Yes, "}}]),
        Value::Null,
    );
    let second = event(
        json!([{"index": 0, "delta": {"content": "it is."}, "finish_reason": "stop"}]),
        Value::Null,
    );
    format!("{first}{second}{}data: [DONE]\n\n", event(json!([]), usage(tokens)))
}

fn answered(is_stream: bool, body: Body) -> Response {
    let kind = if is_stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// This much of an answer, then the connection breaks.
fn broken(is_stream: bool, said: &str) -> Response {
    let pieces = [Ok(Bytes::from(said.to_owned())), Err(std::io::Error::other("killed"))];
    let pieces = stream::iter(pieces).filter(|piece| ready(piece.as_ref().map_or(true, |said| !said.is_empty())));
    answered(is_stream, Body::from_stream(pieces))
}

async fn chat(Json(request): Json<Value>) -> Response {
    let is_stream = request["stream"] == true;
    let good = |tokens| if is_stream { streamed(tokens) } else { whole(tokens) };
    let question = request["messages"][0]["content"].as_str().unwrap_or_default();
    let whole: String = good(4);
    let half = whole.len() / 2;
    match question {
        "fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "garbage" => answered(is_stream, Body::from("data: <html>\u{0}</html>\n\n")),
        // Nothing, half of it or all but its end; then the connection breaks, as when the engine is killed.
        "silent" => broken(is_stream, ""),
        "cut" => broken(is_stream, &whole[..half]),
        "late" => broken(
            is_stream,
            whole.trim_end_matches("data: [DONE]\n\n").trim_end_matches('}'),
        ),
        "half" => {
            let bytes = whole.replace("Yes, ", "Caf\u{e9}").into_bytes();
            // The second byte of the é is missing.
            let place = bytes.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
            let bytes = [&bytes[..place], &bytes[place + 1..]].concat();
            answered(is_stream, Body::from(bytes))
        }
        "hang" => {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from(whole[..half].to_owned()))]);
            answered(is_stream, Body::from_stream(first.chain(stream::pending())))
        }
        "boast" => answered(is_stream, Body::from(good(u64::from(u32::MAX)))),
        _ => answered(is_stream, Body::from(whole)),
    }
}

/// Starts it; a Runtime that asks it.
pub async fn start() -> OpenAiRuntime {
    let routes = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let _ = rustls::crypto::ring::default_provider().install_default();
    OpenAiRuntime::with_read_timeout(&format!("http://{address}/v1"), PATIENCE).unwrap()
}

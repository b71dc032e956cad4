//! A mock engine with OpenAI's interface, as fast as HTTP/1.1 on sockets goes, so that what is measured is the network.
//!
//! It knows `GET …/models` and `POST …/chat/completions` under any prefix, keeps connections open and answers what
//! [`crate::prompt`] says. Each event of a stream is an HTTP chunk of its own.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::mischief::Mischief;
use crate::prompt::{ANSWER_TOKENS, Asked, Pace, answer, push_part};
use crate::proxy::Luck;

/// The name of the engine's only model.
pub const MODEL: &str = "mock";

/// The largest request that is read.
const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;

/// How an engine runs.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, each with its own share of the connections.
    pub threads: usize,
    /// How fast it answers where the prompt doesn't say; as fast as it can if absent.
    pub pace: Option<Pace>,
    /// How many of 10 000 requests something goes wrong with, and the seed of what does.
    pub mischief: Option<(u32, u64)>,
}

/// Serves until the process ends; `ready` is called with the base URL once connections are accepted.
pub async fn serve(options: EngineOptions, ready: impl FnOnce(&str)) -> io::Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    let shards = (0..options.threads.max(1))
        .map(|number| {
            shard(
                options.pace,
                options.mischief.map(|(times, seed)| (times, seed ^ number as u64)),
            )
        })
        .collect::<io::Result<Vec<_>>>()?;
    ready(&format!("http://{}/v1", listener.local_addr()?));
    for turn in 0usize.. {
        let (stream, _) = listener.accept().await?;
        // A shard ends only with the process.
        let _ = shards[turn % shards.len()].send(stream.into_std()?).await;
    }
    Ok(())
}

/// A thread with a runtime of its own: nothing is shared and no task moves.
fn shard(pace: Option<Pace>, mischief: Option<(u32, u64)>) -> io::Result<mpsc::Sender<std::net::TcpStream>> {
    let (sender, mut receiver) = mpsc::channel::<std::net::TcpStream>(1024);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("engine".into()).spawn(move || {
        runtime.block_on(async move {
            for number in 0_u64.. {
                let Some(stream) = receiver.recv().await else { return };
                if let Ok(stream) = TcpStream::from_std(stream) {
                    let mischief = mischief.map(|(times, seed)| (times, Luck::of(seed, number)));
                    // A connection that breaks is the other side's business.
                    tokio::spawn(async move { connection(stream, pace, mischief).await.ok() });
                }
            }
        });
    })?;
    Ok(sender)
}

async fn connection(mut stream: TcpStream, pace: Option<Pace>, mut mischief: Option<(u32, Luck)>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(16 * 1024);
    let mut output = Vec::with_capacity(32 * 1024);
    loop {
        let request = loop {
            match RawRequest::parse(&input) {
                Ok(Some(request)) => break request,
                Ok(None) if input.len() <= MAX_REQUEST_BYTES => {}
                Ok(None) | Err(BadRequest) => {
                    refuse(
                        &mut output,
                        "400 Bad Request",
                        "this is no request that the mock engine can read",
                    );
                    return stream.write_all(&output).await;
                }
            }
            input.reserve(4096);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        output.clear();
        let body = &input[request.head..request.head + request.body];
        match (request.method, request.path) {
            (Method::Get, Path::Models) => models(&mut output),
            (Method::Post, Path::Chat) => match ChatBody::parse(body) {
                Some(chat) => {
                    let wrong = mischief.as_mut().and_then(|(times, luck)| Mischief::draw(luck, *times));
                    if let Some(wrong) = wrong {
                        return wrong.commit(&mut stream, chat.stream).await;
                    }
                    respond(&mut stream, &mut output, &chat, pace).await?;
                }
                None => refuse(&mut output, "400 Bad Request", "the body is no chat request"),
            },
            // As a container of the Infernet API it gives back what it got.
            (Method::Post, Path::Container) => match std::str::from_utf8(body) {
                Ok(text) => push_json(&mut output, "200 OK", text),
                Err(_) => refuse(&mut output, "400 Bad Request", "the body is no text"),
            },
            _ => refuse(
                &mut output,
                "404 Not Found",
                "the mock engine has /v1/models, /v1/chat/completions and /service_output",
            ),
        }
        stream.write_all(&output).await?;
        let (end, keep_alive) = (request.head + request.body, request.keep_alive);
        input.drain(..end);
        if !keep_alive {
            return stream.shutdown().await;
        }
    }
}

/// Answers one chat request: writes what is due over time, and leaves the rest in `output`.
async fn respond(
    stream: &mut TcpStream,
    output: &mut Vec<u8>,
    chat: &ChatBody<'_>,
    pace: Option<Pace>,
) -> io::Result<()> {
    let came = Instant::now();
    let asked = Asked::parse(chat.last_message());
    let pace = asked.pace.or(pace);
    let prompt_tokens = (chat.last_message().len() as u64 / 4).max(1);
    if !chat.stream {
        if let Some(pace) = pace {
            tokio::time::sleep_until((came + pace.due(ANSWER_TOKENS as u32 - 1)).into()).await;
        }
        complete(output, asked.nonce, prompt_tokens);
        return Ok(());
    }
    output.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let mut part = String::new();
    for index in 0..asked.chunks {
        if let Some(pace) = pace {
            tokio::time::sleep_until((came + pace.due(index)).into()).await;
        }
        part.clear();
        push_part(&mut part, asked.nonce, index);
        push_delta(output, index == 0, &part, index + 1 == asked.chunks);
        if (pace.is_some() || asked.flush) && index + 1 < asked.chunks {
            stream.write_all(output).await?;
            output.clear();
        }
    }
    if chat
        .stream_options
        .as_ref()
        .is_some_and(|options| options.include_usage)
    {
        let (made, total) = (asked.chunks, prompt_tokens + u64::from(asked.chunks));
        let usage = format!(
            "{EVENT_START}[],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{made},\"total_tokens\":{total}}}}}\n\n",
        );
        push_chunk(output, &[usage.as_bytes()]);
    }
    push_chunk(output, &[b"data: [DONE]\n\n"]);
    output.extend_from_slice(b"0\r\n\r\n");
    Ok(())
}

const EVENT_START: &str = "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1763800000,\
                           \"model\":\"mock\",\"choices\":";

/// One event of a stream. Parts hold nothing that JSON would have to escape.
fn push_delta(output: &mut Vec<u8>, first: bool, part: &str, last: bool) {
    let role = if first { "\"role\":\"assistant\"," } else { "" };
    let finish = if last { "\"stop\"" } else { "null" };
    push_chunk(
        output,
        &[
            EVENT_START.as_bytes(),
            b"[{\"index\":0,\"delta\":{",
            role.as_bytes(),
            b"\"content\":\"",
            part.as_bytes(),
            b"\"},\"logprobs\":null,\"finish_reason\":",
            finish.as_bytes(),
            b"}]}\n\n",
        ],
    );
}

/// One chunk of HTTP's chunked encoding.
fn push_chunk(output: &mut Vec<u8>, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    // Writing to a vector cannot fail, here and below.
    let _ = write!(output, "{length:x}\r\n");
    for piece in pieces {
        output.extend_from_slice(piece);
    }
    output.extend_from_slice(b"\r\n");
}

fn complete(output: &mut Vec<u8>, nonce: &str, prompt_tokens: u64) {
    let (text, total) = (answer(nonce), prompt_tokens + ANSWER_TOKENS);
    push_json(
        output,
        "200 OK",
        &format!(
            "{{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1763800000,\"model\":\"{MODEL}\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"logprobs\":null,\
             \"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\
             \"completion_tokens\":{ANSWER_TOKENS},\"total_tokens\":{total}}}}}"
        ),
    );
}

fn models(output: &mut Vec<u8>) {
    push_json(
        output,
        "200 OK",
        &format!(
            "{{\"object\":\"list\",\"data\":[{{\"id\":\"{MODEL}\",\"object\":\"model\",\"created\":1763800000,\
             \"owned_by\":\"resultity\",\"max_model_len\":32768}}]}}"
        ),
    );
}

fn refuse(output: &mut Vec<u8>, status: &str, message: &str) {
    let body = format!("{{\"error\":{{\"message\":\"{message}\",\"type\":\"invalid_request_error\",\"code\":null}}}}");
    push_json(output, status, &body);
}

fn push_json(output: &mut Vec<u8>, status: &str, body: &str) {
    let _ = write!(
        output,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// What the engine reads of a chat request.
#[derive(Deserialize)]
struct ChatBody<'a> {
    #[serde(borrow)]
    messages: Vec<ChatMessage<'a>>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

/// The content stays raw JSON: a text or a list of parts, the marks in it are found in either.
#[derive(Deserialize)]
struct ChatMessage<'a> {
    #[serde(borrow)]
    role: &'a str,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl<'a> ChatBody<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    fn last_message(&self) -> &'a str {
        let last = self.messages.iter().rev().find(|message| message.role == "user");
        last.and_then(|message| message.content).map_or("", RawValue::get)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Models,
    Chat,
    Container,
    Other,
}

/// A request that has arrived as a whole: where its body lies, and the little that is needed of its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RawRequest {
    method: Method,
    path: Path,
    head: usize,
    body: usize,
    keep_alive: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct BadRequest;

impl RawRequest {
    /// `None` while part of it is still to come.
    fn parse(input: &[u8]) -> Result<Option<Self>, BadRequest> {
        let Some(head) = crate::http::end_of_head(input) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&input[..head]).map_err(|_| BadRequest)?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = match words.next() {
            Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            _ => Method::Other,
        };
        let path = match words.next().ok_or(BadRequest)? {
            path if path.ends_with("/chat/completions") => Path::Chat,
            path if path.ends_with("/models") => Path::Models,
            "/service_output" => Path::Container,
            _ => Path::Other,
        };
        let (mut body, mut keep_alive) = (0, true);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                body = value.parse().map_err(|_| BadRequest)?;
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(BadRequest);
            }
        }
        if body > MAX_REQUEST_BYTES {
            return Err(BadRequest);
        }
        Ok((input.len() - head >= body).then_some(Self {
            method,
            path,
            head,
            body,
            keep_alive,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd";
        for cut in 0..text.len() {
            assert_eq!(RawRequest::parse(&text[..cut]), Ok(None), "{cut}");
        }
        let request = RawRequest::parse(text).unwrap().unwrap();
        assert_eq!(
            (request.method, request.path, request.body),
            (Method::Post, Path::Chat, 4)
        );
        assert_eq!(&text[request.head..], b"abcd");
        assert_eq!(
            RawRequest::parse(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n"),
            Err(BadRequest)
        );
    }

    #[test]
    fn the_last_user_message_counts() {
        let body = br#"{"messages":[{"role":"user","content":"nonce=a"},{"role":"user","content":[{"type":"text","text":"nonce=b"}]},
            {"role":"assistant"}],"stream":true,"model":"mock"}"#;
        let chat = ChatBody::parse(body).unwrap();
        assert!(chat.stream);
        assert_eq!(Asked::parse(chat.last_message()).nonce, "b");
    }
}

//! What breaks HTTP itself, byte by byte: smuggled requests, slow senders, bodies that are cut or too large. A request that
//! could be read in two ways is refused or ends its connection, so that nothing after it counts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::time::Duration;

use harness::{TestServer, model, soon};
use resultity_core::credits::Credits;
use resultity_server::assemble::Offer;
use resultity_server::http::Patience;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a server waits for a slow client that is let go for it.
const HASTE: Duration = Duration::from_secs(2);

/// How long the others wait: longer than any client of these tests takes.
const PATIENCE: Duration = Duration::from_mins(2);

async fn server() -> TestServer {
    server_that_waits(PATIENCE).await
}

async fn server_that_waits(patience: Duration) -> TestServer {
    let offer = Offer::new(vec![model("m")]);
    TestServer::with_options(offer, |options| {
        options.patience = Patience {
            head: patience,
            body: patience,
        };
    })
    .await
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.running.address()).await.unwrap()
}

/// Sends these bytes and reads until the server closes the connection.
async fn until_closed(server: &TestServer, bytes: &[u8]) -> String {
    let mut socket = connect(server).await;
    // The server may have closed it before the last byte.
    let _ = socket.write_all(bytes).await;
    rest(&mut socket).await
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = soon("the end of the connection", socket.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| &response[..3])
        .collect()
}

/// The head of a request to ask something, with more lines of it.
fn head(server: &TestServer, lines: &str) -> String {
    let key = server.api_key.expose_secret();
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{lines}\r\n")
}

/// A whole request that follows: if it is answered, it was smuggled in.
const NEXT: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_not_followed_by_anything() {
    let server = server().await;
    let chunked = "transfer-encoding: chunked\r\n";
    // What follows the head, what is wrong, and the statuses of all answers.
    let cases: [(String, &str, &[&str]); 14] = [
        (
            format!("{}0\r\n\r\n", head(&server, &format!("content-length: 4\r\n{chunked}"))),
            "both lengths",
            &["400"],
        ),
        (
            format!("{}0\r\n\r\n", head(&server, &format!("{chunked}content-length: 4\r\n"))),
            "both lengths, the other way",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: 2\r\ncontent-length: 3\r\n")),
            "two lengths",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: 2, 3\r\n")),
            "two lengths in one line",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: +2\r\n")),
            "a sign",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: -2\r\n")),
            "below nothing",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: 0x2\r\n")),
            "hexadecimal",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length: 99999999999999999999999\r\n")),
            "beyond all numbers",
            &["400"],
        ),
        (
            format!("{}0\r\n\r\n", head(&server, "transfer-encoding: chunked, identity\r\n")),
            "chunked, but not last",
            &["400"],
        ),
        (
            format!("{}0\r\n\r\n", head(&server, "transfer-encoding: xchunked\r\n")),
            "an unknown coding",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "content-length : 2\r\n")),
            "a blank before the colon",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "x-folded: a\r\n b\r\ncontent-length: 2\r\n")),
            "a folded line",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "x-bare: a\rb\r\ncontent-length: 2\r\n")),
            "a bare CR",
            &["400"],
        ),
        (
            format!("{}{{}}", head(&server, "x-nul: a\0b\r\ncontent-length: 2\r\n")),
            "a NUL",
            &["400"],
        ),
    ];
    for (request, what, expected) in cases {
        let answer = until_closed(&server, format!("{request}{NEXT}").as_bytes()).await;
        assert_eq!(statuses(&answer), expected, "{what}: {answer}");
    }
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn an_answer_before_the_body_leaves_the_connection_in_order_or_ends_it() {
    let server = server().await;
    let refused = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    // A body that comes late is read, and the next request is answered.
    let mut socket = connect(&server).await;
    socket.write_all(refused.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    socket.write_all(format!("{{}}{NEXT}").as_bytes()).await.unwrap();
    let answer = rest(&mut socket).await;
    assert_eq!(statuses(&answer), ["401", "200"], "{answer}");
    // One that does not come, that is too large to be read for nothing, or that waits to be asked for, ends it.
    let server = server_that_waits(HASTE).await;
    let large = refused.replace("length: 2", "length: 1000000");
    let waits = refused.replace("host: x", "host: x\r\nexpect: 100-continue");
    for request in [refused, &large, &waits] {
        let answer = until_closed(&server, request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["401"], "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_the_connection() {
    let server = server().await;
    for chunk in [
        "zz\r\n{}\r\n",
        "-2\r\n{}\r\n",
        "2\n{}\n0\n\n",
        "ffffffffffffffffff\r\n{}",
        "2\r\n{}0\r\n\r\n",
        "2;x=\n{}\r\n",
    ] {
        let request = format!("{}{chunk}{NEXT}", head(&server, "transfer-encoding: chunked\r\n"));
        let answer = until_closed(&server, request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{chunk:?}: {answer}");
        assert!(answer.contains("invalid_json"), "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn heads_that_are_no_heads_are_refused() {
    let server = server().await;
    let many: Vec<String> = (0..200).map(|index| format!("x-{index}: 1\r\n")).collect();
    let many = many.concat();
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET /healthz HTTP/3.0\r\n\r\n".to_owned(), "400"),
        ("GET  /healthz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /he althz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("G\u{e9}T /healthz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        // HTTP/2: the connection ends without a word.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "414"),
        (format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), "431"),
        (
            format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(600_000)),
            "431",
        ),
    ];
    for (request, status) in cases {
        let shown: String = request.chars().take(60).collect();
        let answer = until_closed(&server, request.as_bytes()).await;
        assert_eq!(statuses(&answer).concat(), status, "{shown:?}: {answer}");
    }
}

#[tokio::test]
async fn a_sender_that_stops_is_given_up() {
    let server = server_that_waits(HASTE).await;
    // In the head: there is nothing to answer.
    assert_eq!(
        until_closed(&server, b"POST /v1/chat/completions HTTP/1.1\r\nhost:").await,
        ""
    );
    // Before and within the body, of a length that is known, and in chunks.
    let known = head(&server, "content-length: 100\r\n");
    let chunked = head(&server, "transfer-encoding: chunked\r\n");
    for begun in [
        known.clone(),
        format!("{known}{{\"model\":"),
        chunked.clone(),
        format!("{chunked}9\r\n{{\"model\""),
    ] {
        let answer = until_closed(&server, begun.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{answer}");
        assert!(answer.contains("took too long"), "{answer}");
    }
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn one_slow_sender_does_not_hold_up_others() {
    let server = server().await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut socket = connect(&server).await;
        socket
            .write_all(head(&server, "content-length: 100\r\n").as_bytes())
            .await
            .unwrap();
        slow.push(socket);
    }
    let answer = until_closed(&server, NEXT.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"]);
}

#[tokio::test]
async fn a_body_that_is_cut_costs_nothing() {
    let server = server().await;
    let mut socket = connect(&server).await;
    let begun = format!("{}{{\"model\":", head(&server, "content-length: 100\r\n"));
    socket.write_all(begun.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(
        answer.is_empty() || answer.contains("ended before it was complete"),
        "{answer}"
    );
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let server = server().await;
    // Its length says so: not a byte of it is waited for, nor asked for.
    for expect in ["", "expect: 100-continue\r\n"] {
        let declared = head(&server, &format!("content-length: 20971520\r\n{expect}"));
        let answer = until_closed(&server, declared.as_bytes()).await;
        assert_eq!(statuses(&answer), ["413"], "{answer}");
        assert!(answer.contains("payload_too_large"));
    }
    // Its length is not known: it is counted.
    let mut socket = connect(&server).await;
    let (mut reader, mut writer) = socket.split();
    let send = async {
        writer
            .write_all(head(&server, "transfer-encoding: chunked\r\n").as_bytes())
            .await?;
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
        for _ in 0..20 {
            writer.write_all(chunk.as_bytes()).await?;
        }
        std::io::Result::Ok(())
    };
    let read = async {
        let mut answer = vec![0; 64];
        let count = reader.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    let (_, answer) = soon("an answer to a large body", async { tokio::join!(send, read) }).await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
}

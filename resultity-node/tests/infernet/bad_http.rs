//! What breaks HTTP itself, byte by byte. A request that could be read in two ways is refused or ends its connection, so that
//! nothing after it counts; whoever sends it learns nothing of the node's inside.

use std::net::SocketAddr;

use resultity_core::testing::node::UPPER;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Asker, CALLER, Containers, Served, soon};

struct Setup {
    containers: Containers,
    served: Served,
}

impl Setup {
    async fn new() -> Option<Self> {
        let containers = Containers::start().await?;
        let served = Served::start(&containers).await;
        Some(Self { containers, served })
    }

    fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Sends these bytes and reads until the node closes the connection.
    async fn until_closed(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address()).await.unwrap();
        // The node may have closed it before the last byte.
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = soon("the end of the connection", socket.read_to_end(&mut answer)).await;
        String::from_utf8(answer).unwrap()
    }

    /// Nothing has come of it, and the node works.
    async fn check(self) {
        assert_eq!(self.containers.calls().await, Vec::<Value>::new(), "a container saw it");
        let asker = Asker::new(self.address(), CALLER);
        assert_eq!(asker.get("/api/jobs").await, json!([]), "it left a job");
        let good = asker.begin(&[UPPER], json!({"text": "on"})).await;
        assert_eq!(asker.output(&good).await["text"], "ON");
    }
}

/// The statuses of all answers. Each answer has a body in the form of all errors, or of what was asked.
fn statuses(answer: &str) -> Vec<&str> {
    let answers = answer.split("HTTP/1.1 ").skip(1);
    let status = |answer: &'_ str| {
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"));
        let is_error = !answer.starts_with("200");
        assert!(body.is_object() && (!is_error || body["error"].is_string()), "{answer}");
        assert!(head.contains("content-type: application/json"), "{answer}");
    };
    answers
        .map(|answer| {
            status(answer);
            &answer[..3]
        })
        .collect()
}

fn head(lines: &str) -> String {
    format!("POST /api/jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{lines}\r\n")
}

/// A whole request that follows: if it is answered, it was smuggled in.
const NEXT: &str = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_not_followed_by_anything() {
    let Some(setup) = Setup::new().await else { return };
    let chunked = "transfer-encoding: chunked\r\n";
    let cases = [
        ("both lengths", format!("content-length: 4\r\n{chunked}"), "0\r\n\r\n"),
        (
            "both lengths, the other way",
            format!("{chunked}content-length: 4\r\n"),
            "0\r\n\r\n",
        ),
        ("two lengths", "content-length: 2\r\ncontent-length: 3\r\n".into(), "{}"),
        ("two lengths in one line", "content-length: 2, 3\r\n".into(), "{}"),
        ("a sign", "content-length: +2\r\n".into(), "{}"),
        ("below nothing", "content-length: -2\r\n".into(), "{}"),
        ("hexadecimal", "content-length: 0x2\r\n".into(), "{}"),
        (
            "beyond all numbers",
            "content-length: 99999999999999999999999\r\n".into(),
            "{}",
        ),
        (
            "chunked, but not last",
            "transfer-encoding: chunked, identity\r\n".into(),
            "0\r\n\r\n",
        ),
        (
            "an unknown coding",
            "transfer-encoding: xchunked\r\n".into(),
            "0\r\n\r\n",
        ),
        ("a blank before the colon", "content-length : 2\r\n".into(), "{}"),
        (
            "a folded line",
            "x-folded: a\r\n b\r\ncontent-length: 2\r\n".into(),
            "{}",
        ),
        ("a bare CR", "x-bare: a\rb\r\ncontent-length: 2\r\n".into(), "{}"),
        ("a NUL", "x-nul: a\0b\r\ncontent-length: 2\r\n".into(), "{}"),
        ("a bad chunk", chunked.into(), "zz\r\n{}\r\n"),
        ("a chunk below nothing", chunked.into(), "-2\r\n{}\r\n"),
        ("a huge chunk", chunked.into(), "ffffffffffffffffff\r\n{}"),
        ("a chunk that is too long", chunked.into(), "2\r\n{}0\r\n\r\n"),
    ];
    for (what, lines, body) in cases {
        let request = format!("{}{body}{NEXT}", head(&lines));
        let answer = setup.until_closed(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{what}: {answer}");
    }
    setup.check().await;
}

#[tokio::test]
async fn heads_that_are_no_heads_are_refused() {
    let Some(setup) = Setup::new().await else { return };
    let many: Vec<String> = (0..200).map(|index| format!("x-{index}: 1\r\n")).collect();
    let many = many.concat();
    let ids = vec!["id=01890a5d-ac96-774b-bcce-b302099a8057"; 10_000].join("&");
    let fewer = vec!["id=01890a5d-ac96-774b-bcce-b302099a8057"; 1_700].join("&");
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
        // A handshake of TLS.
        (
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{7f}\u{3}\u{3}\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET /health HTTP/3.0\r\n\r\n".to_owned(), "400"),
        ("GET  /health HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /he alth HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("G\u{e9}T /health HTTP/1.1\r\n\r\n".to_owned(), "400"),
        // HTTP/2: the connection ends without a word.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "414"),
        (format!("GET /api/jobs?{fewer} HTTP/1.1\r\nhost: x\r\n\r\n"), "414"),
        (format!("GET /api/jobs?{ids} HTTP/1.1\r\nhost: x\r\n\r\n"), "431"),
        (format!("GET /health HTTP/1.1\r\n{many}\r\n"), "431"),
        (
            format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(600_000)),
            "431",
        ),
    ];
    for (request, status) in cases {
        let shown: String = request.chars().take(60).collect();
        let answer = setup.until_closed(request.as_bytes()).await;
        assert_eq!(statuses(&answer).concat(), status, "{shown:?}: {answer}");
    }
    setup.check().await;
}

#[tokio::test]
async fn an_answer_before_the_body_leaves_the_connection_in_order_or_ends_it() {
    let Some(setup) = Setup::new().await else { return };
    let refused = "POST /api/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    let answer = setup.until_closed(format!("{refused}{{}}{NEXT}").as_bytes()).await;
    assert!(
        answer.contains("HTTP/1.1 404") && answer.contains("HTTP/1.1 200"),
        "{answer}"
    );
    // Too large to be read for nothing, or waiting to be asked for: the connection ends.
    let large = refused.replace("length: 2", "length: 1000000");
    let waits = refused.replace("host: x", "host: x\r\nexpect: 100-continue");
    for request in [&large, &waits] {
        let answer = setup.until_closed(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["404"], "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // Its length says that it is too large: not a byte of it is waited for, nor asked for.
    for expect in ["", "expect: 100-continue\r\n"] {
        let declared = head(&format!("content-length: 20971520\r\n{expect}"));
        let answer = setup.until_closed(declared.as_bytes()).await;
        assert_eq!(statuses(&answer), ["413"], "{answer}");
    }
    setup.check().await;
}

#[tokio::test]
async fn a_body_that_is_cut_or_slow_harms_nobody() {
    let Some(setup) = Setup::new().await else { return };
    // Many who begin and send no more.
    let mut slow = Vec::new();
    for lines in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"].repeat(25) {
        let mut socket = TcpStream::connect(setup.address()).await.unwrap();
        socket.write_all(head(lines).as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let mut socket = TcpStream::connect(setup.address()).await.unwrap();
    let begun = format!("{}{{\"containers\":", head("content-length: 100\r\n"));
    socket.write_all(begun.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = soon("an answer", socket.read_to_string(&mut answer)).await;
    assert!(answer.is_empty() || statuses(&answer) == ["400"], "{answer}");
    let answer = setup.until_closed(NEXT.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"]);
    setup.check().await;
}

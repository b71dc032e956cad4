//! The whole surface over real sockets, in front of a node that says what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use resultity_core::api::node::JobStream;
use resultity_core::infernet::resources::{ModelSupport, Said, ServiceResources};
use resultity_core::infernet::subscription::DelegatedRequest;
use resultity_core::infernet::{
    BatchAnswer, BatchRequest, ContainerResult, Health, HealthInfo, JobId, JobRequest, JobResponse, JobResult,
    JobStatus, NodeError, NodeErrorKind, NodeInfo, StatusUpdate,
};
use rstest::rstest;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::infernet::config::settings::RateLimit;

/// A node that does what the names of containers say, and writes down what else it was asked.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Sessions for Told {
    type Session = ToldBy;

    fn session(&self, caller: IpAddr) -> ToldBy {
        ToldBy(self.clone(), caller)
    }
}

struct ToldBy(Told, IpAddr);

impl Told {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

/// Notes when it goes.
struct Gone(Told);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.note("gone".into());
    }
}

#[async_trait]
impl NodeApi for ToldBy {
    async fn health(&self) -> Result<HealthInfo, NodeError> {
        self.0.note(format!("health for {}", self.1));
        Ok(HealthInfo {
            status: Health::Healthy,
        })
    }

    async fn info(&self) -> Result<NodeInfo, NodeError> {
        Err(NodeError::new(NodeErrorKind::Internal, "the secret of the database"))
    }

    async fn resources(&self) -> Result<BTreeMap<String, Said<ServiceResources>>, NodeError> {
        Ok([("a".to_owned(), Said::new(raw(r#"{"any":1e999}"#)))].into())
    }

    async fn model_support(&self, model_id: &str) -> Result<BTreeMap<String, Said<ModelSupport>>, NodeError> {
        self.0.note(model_id.into());
        Ok(BTreeMap::new())
    }

    async fn create_job(&self, request: JobRequest) -> Result<JobId, NodeError> {
        match &*request.containers.concat() {
            "refused" => Err(NodeError::refused("Container not supported").with("container", "refused")),
            "busy" => Err(NodeError::new(NodeErrorKind::Busy, "full").retry_after(Duration::from_millis(2500))),
            _ => {
                self.0.note(request.data.get().into());
                Ok("an-id".into())
            }
        }
    }

    async fn create_delegated(&self, _: DelegatedRequest) -> Result<(), NodeError> {
        Ok(())
    }

    async fn create_batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchAnswer>, NodeError> {
        let mut answers = Vec::new();
        for request in requests {
            answers.push(match request {
                BatchRequest::Job(request) => match self.create_job(request).await {
                    Ok(id) => BatchAnswer::Job(JobResponse { id }),
                    Err(error) => BatchAnswer::Error(error.to_response()),
                },
                BatchRequest::Delegated(_) => BatchAnswer::Delegated,
            });
        }
        Ok(answers)
    }

    async fn stream_job(&self, request: JobRequest) -> Result<JobStream, NodeError> {
        let (told, pieces) = (self.0.clone(), request.containers);
        if pieces == ["refused"] {
            return Err(NodeError::refused("Container not supported"));
        }
        let bytes = futures::stream::unfold((pieces.into_iter(), Gone(told)), |(mut pieces, gone)| async move {
            let piece = match pieces.next()?.as_str() {
                "fail" => Err(NodeError::new(NodeErrorKind::Internal, "no")),
                "hang" => std::future::pending().await,
                "bytes" => Ok(Bytes::from_static(b"\xff\0")),
                piece => Ok(piece.to_owned().into()),
            };
            Some((piece, (pieces, gone)))
        });
        Ok(JobStream {
            id: "an-id".into(),
            bytes: bytes.boxed(),
        })
    }

    async fn job_results(&self, ids: &[JobId], intermediate: bool) -> Result<Vec<JobResult>, NodeError> {
        Ok(ids
            .iter()
            .map(|id| JobResult {
                id: id.clone(),
                status: JobStatus::Success,
                result: Some(ContainerResult::output("a", raw("18446744073709551616"))),
                intermediate_results: intermediate.then(Vec::new),
            })
            .collect())
    }

    async fn job_ids(&self, pending: Option<bool>) -> Result<Vec<JobId>, NodeError> {
        Ok(vec![JobId::new(format!("{pending:?}"))])
    }

    async fn set_status(&self, update: StatusUpdate) -> Result<(), NodeError> {
        self.0.note(format!("{} {} by {}", update.id, update.status, self.1));
        Ok(())
    }
}

struct Server {
    told: Told,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn settings() -> Settings {
    let mut settings = Settings::new("unused", Vec::new());
    settings.max_body_bytes = 10_000;
    settings.rate_limit.requests = 1_000_000;
    settings
}

impl Server {
    async fn start(settings: &Settings) -> Self {
        let told = Told::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let api = Arc::new(Api::new(told.clone(), settings));
        let serving = tokio::spawn(listen::run(listener, api, stop.clone()));
        Self {
            told,
            address,
            stop,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this and reads until the end.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        let (mut reader, mut writer) = socket.split();
        let mut answer = Vec::new();
        let write = async {
            // The node may answer before it has read everything.
            let _ = writer.write_all(request.as_ref()).await;
        };
        let (_, read) = tokio::join!(write, reader.read_to_end(&mut answer));
        read.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n"))
            .await
    }

    async fn send(&self, line: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        self.ask(request).await
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let headers = "content-type: application/json\r\n";
        self.send(&format!("POST {path}"), headers, body).await
    }
}

/// Status and body.
fn said(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    if !body.is_empty() && !head.contains("transfer-encoding") {
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{answer}");
    }
    (head[9..12].parse().unwrap(), body)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| *known == name).map(|(_, value)| value)
}

const JOB: &str = r#"{"containers":["a"],"data":{"n":1}}"#;

#[rstest]
#[case("/health", 200, r#"{"status":"healthy"}"#)]
#[case("/health?x=%zz", 200, r#"{"status":"healthy"}"#)]
#[case("/info", 500, r#"{"error":"The node failed"}"#)]
#[case("/resources", 200, r#"{"a":{"any":1e999}}"#)]
#[case("/resources?model_id=x", 200, "{}")]
#[case("/api/jobs", 200, r#"["None"]"#)]
#[case("/api/jobs?pending=true", 200, r#"["Some(true)"]"#)]
#[case("/api/jobs?id=", 200, "[]")]
#[case(
    "/api/jobs?id=1&id=a%22b",
    200,
    r#"[{"id":"1","status":"success","result":{"container":"a","output":18446744073709551616}},{"id":"a\"b","status":"success","result":{"container":"a","output":18446744073709551616}}]"#
)]
#[case(
    "/api/jobs?id=1&intermediate=true",
    200,
    r#"[{"id":"1","status":"success","result":{"container":"a","output":18446744073709551616},"intermediate_results":[]}]"#
)]
#[case("/", 404, r#"{"error":"Not found"}"#)]
#[case("/api/jobs/1", 404, r#"{"error":"Not found"}"#)]
#[case("/api/jobs/batch", 405, r#"{"error":"Method not allowed"}"#)]
#[case("/api/status", 405, r#"{"error":"Method not allowed"}"#)]
#[tokio::test]
async fn what_is_asked_for_is_given(#[case] path: &str, #[case] status: u16, #[case] body: &str) {
    let server = Server::start(&settings()).await;
    let answer = server.get(path).await;
    assert_eq!(said(&answer), (status, body));
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(header(&answer, "access-control-allow-origin"), None);
    let head = server
        .ask(format!("HEAD {path} HTTP/1.1\r\nconnection: close\r\n\r\n"))
        .await;
    assert_eq!(said(&head), (status, ""));
    assert_eq!(header(&head, "content-length"), header(&answer, "content-length"));
}

#[rstest]
#[case("/api/jobs", JOB, 200, r#"{"id":"an-id"}"#)]
#[case(
    "/api/jobs",
    r#"{"containers":["refused"],"data":{}}"#,
    405,
    r#"{"error":"Container not supported","params":{"container":"refused"}}"#
)]
#[case("/api/jobs", r#"{"containers":["busy"],"data":{}}"#, 503, r#"{"error":"full"}"#)]
#[case("/api/jobs", "", 400, r#"{"error":"The body is empty: expected JSON"}"#)]
#[case(
    "/api/jobs",
    r#"{"containers":["a"]}"#,
    400,
    r#"{"error":"data: missing, expected an object"}"#
)]
#[case("/api/jobs/batch", "[]", 200, "[]")]
#[case("/api/jobs/batch", "{}", 400, r#"{"error":"Expected a list"}"#)]
#[case(
    "/api/jobs/batch",
    r#"[1,{"containers":["a"],"data":{}},{"containers":["refused"],"data":{}},{"containers":["a"]}]"#,
    200,
    concat!(
        r#"[{"error":"Could not parse message","params":{"reason":"Expected a JSON object"}},{"id":"an-id"},"#,
        r#"{"error":"Container not supported","params":{"container":"refused"}},"#,
        r#"{"error":"Could not parse message","params":{"reason":"data: missing, expected an object"}}]"#
    )
)]
#[case(
    "/api/jobs/stream",
    r#"{"containers":["refused"],"data":{}}"#,
    405,
    r#"{"error":"Container not supported","params":{}}"#
)]
#[case("/api/jobs/stream", "[]", 400, r#"{"error":"Expected a JSON object"}"#)]
#[case("/health", "{}", 405, r#"{"error":"Method not allowed"}"#)]
#[tokio::test]
async fn what_is_posted_is_answered(
    #[case] path: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let server = Server::start(&settings()).await;
    let answer = server.post(path, body).await;
    assert_eq!(said(&answer), (status, expected));
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let retry = (status == 503).then_some("3");
    assert_eq!(header(&answer, "retry-after"), retry);
}

#[tokio::test]
async fn a_delegated_subscription_is_answered_with_nothing_and_cannot_be_streamed() {
    let server = Server::start(&settings()).await;
    let zero = "0x0000000000000000000000000000000000000001";
    let body = format!(
        r#"{{"subscription":{{"owner":"{zero}","active_at":1,"period":0,"frequency":1,"redundancy":1,"max_gas_price":1,
        "max_gas_limit":1,"container_id":"a"}},"signature":{{"nonce":1,"expiry":1,"v":27,"r":1,"s":1}},"data":{{}}}}"#
    );
    assert_eq!(said(&server.post("/api/jobs", &body).await), (200, "{}"));
    assert_eq!(
        said(&server.post("/api/jobs/batch", &format!("[{body}]")).await),
        (200, "[{}]")
    );
    let streamed = server.post("/api/jobs/stream", &body).await;
    let expected = r#"{"error":"Streaming only supported for OffchainJob requests."}"#;
    assert_eq!(said(&streamed), (405, expected));
}

#[tokio::test]
async fn only_jobs_and_streams_want_a_content_type() {
    let server = Server::start(&settings()).await;
    for path in ["/api/jobs", "/api/jobs/stream"] {
        for headers in ["", "content-type: text/plain\r\n"] {
            let answer = server.send(&format!("POST {path}"), headers, JOB).await;
            let expected = r#"{"error":"Content-Type: expected application/json"}"#;
            assert_eq!(said(&answer), (400, expected));
        }
    }
    let batch = server.send("POST /api/jobs/batch", "", &format!("[{JOB}]")).await;
    assert_eq!(said(&batch), (200, r#"[{"id":"an-id"}]"#));
    let body = r#"{"id":"x","status":"running","containers":["a"]}"#;
    let status = server
        .send("PUT /api/status", "content-type: text/plain\r\n", body)
        .await;
    assert_eq!(said(&status), (200, "null"));
    assert_eq!(server.told.take(), [r#"{"n":1}"#, "x running by 127.0.0.1"]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let server = Server::start(&settings()).await;
    let body = |length: usize| format!(r#"{{"containers":["a"],"data":{{"x":"{}"}}}}"#, "x".repeat(length - 37));
    assert_eq!(said(&server.post("/api/jobs", &body(10_000)).await).0, 200);
    let expected = (413, r#"{"error":"The body is larger than 10000 bytes"}"#);
    assert_eq!(said(&server.post("/api/jobs", &body(10_001)).await), expected);
    let large = server.post("/api/jobs/batch", &body(20_000_000)).await;
    assert_eq!(said(&large), expected);
    assert_eq!(header(&large, "connection"), Some("close"));
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let head = "POST /api/jobs HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = server.ask(format!("{head}{}0\r\n\r\n", chunk.repeat(100))).await;
    assert_eq!(said(&chunked), expected);
    let waits = "POST /api/jobs HTTP/1.1\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 99999\r\n\r\n";
    let answer = server.ask(waits).await;
    assert_eq!(said(&answer), expected, "no 100 Continue comes before it");
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_nobody_read() {
    let server = Server::start(&settings()).await;
    let refused = format!(
        "POST /health HTTP/1.1\r\ncontent-length: 5000\r\n\r\n{}",
        "x".repeat(5000)
    );
    let answers = server
        .ask(format!("{refused}GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"))
        .await;
    assert_eq!(answers.matches("HTTP/1.1 405").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
}

#[tokio::test]
async fn errors_of_http_itself_are_json_too() {
    let server = Server::start(&settings()).await;
    let ids = |count: usize| "id=01890a5d-ac96-774b-bcce-b302099a8057&".repeat(count);
    let answer = server.get(&format!("/api/jobs?{}", ids(1637))).await;
    assert_eq!(said(&answer).0, 200);
    assert_eq!(answer.matches("success").count(), 1637);
    let answer = server.get(&format!("/api/jobs?{}", ids(1639))).await;
    let expected = r#"{"error":"The address is longer than 65534 bytes: ask for fewer ids at once"}"#;
    assert_eq!(said(&answer), (414, expected));
    let answer = server.get(&format!("/api/jobs?{}", ids(10_000))).await;
    let expected = r#"{"error":"The head of the request is larger than 98304 bytes: ask for fewer ids at once"}"#;
    assert_eq!(said(&answer), (431, expected));
    let many = "x: y\r\n".repeat(200);
    let answer = server.ask(format!("GET /health HTTP/1.1\r\n{many}\r\n")).await;
    assert_eq!(said(&answer), (431, expected));
    let answer = server.ask("what is this?\r\n\r\n").await;
    assert_eq!(said(&answer), (400, r#"{"error":"The request is not HTTP/1.1"}"#));
}

#[tokio::test]
async fn the_id_leaves_alone_and_then_the_bytes_as_they_are() {
    let server = Server::start(&settings()).await;
    let body = r#"{"containers":["one","","bytes","two"],"data":{}}"#;
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs/stream HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 4096];
    let length = socket.read(&mut first).await.unwrap();
    let first = String::from_utf8(first[..length].to_vec()).unwrap();
    assert!(first.ends_with("\r\n\r\n6\r\nan-id\n\r\n"), "{first}");
    assert!(first.contains("ratelimit-limit: "));
    assert_eq!(header(&first, "content-type"), Some("application/octet-stream"));
    let expected = b"3\r\none\r\n2\r\n\xff\0\r\n3\r\ntwo\r\n0\r\n\r\n";
    let mut rest = vec![0; expected.len()];
    socket.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn a_stream_that_fails_ends_after_what_came() {
    let server = Server::start(&settings()).await;
    let answer = server
        .post("/api/jobs/stream", r#"{"containers":["fail","more"],"data":{}}"#)
        .await;
    assert_eq!(said(&answer), (200, "6\r\nan-id\n\r\n0\r\n\r\n"));
    let answer = server
        .post("/api/jobs/stream", r#"{"containers":["a","fail"],"data":{}}"#)
        .await;
    assert_eq!(said(&answer), (200, "6\r\nan-id\n\r\n1\r\na\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_stream() {
    let server = Server::start(&settings()).await;
    let body = r#"{"containers":["hang"],"data":{}}"#;
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs/stream HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut some = [0; 4096];
    assert!(socket.read(&mut some).await.unwrap() > 0);
    assert!(server.told.take().is_empty());
    drop(socket);
    until(|| server.told.take() == ["gone"]).await;
}

async fn until(mut is_true: impl FnMut() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it came true in time");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_when_to_come_again() {
    let mut settings = settings();
    settings.rate_limit = RateLimit {
        requests: 2,
        period: Duration::from_hours(1),
    };
    let server = Server::start(&settings).await;
    let limits = |answer: &str| {
        let names = [
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "retry-after",
        ];
        names
            .map(|name| header(answer, name).map(str::to_owned))
            .map(Option::unwrap_or_default)
    };
    assert_eq!(limits(&server.get("/health").await), ["2", "1", "1800", ""]);
    let last = server.ask("HEAD /health HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(limits(&last), ["2", "0", "3600", ""]);
    let refused = server.get("/health").await;
    assert_eq!(said(&refused), (429, r#"{"error":"Too many requests"}"#));
    assert_eq!(limits(&refused), ["2", "0", "3600", "1800"]);
    // Another route; errors count too, but not what is no route.
    let wrong = server.post("/api/jobs", "").await;
    assert_eq!(
        (said(&wrong).0, limits(&wrong)),
        (400, ["2", "1", "1800", ""].map(str::to_owned))
    );
    assert_eq!(header(&server.get("/").await, "ratelimit-limit"), None);
    for _ in 0..10 {
        assert_eq!(said(&server.send("PUT /api/status", "", "").await).0, 400);
    }
}

#[tokio::test]
async fn a_status_is_set_by_neighbours_only() {
    let mut settings = settings();
    settings.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
    settings.status_networks = Networks::parse(["172.17.0.0/16"]).unwrap();
    let server = Server::start(&settings).await;
    let body = r#"{"id":"x","status":"success","containers":[]}"#;
    let status = |headers: &'static str| server.send("PUT /api/status", headers, body);
    assert_eq!(said(&status("").await), (200, "null"));
    assert_eq!(said(&status("x-forwarded-for: 172.17.0.2\r\n").await), (200, "null"));
    for headers in [
        "x-forwarded-for: 9.9.9.9\r\n",
        "x-forwarded-for: 127.0.0.1, 9.9.9.9\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "via: 1.1 proxy\r\n",
        "forwarded: for=127.0.0.1\r\n",
    ] {
        assert_eq!(
            said(&status(headers).await),
            (403, r#"{"error":"Unauthorized"}"#),
            "{headers}"
        );
    }
    let garbage = status("x-forwarded-for: what\r\n").await;
    assert_eq!(
        said(&garbage),
        (400, r#"{"error":"X-Forwarded-For: expected addresses"}"#)
    );
    assert_eq!(
        server.told.take(),
        ["x success by 127.0.0.1", "x success by 172.17.0.2"]
    );
    let asked =
        server.ask("GET /health HTTP/1.1\r\nx-forwarded-for: 6.6.6.6, ::ffff:9.9.9.9\r\nconnection: close\r\n\r\n");
    assert_eq!(said(&asked.await).0, 200);
    assert_eq!(server.told.take(), ["health for 9.9.9.9"]);
}

#[tokio::test]
async fn it_stops_when_nobody_is_at_work() {
    let server = Server::start(&settings()).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    let mut some = [0; 4096];
    assert!(idle.read(&mut some).await.unwrap() > 0);
    server.stop.cancel();
    assert_eq!(idle.read(&mut some).await.unwrap(), 0);
    drop(idle);
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn it_stops_after_requests_that_are_at_work() {
    let server = Server::start(&settings()).await;
    let body = JOB.as_bytes();
    let mut socket = server.connect().await;
    let head = format!(
        "POST /api/jobs HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body[..10]).await.unwrap();
    // Another connection's answer shows that the first one was accepted.
    assert_eq!(said(&server.get("/health").await).0, 200);
    server.stop.cancel();
    until(|| server.serving.is_finished() || std::net::TcpStream::connect(server.address).is_err()).await;
    assert!(!server.serving.is_finished());
    socket.write_all(&body[10..]).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert_eq!(said(&answer), (200, r#"{"id":"an-id"}"#));
    server.serving.await.unwrap();
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server = Server::start(&settings()).await;
    let (sender, mut open) = mpsc::channel(1);
    let (done, wait) = oneshot::channel::<()>();
    let address = server.address;
    let opening = tokio::spawn(async move {
        let mut sockets = Vec::new();
        for _ in 0..listen::MAX_CONNECTIONS {
            sockets.push(TcpStream::connect(address).await.unwrap());
        }
        sender.send(()).await.unwrap();
        let _ = wait.await;
    });
    open.recv().await.unwrap();
    let mut refused = String::new();
    server.connect().await.read_to_string(&mut refused).await.unwrap();
    assert_eq!(
        said(&refused),
        (503, r#"{"error":"The node has too many connections"}"#)
    );
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    done.send(()).unwrap();
    opening.await.unwrap();
}

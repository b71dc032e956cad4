//! What is answered to whom.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::infernet::config::settings::RateLimit;

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
    let body = |length: usize| format!(r#"{{"containers":["a"],"data":{{"x":"{}"}}}}"#, "x".repeat(length - 36));
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

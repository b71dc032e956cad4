//! Bad input: every rule is met once, at every endpoint that it holds for. Each answer is a 4xx in OpenAI's shape that names
//! what is wrong; none costs a credit, none reaches a node, none is a fault of ours. What breaks HTTP itself is in
//! `bad_http.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod bad_fields;
mod harness;

use harness::node::TestNode;
use harness::{TestServer, container, model};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder};
use resultity_core::capability::Capability;
use resultity_core::credits::Credits;
use resultity_server::assemble::Offer;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Everything of the Cloud API that takes JSON: the path, a body that would be accepted, and what is missing first where
/// there is nothing.
fn endpoints() -> Vec<(&'static str, Value, &'static str)> {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let batch = json!({
        "input_file_id": "file-0190a6f6000070008000000000000001", "endpoint": "/v1/completions",
        "completion_window": "24h",
    });
    vec![
        ("/v1/chat/completions", chat.clone(), "model"),
        ("/v1/completions", json!({"model": "m", "prompt": "hi"}), "model"),
        ("/v1/embeddings", json!({"model": "e", "input": "hi"}), "model"),
        ("/v1/responses", json!({"model": "m", "input": "hi"}), "model"),
        ("/v1/compute", json!({"model": "c", "data": {"a": 1}}), "model"),
        ("/v1/batches", batch, "input_file_id"),
        (
            "/v1/jobs",
            json!({"endpoint": "/v1/chat/completions", "body": chat}),
            "endpoint",
        ),
        (
            "/v1/jobs/job_0190a6f6000070008000000000000001/feedback",
            json!({"rating": "up"}),
            "rating",
        ),
        ("/v1/webhooks", json!({"url": "https://example.com/hook"}), "url"),
    ]
}

/// The endpoint at this path, and a body that it would accept.
fn endpoint(path: &str) -> (&'static str, Value) {
    let found = endpoints().into_iter().find(|(known, ..)| known.ends_with(path));
    let (path, good, _) = found.unwrap_or_else(|| panic!("{path} is not listed"));
    (path, good)
}

/// What was wrong, how it is asked, and what is expected: status, code, param.
struct Case {
    name: String,
    request: RequestBuilder,
    expected: (u16, &'static str, Option<String>),
}

/// A server with a node that has nothing to do, and what was found.
struct Table {
    server: TestServer,
    node: TestNode,
    http: Client,
    cases: Vec<Case>,
}

impl Table {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut embeddings = model("e");
        embeddings.capabilities = Capability::names([Capability::Embeddings, Capability::Cl100kBase]);
        let mut offer = Offer::new(vec![model("m"), embeddings, container("c")]);
        // The node says nothing until all cases are through.
        offer.heartbeat_interval_ms = 3_600_000;
        let server = TestServer::with(offer).await;
        let node = TestNode::ready(&server.io_url(), "m", 1).await;
        server.until_served("m").await;
        let http = Client::builder().no_proxy().build().unwrap();
        let cases = Vec::new();
        Self {
            server,
            node,
            http,
            cases,
        }
    }

    /// A request without a key.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.base_url()))
    }

    fn with_key(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(self.server.api_key.expose_secret())
    }

    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.with_key(Method::POST, path)
            .header(CONTENT_TYPE, "application/json")
            .body(body)
    }

    fn add(&mut self, name: impl Into<String>, request: RequestBuilder, status: u16, code: &'static str) {
        self.cases.push(Case {
            name: name.into(),
            request,
            expected: (status, code, None),
        });
    }

    /// One that names the field.
    fn add_field(&mut self, path: &str, body: &Value, code: &'static str, param: &str) {
        self.cases.push(Case {
            name: format!("{path} {body}"),
            request: self.post(path, body.to_string()),
            expected: (400, code, Some(param.to_owned())),
        });
    }

    /// Asks everything, then makes sure that nothing was spent and the node saw nothing of it.
    async fn check(mut self) {
        let mut wrong = Vec::new();
        let count = self.cases.len();
        for case in std::mem::take(&mut self.cases) {
            if let Err(found) = verify(case.request, &case.expected).await {
                wrong.push(format!("{}: expected {:?}, {found}", case.name, case.expected));
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        self.server.assert_charged(Credits::ZERO).await;
        let report = self.server.store.audit().await.unwrap();
        assert_eq!((report.jobs, report.open_holds), (0, 0));
        let good = json!({"model": "m", "messages": [{"role": "user", "content": "the first thing that is right"}]});
        let asked = tokio::spawn(self.post("/v1/chat/completions", good.to_string()).send());
        let job = self.node.next_job().await;
        assert!(job.body.get().contains("the first thing that is right"), "{}", job.body);
        self.node.answer(&job, "yes").await;
        assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    }
}

/// Asks, and says what is not as it should be.
async fn verify(request: RequestBuilder, expected: &(u16, &str, Option<String>)) -> Result<(), String> {
    let response = harness::soon("an answer", request.send())
        .await
        .map_err(|error| format!("{error:?}"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    let found = || format!("found {status}: {text}");
    let body: Value = serde_json::from_str(&text).map_err(|_| found())?;
    let error = body["error"].as_object().ok_or_else(found)?;
    let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let is_right = (status, error["code"].as_str(), error["param"].as_str())
        == (expected.0, Some(expected.1), expected.2.as_deref())
        && keys == ["code", "message", "param", "type"]
        && error["message"].as_str().is_some_and(|message| !message.is_empty())
        && headers.contains_key("x-request-id")
        && (status != 401 || headers.get("www-authenticate").is_some_and(|scheme| scheme == "Bearer"))
        && (status != 405 || headers.contains_key("allow"));
    if is_right { Ok(()) } else { Err(found()) }
}

#[tokio::test]
async fn nobody_is_let_in_without_the_right_key_whatever_the_body() {
    let mut table = Table::new().await;
    let key = table.server.api_key.expose_secret().to_owned();
    let forms = [
        "rk_test_wrong".to_owned(),
        key.clone(),
        format!("Basic {key}"),
        format!("Bearer{key}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer rk_test_wrong".to_owned(),
        format!("Bearer {key} {key}"),
        format!("Bearer {key}x"),
        format!("Bearer \"{key}\""),
        format!("Bearer {}", "k".repeat(4000)),
        format!("Bearer {}", key.to_uppercase()),
    ];
    for (path, good, _) in endpoints() {
        for body in [good.to_string(), "{".to_owned()] {
            table.add(
                format!("{path} without a key"),
                table.bare(Method::POST, path).body(body.clone()),
                401,
                "invalid_api_key",
            );
        }
        for form in &forms {
            let request = table.bare(Method::POST, path).header(AUTHORIZATION, form);
            table.add(format!("{path} {form}"), request.body("{"), 401, "invalid_api_key");
        }
        let bytes = reqwest::header::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
        let request = table.bare(Method::POST, path).header(AUTHORIZATION, bytes);
        table.add(format!("{path} bytes"), request, 401, "invalid_api_key");
        let twice = table.with_key(Method::POST, path).header(AUTHORIZATION, "Bearer other");
        table.add(
            format!("{path} two keys"),
            twice.body(good.to_string()),
            401,
            "invalid_api_key",
        );
    }
    for path in ["/v1/models", "/v1/models/m"] {
        table.add(path, table.bare(Method::GET, path), 401, "invalid_api_key");
    }
    let grant = table.with_key(Method::POST, "/gate/v1/admin/credits").body("{}");
    table.add("an API key for the administrator's", grant, 401, "not_signed_in");
    table.check().await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_before_its_fields() {
    let mut table = Table::new().await;
    let deep = |open: &str, close: &str| format!("{{\"x\":{}1{}}}", open.repeat(200), close.repeat(200));
    for (path, good, missing) in endpoints() {
        let good = good.to_string();
        let bodies: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", Vec::new()),
            ("blanks", b" \n\t ".to_vec()),
            ("cut off", good.as_bytes()[..good.len() - 1].to_vec()),
            ("cut off in a text", b"{\"x\": \"abc".to_vec()),
            ("two bodies", format!("{good}{good}").into()),
            ("a form", b"model=m".to_vec()),
            ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat()),
            ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("invalid UTF-8", b"{\"x\": \"\xff\"}".to_vec()),
            ("an overlong form", b"{\"x\": \"\xc0\xaf\"}".to_vec()),
            ("half a surrogate", br#"{"x": "\ud800"}"#.to_vec()),
            ("a control character", b"{\"x\": \"\x00\"}".to_vec()),
            ("a comment", b"{/* x */}".to_vec()),
            ("a comma too many", b"{\"x\": 1,}".to_vec()),
            ("single quotes", b"{'x': 1}".to_vec()),
            ("not a number", b"{\"x\": NaN}".to_vec()),
            ("a number beyond all", b"{\"x\": 1e999}".to_vec()),
            ("a leading zero", b"{\"x\": 01}".to_vec()),
            ("arrays in arrays", deep("[", "]").into()),
            ("objects in objects", deep("{\"a\":", "}").into()),
            ("a name twice", b"{\"x\": 1, \"x\": 1}".to_vec()),
            (
                "a name twice, one escaped",
                br#"{"model": "m", "\u006dodel": "n"}"#.to_vec(),
            ),
            (
                "a name twice, deep",
                b"{\"x\": [{\"y\": {\"a\": 1, \"a\": 2}}]}".to_vec(),
            ),
        ];
        for (name, body) in bodies {
            table.add(format!("{path} {name}"), table.post(path, body), 400, "invalid_json");
        }
        for body in ["[]", "[{}]", "\"model\"", "5", "null", "true"] {
            table.add(format!("{path} {body}"), table.post(path, body), 400, "invalid_value");
        }
        table.add_field(path, &json!({}), "missing_required_parameter", missing);
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonl",
            "application/json, text/plain",
            "",
        ] {
            let request = table.with_key(Method::POST, path).header(CONTENT_TYPE, kind);
            table.add(
                format!("{path} as {kind:?}"),
                request.body(good.clone()),
                400,
                "invalid_json",
            );
        }
        for encoding in ["gzip", "br", "identity, gzip"] {
            let request = table.post(path, good.clone()).header(CONTENT_ENCODING, encoding);
            table.add(format!("{path} {encoding}"), request, 400, "invalid_json");
        }
        let large = vec![b' '; 20 * 1024 * 1024];
        table.add(
            format!("{path} 20 MB"),
            table.post(path, large),
            413,
            "payload_too_large",
        );
    }
    table.check().await;
}

/// A body with a field changed, by its path such as `messages[0].role`.
fn changed(good: &Value, path: &str, value: Value) -> Value {
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut body = good.clone();
    match body.pointer_mut(parent).unwrap_or_else(|| panic!("{path} is nowhere")) {
        Value::Object(fields) => {
            fields.insert(name.into(), value);
        }
        Value::Array(entries) => entries[name.parse::<usize>().unwrap()] = value,
        other => panic!("{path} is in {other}"),
    }
    body
}

#[tokio::test]
async fn a_wrong_type_is_named_at_every_depth() {
    let mut table = Table::new().await;
    let values = [
        json!("x"),
        json!(true),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"a": {"b": []}}),
    ];
    let is = |kinds: &str, value: &Value| match value {
        Value::String(_) => kinds.contains('s'),
        Value::Bool(_) => kinds.contains('b'),
        Value::Number(_) => kinds.contains('n'),
        Value::Array(_) => kinds.contains('a'),
        Value::Object(_) => kinds.contains('o'),
        Value::Null => true,
    };
    for (path, fields) in bad_fields::KINDS {
        let (path, good) = endpoint(path);
        for (field, kinds) in *fields {
            for value in values.iter().filter(|value| !is(kinds, value)) {
                table.add_field(path, &changed(&good, field, value.clone()), "invalid_value", field);
            }
        }
    }
    table.check().await;
}

#[tokio::test]
async fn a_wrong_value_is_named() {
    let mut table = Table::new().await;
    for (path, cases) in bad_fields::values() {
        let (path, good) = endpoint(path);
        for (field, value, code, param) in cases {
            table.add_field(path, &changed(&good, field, value), code, param);
        }
    }
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/compute",
    ] {
        let (path, good) = endpoint(path);
        for name in ["nobody", "", "M", " m", "m ", "../m", "m\u{0}"] {
            let body = changed(&good, "model", json!(name)).to_string();
            table.cases.push(Case {
                name: format!("{path} {body}"),
                request: table.post(path, body),
                expected: (404, "model_not_found", Some("model".into())),
            });
        }
    }
    table.check().await;
}

#[tokio::test]
async fn what_is_wrong_beside_the_body_is_named() {
    let mut table = Table::new().await;
    let (path, good) = endpoint("/v1/chat/completions");
    for (name, value) in bad_fields::HEADERS {
        table.cases.push(Case {
            name: format!("{name}: {value}"),
            request: table.post(path, good.to_string()).header(*name, *value),
            expected: (400, "invalid_value", Some((*name).into())),
        });
    }
    for (path, param) in bad_fields::QUERIES {
        table.cases.push(Case {
            name: (*path).into(),
            request: table.with_key(Method::GET, path),
            expected: (400, "invalid_value", Some((*param).into())),
        });
    }
    table.check().await;
}

#[tokio::test]
async fn a_form_that_is_no_upload_is_refused() {
    let mut table = Table::new().await;
    let part =
        |name: &str, value: &str| format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{}\r\n";
    let purpose = part("purpose", "user_data");
    let end = "--x--\r\n";
    let form = "multipart/form-data; boundary=x";
    let cases = [
        (form, String::new(), "invalid_value", None),
        (form, "nonsense".into(), "invalid_value", None),
        (form, format!("{purpose}{file}"), "invalid_value", None),
        (form, end.into(), "missing_required_parameter", Some("purpose")),
        (
            form,
            format!("{purpose}{end}"),
            "missing_required_parameter",
            Some("file"),
        ),
        (
            form,
            format!("{file}{end}"),
            "missing_required_parameter",
            Some("purpose"),
        ),
        (
            form,
            format!("{file}{}{end}", part("purpose", "fun")),
            "invalid_value",
            Some("purpose"),
        ),
        (
            form,
            format!("{file}{purpose}{}{end}", part("expires_after[seconds]", "soon")),
            "invalid_value",
            Some("expires_after[seconds]"),
        ),
        (
            form,
            format!("{file}{purpose}{}{end}", purpose.repeat(20)),
            "invalid_value",
            Some("purpose"),
        ),
        (
            "multipart/form-data",
            format!("{file}{purpose}{end}"),
            "invalid_value",
            None,
        ),
        ("application/json", "{}".into(), "invalid_value", None),
        ("text/plain", "x".into(), "invalid_value", None),
    ];
    for (kind, body, code, param) in cases {
        table.cases.push(Case {
            name: format!("{kind} {body:?}"),
            request: table
                .with_key(Method::POST, "/v1/files")
                .header(CONTENT_TYPE, kind)
                .body(body),
            expected: (400, code, param.map(str::to_owned)),
        });
    }
    table.add(
        "no key",
        table.bare(Method::POST, "/v1/files").body("x"),
        401,
        "invalid_api_key",
    );
    table.check().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let mut table = Table::new().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/models",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "//v1/models",
        "/v1/chat%2Fcompletions",
        "/V1/models",
    ] {
        table.add(path, table.with_key(Method::GET, path), 404, "not_found");
    }
    for path in [
        "/v1/models/nobody",
        "/v1/models/a/b",
        "/v1/models/a%2Fb",
        "/v1/models/%00",
    ] {
        table.cases.push(Case {
            name: path.into(),
            request: table.with_key(Method::GET, path),
            expected: (404, "model_not_found", Some("model".into())),
        });
    }
    let brew = Method::from_bytes(b"BREW").unwrap();
    for (path, good, _) in endpoints() {
        for method in [Method::PUT, Method::PATCH, Method::TRACE, brew.clone()] {
            let request = table.with_key(method.clone(), path).body(good.to_string());
            table.add(format!("{method} {path}"), request, 405, "method_not_allowed");
        }
    }
    let ids = [
        "/v1/responses/{}",
        "/v1/responses/{}/input_items",
        "/v1/files/{}",
        "/v1/files/{}/content",
        "/v1/batches/{}",
        "/v1/jobs/{}",
        "/v1/jobs/{}/receipt",
        "/v1/webhooks/{}",
        "/v1/webhooks/{}/deliveries",
        "/v1/webhooks/{}/deliveries/{}",
    ];
    for path in ids {
        let known = "0190a6f6000070008000000000000001";
        for id in [
            "x",
            "%00",
            "%ff",
            "..%2f..",
            known,
            &format!("resp_{known}"),
            &"9".repeat(500),
        ] {
            let path = path.replace("{}", id);
            let request = table.with_key(Method::GET, &path);
            table.add(path, request, 404, "not_found");
        }
    }
    for path in ["/v1/images/generations", "/v1/audio/speech", "/v1/moderations"] {
        table.add(path, table.post(path, "{"), 501, "not_implemented");
    }
    let get = table.with_key(Method::GET, "/v1/chat/completions");
    table.add("GET for POST", get, 405, "method_not_allowed");
    let post = table.post("/v1/models", "{}");
    table.add("POST for GET", post, 405, "method_not_allowed");
    table.add("no upgrade", table.bare(Method::GET, "/io/v1/ws"), 400, "invalid_value");
    table.check().await;
}

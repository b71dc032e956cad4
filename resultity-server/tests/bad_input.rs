//! Bad input: every rule is met once, at every endpoint that it holds for. Each answer is a 4xx in OpenAI's shape that names
//! what is wrong; none costs a credit, none reaches a node, none is a fault of ours. What breaks HTTP itself is in
//! `bad_http.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::TestServer;
use harness::node::TestNode;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, Method, RequestBuilder};
use resultity_core::credits::Credits;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Everything that takes JSON: the path, a body that would be accepted, and what is missing first where there is nothing.
fn endpoints() -> Vec<(&'static str, Value, &'static str)> {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    vec![("/v1/chat/completions", chat, "model")]
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
        let server = TestServer::start().await;
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
    table.add("an API key for the administrator's", grant, 401, "invalid_api_key");
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
    let pointer = format!("/{}", path.replace('.', "/").replace('[', "/").replace(']', ""));
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
    // The kinds that a field can have: string, bool, number, array, object. Null is as good as nothing.
    let fields: [(&str, &[(&str, &str)]); 1] = [(
        "/v1/chat/completions",
        &[
            ("model", "s"),
            ("messages", "a"),
            ("messages[0]", "o"),
            ("messages[0].role", "s"),
            ("messages[0].content", "sa"),
            ("messages[0].name", "s"),
            ("max_tokens", "n"),
            ("max_completion_tokens", "n"),
            ("temperature", "n"),
            ("top_p", "n"),
            ("n", "n"),
            ("stop", "sa"),
            ("stream", "b"),
            ("presence_penalty", "n"),
            ("frequency_penalty", "n"),
            ("user", "s"),
            ("metadata", "o"),
        ],
    )];
    for (path, fields) in fields {
        let (_, good, _) = endpoints().into_iter().find(|(known, ..)| *known == path).unwrap();
        for (field, kinds) in fields {
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
    let chat = "/v1/chat/completions";
    let (_, good, _) = endpoints().remove(0);
    let cases = [
        ("messages", json!([]), "invalid_value", "messages"),
        ("messages", json!([5]), "invalid_value", "messages[0]"),
        (
            "messages[0]",
            json!({"content": "x"}),
            "missing_required_parameter",
            "messages[0].role",
        ),
        (
            "messages[0]",
            json!({"role": "user"}),
            "missing_required_parameter",
            "messages[0].content",
        ),
        ("messages[0].role", json!("king"), "invalid_value", "messages[0].role"),
        ("messages[0].content", json!([]), "invalid_value", "messages[0].content"),
        (
            "messages[0].content",
            json!([5]),
            "invalid_value",
            "messages[0].content[0]",
        ),
        (
            "messages[0].content",
            json!([{}]),
            "invalid_value",
            "messages[0].content[0].type",
        ),
        ("temperature", json!(2.0001), "invalid_value", "temperature"),
        ("temperature", json!(-1e300), "invalid_value", "temperature"),
        ("top_p", json!(1.1), "invalid_value", "top_p"),
        ("n", json!(0), "invalid_value", "n"),
        ("n", json!(u64::MAX), "invalid_value", "n"),
        ("max_tokens", json!(0), "invalid_value", "max_tokens"),
        ("max_tokens", json!(u64::MAX), "context_length_exceeded", "max_tokens"),
        (
            "max_completion_tokens",
            json!(4097),
            "context_length_exceeded",
            "max_completion_tokens",
        ),
        ("stop", json!(["a", "b", "c", "d", "e"]), "invalid_value", "stop"),
        ("stop", json!([5]), "invalid_value", "stop[0]"),
        ("presence_penalty", json!(-3), "invalid_value", "presence_penalty"),
        ("frequency_penalty", json!(3), "invalid_value", "frequency_penalty"),
        (
            "stream_options",
            json!({"include_usage": true}),
            "invalid_value",
            "stream_options",
        ),
    ];
    for (field, value, code, param) in cases {
        table.add_field(chat, &changed(&good, field, value), code, param);
    }
    for name in ["nobody", "", "M", " m", "m ", "../m", "m\u{0}"] {
        let body = changed(&good, "model", json!(name)).to_string();
        table.cases.push(Case {
            name: format!("the model {name:?}"),
            request: table.post(chat, body),
            expected: (404, "model_not_found", Some("model".into())),
        });
    }
    table.check().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let mut table = Table::new().await;
    for path in [
        "/",
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
        for method in [Method::PUT, Method::PATCH, brew.clone()] {
            let request = table.with_key(method.clone(), path).body(good.to_string());
            table.add(format!("{method} {path}"), request, 405, "method_not_allowed");
        }
    }
    let get = table.with_key(Method::GET, "/v1/chat/completions");
    table.add("GET for POST", get, 405, "method_not_allowed");
    let post = table.post("/v1/models", "{}");
    table.add("POST for GET", post, 405, "method_not_allowed");
    table.add("no upgrade", table.bare(Method::GET, "/io/v1/ws"), 400, "invalid_value");
    table.check().await;
}

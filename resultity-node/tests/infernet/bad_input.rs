//! Bad input: every rule is met once, and each answer is told exactly. None is a fault of the node's, none reaches a container,
//! none leaves a job. What breaks HTTP itself is in `bad_http`.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use resultity_core::testing::node::{ECHO, NOBODY, UPPER};
use serde_json::{Value, json};

use crate::harness::{Asker, CALLER, Containers, Served, soon, until};

/// What is asked, and what is expected.
struct Case {
    name: String,
    request: RequestBuilder,
    status: u16,
    body: Value,
}

/// A node with nothing to do, and what it is to be asked.
struct Table {
    containers: Containers,
    served: Served,
    asker: Asker,
    cases: Vec<Case>,
}

impl Table {
    async fn new() -> Option<Self> {
        let containers = Containers::start().await?;
        let served = Served::start(&containers).await;
        let asker = Asker::new(served.address(), CALLER);
        Some(Self {
            containers,
            served,
            asker,
            cases: Vec::new(),
        })
    }

    fn send(&self, method: &Method, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.asker.request(method.clone(), path);
        request.header(CONTENT_TYPE, "application/json").body(body)
    }

    fn add(&mut self, name: impl Into<String>, request: RequestBuilder, status: u16, body: Value) {
        self.cases.push(Case {
            name: name.into(),
            request,
            status,
            body,
        });
    }

    /// A body that is refused with 400 and these words.
    fn add_invalid(&mut self, (method, path): &(Method, &str), body: impl Into<Vec<u8>>, error: &str) {
        let body = body.into();
        let name = format!(
            "{method} {path} {}",
            String::from_utf8_lossy(&body[..body.len().min(120)])
        );
        let request = self.send(method, path, body);
        self.add(name, request, 400, json!({"error": error}));
    }

    /// Asks everything. Then nothing has come of it, and the node works.
    async fn check(mut self) {
        let mut wrong = Vec::new();
        let count = self.cases.len();
        for case in std::mem::take(&mut self.cases) {
            if let Err(found) = verify(case.request, case.status, &case.body).await {
                wrong.push(format!(
                    "{}: expected {} {}, {found}",
                    case.name, case.status, case.body
                ));
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(self.containers.calls().await, Vec::<Value>::new(), "a container saw it");
        assert_eq!(self.asker.get("/api/jobs").await, json!([]), "it left a job");
        assert_eq!(self.asker.get("/info").await["pending"]["offchain"], 0);
        let good = self
            .asker
            .begin(&[UPPER], json!({"text": "the first that is right"}))
            .await;
        assert_eq!(self.asker.output(&good).await["text"], "THE FIRST THAT IS RIGHT");
        drop(self.served);
    }
}

/// Asks, and says what is not as it should be.
async fn verify(request: RequestBuilder, status: u16, body: &Value) -> Result<(), String> {
    let response = soon("an answer", request.send()).await;
    let response = response.map_err(|error| format!("{error:?}"))?;
    let (found_status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    let found = || format!("found {found_status}: {}", text.chars().take(400).collect::<String>());
    let found_body: Value = serde_json::from_str(&text).map_err(|_| found())?;
    let is_right = (found_status, &found_body) == (status, body)
        && headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
        && (found_body["error"] != "Method not allowed" || headers.contains_key("allow"));
    if is_right { Ok(()) } else { Err(found()) }
}

const JOBS: (Method, &str) = (Method::POST, "/api/jobs");
const STREAM: (Method, &str) = (Method::POST, "/api/jobs/stream");
const BATCH: (Method, &str) = (Method::POST, "/api/jobs/batch");
const STATUS: (Method, &str) = (Method::PUT, "/api/status");

/// One value of each type of JSON.
fn values() -> Vec<Value> {
    vec![
        json!(true),
        json!(0),
        json!(-1.5),
        json!(u64::MAX),
        json!(""),
        json!("text"),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": 1}),
    ]
}

/// A field, what it is to be in words, whether it has to be there, and whether a value is of that type.
type Field = (&'static str, &'static str, bool, fn(&Value) -> bool);

const CONTAINERS: Field = ("containers", "a list of container ids", true, Value::is_array);
const DATA: Field = ("data", "an object", true, Value::is_object);
const PROOF: Field = ("requires_proof", "true or false", false, Value::is_boolean);
const ID: Field = ("id", "a string", true, Value::is_string);

fn job() -> Value {
    json!({"containers": [ECHO], "data": {}, "requires_proof": false})
}

fn update() -> Value {
    json!({"id": "x", "status": "running", "containers": [ECHO]})
}

fn with(good: &Value, field: &str, value: Value) -> Value {
    let mut changed = good.clone();
    changed[field] = value;
    changed
}

fn without(good: &Value, field: &str) -> Value {
    let mut changed = good.clone();
    changed.as_object_mut().unwrap().remove(field);
    changed
}

#[tokio::test]
async fn fields_that_are_missing_or_wrong_are_named() {
    let Some(mut table) = Table::new().await else { return };
    let endpoints: [(&(Method, &str), Value, &[Field]); 3] = [
        (&JOBS, job(), &[CONTAINERS, DATA, PROOF]),
        (&STREAM, job(), &[CONTAINERS, DATA, PROOF]),
        (&STATUS, update(), &[ID, CONTAINERS]),
    ];
    for (at, good, fields) in &endpoints {
        for (name, what, is_needed, is_right) in *fields {
            if *is_needed {
                let missing = format!("{name}: missing, expected {what}");
                table.add_invalid(at, without(good, name).to_string(), &missing);
                table.add_invalid(at, with(good, name, Value::Null).to_string(), &missing);
            }
            for value in values().into_iter().filter(|value| !is_right(value)) {
                let wrong = format!("{name}: expected {what}");
                table.add_invalid(at, with(good, name, value).to_string(), &wrong);
            }
        }
        for entry in [json!(null), json!(1), json!(["echo"]), json!({})] {
            let list = with(good, "containers", json!(["a", entry]));
            table.add_invalid(at, list.to_string(), "containers[1]: expected a string");
        }
        let many = with(good, "containers", json!(vec![ECHO; 257]));
        table.add_invalid(at, many.to_string(), "containers: expected at most 256 container ids");
        for twice in ["containers", "id"] {
            let text = good.to_string();
            let text = format!("{},\"{twice}\":[\"other\"]}}", text.trim_end_matches('}'));
            if text.matches(&format!("\"{twice}\"")).count() > 1 {
                table.add_invalid(at, text, &format!("{twice} stands there twice"));
            }
        }
        // What is wrong first is told, and nothing else.
        table.add_invalid(
            at,
            "{}",
            match at.1 {
                "/api/status" => "id: missing, expected a string",
                _ => "containers: missing, expected a list of container ids",
            },
        );
    }
    for value in values() {
        if value.is_string() {
            let reason = "status: expected one of success, failed, running";
            let body = json!({"error": "Status is invalid", "params": {"reason": reason}});
            let request = table.send(&STATUS.0, STATUS.1, with(&update(), "status", value).to_string());
            table.add("status", request, 400, body);
        } else {
            let wrong = "status: expected one of success, failed, running";
            table.add_invalid(&STATUS, with(&update(), "status", value).to_string(), wrong);
        }
    }
    let missing = "status: missing, expected one of success, failed, running";
    table.add_invalid(&STATUS, without(&update(), "status").to_string(), missing);
    for id in [String::new(), "x".repeat(129), "x".repeat(100_000)] {
        let wrong = with(&update(), "id", json!(id));
        table.add_invalid(&STATUS, wrong.to_string(), "id: expected 1 to 128 bytes");
    }
    // A name that nobody has is not given back whole.
    let huge = json!({"containers": ["x".repeat(1 << 20)], "data": {}});
    let body = json!({"error": "Container not supported", "params": {"container": "x".repeat(256)}});
    let request = table.send(&JOBS.0, JOBS.1, huge.to_string());
    table.add("a huge container id", request, 405, body);
    table.check().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let Some(mut table) = Table::new().await else { return };
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(129), close.repeat(129));
    for at in [&JOBS, &STREAM, &BATCH, &STATUS] {
        let good = if at.1 == STATUS.1 { update() } else { job() };
        for empty in ["", " ", "\r\n\t"] {
            table.add_invalid(at, empty, "The body is empty: expected JSON");
        }
        table.add_invalid(at, b"{\"containers\":[\"\xff\"]}".as_slice(), "The body is not UTF-8");
        table.add_invalid(at, b"\xff\xfe{\0}\0".as_slice(), "The body is not UTF-8");
        table.add_invalid(at, b"{\"data\":\"\xed\xa0\x80\"}".as_slice(), "The body is not UTF-8");
        for deep in [
            deep("[", "]"),
            deep("{\"a\":", "}"),
            "[".repeat(100_000),
            "{\"a\":".repeat(100_000),
        ] {
            table.add_invalid(at, deep, "The body is nested deeper than 128");
        }
        if at.1 == BATCH.1 {
            for other in [&good.to_string(), "1", "null", "\"text\"", "{}"] {
                table.add_invalid(at, other, "Expected a list");
            }
        } else {
            for other in ["1", "null", "true", "\"text\"", "[]", &format!("[{good}]")] {
                table.add_invalid(at, other, "Expected a JSON object");
            }
        }
    }
    // The rest of the words are the parser's.
    for at in [&JOBS, &STREAM, &BATCH, &STATUS] {
        for broken in [
            "{",
            "[",
            "{]",
            "[}",
            "nul",
            "{'a': 1}",
            "{\"a\" 1}",
            "{\"a\": 1,}",
            "[1,]",
            "{\"a\": 01}",
            "{\"a\": NaN}",
            "{\"a\": 1} {}",
            "[] []",
            "{\"a\": \"\\ud800\\x\"}",
            "{\"a\": \"\n\"}",
            "\u{feff}{}",
            "{}\0",
            "a=1&b=2",
        ] {
            let response = table.send(&at.0, at.1, broken).send().await.unwrap();
            assert_eq!(response.status(), 400, "{at:?} {broken}");
            let body: Value = response.json().await.unwrap();
            let error = body["error"].as_str().unwrap_or_default();
            let is_named =
                error.starts_with("The body is not JSON: ") || (at.1 == BATCH.1 && error == "Expected a list");
            assert!(
                is_named && body.as_object().unwrap().len() == 1,
                "{at:?} {broken}: {body}"
            );
        }
    }
    table.check().await;
}

#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused() {
    let Some(mut table) = Table::new().await else { return };
    // As in the original, a batch and a status are read whatever they say that they are.
    for at in [&JOBS, &STREAM] {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "*/*",
            "",
        ] {
            let request = table.asker.request(at.0.clone(), at.1).header(CONTENT_TYPE, kind);
            let body = json!({"error": "Content-Type: expected application/json"});
            table.add(format!("{at:?} {kind}"), request.body(job().to_string()), 400, body);
        }
        let request = table.asker.request(at.0.clone(), at.1).body(job().to_string());
        let body = json!({"error": "Content-Type: expected application/json"});
        table.add(format!("{at:?} without a type"), request, 400, body);
    }
    for at in [&JOBS, &STREAM, &BATCH, &STATUS] {
        let request = table.send(&at.0, at.1, "x").header("content-encoding", "gzip");
        let body = json!({"error": "Content-Encoding: expected none"});
        table.add(format!("{at:?} gzip"), request, 400, body);
        // One byte more than 16 MiB.
        let large = format!("{{\"data\":\"{}\"}}", "x".repeat((16 << 20) + 1 - 11));
        assert_eq!(large.len(), (16 << 20) + 1);
        let request = table.send(&at.0, at.1, large);
        let body = json!({"error": "The body is larger than 16777216 bytes"});
        table.add(format!("{at:?} too large"), request, 413, body);
    }
    table.check().await;
}

#[tokio::test]
async fn what_may_be_large_may_be_large() {
    let Some(table) = Table::new().await else { return };
    let text = "x".repeat((16 << 20) - 200);
    let id = table.asker.begin(&[UPPER], json!({"text": text})).await;
    let output = table.asker.output(&id).await;
    assert_eq!(output["text"].as_str().map(str::len), Some(text.len()));
    // As deep as it may be: the body and its `data` are two of them.
    let deep = format!("{}{}", "{\"a\":".repeat(126), "{}".to_owned() + &"}".repeat(126));
    let body = format!("{{\"containers\":[\"{ECHO}\"],\"data\":{deep}}}");
    let response = table.send(&JOBS.0, JOBS.1, body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    let path = format!("/api/jobs?id={}", answer["id"].as_str().unwrap());
    // It comes back as deep as it went, which most readers don't bear: so it is not read.
    let text = until("the end of the deep job", async || {
        let response = table.asker.request(Method::GET, &path).send().await.unwrap();
        let text = response.text().await.unwrap();
        text.contains("\"status\":\"success\"").then_some(text)
    })
    .await;
    assert!(text.matches("\"a\":").count() == 126, "{text}");
    // Fields that nobody knows are ignored, whatever is in them.
    let unknown =
        json!({"containers": [ECHO], "data": {}, "requires_proof": null, "subscription": null, "x": {"y": [1]}});
    let response = table.send(&JOBS.0, JOBS.1, unknown.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn entries_of_a_batch_fail_in_their_places() {
    let Some(table) = Table::new().await else { return };
    let batch = json!([
        null,
        1,
        "text",
        [],
        {},
        {"containers": [NOBODY], "data": {}},
        {"containers": [], "data": {}},
        {"containers": ECHO, "data": {}},
        {"containers": [ECHO], "data": []},
        {"containers": [UPPER], "data": {"text": "in its place"}},
        {"subscription": {}, "signature": {}, "data": {}},
        {"containers": [ECHO], "data": {}, "requires_proof": 1},
    ]);
    let response = table.send(&BATCH.0, BATCH.1, batch.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answers: Vec<Value> = response.json().await.unwrap();
    let unreadable = |reason: &str| json!({"error": "Could not parse message", "params": {"reason": reason}});
    let no_object = unreadable("Expected a JSON object");
    for answer in &answers[..4] {
        assert_eq!(answer, &no_object);
    }
    let missing = "containers: missing, expected a list of container ids";
    assert_eq!(answers[4], unreadable(missing));
    assert_eq!(
        answers[5],
        json!({"error": "Container not supported", "params": {"container": NOBODY}})
    );
    assert_eq!(answers[6], json!({"error": "No containers specified", "params": {}}));
    assert_eq!(answers[7], unreadable("containers: expected a list of container ids"));
    assert_eq!(answers[8], unreadable("data: expected an object"));
    let output = table.asker.output(answers[9]["id"].as_str().unwrap()).await;
    assert_eq!(output, json!({"text": "IN ITS PLACE"}));
    assert_eq!(answers[10]["error"], "Could not parse message");
    assert!(
        answers[10]["params"]["reason"]
            .as_str()
            .unwrap()
            .contains("subscription"),
        "{}",
        answers[10]
    );
    assert_eq!(answers[11], unreadable("requires_proof: expected true or false"));
    assert_eq!(answers.len(), 12);
}

#[tokio::test]
async fn ten_thousand_entries_are_answered_and_not_one_more() {
    let Some(table) = Table::new().await else { return };
    let mut batch = vec![json!({"containers": [NOBODY], "data": {}}); 10_000];
    for place in [0, 5000, 9999] {
        batch[place] = json!({"containers": [UPPER], "data": {"text": format!("place {place}")}});
    }
    let request = table.send(&BATCH.0, BATCH.1, json!(batch).to_string());
    let answers: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answers.len(), 10_000);
    for (place, answer) in answers.iter().enumerate() {
        match answer["id"].as_str() {
            Some(id) => {
                let output = table.asker.output(id).await;
                assert_eq!(output["text"], format!("PLACE {place}"));
            }
            None => assert_eq!(answer["error"], "Container not supported"),
        }
    }
    assert_eq!(table.containers.calls().await.len(), 3);
    batch.push(json!({}));
    let request = table.send(&BATCH.0, BATCH.1, json!(batch).to_string());
    let body = json!({"error": "Expected a list", "params": {"reason": "at most 10000 entries"}});
    verify(request, 400, &body).await.unwrap();
}

#[tokio::test]
async fn ids_may_be_anything_and_not_all_at_once() {
    let Some(mut table) = Table::new().await else { return };
    for id in [
        "",
        "x",
        "%00",
        "%ff%fe",
        "..%2f..%2fetc",
        "'%3B--",
        "%25",
        "*",
        "127.0.0.1:*",
        "%F0%9F%99%82",
        "a%26id%3Db",
        "%zz",
    ] {
        for query in [
            format!("id={id}"),
            format!("id={id}&intermediate=true"),
            format!("id={id}&id={id}"),
        ] {
            let path = format!("/api/jobs?{query}");
            let request = table.asker.request(Method::GET, &path);
            table.add(path, request, 200, json!([]));
        }
    }
    let long = "9".repeat(10_000);
    for query in [
        format!("id={long}"),
        format!("pending={long}"),
        "pending".into(),
        "pending=yes&x[]=%".into(),
    ] {
        let request = table.asker.request(Method::GET, &format!("/api/jobs?{query}"));
        table.add(query, request, 200, json!([]));
    }
    let unknown = "id=01890a5d-ac96-774b-bcce-b302099a8057";
    let many = |count: usize| format!("/api/jobs?{}", vec![unknown; count].join("&"));
    let request = table.asker.request(Method::GET, &many(1600));
    table.add("1600 ids", request, 200, json!([]));
    table.check().await;
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let Some(mut table) = Table::new().await else { return };
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/jobs/",
        "/api//jobs",
        "//api/jobs",
        "/api/jobs/1",
        "/api/job",
        "/API/jobs",
        "/health/",
        "/api/jobs/batch/",
        "/api%2Fjobs",
        "/v1/models",
        "/service_output",
        "/service-resources",
        "/%00",
        "/..%2f..%2fetc",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let request = table.asker.request(method.clone(), path).body("{");
            table.add(format!("{method} {path}"), request, 404, json!({"error": "Not found"}));
        }
    }
    let brew = Method::from_bytes(b"BREW").unwrap();
    for (path, allowed) in [
        ("/health", &[Method::GET][..]),
        ("/info", &[Method::GET]),
        ("/resources", &[Method::GET]),
        ("/api/jobs", &[Method::GET, Method::POST]),
        ("/api/jobs/batch", &[Method::POST]),
        ("/api/jobs/stream", &[Method::POST]),
        ("/api/status", &[Method::PUT]),
    ] {
        let others = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            brew.clone(),
        ];
        for method in others.into_iter().filter(|method| !allowed.contains(method)) {
            let request = table.send(&method, path, job().to_string());
            table.add(
                format!("{method} {path}"),
                request,
                405,
                json!({"error": "Method not allowed"}),
            );
        }
    }
    table.check().await;
}

#[tokio::test]
async fn subscriptions_without_a_chain_are_refused() {
    let Some(mut table) = Table::new().await else { return };
    let owner = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
    let newer = json!({
        "owner": owner, "active_at": 1, "period": 0, "frequency": 1, "redundancy": 1, "lazy": false,
        "containers": format!("0x{}", "22".repeat(32)), "verifier": owner, "payment_amount": 0, "payment_token": owner,
        "wallet": owner,
    });
    let older = json!({
        "owner": owner, "active_at": 1, "period": 0, "frequency": 1, "redundancy": 1, "max_gas_price": 1,
        "max_gas_limit": 1, "container_id": ECHO, "inputs": "0x",
    });
    let signature = json!({"nonce": 0, "expiry": 1, "v": 27, "r": 1, "s": 1});
    for subscription in [newer, older] {
        let body = json!({"subscription": subscription, "signature": signature, "data": {}});
        let request = table.send(&JOBS.0, JOBS.1, body.to_string());
        table.add(
            "a subscription",
            request,
            405,
            json!({"error": "Chain not enabled", "params": {}}),
        );
        let request = table.send(&BATCH.0, BATCH.1, json!([body]).to_string());
        let answers = json!([{"error": "Chain not enabled", "params": {}}]);
        table.add("a batch of one", request, 200, answers);
        let request = table.send(&STREAM.0, STREAM.1, body.to_string());
        let answer = json!({"error": "Streaming only supported for OffchainJob requests."});
        table.add("a stream", request, 405, answer);
        for part in ["subscription", "signature", "data"] {
            for value in [json!(null), json!(1), json!("x"), json!([])] {
                let response = table
                    .send(&JOBS.0, JOBS.1, with(&body, part, value).to_string())
                    .send()
                    .await
                    .unwrap();
                assert_eq!(response.status(), 400, "{part}");
                let answer: Value = response.json().await.unwrap();
                assert!(answer["error"].as_str().unwrap().contains(part), "{part}: {answer}");
            }
        }
    }
    table.check().await;
}

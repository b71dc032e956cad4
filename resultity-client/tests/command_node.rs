//! The command `resultity node`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use mockito::{Matcher, Mock, Server, ServerGuard};
use resultity_client::core::infernet::subscription::{Address, CoordinatorDomain, DelegatedRequest};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{assert_success, resultity, text, words};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A key that everybody knows, and its address.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SIGNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const COORDINATOR: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

fn node(server: &ServerGuard, arguments: &[&str]) -> Command {
    let mut command = resultity();
    command
        .env("RESULTITY_NODE_URL", server.url())
        .arg("node")
        .args(arguments);
    command
}

fn run(server: &ServerGuard, arguments: &[&str]) -> Output {
    node(server, arguments).output().unwrap()
}

fn results(server: &mut ServerGuard, query: &str, body: &str) -> Mock {
    let mock = server
        .mock("GET", "/api/jobs")
        .match_query(Matcher::Exact(query.into()));
    mock.with_body(body).create()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[rstest]
#[case("healthy", true)]
#[case("unhealthy", false)]
fn health_is_a_word_and_an_exit_status(#[case] status: &str, #[case] is_well: bool) {
    let mut server = Server::new();
    let body = json!({ "status": status });
    server.mock("GET", "/health").with_body(body.to_string()).create();
    let output = run(&server, &["health"]);
    assert_eq!(text(&output.stdout), format!("{status}\n"));
    assert_eq!(output.status.success(), is_well);
    assert_eq!(json_of(&run(&server, &["health", "--json"])), body);
}

#[test]
fn a_node_is_shown_with_its_containers() {
    let mut server = Server::new();
    let info = json!({
        "version": "1.4.0", "pending": {"offchain": 2, "onchain": 0}, "chain": {"enabled": false, "address": ""},
        "containers": [{"id": "echo", "description": "says it again", "external": true, "image": "echo:1"}],
    });
    server
        .mock("GET", "/info")
        .with_body(info.to_string())
        .expect(2)
        .create();
    let output = run(&server, &["info"]);
    assert_eq!(
        words(&output),
        [
            vec!["version", "1.4.0"],
            vec!["pending", "2", "off-chain,", "0", "on-chain"],
            vec!["chain", "not", "enabled"],
            vec![],
            vec!["CONTAINER", "EXTERNAL", "IMAGE", "DESCRIPTION"],
            vec!["echo", "yes", "echo:1", "says", "it", "again"],
        ]
    );
    assert_eq!(json_of(&run(&server, &["info", "--json"])), info);
}

#[test]
fn resources_are_a_table_or_what_the_containers_said() {
    let mut server = Server::new();
    let resources = r#"{"a":{"service_id":"s","compute_capability":[{"id":"ml","type":"onnx","task":["embed","rank"],"models":[{}]}],"n":1.50},"b":[1]}"#;
    server.mock("GET", "/resources").with_body(resources).expect(2).create();
    let support = r#"{"a":{"supported":true},"b":{"supported":false,"error":"no such model"}}"#;
    let mock = server
        .mock("GET", "/resources")
        .match_query(Matcher::Exact("model_id=o%2Fm".into()));
    mock.with_body(support).create();
    assert_eq!(
        words(&run(&server, &["resources"])),
        [
            vec!["CONTAINER", "SERVICE", "COMPUTES", "TASKS", "MODELS"],
            vec!["a", "s", "ml", "(onnx)", "embed,", "rank", "1"],
            vec!["b", "something", "else:", "--json", "shows", "it"],
        ]
    );
    assert!(text(&run(&server, &["resources", "--json"]).stdout).contains("\"n\": 1.50"));
    assert_eq!(
        words(&run(&server, &["resources", "--model-id", "o/m"])),
        [
            vec!["CONTAINER", "SUPPORTED", "WHY"],
            vec!["a", "yes"],
            vec!["b", "no", "no", "such", "model"],
        ]
    );
}

fn job(server: &mut ServerGuard, body: &str) -> Mock {
    let answer = json!({ "id": ID }).to_string();
    server.mock("POST", "/api/jobs").match_body(body).with_body(answer)
}

#[test]
fn a_job_takes_its_data_as_it_is_from_three_places() {
    let mut server = Server::new();
    let data = r#"{"n": 123456789012345678901234567890.50}"#;
    let mock = job(
        &mut server,
        &format!(r#"{{"containers":["a","b"],"data":{data},"requires_proof":true}}"#),
    );
    let mock = mock.expect(3).create();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("data.json");
    std::fs::write(&file, format!("{data}\n")).unwrap();
    let expected = format!("{ID}\n");
    for place in [data, file.to_str().unwrap()] {
        assert_success(
            &run(&server, &["job", "-c", "a,b", "--proof", "--data", place]),
            &expected,
        );
    }
    let mut command = node(&server, &["job", "-c", "a", "-c", "b", "--proof", "--data", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(data.as_bytes()).unwrap();
    assert_success(&child.wait_with_output().unwrap(), &expected);
    mock.assert();
}

#[test]
fn a_job_is_waited_for_and_its_output_printed_with_every_digit() {
    let mut server = Server::new();
    job(&mut server, r#"{"containers":["a"],"data":{}}"#).create();
    let result = format!(
        r#"[{{"id":"{ID}","status":"success","result":{{"container":"a","output":{{"n":1.50,"l":[18446744073709551616]}}}}}}]"#
    );
    results(&mut server, &format!("id={ID}"), &result);
    let output = run(&server, &["job", "-c", "a", "--wait"]);
    assert_eq!(text(&output.stderr), format!("job {ID}\n"));
    assert_eq!(
        text(&output.stdout),
        "{\n  \"n\": 1.50,\n  \"l\": [\n    18446744073709551616\n  ]\n}\n"
    );
    let whole = run(&server, &["job", "-c", "a", "--wait", "--json"]);
    assert_eq!(json_of(&whole)["status"], "success");
    assert!(text(&whole.stdout).contains("18446744073709551616"));
}

#[test]
fn a_job_that_fails_is_a_failure_that_says_why() {
    let mut server = Server::new();
    job(&mut server, r#"{"containers":["a"],"data":{}}"#).create();
    let result = json!([{"id": ID, "status": "failed", "result": {"container": "a", "error": "out of memory"}}]);
    results(&mut server, &format!("id={ID}"), &result.to_string());
    let output = run(&server, &["job", "-c", "a", "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        format!("job {ID}\nerror: container \"a\" failed: out of memory\n")
    );
}

#[test]
fn a_refusal_names_what_it_is_about_and_what_to_do() {
    let mut server = Server::new();
    let body = json!({"error": "Container not supported", "params": {"container": "x"}}).to_string();
    server
        .mock("POST", "/api/jobs")
        .with_status(405)
        .with_body(body)
        .create();
    let output = run(&server, &["job", "-c", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: Container not supported (container: \"x\")\n  `resultity node info` lists the containers.\n"
    );
}

#[rstest]
#[case::no_object(&["job", "-c", "a", "--data", "[1]"], 2, "--data is JSON, but not an object")]
#[case::no_json(&["job", "-c", "a", "--data", "{"], 2, "--data is not a JSON object: ")]
#[case::no_file(&["job", "-c", "a", "--data", "no-such-file"], 1, "no-such-file cannot be read: ")]
#[case::no_container(&["job"], 2, "--containers <A,B>")]
#[case::no_status(&["status", "j", "done", "-c", "a"], 2, "success, failed, running")]
#[case::two_filters(&["ids", "--pending", "--finished"], 2, "cannot be used with")]
#[case::no_url(&["info", "--url", "nonsense"], 2, "the base URL \"nonsense\" cannot be used")]
fn what_was_typed_wrong_is_named(#[case] arguments: &[&str], #[case] exit_code: i32, #[case] said: &str) {
    let server = Server::new();
    let output = run(&server, arguments);
    assert_eq!(output.status.code(), Some(exit_code));
    assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
}

#[test]
fn a_node_that_is_not_there_is_told_so() {
    let output = resultity()
        .args(["node", "info", "--url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("error: could not connect to http://127.0.0.1:1: "),
        "{said}"
    );
    assert!(said.ends_with("\n  Check --url, and that the node runs.\n"), "{said}");
}

fn stream(server: &mut ServerGuard, body: &[u8], status: &str, result: &Value) {
    let whole = [ID.as_bytes(), b"\n", body].concat();
    server.mock("POST", "/api/jobs/stream").with_body(whole).create();
    let result = json!([{"id": ID, "status": status, "result": result}]);
    results(server, &format!("id={ID}"), &result.to_string());
}

#[test]
fn a_stream_is_printed_byte_by_byte_or_as_lines_of_json() {
    let mut server = Server::new();
    let result = json!({"container": "a", "output": {"output": "x"}});
    stream(&mut server, b"a\x1b\xff\x00\xe2\x82\xacb", "success", &result);
    let output = run(&server, &["stream", "-c", "a"]);
    assert_eq!(output.stdout, b"a\x1b\xff\x00\xe2\x82\xacb");
    assert_eq!((text(&output.stderr), output.status.success()), ("", true));
    let lines = run(&server, &["stream", "-c", "a", "--json"]);
    let lines: Vec<Value> = text(&lines.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0], json!({ "id": ID }));
    let texts: String = lines[1..].iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, "a\u{1b}\u{fffd}\0€b");
}

#[test]
fn a_stream_whose_container_fails_is_a_failure() {
    let mut server = Server::new();
    stream(&mut server, b"", "failed", &json!({"container": "a", "error": "no"}));
    let output = run(&server, &["stream", "-c", "a"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: container \"a\" failed: no\n");
}

#[test]
fn a_batch_is_read_from_a_file_and_answered_in_a_table() {
    let mut server = Server::new();
    let sent = r#"[{"containers":["a"],"data":{"n":1.0}},{"containers":["x"],"data":{}}]"#;
    let answers = json!([{"id": ID}, {"error": "Container not supported", "params": {"container": "x"}}]);
    let mock = server
        .mock("POST", "/api/jobs/batch")
        .match_body(sent)
        .with_body(answers.to_string());
    let mock = mock.expect(2).create();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("requests.jsonl");
    std::fs::write(
        &file,
        "{\"containers\":[\"a\"],\"data\":{\"n\":1.0}}\n{\"containers\":[\"x\"],\"data\":{}}\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let output = run(&server, &["batch", file]);
    assert_eq!(
        words(&output),
        [
            vec!["REQUEST", "JOB", "REFUSED"],
            vec!["1", ID],
            vec!["2", "Container", "not", "supported", "(container:", "\"x\")"],
        ]
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: 1 of 2 requests refused\n");
    assert_eq!(json_of(&run(&server, &["batch", file, "--json"])), answers);
    mock.assert();
}

#[test]
fn results_are_shown_with_those_of_all_containers() {
    let mut server = Server::new();
    let result = format!(
        r#"[{{"id":"{ID}","status":"success","result":{{"container":"b","output":[1.0]}},"intermediate_results":[{{"container":"a","output":"x"}}]}}]"#
    );
    results(&mut server, &format!("id={ID}&id=a%26b&intermediate=true"), &result);
    let output = run(&server, &["results", ID, "a&b", "--intermediate"]);
    assert_eq!(
        words(&output),
        [
            vec!["job", ID],
            vec!["status", "success"],
            vec!["container", "b"],
            vec!["a", "said"],
            vec!["\"x\""],
            vec!["output"],
            vec!["["],
            vec!["1.0"],
            vec!["]"],
        ]
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: the node has no such job of yours: a&b\n  `resultity node ids` lists what is there.\n"
    );
}

#[test]
fn ids_are_lines_and_a_status_is_put() {
    let mut server = Server::new();
    results(&mut server, "", r#"["a","b"]"#);
    results(&mut server, "pending=true", "[]");
    let body = json!({"id": "j", "status": "failed", "containers": ["a", "b"]});
    let put = server
        .mock("PUT", "/api/status")
        .match_body(Matcher::Json(body))
        .with_body("null")
        .create();
    assert_success(&run(&server, &["ids"]), "a\nb\n");
    assert_eq!(json_of(&run(&server, &["ids", "--json"])), json!(["a", "b"]));
    assert_eq!(
        text(&run(&server, &["ids", "--pending"]).stderr),
        "There is no such job.\n"
    );
    let output = run(&server, &["status", "j", "failed", "-c", "a,b"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("", "It is noted.\n"));
    put.assert();
}

/// A directory with the parameters of a subscription and a key.
fn subscription() -> (TempDir, String, String) {
    let directory = TempDir::new().unwrap();
    let zero = "0x0000000000000000000000000000000000000000";
    let params = json!({
        "owner": COORDINATOR, "active_at": 0, "period": 0, "frequency": 1, "redundancy": 1, "containers": ["a", "b"],
        "lazy": false, "verifier": zero, "payment_amount": 0, "payment_token": zero, "wallet": zero,
    });
    let (file, key) = (directory.path().join("sub.json"), directory.path().join("key.txt"));
    std::fs::write(&file, params.to_string()).unwrap();
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    (directory, text(file), text(key))
}

fn delegate<'a>(params: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "delegate",
        "--params",
        params,
        "--chain-id",
        "31337",
        "--coordinator",
        COORDINATOR,
    ];
    arguments.extend(["--expiry", "2000000000", "--nonce", "3", "--data", r#"{"n":1.0}"#]);
    arguments.extend(more);
    arguments
}

#[test]
fn a_subscription_is_signed_with_a_key_that_is_never_shown() {
    let (_directory, params, key) = subscription();
    let mut server = Server::new();
    let mock = server
        .mock("POST", "/api/jobs")
        .match_request(|request| {
            let body = std::str::from_utf8(request.body().unwrap()).unwrap();
            let request = DelegatedRequest::from_json(body).unwrap();
            let domain = CoordinatorDomain {
                chain_id: 31337,
                coordinator: COORDINATOR.parse().unwrap(),
            };
            let signer: Address = SIGNER.parse().unwrap();
            (request.signature.nonce, request.data.get()) == (3, r#"{"n":1.0}"#)
                && request.signer(&domain).unwrap() == signer
        })
        .with_body("{}")
        .expect(2)
        .create();
    let by_file = run(&server, &delegate(&params, &["--key-file", &key, "-v"]));
    let by_variable = node(&server, &delegate(&params, &["--json"]))
        .env("PRIVATE_KEY", KEY)
        .output()
        .unwrap();
    assert!(text(&by_file.stderr).contains(SIGNER), "{}", text(&by_file.stderr));
    assert_eq!(text(&by_variable.stdout), "{}\n");
    for output in [by_file, by_variable] {
        assert!(output.status.success());
        let said = [output.stdout, output.stderr].concat();
        assert!(!text(&said).contains(&KEY[2..]));
    }
    mock.assert();
}

#[test]
fn a_signed_subscription_can_be_kept_for_a_batch() {
    let (directory, params, key) = subscription();
    let server = Server::new();
    let signed = run(&server, &delegate(&params, &["--key-file", &key, "--sign-only"]));
    let line = text(&signed.stdout).to_owned();
    assert_eq!(line.lines().count(), 1);
    let file = directory.path().join("requests.jsonl");
    std::fs::write(&file, &line).unwrap();

    let mut server = server;
    let mock = server
        .mock("POST", "/api/jobs/batch")
        .match_body(format!("[{}]", line.trim()).as_str());
    let mock = mock.with_body("[{}]").create();
    let output = run(&server, &["batch", file.to_str().unwrap()]);
    assert_eq!(words(&output)[1], ["1", "(on", "the", "chain)"]);
    mock.assert();
}

#[test]
fn a_key_that_is_none_is_not_quoted() {
    let (directory, params, _) = subscription();
    let server = Server::new();
    let bad = directory.path().join("bad.txt");
    std::fs::write(&bad, "secret-words").unwrap();
    let output = run(&server, &delegate(&params, &["--key-file", bad.to_str().unwrap()]));
    let said = text(&output.stderr);
    assert!(
        said.contains("holds no private key: expected 64 hexadecimal digits"),
        "{said}"
    );
    assert!(!said.contains("secret-words"));
    let none = run(&server, &delegate(&params, &[]));
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("--key-file"), "{}", text(&none.stderr));
}

//! The commands that ask a model, beside `chat`: complete, embed, compute, models; and the options that they share.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use mockito::{Matcher, Server};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::command::{assert_success, at, resultity_beside, text, words};
use crate::support::{completion, error_body, event, quote};

fn continuation(text: &str) -> Value {
    json!({
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": null}],
    })
}

fn embeddings() -> String {
    json!({
        "object": "list", "model": "e", "usage": {"prompt_tokens": 4, "total_tokens": 4},
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
    })
    .to_string()
}

fn models() -> String {
    let price = json!({"input_per_million": "1", "output_per_million": "2.5", "per_request": "0.00001"});
    json!({"object": "list", "data": [
        {"id": "m", "object": "model", "created": 1_700_000_000, "owned_by": "resultity", "context_length": 2048,
         "capabilities": ["chat", "completions", "n", "stop"], "price": price},
        {"id": "e", "object": "model", "created": 1_700_000_000, "owned_by": "resultity", "context_length": 512,
         "capabilities": ["embeddings"], "price": price},
    ]})
    .to_string()
}

#[test]
fn a_text_is_gone_on_with() {
    let mut server = Server::new();
    let mock = server
        .mock("POST", "/v1/completions")
        .match_body(Matcher::PartialJson(json!({
            "model": "m", "prompt": "Once upon", "stream": true, "max_tokens": 9, "echo": true, "stop": [".", "!"],
        })))
        .with_header("content-type", "text/event-stream")
        .with_body([event(continuation(" a")), event(continuation(" time")), event("[DONE]")].concat())
        .create();
    let output = at(&server)
        .args([
            "complete",
            "-m",
            "m",
            "--max-tokens",
            "9",
            "--echo",
            "--stop",
            ".",
            "--stop",
            "!",
        ])
        .args(["Once", "upon"])
        .output()
        .unwrap();
    assert_success(&output, " a time\n");
    mock.assert();
}

#[test]
fn texts_become_lines_of_numbers() {
    let mut server = Server::new();
    server.mock("GET", "/v1/models").with_body(models()).create();
    let mock = server
        .mock("POST", "/v1/embeddings")
        .match_body(Matcher::PartialJson(
            json!({"model": "e", "input": ["a b", "c"], "dimensions": 2}),
        ))
        .with_body(embeddings())
        .expect(2)
        .create();
    let run = |more: &[&str]| {
        at(&server)
            .args(["embed", "--dimensions", "2", "a b", "c"])
            .args(more)
            .output()
            .unwrap()
    };
    assert_success(&run(&[]), "[0.5,-1.0]\n[0.25,2.0]\n");
    let whole: Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!(whole["usage"]["prompt_tokens"], 4);
    mock.assert();
}

#[test]
fn a_container_s_answer_is_printed_as_it_gave_it() {
    const GIVEN: &str = r#"{"n":123456789012345678901234567890.10}"#;
    let mut server = Server::new();
    let models = json!({"object": "list", "data": [
        {"id": "m", "object": "model", "created": 1, "owned_by": "resultity", "capabilities": ["chat"]},
        {"id": "c", "object": "model", "created": 1, "owned_by": "resultity", "capabilities": ["container"]},
    ]});
    server.mock("GET", "/v1/models").with_body(models.to_string()).create();
    let mock = server
        .mock("POST", "/v1/compute")
        .match_body(Matcher::Exact(format!(
            r#"{{"model":"c","data":{GIVEN},"requires_proof":true}}"#
        )))
        .with_body(format!(
            r#"{{"id":"compute-1","object":"compute","created":1,"model":"c","output":{GIVEN}}}"#
        ))
        .expect(3)
        .create();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data.json");
    std::fs::write(&file, GIVEN).unwrap();
    let path = file.display();
    for data in [GIVEN.to_owned(), path.to_string(), format!("@{path}")] {
        let output = at(&server)
            .args(["compute", "--proof", "--data", &data])
            .output()
            .unwrap();
        assert_success(&output, &format!("{GIVEN}\n"));
    }
    mock.assert();
    for data in ["[1]", "{", "\"a\""] {
        let output = at(&server).args(["compute", "--data", data]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{data}");
        assert!(
            text(&output.stderr).contains("no JSON object"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn dev_names_its_model_for_embeddings() {
    let mut server = Server::new();
    let mock = server
        .mock("POST", "/v1/embeddings")
        .match_body(Matcher::PartialJson(json!({"model": "of dev"})))
        .with_body(embeddings())
        .create();
    let directory = tempfile::tempdir().unwrap();
    let dev = json!({
        "cloud": format!("{}/v1", server.url()), "api_key": "rk_test_dev", "model": "demo", "embedding_model": "of dev",
    });
    std::fs::write(directory.path().join("dev.json"), dev.to_string()).unwrap();
    let output = resultity_beside(directory.path())
        .args(["embed", "x"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    mock.assert();
}

#[test]
fn models_are_told_with_what_they_can_do() {
    let mut server = Server::new();
    server.mock("GET", "/v1/models").with_body(models()).create();
    let one: Value = serde_json::from_str(&models()).unwrap();
    server
        .mock("GET", "/v1/models/m")
        .with_body(one["data"][0].to_string())
        .create();
    let list = at(&server).arg("models").output().unwrap();
    assert_eq!(
        words(&list),
        [
            vec![
                "MODEL", "MAKES", "CONTEXT", "MILLION", "IN", "MILLION", "OUT", "A", "REQUEST"
            ],
            vec!["m", "chat,", "completions", "2048", "1", "2.5", "0.00001"],
            vec!["e", "embeddings", "512", "1", "2.5", "0.00001"],
        ]
    );
    let one = at(&server).args(["models", "m"]).output().unwrap();
    assert!(
        words(&one).contains(&vec!["can", "do", "chat,", "completions,", "n,", "stop"]),
        "{}",
        text(&one.stdout)
    );
}

#[rstest]
#[case::chat("/v1/chat/completions", &["chat", "-m", "m", "hi"])]
#[case::complete("/v1/completions", &["complete", "-m", "m", "hi"])]
#[case::embed("/v1/embeddings", &["embed", "-m", "m", "hi"])]
#[case::job("/v1/chat/completions", &["jobs", "submit", "-m", "m", "hi"])]
fn a_dry_run_tells_the_price_and_asks_nothing(#[case] path: &str, #[case] arguments: &[&str]) {
    let mut server = Server::new();
    let mock = server
        .mock("POST", path)
        .match_header("x-resultity-dry-run", "true")
        .with_body(quote().to_string())
        .create();
    let output = at(&server).args(arguments).arg("--dry-run").output().unwrap();
    assert_success(
        &output,
        "At most 0.00012 credits, of 5 that may be spent.\nA node could serve it at once.\n",
    );
    mock.assert();
}

#[test]
fn a_named_request_is_told_when_it_is_given_again() {
    let mut server = Server::new();
    let mock = server
        .mock("POST", "/v1/chat/completions")
        .match_header("idempotency-key", "order-1")
        .match_header("x-resultity-ttl", "60")
        .match_header("x-resultity-priority", "bulk")
        .with_header("x-resultity-replayed", "true")
        .with_body(completion("fine").to_string())
        .create();
    let output = at(&server)
        .args([
            "chat",
            "-m",
            "m",
            "--no-stream",
            "-v",
            "hi",
            "--idempotency-key",
            "order-1",
        ])
        .args(["--ttl", "60", "--priority", "bulk"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "fine\n");
    assert!(text(&output.stderr).contains("given again"), "{}", text(&output.stderr));
    mock.assert();
}

#[test]
fn a_name_that_stands_for_another_request_is_explained() {
    let mut server = Server::new();
    server
        .mock("POST", "/v1/chat/completions")
        .with_status(409)
        .with_body(error_body(
            "this Idempotency-Key came with another request before",
            "conflict",
            Some("Idempotency-Key"),
        ))
        .create();
    let output = at(&server)
        .args(["chat", "-m", "m", "hi", "--idempotency-key", "x"])
        .output()
        .unwrap();
    assert!(
        text(&output.stderr).ends_with("Name another request with another --idempotency-key.\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

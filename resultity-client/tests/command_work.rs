//! The commands `jobs` and `batch`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use mockito::{Matcher, Server, ServerGuard};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::command::{age, assert_success, at, text, words};
use crate::support::{BATCH, FILE, JOB, batch, error_body, file, job, page};

fn job_is(server: &mut ServerGuard, status: &str, times: usize) -> mockito::Mock {
    server
        .mock("GET", format!("/v1/jobs/{JOB}").as_str())
        .with_body(job(status).to_string())
        .expect(times)
        .create()
}

fn batch_is(server: &mut ServerGuard, status: &str) -> mockito::Mock {
    server
        .mock("GET", format!("/v1/batches/{BATCH}").as_str())
        .with_body(batch(status).to_string())
        .create()
}

fn answers(server: &mut ServerGuard) -> String {
    let line = json!({
        "id": "batch_req_1", "custom_id": "a", "error": null,
        "response": {"status_code": 200, "request_id": "r", "body": {"x": 1}},
    });
    let text = format!(
        "{}\n",
        r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"request_id":"r","body":{"x":1}},"error":null}"#
    );
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), line);
    server
        .mock("GET", format!("/v1/files/{FILE}/content").as_str())
        .with_body(&text)
        .create();
    text
}

#[test]
fn a_job_is_submitted_and_its_id_printed() {
    let mut server = Server::new();
    let mock = server
        .mock("POST", "/v1/jobs")
        .match_header("idempotency-key", "k")
        .match_body(Matcher::Json(json!({
            "endpoint": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": "tell me"}], "max_tokens": 5},
        })))
        .with_status(202)
        .with_body(job("queued").to_string())
        .create();
    let output = at(&server)
        .args([
            "jobs",
            "submit",
            "-m",
            "m",
            "--max-tokens",
            "5",
            "--idempotency-key",
            "k",
            "tell",
            "me",
        ])
        .output()
        .unwrap();
    assert_success(&output, &format!("{JOB}\n"));
    mock.assert();
}

#[test]
fn a_whole_request_is_submitted_from_a_file_and_waited_for() {
    let mut server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("request.json");
    std::fs::write(&path, r#"{"model": "e", "input": ["a"]}"#).unwrap();
    let mock = server
        .mock("POST", "/v1/jobs")
        .match_body(Matcher::Json(
            json!({"endpoint": "/v1/embeddings", "body": {"model": "e", "input": ["a"]}}),
        ))
        .with_body(job("queued").to_string())
        .create();
    let states = [job_is(&mut server, "running", 1), job_is(&mut server, "succeeded", 1)];
    let output = at(&server)
        .args(["jobs", "submit", "--endpoint", "embeddings", "--wait", "--file"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "fine\n");
    // Whoever stops the waiting can go on with it.
    assert_eq!(text(&output.stderr), format!("job {JOB}\n"));
    assert!(output.status.success());
    mock.assert();
    for state in states {
        state.assert();
    }
}

#[test]
fn a_job_of_a_container_keeps_every_digit() {
    let mut server = Server::new();
    let data = r#"{"n":123456789012345678901234567890}"#;
    let mock = server
        .mock("POST", "/v1/jobs")
        .match_body(Matcher::Exact(format!(
            r#"{{"endpoint":"/v1/compute","body":{{"model":"c","data":{data}}}}}"#
        )))
        .with_status(202)
        .with_body(job("queued").to_string())
        .expect(2)
        .create();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("request.json");
    std::fs::write(&path, format!(r#"{{"model":"c","data":{data}}}"#)).unwrap();
    let submit = |more: &[&str]| {
        at(&server)
            .args(["jobs", "submit", "--endpoint", "compute"])
            .args(more)
            .output()
            .unwrap()
    };
    assert_success(&submit(&["-m", "c", data]), &format!("{JOB}\n"));
    assert_success(&submit(&["--file", path.to_str().unwrap()]), &format!("{JOB}\n"));
    mock.assert();
}

#[test]
fn a_job_that_failed_is_a_failure_with_its_reason() {
    let mut server = Server::new();
    job_is(&mut server, "failed", 1);
    let output = at(&server).args(["jobs", "wait", JOB]).output().unwrap();
    assert_eq!(
        text(&output.stderr),
        format!("error: the job is failed: every node failed\n  `resultity jobs show {JOB}` tells more.\n")
    );
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

#[test]
fn waiting_has_an_end() {
    let mut server = Server::new();
    server
        .mock("GET", format!("/v1/jobs/{JOB}").as_str())
        .with_body(job("queued").to_string())
        .expect_at_least(1)
        .create();
    let output = at(&server).args(["jobs", "wait", JOB, "--for", "1"]).output().unwrap();
    assert!(
        text(&output.stderr).starts_with("error: the job has not ended after 1 s; it goes on"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn jobs_are_listed_and_shown() {
    let mut server = Server::new();
    let list = server
        .mock("GET", "/v1/jobs")
        .match_query(Matcher::Exact("limit=20&status=succeeded".into()))
        .with_body(page(&[job("succeeded")], false).to_string())
        .expect(2)
        .create();
    let arguments = ["jobs", "list", "--status", "succeeded"];
    let table = at(&server).args(arguments).output().unwrap();
    assert_eq!(
        words(&table),
        [
            vec!["JOB", "STATUS", "AGE", "COST", "MODEL"],
            vec![JOB, "succeeded", &age(), "0.002", "m"],
        ]
    );
    let lines = at(&server).args(arguments).arg("--json").output().unwrap();
    let line: Value = serde_json::from_str(text(&lines.stdout).lines().next().unwrap()).unwrap();
    assert_eq!(line["id"], JOB);
    list.assert();

    job_is(&mut server, "queued", 1);
    let shown = at(&server).args(["jobs", "show", JOB]).output().unwrap();
    let shown = words(&shown);
    assert!(shown.contains(&vec!["status", "queued"]), "{shown:?}");
    assert!(shown.contains(&vec!["jobs", "before", "it", "2"]), "{shown:?}");
    assert!(shown.contains(&vec!["held", "0.01"]), "{shown:?}");
}

#[test]
fn a_job_is_cancelled_and_rated() {
    let mut server = Server::new();
    let cancelled = server
        .mock("POST", format!("/v1/jobs/{JOB}/cancel").as_str())
        .with_body(job("cancelled").to_string())
        .create();
    let output = at(&server).args(["jobs", "cancel", JOB]).output().unwrap();
    assert!(words(&output).contains(&vec!["status", "cancelled"]));
    cancelled.assert();
    let rated = server
        .mock("POST", format!("/v1/jobs/{JOB}/feedback").as_str())
        .match_body(Matcher::Json(
            json!({"rating": "down", "category": "wrong", "review": true}),
        ))
        .with_body(json!({"rating": "down", "category": "wrong", "review": true}).to_string())
        .create();
    let output = at(&server)
        .args(["jobs", "feedback", JOB, "down", "--category", "wrong", "--review"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    rated.assert();
}

#[test]
fn what_is_not_there_names_the_list() {
    let mut server = Server::new();
    server
        .mock("GET", format!("/v1/jobs/{JOB}").as_str())
        .with_status(404)
        .with_header("x-request-id", "r1")
        .with_body(error_body("there is no such job", "not_found", None))
        .create();
    let output = at(&server).args(["jobs", "show", JOB]).output().unwrap();
    assert_eq!(
        text(&output.stderr),
        "error: there is no such job\n  `resultity jobs list` lists what is there.\n"
    );
}

#[rstest]
#[case::no_id(&["jobs", "show", "x"])]
#[case::no_command(&["jobs"])]
#[case::no_state(&["jobs", "list", "--status", "done"])]
#[case::nothing_asked(&["jobs", "submit"])]
#[case::both(&["jobs", "submit", "--file", "x", "hi"])]
#[case::no_batch(&["batch", "show", "x"])]
#[case::no_endpoint(&["batch", "submit", "x", "--endpoint", "/v1/x"])]
#[case::no_note(&["batch", "submit", "x", "--note", "x"])]
fn what_cannot_be_meant_is_wrong_usage(#[case] arguments: &[&str]) {
    let server = Server::new();
    let output = at(&server).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn a_file_of_requests_becomes_a_file_of_answers() {
    let mut server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.jsonl");
    let line = r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}"#;
    std::fs::write(&path, format!("\n{line}\n")).unwrap();
    let upload = server
        .mock("POST", "/v1/files")
        .match_body(Matcher::Regex("filename=\"requests.jsonl\"".into()))
        .with_body(file().to_string())
        .create();
    let create = server
        .mock("POST", "/v1/batches")
        .match_body(Matcher::Json(json!({
            "input_file_id": FILE, "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "metadata": {"about": "rivers"},
        })))
        .with_body(batch("validating").to_string())
        .create();
    batch_is(&mut server, "completed");
    let expected = answers(&mut server);
    let output = at(&server)
        .args(["batch", "submit", "--wait", "--note", "about=rivers"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), format!("batch {BATCH}\n"));
    assert!(output.status.success());
    upload.assert();
    create.assert();
}

#[rstest]
#[case::no_json("hello\n", "the first line of")]
#[case::no_endpoint(
    "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/x\",\"body\":{}}\n",
    "its url is \"/v1/x\""
)]
#[case::empty("\n\n", "holds no request")]
fn a_file_that_is_none_is_told_before_it_is_sent(#[case] content: &str, #[case] expected: &str) {
    let server = Server::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.jsonl");
    std::fs::write(&path, content).unwrap();
    let output = at(&server).args(["batch", "submit"]).arg(&path).output().unwrap();
    assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_batch_is_listed_shown_and_its_results_printed() {
    let mut server = Server::new();
    server
        .mock("GET", "/v1/batches")
        .match_query(Matcher::Any)
        .with_body(page(&[batch("completed")], false).to_string())
        .create();
    let list = at(&server).args(["batch", "list"]).output().unwrap();
    assert_eq!(
        words(&list),
        [
            vec!["BATCH", "STATUS", "AGE", "DONE", "FAILED"],
            vec![BATCH, "completed", &age(), "1/1", "0"],
        ]
    );
    batch_is(&mut server, "completed");
    let shown = at(&server).args(["batch", "show", BATCH]).output().unwrap();
    assert!(words(&shown).contains(&vec!["requests", "1", "of", "1", "answered,", "0", "failed"]));
    let expected = answers(&mut server);
    let results = at(&server).args(["batch", "results", BATCH]).output().unwrap();
    assert_success(&results, &expected);
}

#[test]
fn a_batch_without_results_says_why() {
    let mut server = Server::new();
    let failed = batch_is(&mut server, "failed");
    let shown = at(&server).args(["batch", "show", BATCH]).output().unwrap();
    assert!(
        words(&shown).contains(&vec!["2", "it", "is", "not", "JSON"]),
        "{}",
        text(&shown.stdout)
    );
    let results = at(&server).args(["batch", "results", BATCH]).output().unwrap();
    assert!(
        text(&results.stderr).starts_with("error: the batch is failed: line 2: it is not JSON\n"),
        "{}",
        text(&results.stderr)
    );
    failed.remove();
    batch_is(&mut server, "in_progress");
    let results = at(&server).args(["batch", "results", BATCH]).output().unwrap();
    assert!(
        text(&results.stderr).contains(&format!("`resultity batch results {BATCH} --wait` waits for them.")),
        "{}",
        text(&results.stderr)
    );
}

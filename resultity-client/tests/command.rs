//! The command `resultity`, run as a person or a script runs it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use mockito::{Matcher, Server, ServerGuard};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{assert_success, at, resultity, resultity_beside, text};
use crate::support::{chunk, completion, error_body, event, events, models};

fn chat(server: &mut ServerGuard, body: Value) -> mockito::Mock {
    server
        .mock("POST", "/v1/chat/completions")
        .match_body(Matcher::PartialJson(body))
}

#[test]
fn a_question_is_answered_as_a_stream_by_the_first_model() {
    let mut server = Server::new();
    server
        .mock("GET", "/v1/models")
        .with_body(models(&["first", "second"]))
        .create();
    let mock = chat(
        &mut server,
        json!({
            "model": "first", "stream": true, "max_tokens": 5, "temperature": 0.5, "seed": -1,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "how are you"}],
        }),
    )
    .match_header("authorization", "Bearer rk_test_1")
    .with_header("content-type", "text/event-stream")
    .with_body(events(&["fi", "ne"]))
    .create();
    let options = [
        "--system",
        "Be brief.",
        "--max-tokens",
        "5",
        "--temperature",
        "0.5",
        "--seed",
        "-1",
    ];
    let output = at(&server)
        .args(["chat", "how", "are", "you"])
        .args(options)
        .output()
        .unwrap();
    assert_success(&output, "fine\n");
    mock.assert();
}

#[test]
fn the_answer_can_be_printed_at_once_and_what_it_took_beside_it() {
    let mut server = Server::new();
    chat(&mut server, json!({"model": "m"}))
        .with_header("x-request-id", "r1")
        .with_header("x-resultity-cost", "0.002")
        .with_header("x-resultity-job-id", "0198c0de-0000-7000-8000-000000000001")
        .with_body(completion("fine\n").to_string())
        .create();
    let output = at(&server)
        .args(["chat", "-m", "m", "--no-stream", "hi", "-v"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "fine\n");
    assert_eq!(
        text(&output.stderr),
        "tokens: 3 in, 2 out\ncost: 0.002 credits\njob: 0198c0de-0000-7000-8000-000000000001\nrequest: r1\n"
    );
}

#[test]
fn scripts_get_json() {
    let mut server = Server::new();
    chat(&mut server, json!({"stream": true}))
        .with_header("content-type", "text/event-stream")
        .with_body(events(&["a", "b"]))
        .create();
    chat(&mut server, json!({"model": "m"}))
        .with_body(completion("fine").to_string())
        .create();
    server.mock("GET", "/v1/models").with_body(models(&["m"])).create();

    let whole = at(&server).args(["chat", "-m", "m", "--json", "hi"]).output().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&whole.stdout).unwrap(),
        completion("fine")
    );
    let lines = at(&server)
        .args(["chat", "-m", "m", "--json", "--stream", "hi"])
        .output()
        .unwrap();
    let lines: Vec<Value> = text(&lines.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, [chunk("a"), chunk("b")]);
    let list = at(&server).args(["models", "--json"]).output().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&list.stdout).unwrap()["data"][0]["id"],
        "m"
    );
}

#[test]
fn models_are_listed_in_a_table() {
    let mut server = Server::new();
    server
        .mock("GET", "/v1/models")
        .with_body(models(&["smollm2-135m", "b"]))
        .create();
    let output = at(&server).arg("models").output().unwrap();
    let lines: Vec<Vec<&str>> = text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [
            vec!["MODEL", "OWNED", "BY", "PUBLISHED"],
            vec!["smollm2-135m", "resultity", "2023-11-14"],
            vec!["b", "resultity", "2023-11-14"],
        ]
    );
}

#[rstest]
#[case::asked_for(&["-"])]
#[case::piped(&[])]
fn the_prompt_is_read_from_standard_input(#[case] arguments: &[&str]) {
    let mut server = Server::new();
    let mock = chat(
        &mut server,
        json!({"messages": [{"role": "user", "content": "two\nlines"}]}),
    )
    .with_header("content-type", "text/event-stream")
    .with_body(events(&["fine"]))
    .create();
    let mut child = at(&server)
        .args(["chat", "-m", "m"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"two\nlines").unwrap();
    assert_success(&child.wait_with_output().unwrap(), "fine\n");
    mock.assert();
}

#[test]
fn a_running_dev_is_found_with_its_key_and_model() {
    let mut server = Server::new();
    let mock = chat(&mut server, json!({"model": "demo"}))
        .match_header("authorization", "Bearer rk_test_dev")
        .with_header("content-type", "text/event-stream")
        .with_body(events(&["fine"]))
        .expect(2)
        .create();
    let directory = dev_directory(&format!("{}/v1", server.url()));
    let run = |arguments: &[&str]| resultity_beside(directory.path()).args(arguments).output().unwrap();
    assert_success(&run(&["chat", "hi"]), "fine\n");
    assert_success(
        &run(&["--base-url", &format!("{}/v1/", server.url()), "chat", "hi"]),
        "fine\n",
    );
    mock.assert();
}

#[test]
fn the_key_of_dev_goes_to_no_other_server() {
    let mut server = Server::new();
    let mock = server
        .mock("GET", "/v1/models")
        .match_header("authorization", Matcher::Missing)
        .with_body(models(&["m"]))
        .create();
    let directory = dev_directory("http://127.0.0.1:1/v1");
    let url = format!("{}/v1", server.url());
    let output = resultity_beside(directory.path())
        .args(["--base-url", &url, "models"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    mock.assert();
}

fn dev_directory(cloud: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let dev =
        json!({"base_url": "x", "cloud": cloud, "api_key": "rk_test_dev", "model": "demo", "node_id": null, "pid": 1});
    std::fs::write(directory.path().join("dev.json"), dev.to_string()).unwrap();
    directory
}

#[rstest]
#[case::wrong_key(401, "invalid_api_key", "Check --api-key or RESULTITY_API_KEY.")]
#[case::no_credits(402, "insufficient_quota", "Add credits, or use another key.")]
#[case::no_model(404, "model_not_found", "`resultity models` lists what can be asked.")]
#[case::node_failed(502, "node_failed", "tell the operator the request id r1.")]
fn an_error_is_told_in_a_sentence_with_what_to_do_next(#[case] status: usize, #[case] code: &str, #[case] hint: &str) {
    let mut server = Server::new();
    chat(&mut server, json!({}))
        .with_status(status)
        .with_header("x-request-id", "r1")
        .with_body(error_body("that did \u{1b}[31mnot work", code, None))
        .create();
    let output = at(&server).args(["chat", "-m", "m", "hi"]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(told.lines().next().unwrap(), "error: that did [31mnot work");
    assert!(told.lines().nth(1).unwrap().ends_with(hint), "{told}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(!told.contains("rk_test_1"));
}

#[test]
fn a_cut_stream_is_a_failure_after_what_arrived() {
    let mut server = Server::new();
    chat(&mut server, json!({}))
        .with_header("content-type", "text/event-stream")
        .with_body(event(chunk("half")))
        .create();
    let output = at(&server).args(["chat", "-m", "m", "hi"]).output().unwrap();
    assert_eq!(text(&output.stdout), "half\n");
    assert!(
        text(&output.stderr).starts_with("error: the stream was cut"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[rstest]
#[case::no_command(&[], 2)]
#[case::unknown(&["frobnicate"], 2)]
#[case::both(&["chat", "hi", "--stream", "--no-stream"], 2)]
#[case::bad_url(&["--base-url", "nonsense", "models"], 2)]
#[case::empty_prompt(&["--base-url", "http://127.0.0.1:1/v1", "chat", ""], 2)]
#[case::no_server_known(&["models"], 1)]
#[case::nobody_listens(&["--base-url", "http://127.0.0.1:1/v1", "--timeout", "1", "models"], 1)]
fn what_cannot_work_has_a_plain_error_and_status(#[case] arguments: &[&str], #[case] status: i32) {
    let output = resultity().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
    assert!(!output.stderr.is_empty());
    assert!(
        !text(&output.stderr).contains('\u{1b}'),
        "no colours without a terminal"
    );
}

#[test]
fn help_fits_80_columns_has_examples_and_hides_secrets() {
    let commands = [
        "",
        "chat",
        "complete",
        "embed",
        "models",
        "jobs",
        "jobs list",
        "jobs submit",
        "jobs wait",
        "jobs feedback",
        "batch",
        "batch submit",
        "batch results",
        "usage",
        "credits",
        "receipt",
        "receipt verify",
        "webhooks",
        "webhooks add",
        "webhooks deliveries",
    ];
    for command in commands {
        let arguments = command.split_whitespace().chain(["--help"]);
        let output = resultity()
            .env("RESULTITY_API_KEY", "rk_test_secret")
            .args(arguments)
            .output()
            .unwrap();
        let help = text(&output.stdout);
        assert!(output.status.success());
        assert!(command.contains(' ') || help.contains("Examples:"), "{help}");
        assert!(!help.contains("rk_test_secret"));
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let mut server = Server::new();
    let many: Vec<String> = (0..2000).map(|number| format!("line {number}\n")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    chat(&mut server, json!({}))
        .with_header("content-type", "text/event-stream")
        .with_body(events(&many))
        .create();
    let mut command = at(&server);
    command
        .args(["chat", "-m", "m", "hi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(8, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), text(&output.stderr)), ("line 0\n", ""));
    assert!(output.status.success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_a_stream_cleanly() {
    use std::sync::{Arc, Mutex, mpsc};
    let mut server = Server::new();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    chat(&mut server, json!({}))
        .with_header("content-type", "text/event-stream")
        .with_chunked_body(move |body| {
            body.write_all(event(chunk("begin")).as_bytes())?;
            body.flush()?;
            let _ = wait.lock().unwrap().recv_timeout(support::PATIENCE);
            Ok(())
        })
        .create();
    let mut command = at(&server);
    command
        .args(["chat", "-m", "m", "hi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut begin = [0; 5];
    std::io::Read::read_exact(&mut out, &mut begin).unwrap();
    assert_eq!(&begin, b"begin");
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    drop(release);
    assert_eq!((rest.as_str(), text(&output.stderr)), ("\n", ""));
    assert_eq!(output.status.code(), Some(130));
}

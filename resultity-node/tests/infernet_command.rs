//! `resultity-node infernet` as somebody at a terminal has it.

#![cfg(all(feature = "cli", feature = "infernet"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a `config.json`.
fn folder(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

/// A file with as many containers that run already.
fn containers(count: u16) -> Value {
    let container = |number| json!({"id": format!("c{number}"), "port": 20_000 + number});
    json!({"manage_containers": false, "containers": (0..count).map(container).collect::<Vec<_>>()})
}

/// The command in this folder; it keeps its results there.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resultity-node"));
    command
        .current_dir(dir)
        .arg("infernet")
        .args(["--data-dir", "data"])
        .args(arguments);
    for variable in ["INFERNET_CONFIG_PATH", "RUNTIME", "DOCKER_HOST", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

fn output(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A node that runs; killed when it is dropped.
struct Running {
    child: Child,
    address: String,
    said: Vec<String>,
}

impl Running {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = ["--listen", "127.0.0.1:0"].iter().chain(arguments).copied().collect();
        let mut child = command(dir, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {said:?}")).unwrap();
            let address = line
                .split_once("the node serves address=")
                .map(|(_, rest)| rest.to_owned());
            said.push(line);
            if let Some(address) = address {
                break address.split(' ').next().unwrap().to_owned();
            }
        };
        // The rest is read too, so that the node never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, said }
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let signalled = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(signalled.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_check_says_what_a_file_would_do() {
    let mut config = containers(2);
    config["redis"] = json!({"host": "redis"});
    config["colour"] = json!("blue");
    let dir = folder(&config.to_string());
    let checked = output(dir.path(), &["--check"]);
    let said = text(&checked.stdout);
    assert!(checked.status.success());
    for expected in [
        "config.json can be used.",
        "Listens on  127.0.0.1:4000",
        "c1  http://localhost:20001/",
        "redis: not needed: results are kept in data/infernet.db",
        "colour: unknown key, not used",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    // It only looks.
    assert!(!dir.path().join("data").exists());
    let checked = output(dir.path(), &["--check", "--json", "--listen", "0.0.0.0:80"]);
    let said: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(said["valid"], true);
    assert_eq!(said["listen"], "0.0.0.0:80");
    assert_eq!(said["containers"][1]["id"], "c1");
    assert_eq!(said["notes"][0]["path"], "redis");
}

#[rstest]
#[case("{\"server\": {\"port\": \"4000x\"}, \"containers\": [{}]}", &[
    "resultity-node: config.json: server.port: expected a port between 1 and 65535, found \"4000x\"",
    "resultity-node: config.json: containers[0].id: is missing",
    "resultity-node: config.json: containers[0].image: is missing: the Docker engine must know what to start",
])]
#[case("{\n  \"server\": {,}\n}", &["resultity-node: config.json: line 2, column 14: this is not JSON: key must be a string"])]
fn a_wrong_file_is_told_of_in_one_line_each(#[case] config: &str, #[case] expected: &[&str]) {
    let dir = folder(config);
    let ran = output(dir.path(), &[]);
    assert_eq!(text(&ran.stderr).lines().collect::<Vec<_>>(), expected);
    assert_eq!(ran.status.code(), Some(1));
    let checked = output(dir.path(), &["--check", "--json"]);
    let said: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(said["valid"], false);
    assert_eq!(said["errors"].as_array().unwrap().len(), expected.len());
    assert_eq!(checked.status.code(), Some(1));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ran = output(dir.path(), &["--config", "other.json"]);
    let said = text(&ran.stderr);
    assert!(said.starts_with("resultity-node: cannot read other.json: "), "{said}");
    assert!(
        said.lines().nth(1).is_some_and(|hint| hint.contains("--config")),
        "{said}"
    );
    assert_eq!((said.lines().count(), ran.status.code()), (2, Some(1)));
}

#[test]
fn an_address_in_use_is_named() {
    let dir = folder(&containers(1).to_string());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = output(dir.path(), &["--listen", &address, "--log-level", "error"]);
    let said = text(&ran.stderr);
    assert!(
        said.starts_with(&format!("resultity-node: {address} is in use: ")),
        "{said}"
    );
    assert_eq!((said.lines().count(), ran.status.code()), (1, Some(1)));
}

#[rstest]
#[case(&["--listen", "here"])]
#[case(&["--json"])]
#[case(&["--log-level", "infernet=loud"])]
#[case(&["--log-level", "loud"])]
#[case(&["--unknown"])]
fn wrong_usage_has_its_own_exit_code(#[case] arguments: &[&str]) {
    let dir = folder(&containers(1).to_string());
    let ran = output(dir.path(), arguments);
    assert_eq!(ran.status.code(), Some(2), "{}", text(&ran.stderr));
}

#[cfg(unix)]
#[rstest]
#[case("-TERM")]
#[case("-INT")]
fn a_node_serves_until_it_is_told_to_stop(#[case] signal: &str) {
    let mut config = containers(20);
    config["log"] = json!({"path": "logs/node.log"});
    let dir = folder(&config.to_string());
    let mut node = Running::start(dir.path(), &[]);
    assert!(
        node.said
            .iter()
            .any(|line| line.contains("server: listens on 127.0.0.1:0")),
        "{:?}",
        node.said
    );
    let request = format!("http://{}/info", node.address);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let info: Value = runtime.block_on(async { reqwest::get(request).await.unwrap().json().await.unwrap() });
    assert_eq!(info["containers"].as_array().unwrap().len(), 20);
    node.signal(signal);
    assert!(node.child.wait().unwrap().success());
    let log = std::fs::read_to_string(dir.path().join("logs/node.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["fields"]["message"] == "the node serves"),
        "{log}"
    );
}

#[test]
fn the_file_may_be_named_by_the_originals_variable() {
    let dir = folder("{}");
    std::fs::write(dir.path().join("other.json"), containers(1).to_string()).unwrap();
    let mut command = command(dir.path(), &["--check", "--json"]);
    command
        .env("INFERNET_CONFIG_PATH", "other.json")
        .env("RUNTIME", "docker");
    let said: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(said["config"], "other.json");
    assert_eq!(said["containers"][0]["url"], "http://host.docker.internal:20000/");
}

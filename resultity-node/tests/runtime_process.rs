//! Engines that the node runs itself: with a real `llama-server`, and with scripts for what can go wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use resultity_core::clock::SystemEntropy;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_node::runtime::openai::OpenAiRuntime;
use resultity_node::runtime::process::{
    Isolation, Listen, Patience, ProcessError, ProcessRuntime, ProcessSpec, State, protections_of,
};
use resultity_node::runtime::{Runtime, RuntimeError, RuntimeEvent, testing};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

mod llama;

use llama::{MODEL, say};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The program that shuts engines in.
const SANDBOX: &str = env!("CARGO_BIN_EXE_resultity-node");

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn start(spec: ProcessSpec, dir: &Path) -> Result<ProcessRuntime, ProcessError> {
    timeout(2 * PATIENCE, ProcessRuntime::start(spec, dir, Arc::new(SystemEntropy)))
        .await
        .unwrap()
}

/// A script as an engine: it never answers, and is waited for until it ends.
fn script(text: &str) -> ProcessSpec {
    let mut patience = Patience::default();
    patience.start = PATIENCE;
    patience.stop = Duration::from_millis(200);
    ProcessSpec::new("sh", Listen::Socket)
        .args(["-c", text])
        .patience(patience)
}

async fn failure(spec: ProcessSpec) -> String {
    let dir = folder();
    match start(spec, dir.path()).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it should not have started"),
    }
}

fn request() -> ChatRequest {
    ChatRequest::new(MODEL, [Message::user("Tell me a long story.")]).temperature(0.0)
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

/// The processes with this in their environment, zombies left out.
fn marked(mark: &str) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let wanted = format!("RESULTITY_ENGINE={mark}");
    let has = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    pids.filter(has).collect()
}

fn mark(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("mark")).unwrap()
}

async fn kill(pid: impl ToString) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().await;
    assert!(killed.unwrap().success());
}

/// The engine itself: the one whose command line is not that of the sandbox.
fn engine_of(dir: &Path) -> i32 {
    let is_engine = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        !line.is_empty() && !line.contains("engine-sandbox")
    };
    marked(&mark(dir)).into_iter().find(is_engine).expect("the engine runs")
}

#[tokio::test]
async fn llama_server_passes_the_contract_shut_in() {
    let Some(spec) = llama::spec().await else { return };
    let dir = folder();
    let runtime = start(spec.sandbox(SANDBOX), dir.path()).await.unwrap();
    testing::all(&runtime, MODEL).await;
    assert_eq!((runtime.kind(), runtime.state()), ("llama-server", State::Healthy));
    assert_ne!(runtime.version(), "unknown");
    assert_eq!(protections_of(dir.path()), Some(runtime.protections()));
    say(&format!("shut in: {}", runtime.protections()));
    // Whoever gets at the socket still lacks the key.
    let stranger = OpenAiRuntime::over_socket(dir.path().join("run/engine.sock")).unwrap();
    let refused = stranger.chat(request()).await.map(|_| ());
    assert!(
        matches!(&refused, Err(RuntimeError::Unavailable(why)) if why.contains("key")),
        "{refused:?}"
    );
    let mark = mark(dir.path());
    runtime.stop().await;
    assert_eq!(runtime.state(), State::Stopped);
    assert!(marked(&mark).is_empty(), "nothing of it is left");
}

#[tokio::test]
async fn an_engine_on_a_port_is_reached_through_its_sandbox_alone() {
    let Some(mut spec) = llama::spec().await else { return };
    spec.listen = Listen::Port;
    spec.uses_loopback = true;
    spec.arguments[1] = "{host}".to_owned();
    let dir = folder();
    let runtime = start(spec.args(["--port", "{port}"]).sandbox(SANDBOX), dir.path())
        .await
        .unwrap();
    testing::answers_and_counts(&runtime, MODEL).await;
    testing::stays_usable_after_a_cancelled_stream(&runtime, MODEL).await;
    let stranger = std::fs::read_to_string(format!("/proc/{}/cmdline", engine_of(dir.path()))).unwrap();
    let port = stranger
        .split('\0')
        .skip_while(|argument| *argument != "--port")
        .nth(1)
        .unwrap();
    let is_open = std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_ok();
    let is_alone = runtime.protections().network == resultity_node::runtime::process::Network::Itself;
    assert_eq!(is_open, !is_alone);
}

#[tokio::test]
async fn an_engine_that_is_killed_comes_back_by_itself() {
    let Some(mut spec) = llama::spec().await else { return };
    spec.patience.first_wait = Duration::from_millis(50);
    let dir = folder();
    let runtime = start(spec.sandbox(SANDBOX), dir.path()).await.unwrap();
    runtime.models().await.unwrap();
    let mut ask = request().max_tokens(1500);
    ask.stream = Some(true);
    let mut stream = runtime.chat(ask).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(RuntimeEvent::Delta(_)))));
    kill(engine_of(dir.path())).await;
    let last = stream
        .map(|event| event.map(|_| ()))
        .collect::<Vec<_>>()
        .await
        .pop()
        .unwrap();
    assert!(matches!(last, Err(RuntimeError::Failed(_))), "{last:?}");
    timeout(PATIENCE, runtime.changed()).await.unwrap();
    assert!(matches!(runtime.models().await, Err(RuntimeError::Unavailable(_))));
    timeout(PATIENCE, runtime.changed()).await.unwrap();
    testing::answers_and_counts(&runtime, MODEL).await;
    assert_eq!(runtime.starts(), 2);
    let before = engine_of(dir.path());
    timeout(PATIENCE, runtime.restart()).await.unwrap().unwrap();
    assert_ne!(engine_of(dir.path()), before);
    testing::answers_and_counts(&runtime, MODEL).await;
    let mark = mark(dir.path());
    drop(runtime);
    until("a dropped engine ends", || marked(&mark).is_empty()).await;
}

#[tokio::test]
async fn an_engine_does_not_outlive_an_agent_that_is_killed() {
    let Some(spec) = llama::spec().await else { return };
    let dir = folder();
    let mut agent = Command::new(SANDBOX)
        .args([
            "run",
            "--io",
            "ws://127.0.0.1:9/io/v1/ws",
            "--max-concurrency",
            "1",
            "--data-dir",
        ])
        .arg(dir.path())
        .arg("--engine-command")
        .arg(&spec.program)
        .arg("--engine-model")
        .arg(spec.model.as_ref().unwrap())
        .args(["--engine-model-name", MODEL])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let engine = dir.path().join("engine");
    until("the engine gets ready", || engine.join("isolation.json").exists()).await;
    let mark = mark(&engine);
    assert!(!marked(&mark).is_empty());
    agent.kill().await.unwrap();
    until("the engine ends", || marked(&mark).is_empty()).await;
}

#[tokio::test]
async fn why_an_engine_does_not_start_is_said_with_its_last_words() {
    for sandbox in [None, Some(PathBuf::from(SANDBOX))] {
        let mut spec = script("echo the model is broken >&2; exit 3");
        spec.sandbox = sandbox;
        let error = failure(spec).await;
        assert!(
            error.contains("code 3") && error.contains("the model is broken"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_never_answers_is_ended() {
    for sandbox in [None, Some(PathBuf::from(SANDBOX))] {
        let mut spec = script("trap '' TERM; echo begun; while :; do sleep 1; done");
        spec.sandbox = sandbox;
        spec.patience.start = Duration::from_secs(5);
        let error = failure(spec).await;
        assert!(error.contains("signal 9") && error.contains("begun"), "{error}");
    }
}

#[tokio::test]
async fn what_is_left_of_an_earlier_agent_is_ended_and_nothing_else() {
    let dir = folder();
    std::fs::write(dir.path().join("mark"), "earlier").unwrap();
    let sleeper = |mark: &str| {
        let mut command = Command::new("sleep");
        command
            .arg("1000")
            .env("RESULTITY_ENGINE", mark)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    let (mut left, mut other) = (sleeper("earlier"), sleeper("another"));
    assert!(start(script("exit 1"), dir.path()).await.is_err());
    let ended = timeout(PATIENCE, left.wait()).await.unwrap().unwrap();
    assert!(!ended.success());
    assert!(other.try_wait().unwrap().is_none(), "the other goes on");
}

#[tokio::test]
async fn isolation_that_is_required_is_an_error_where_nothing_gives_it() {
    let error = failure(script("exit 0").isolation(Isolation::Required)).await;
    assert!(error.contains("no program"), "{error}");
    // With one it either begins, or says what this system does not allow.
    let spec = script("echo begun; exit 3").isolation(Isolation::Required);
    let error = failure(spec.sandbox(SANDBOX)).await;
    assert!(
        error.contains("begun") != error.contains("can't shut the engine in"),
        "{error}"
    );
}

/// What a script can do, as the words that it prints.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_engine_touches_nothing_but_its_own() {
    let outside = folder();
    let (secret, model) = (outside.path().join("secret"), outside.path().join("model"));
    std::fs::write(&secret, "secret").unwrap();
    std::fs::write(&model, "weights").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = outside.path().join("socket");
    let _services = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = format!(
        "cat {{model}} && echo; touch {{work}}/x && echo may-write;
         cat {secret} && echo BAD-READ; echo x > {secret} && echo BAD-WRITE; echo x >> {{model}} && echo BAD-MODEL;
         rm -f {{model}} && echo BAD-REMOVE; ls {outside} && echo BAD-LIST;
         cat /proc/{agent}/environ > /dev/null && echo BAD-ENVIRON; kill -0 {agent} && echo BAD-SIGNAL;
         test -e {socket} && echo BAD-SOCKET;
         bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo BAD-CONNECT;
         ulimit -c; echo \"environment [$CARGO_MANIFEST_DIR]\"; echo done; exit 3",
        secret = secret.display(),
        outside = outside.path().display(),
        socket = socket.display(),
        agent = std::process::id(),
    );
    let dir = folder();
    let spec = script(&text).model(&model, "m").sandbox(SANDBOX);
    let error = start(spec, dir.path()).await.map(|_| ()).unwrap_err().to_string();
    let held = protections_of(dir.path()).unwrap();
    if !held.missing().is_empty() {
        say(&format!("this system does not hold: {}", held.missing().join("; ")));
    }
    // Processes of its own are what ends with the Agent for certain.
    assert!(held.privileges && (held.processes || !held.ends_with_agent), "{held:?}");
    for said in ["weights", "may-write", "environment []", "done"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    let may = |holds: bool, words: &[&str]| {
        words
            .iter()
            .all(|word| holds != error.lines().any(|line| line == *word))
    };
    assert!(
        may(
            held.files,
            &["BAD-READ", "BAD-WRITE", "BAD-MODEL", "BAD-REMOVE", "BAD-LIST"]
        ),
        "{error}"
    );
    assert!(may(held.processes, &["BAD-SIGNAL"]), "{error}");
    assert!(may(held.sockets, &["BAD-SOCKET"]), "{error}");
    let has_network = held.network == resultity_node::runtime::process::Network::Open;
    assert!(may(!has_network, &["BAD-CONNECT"]), "{error}");
    assert!(
        !held.files || !error.lines().any(|line| line == "BAD-ENVIRON"),
        "{error}"
    );
    if held.files {
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(std::fs::read_to_string(&model).unwrap(), "weights");
    }
}

/// Folders for temporary files are an engine's own, also where it may write to them, and no engine finds what an earlier one
/// has left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_that_an_engine_leaves_behind_is_found() {
    let name = format!("resultity-test-{}", std::process::id());
    let marks = ["/tmp", "/var/tmp", "/dev/shm"].map(|folder| Path::new(folder).join(&name));
    let [a, b, c] = marks.clone().map(|mark| mark.display().to_string());
    let text = format!(
        "cat {a} {b} {c} {{work}}/x && echo BAD-FOUND; cat {{work}}/x && echo BAD-KEPT;
         echo secret > {{work}}/x; for mark in {a} {b} {c}; do echo secret > $mark && echo wrote; done;
         while read name value; do test $name = CapEff: && echo capabilities $value; done < /proc/self/status;
         : > /dev/null && echo done; exit 3"
    );
    let dir = folder();
    for _ in 0..2 {
        let error = loop {
            let mut spec = script(&text).sandbox(SANDBOX);
            spec.writable = ["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from).to_vec();
            match start(spec, dir.path()).await.map(|_| ()).unwrap_err() {
                // The one before lets go of its folder in a moment.
                ProcessError::InUse(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                error => break error.to_string(),
            }
        };
        let held = protections_of(dir.path()).unwrap();
        assert!(error.contains("done") && !error.contains("BAD"), "{error}");
        assert!(
            !held.privileges || error.contains("capabilities 0000000000000000"),
            "{error}"
        );
        // Of what is shared nothing is claimed.
        assert!(held.temporary || !held.files, "{held:?}");
        for mark in &marks {
            // What holds nothing is cleaned up, at least.
            assert_ne!(held.temporary, std::fs::remove_file(mark).is_ok(), "{error}");
        }
        assert!(!held.temporary || error.matches("wrote").count() == 3, "{error}");
    }
}

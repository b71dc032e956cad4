//! OpenAI's own Python SDK against `resultity-server dev` with the real demo model: what people have already goes on
//! working when only the base URL and the key change. The checks themselves are in `openai_sdk.py`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "embedded")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long `pip` may take.
const INSTALL: Duration = Duration::from_mins(5);

/// How long `dev` may take to be ready: the first start on a machine fetches 98 MB.
const READY: Duration = Duration::from_mins(10);

/// How long all checks together may take.
const CHECKS: Duration = Duration::from_mins(5);

/// Runs a command to its end. An error says what it printed.
async fn run(command: &mut Command, limit: Duration) -> Result<(), String> {
    let shown = format!("{:?}", command.as_std());
    let output = timeout(limit, command.stdin(Stdio::null()).kill_on_drop(true).output())
        .await
        .map_err(|_| format!("{shown} took longer than {} s", limit.as_secs()))?
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(format!("{shown} ended with {}:\n{out}{err}", output.status))
}

/// A Python that has the SDK: made once in the target folder, with the newest version there is then.
async fn python_with_sdk() -> PathBuf {
    const MISSING: &str = "this test needs Python 3.9 or newer with venv, and pip that can install `openai`";
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let folder = target.join("openai-sdk-venv");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let has_sdk = run(Command::new(&python).args(["-c", "import openai"]), INSTALL).await;
    if has_sdk.is_ok() {
        return python;
    }
    let system_python = if cfg!(windows) { "python" } else { "python3" };
    run(
        Command::new(system_python).args(["-m", "venv", "--clear"]).arg(&folder),
        INSTALL,
    )
    .await
    .expect(MISSING);
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "openai",
    ];
    run(Command::new(&python).args(install), INSTALL).await.expect(MISSING);
    python
}

/// Starts `dev` and waits for the line that says how to reach it. It ends when the child is dropped.
async fn start_dev(data_dir: &Path) -> (Child, Value) {
    let mut dev = Command::new(env!("CARGO_BIN_EXE_resultity-server"))
        .args(["dev", "--listen", "127.0.0.1:0", "--json", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the server was built with this test");
    let output = dev.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(output).lines();
    let line = timeout(READY, lines.next_line())
        .await
        .expect("`dev` is ready in time")
        .expect("its output can be read")
        .expect("`dev` says that it is ready before it ends; why it ended stands above");
    let facts = serde_json::from_str(&line).expect("the line is JSON");
    (dev, facts)
}

fn text<'a>(facts: &'a Value, name: &str) -> &'a str {
    facts[name]
        .as_str()
        .expect("`dev` says how to reach it, and which model it serves")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_sdk_works_with_base_url_and_key_alone() {
    let python = python_with_sdk().await;
    let data_dir = tempfile::tempdir().expect("a temporary folder can be made");
    let (_dev, facts) = start_dev(data_dir.path()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_sdk.py");
    let mut checks = Command::new(python);
    checks
        .arg(script)
        .env("RESULTITY_BASE_URL", text(&facts, "cloud"))
        .env("RESULTITY_API_KEY", text(&facts, "api_key"))
        .env("RESULTITY_MODEL", text(&facts, "model"))
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if let Err(findings) = run(&mut checks, CHECKS).await {
        panic!("{findings}");
    }
}

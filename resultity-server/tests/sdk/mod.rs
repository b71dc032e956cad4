//! What the SDK suites share: `resultity-server dev` as a process of its own, the engines behind it, and the packages that
//! ask it. The suites need Python or Node.js and their registries; where one is missing they say so and pass, unless
//! `RESULTITY_REQUIRE_SDKS` is set.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub mod llama;
pub mod packages;

/// Set where a suite must not be left out: in CI.
const REQUIRED: &str = "RESULTITY_REQUIRE_SDKS";

/// How long `dev` may take to be ready: the first start on a machine fetches its models.
const READY: Duration = Duration::from_mins(10);

/// How long all checks of one test may take together.
const CHECKS: Duration = Duration::from_mins(10);

/// How long `dev` may take to stop, and to check its books.
const STOP: Duration = Duration::from_mins(1);

/// Says something that is seen though the test passes: what is printed by macros is not.
pub fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {what}\n");
}

/// What a suite needs, or nothing where it may be left out.
pub fn or_leave_out<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) if std::env::var_os(REQUIRED).is_some() => panic!("{REQUIRED} is set, but: {reason}"),
        Err(reason) => {
            say(&format!("LEFT OUT, an SDK suite: {reason}"));
            None
        }
    }
}

/// Runs a command to its end and gives what it printed. An error says it too.
pub async fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let shown = format!("{:?}", command.as_std());
    let output = timeout(limit, command.stdin(Stdio::null()).kill_on_drop(true).output())
        .await
        .map_err(|_| format!("{shown} took longer than {} s", limit.as_secs()))?
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown} ended with {}:\n{out}{err}", output.status))
}

/// Reads lines until one is found that `wanted` takes, and goes on reading in the background, so that the pipe never fills.
pub async fn until_line<T>(
    pipe: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    limit: Duration,
    mut wanted: impl FnMut(&str) -> Option<T>,
) -> Result<T, String> {
    let mut lines = BufReader::new(pipe).lines();
    let mut last = String::new();
    let found = timeout(limit, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(found) = wanted(&line) {
                return Ok(found);
            }
            last = line;
        }
        Err("it ended".to_owned())
    });
    let found = found.await.unwrap_or_else(|_| Err("it took too long".into()));
    let found = found.map_err(|what| format!("{what}; its last line was: {last}"))?;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(found)
}

/// A running `dev`, which ends with the test at the latest.
pub struct Dev {
    child: Child,
    facts: Value,
    engine: &'static str,
    data_dir: TempDir,
}

impl Dev {
    /// With the embedded models.
    pub async fn embedded() -> Self {
        Self::start("embedded", &[]).await
    }

    /// With a node in front of these engines.
    pub async fn before(llama: &llama::Llama) -> Self {
        let arguments = [
            "--engine",
            &llama.text.url,
            "--engine",
            &llama.embeddings.url,
            "--embedding-model",
            &llama.embeddings.model,
        ];
        Self::start("llama", &arguments).await
    }

    async fn start(engine: &'static str, arguments: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary folder can be made");
        let mut child = Command::new(env!("CARGO_BIN_EXE_resultity-server"))
            .args(["dev", "--listen", "127.0.0.1:0", "--json", "--data-dir"])
            .arg(data_dir.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server was built with this test");
        let output = child.stdout.take().expect("its output is piped");
        let facts = until_line(output, READY, |line| serde_json::from_str(line).ok())
            .await
            .expect("`dev` says how to reach it; why not stands above");
        Self {
            child,
            facts,
            engine,
            data_dir,
        }
    }

    /// What `dev` says of itself under this name; empty if it says nothing.
    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_default()
    }

    /// Runs a program that asks: where, with which key and which models is in its environment.
    pub async fn check(&self, program: &mut Command) {
        program
            .env("RESULTITY_BASE_URL", self.fact("cloud"))
            .env("RESULTITY_API_KEY", self.fact("api_key"))
            .env("RESULTITY_MODEL", self.fact("model"))
            .env("RESULTITY_EMBEDDING_MODEL", self.fact("embedding_model"))
            .env("RESULTITY_ENGINE", self.engine)
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("OPENAI_API_KEY")
            .env_remove("OPENAI_BASE_URL");
        if let Err(findings) = run(program, CHECKS).await {
            panic!("against {}:\n{findings}", self.engine);
        }
    }

    /// Stops it as an operator would, and lets it check its books: all right, and no credit left in a hold.
    pub async fn stop_and_audit(mut self) {
        let pid = self.child.id().expect("it runs still").to_string();
        run(Command::new("kill").args(["-TERM", &pid]), STOP)
            .await
            .expect("a signal can be sent");
        let ended = timeout(STOP, self.child.wait()).await.expect("it stops in time");
        assert!(ended.expect("its end is known").success(), "`dev` did not stop well");
        let report = audit(self.data_dir.path()).await;
        assert_eq!(report["problems"], serde_json::json!([]), "{report}");
        assert_eq!(report["open_holds"], 0, "{report}");
        assert!(report["jobs"].as_u64() > Some(0), "nothing was asked: {report}");
    }
}

/// What `resultity-server audit` says of a server that has stopped.
async fn audit(data_dir: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resultity-server"));
    command.args(["audit", "--json", "--data-dir"]).arg(data_dir);
    let report = run(&mut command, STOP).await.expect("the books are right");
    serde_json::from_str(&report).expect("the report is JSON")
}

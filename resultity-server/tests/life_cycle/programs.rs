//! The programs as people run them: `resultity-server`, `resultity-node` and `resultity`, with all they say at every level
//! kept for the search for secrets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use resultity_core::clock::{Entropy, SystemEntropy};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at something that is awaited.
const PAUSE: Duration = Duration::from_millis(20);

/// Something that nobody guesses, and no log should hold.
pub fn secret() -> String {
    let mut bytes = [0; 12];
    SystemEntropy.fill(&mut bytes);
    format!("secret {}", hex::encode(bytes))
}

/// A port that is free, and not one of those that systems give to whoever asks for any: nobody takes it until it is used.
pub fn free_port() -> u16 {
    let first = 21_000 + (std::process::id() % 5_000) as u16 * 2;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(is_free).unwrap()
}

/// Waits until the server takes work.
pub async fn until_ready(server: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let answer = http.get(format!("{server}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The code in the last letter to this address, once there is one.
pub async fn outbox_code(outbox: &Path, to: &str) -> String {
    loop {
        let letters = std::fs::read_dir(outbox).into_iter().flatten().flatten();
        let letters = letters.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        let letter = letters.into_iter().find(|letter| letter.contains(&format!("To: {to}")));
        let code = letter.as_deref().and_then(|letter| {
            letter
                .split(|c: char| !c.is_ascii_digit())
                .rfind(|digits| (6..=8).contains(&digits.len()))
                .map(str::to_owned)
        });
        if let Some(code) = code {
            return code;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where the programs are.
pub struct Programs {
    pub server: PathBuf,
    pub node: PathBuf,
    pub command: PathBuf,
}

impl Programs {
    /// Beside the server that was built with this test: `cargo test --workspace` builds all three.
    pub fn find() -> Self {
        let server = PathBuf::from(env!("CARGO_BIN_EXE_resultity-server"));
        let beside = |name: &str| {
            let path = server
                .with_file_name(name)
                .with_extension(std::env::consts::EXE_EXTENSION);
            assert!(
                path.is_file(),
                "{name} is not built: run `cargo test --workspace`, or `cargo build --workspace` first"
            );
            path
        };
        Self {
            node: beside("resultity-node"),
            command: beside("resultity"),
            server,
        }
    }

    /// Runs one to its end; what it printed.
    pub async fn run(&self, program: &Path, arguments: &[&OsStr]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        finished(command.output(), arguments).await
    }

    /// A person with a folder of their own for what the command keeps.
    pub fn user(&self, server: &str, folder: &Path) -> User {
        User {
            program: self.command.clone(),
            server: server.to_owned(),
            folder: folder.to_owned(),
        }
    }
}

async fn finished(
    output: impl Future<Output = std::io::Result<std::process::Output>>,
    arguments: &[impl AsRef<OsStr>],
) -> String {
    let shown: Vec<_> = arguments
        .iter()
        .map(|one| one.as_ref().to_string_lossy().into_owned())
        .collect();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.unwrap_or_else(|_| panic!("{shown:?} hangs")).unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{shown:?}: {}\n{said}{complained}",
        output.status
    );
    said.into_owned()
}

/// Somebody at a terminal.
pub struct User {
    program: PathBuf,
    server: String,
    folder: PathBuf,
}

impl User {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for name in ["RESULTITY_API_KEY", "RESULTITY_TOKEN", "RESULTITY_SECOND_FACTOR"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("RESULTITY_BASE_URL", format!("{}/v1", self.server))
            .env("RESULTITY_CONFIG_DIR", &self.folder)
            .arg("--data-dir")
            .arg(&self.folder)
            .kill_on_drop(true);
        command
    }

    /// Runs a command; what it printed.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        finished(command.stdin(Stdio::null()).output(), arguments).await
    }

    /// The same with `--json`.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let said = self.run(&arguments).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }

    /// Starts a command that asks for something.
    pub fn start(&self, arguments: &[&str]) -> Conversation {
        let mut command = self.command(arguments);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Conversation { child }
    }
}

/// A command that waits for answers.
pub struct Conversation {
    child: Child,
}

impl Conversation {
    pub async fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        input.flush().await.unwrap();
    }

    /// Waits for its end; what it printed.
    pub async fn json(self) -> Value {
        let said = finished(self.child.wait_with_output(), &["a conversation"]).await;
        serde_json::from_str(&said).unwrap()
    }
}

/// A program that runs beside the test, and says everything it can.
pub struct Background {
    child: Child,
}

impl Background {
    pub fn start(program: &Path, arguments: &[&OsStr], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// As an operator does: SIGTERM, and wait.
    pub async fn stop(mut self) {
        let id = self.child.id().unwrap();
        let asked = Command::new("kill").arg(id.to_string()).status().await.unwrap();
        assert!(asked.success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it does not stop").unwrap();
    }
}

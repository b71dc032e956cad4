//! The command `resultity`, run as a person or a script runs it.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use mockito::ServerGuard;
use resultity_client::core::clock::{Clock, SystemClock};

/// The command in an environment that knows no server but the `dev` of this directory.
pub(crate) fn resultity_beside(data_dir: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resultity"));
    for name in [
        "RESULTITY_BASE_URL",
        "RESULTITY_API_KEY",
        "RESULTITY_MODEL",
        "RESULTITY_EMBEDDING_MODEL",
        "RESULTITY_NETWORK",
        "RESULTITY_NODE_URL",
        "PRIVATE_KEY",
        "RESULTITY_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).arg("--data-dir").arg(data_dir);
    command
}

/// The command in an environment that knows no server.
pub(crate) fn resultity() -> Command {
    resultity_beside("no-such-directory")
}

pub(crate) fn at(server: &ServerGuard) -> Command {
    let mut command = resultity();
    command
        .env("RESULTITY_BASE_URL", format!("{}/v1", server.url()))
        .env("RESULTITY_API_KEY", "rk_test_1");
    command
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn assert_success(output: &Output, expected: &str) {
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), expected);
    assert!(output.status.success());
}

/// The words of each line.
pub(crate) fn words(output: &Output) -> Vec<Vec<&str>> {
    text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// How lists tell of what was made at 1700000000.
pub(crate) fn age() -> String {
    format!("{}d", (SystemClock.now().as_seconds() - 1_700_000_000) / 86_400)
}

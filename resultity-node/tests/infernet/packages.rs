//! The official client and what it needs, in the versions that are pinned beside the scripts: fetched once into the target
//! folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::sources;

/// How long one step of fetching may take.
const INSTALL: Duration = Duration::from_mins(10);

/// Runs a command to its end and gives what it printed. An error says it too.
pub(crate) async fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let shown = format!("{:?}", command.as_std());
    let output = tokio::time::timeout(limit, command.stdin(Stdio::null()).kill_on_drop(true).output())
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

/// Python with the client and its packages.
pub(crate) struct Python {
    interpreter: PathBuf,
    compiled: PathBuf,
}

impl Python {
    /// The interpreter, which finds the packages, in the folder of the scripts.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.interpreter);
        command
            .current_dir(sources().join("client"))
            // Only what is used is compiled, and beside the sources nothing is written.
            .env("PYTHONPYCACHEPREFIX", &self.compiled)
            .env("NO_PROXY", "127.0.0.1");
        command
    }

    /// These modules, run by `unittest`.
    pub(crate) fn unittest(&self, modules: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["-m", "unittest", "--verbose", "--locals"]).args(modules);
        command
    }
}

/// The Python of this machine, with the packages in an environment of their own.
pub(crate) async fn python() -> Result<Python, String> {
    const NEEDED: &str = "it needs `python3` 3.11 or newer with venv, and pip that reaches a package index";
    let needed = |error: String| format!("{NEEDED}: {error}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("infernet-client");
    let _lock = lock(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let environment = folder.join("environment");
    let interpreter = environment.join("bin/python");
    let requirements = sources().join("client/requirements.txt");
    let pins = std::fs::read_to_string(&requirements).expect("a file of the sources can be read");
    let filled_from = folder.join("filled-from");
    if std::fs::read_to_string(&filled_from).ok().as_ref() != Some(&pins) {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&environment);
        run(&mut venv, INSTALL).await.map_err(needed)?;
        let mut install = Command::new(&interpreter);
        install
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--no-compile", "--requirement"])
            .arg(&requirements);
        run(&mut install, INSTALL).await.map_err(needed)?;
        std::fs::write(&filled_from, pins).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(Python {
        interpreter,
        compiled: folder.join("compiled"),
    })
}

/// Only one fills it at a time.
fn lock(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

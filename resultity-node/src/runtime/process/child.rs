//! One run of an engine: its process, its output, and the way to ask it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use resultity_core::clock::Entropy;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{ChildStdin, Command};
use tokio_util::task::AbortOnDropHandle;

use super::ProcessError;
use super::engine_log::EngineLog;
use super::folder::{Folder, secret};
use super::leftovers::MARK;
use super::sandbox::{COMMAND, Policy};
use super::spec::{Filled, Isolation, Listen, Places, ProcessSpec};
use crate::runtime::openai::OpenAiRuntime;

/// How long the rest of the output may take once the process is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Its log, which the readers of both outputs share.
pub(super) type SharedLog = Arc<Mutex<EngineLog>>;

/// A running engine. Dropping it kills its whole group.
pub(super) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    /// In a sandbox: the engine ends when this does.
    _stdin: Option<ChildStdin>,
    outputs: Vec<AbortOnDropHandle<()>>,
}

impl Child {
    /// Starts it, and says how it is asked.
    pub(super) fn spawn(
        spec: &ProcessSpec,
        folder: &Folder,
        log: &SharedLog,
        entropy: &dyn Entropy,
    ) -> Result<(Self, OpenAiRuntime), ProcessError> {
        folder.clear()?;
        lock(log).begin();
        let port = match spec.listen {
            Listen::Socket => 0,
            Listen::Port => free_port().map_err(ProcessError::Start)?,
        };
        let (socket, work) = (folder.socket(), folder.work());
        let filled = spec.fill(&Places {
            socket: &socket,
            port,
            work: &work,
        })?;
        let sandbox = match (&spec.sandbox, spec.isolation) {
            (_, Isolation::None) => None,
            (None, Isolation::Required) => return Err(ProcessError::NoSandbox),
            (sandbox, _) => sandbox.as_deref(),
        };
        let key = secret(entropy);
        let mut command = command(spec, &filled, folder, sandbox, port)?;
        command
            .env_clear()
            .envs(&filled.environment)
            .env(MARK, &folder.mark)
            .current_dir(&work)
            .stdin(if sandbox.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(variable) = spec.key_variable {
            command.env(variable, &key);
        }
        let mut process = command.spawn().map_err(ProcessError::Start)?;
        let outputs = [
            process.stdout.take().map(|output| read(output, log)),
            process.stderr.take().map(|output| read(output, log)),
        ];
        let running = Self {
            group: process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw),
            _stdin: process.stdin.take(),
            outputs: outputs.into_iter().flatten().collect(),
            process,
        };
        let mut engine = if sandbox.is_some() || spec.listen == Listen::Socket {
            OpenAiRuntime::over_socket(&socket)
        } else {
            OpenAiRuntime::new(&format!("http://127.0.0.1:{port}"))
        }?
        .with_slots(spec.slots);
        if spec.key_variable.is_some() {
            engine = engine.with_key(key.into());
        }
        Ok((running, engine))
    }

    /// The process, or that of its sandbox.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until it is gone, and ends what it left in its group.
    pub(super) async fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.process.wait().await.ok();
        self.signal(Signal::SIGKILL);
        self.group = None;
        let last_words = async {
            for output in &mut self.outputs {
                let _ = output.await;
            }
        };
        // A process that left the group may hold the pipe open.
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        self.outputs.clear();
        status
    }

    /// Sends its group a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone already.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// How a process ended, in words.
pub(super) fn how(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        // The sandbox says a signal like a shell does.
        Some((Some(code @ 129..=192), _)) => format!("it was ended by signal {}", code - 128),
        Some((Some(code), _)) => format!("it ended with code {code}"),
        Some((_, Some(signal))) => format!("it was ended by signal {signal}"),
        _ => "it ended".to_owned(),
    }
}

pub(super) fn lock(log: &SharedLog) -> std::sync::MutexGuard<'_, EngineLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is started: the program, or the sandbox with a policy for it.
fn command(
    spec: &ProcessSpec,
    filled: &Filled,
    folder: &Folder,
    sandbox: Option<&Path>,
    port: u16,
) -> Result<Command, ProcessError> {
    let Some(sandbox) = sandbox else {
        let mut command = Command::new(&filled.program);
        command.args(&filled.arguments);
        return Ok(command);
    };
    let readable = [
        Some(filled.program.clone()),
        beside(&filled.program, &folder.work(), &homes()),
        filled.model.clone(),
    ];
    let mut writable = vec![folder.work()];
    if spec.listen == Listen::Socket {
        writable.push(folder.run().to_owned());
    }
    let policy = Policy {
        program: filled.program.clone(),
        arguments: filled.arguments.clone(),
        readable: readable
            .into_iter()
            .flatten()
            .chain(spec.readable.iter().cloned())
            .collect(),
        writable: writable.into_iter().chain(spec.writable.iter().cloned()).collect(),
        folder: folder.work(),
        report: folder.report(),
        required: spec.isolation == Isolation::Required,
        uses_loopback: spec.uses_loopback,
        pass_on: (spec.listen == Listen::Port).then(|| (folder.socket(), port)),
        max_file_bytes: spec.max_file_bytes,
    };
    let policy = serde_json::to_string(&policy).map_err(|error| ProcessError::Start(error.into()))?;
    let mut command = Command::new(sandbox);
    command.arg(COMMAND).arg(policy);
    Ok(command)
}

/// The folder of a program, where its libraries may be: unless more than programs is in it. `ours` lies in the node's data
/// directory.
fn beside(program: &Path, ours: &Path, homes: &[PathBuf]) -> Option<PathBuf> {
    let folder = program.parent()?;
    let holds_home = homes.iter().any(|home| home.starts_with(folder));
    let is_private = holds_home || ours.starts_with(folder) || folder.starts_with("/etc") || folder.parent().is_none();
    (!is_private).then(|| folder.to_owned())
}

/// Where people and services keep what is theirs, as far as this system tells.
fn homes() -> Vec<PathBuf> {
    let named = std::env::var_os("HOME").map(PathBuf::from);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_users = users
        .lines()
        .filter_map(|user| Some(PathBuf::from(user.split(':').nth(5)?)));
    // Users may be known elsewhere.
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let usual = ["/home", "/root", "/Users"].map(PathBuf::from);
    let all = named
        .into_iter()
        .chain(own.map(|user| user.dir))
        .chain(of_users)
        .chain(usual);
    let all = all.filter_map(|home| std::fs::canonicalize(home).ok());
    // Services have all of it; of that nothing follows.
    all.filter(|home| home.parent().is_some()).collect()
}

/// A port of loopback that nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn read(mut output: impl AsyncRead + Unpin + Send + 'static, log: &SharedLog) -> AbortOnDropHandle<()> {
    let log = Arc::clone(log);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut buffer = vec![0; 8 << 10];
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            lock(&log).write(&buffer[..count]);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::of_the_system("/usr/bin/engine", Some("/usr/bin"))]
    #[case::of_its_own("/srv/llama/bin/engine", Some("/srv/llama/bin"))]
    #[case::in_a_folder_at_home("/people/a/llama/engine", Some("/people/a/llama"))]
    #[case::at_home("/people/a/engine", None)]
    #[case::above_homes("/people/engine", None)]
    #[case::above_the_data("/srv/node/engine", None)]
    #[case::in_the_data("/srv/node/data/engine/work/engine", None)]
    #[case::of_settings("/etc/llama/engine", None)]
    #[case::at_the_top("/engine", None)]
    fn the_folder_of_a_program_is_seen_unless_more_is_in_it(#[case] program: &str, #[case] expected: Option<&str>) {
        let homes = ["/people", "/people/a", "/people/b"].map(PathBuf::from);
        let seen = beside(Path::new(program), Path::new("/srv/node/data/engine/work"), &homes);
        assert_eq!(seen.as_deref(), expected.map(Path::new));
    }

    #[test]
    fn the_home_of_this_user_is_known_without_its_variable() {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
        let home = user.and_then(|user| std::fs::canonicalize(user.dir).ok());
        // Some have none, or all of it.
        if let Some(home) = home.filter(|home| home.parent().is_some()) {
            assert!(homes().contains(&home));
        }
    }
}

//! The stage that stays: it has the namespaces, passes connections on, and ends the engine with the Agent.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, getpgrp, getpid, setpgid};

use super::{COMMAND, INNER, Policy, Protections, pass_on};

/// Signals that are for the engine: its own group gets them too.
const FOR_THE_ENGINE: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

pub(super) fn run(policy: &Policy, text: &str) -> Result<ExitCode, String> {
    // Whoever called it: the group is ended as a whole.
    if getpgrp() != getpid() {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(|error| format!("it gets no process group: {error}"))?;
    }
    FOR_THE_ENGINE
        .into_iter()
        .collect::<SigSet>()
        .thread_block()
        .map_err(|error| format!("signals can't be blocked: {error}"))?;
    let mut held = namespaces(policy);
    if let Some((socket, port)) = &policy.pass_on {
        pass_on::start(socket, *port).map_err(|error| format!("it can't listen for the engine: {error}"))?;
    }
    std::thread::spawn(end_with_stdin);
    own_processes(&mut held);
    let mut engine = Command::new(ourselves()?)
        .arg0(COMMAND)
        .args([COMMAND, INNER])
        .arg(serde_json::to_string(&held).map_err(|error| error.to_string())?)
        .arg(text)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("its second stage can't be started: {error}"))?;
    let status = engine.wait().map_err(|error| format!("the engine is lost: {error}"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

/// This very program, also if its file was replaced by a newer one.
fn ourselves() -> Result<std::path::PathBuf, String> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().map_err(|error| error.to_string())
}

/// Nothing ever comes; the end comes when the Agent lets go, or is gone.
fn end_with_stdin() {
    let (mut stdin, mut buffer) = (std::io::stdin().lock(), [0; 64]);
    loop {
        match stdin.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    // This process is in the group too.
    let _ = killpg(getpgrp(), Signal::SIGKILL);
}

#[cfg(target_os = "linux")]
fn namespaces(policy: &Policy) -> Protections {
    // What a daemon of the engine leaves behind becomes a child of this process, not of the system's first one.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    super::namespaces::enter(policy)
}

/// Last: the kernel lets a thread whose children are in another namespace start no more threads.
#[cfg(target_os = "linux")]
fn own_processes(held: &mut Protections) {
    held.processes = super::namespaces::own_processes();
    // The kernel ends all that is in the namespace with its first process. Without one, what has left the group stays.
    held.ends_with_agent = held.processes;
}

#[cfg(not(target_os = "linux"))]
fn own_processes(_: &mut Protections) {}

#[cfg(not(target_os = "linux"))]
fn namespaces(_: &Policy) -> Protections {
    Protections::default()
}

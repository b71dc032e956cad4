//! The stage that becomes the engine: it gives up its rights, says which it could, and calls the program.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;

use super::{Policy, Protections};

pub(super) fn run(policy: &Policy, mut held: Protections) -> Result<ExitCode, String> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::prctl;
        use nix::sys::signal::Signal;
        held.ends_with_agent &= prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
        held.privileges = prctl::set_no_new_privs().is_ok();
    }
    #[cfg(target_os = "linux")]
    let is_powerless = give_up_capabilities().is_ok();
    SigSet::all()
        .thread_unblock()
        .map_err(|error| format!("signals can't be unblocked: {error}"))?;
    // A core would hold prompts.
    let limits = [
        (Resource::RLIMIT_CORE, Some(0)),
        (Resource::RLIMIT_FSIZE, policy.max_file_bytes),
    ];
    for (resource, limit) in limits {
        if let Some(limit) = limit {
            setrlimit(resource, limit, limit).map_err(|error| format!("{resource:?} can't be set: {error}"))?;
        }
    }
    std::env::set_current_dir(&policy.folder).map_err(|error| format!("{}: {error}", policy.folder.display()))?;
    let mut report = File::create(&policy.report).map_err(|error| format!("{}: {error}", policy.report.display()))?;
    #[cfg(target_os = "linux")]
    super::landlock::restrict(policy, &mut held)?;
    #[cfg(target_os = "linux")]
    if !is_powerless {
        // Whoever may load modules or trace others can undo all of it.
        held = Protections {
            ends_with_agent: held.ends_with_agent,
            ..Protections::default()
        };
    }
    serde_json::to_writer(&report, &held)
        .map_err(std::io::Error::from)
        .and_then(|()| report.flush())
        .map_err(|error| format!("the protections can't be written down: {error}"))?;
    drop(report);
    if policy.required && !held.is_shut_in() {
        return Err(format!(
            "this system can't shut the engine in as its isolation requires: {}",
            held.missing().join("; ")
        ));
    }
    let error = Command::new(&policy.program)
        .args(&policy.arguments)
        .stdin(Stdio::null())
        .exec();
    Err(format!("{} can't be started: {error}", policy.program.display()))
}

/// An engine of root has no more rights than that of anybody, though the system's files are its own. In a user namespace
/// there are none any more.
#[cfg(target_os = "linux")]
fn give_up_capabilities() -> Result<(), caps::errors::CapsError> {
    use caps::CapSet;
    // What it could get back by what it runs. With no new privileges it can't, also where this is not allowed.
    for capability in caps::runtime::thread_all_supported() {
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set)?;
    }
    Ok(())
}

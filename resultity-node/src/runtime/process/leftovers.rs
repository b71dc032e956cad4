//! Processes that an Agent left behind when it was killed where nothing ends them with it: found by a mark in their
//! environment that no other process has.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// The variable with the mark.
pub(super) const MARK: &str = "RESULTITY_ENGINE";

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends all processes with this mark, and says how many there were.
pub(super) async fn end(mark: &str) -> usize {
    let found = with_mark(mark).await;
    let all = found.len();
    for pid in found {
        // It may be gone already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if all > 0 {
        let gone = async {
            while !with_mark(mark).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, gone).await;
    }
    all
}

async fn with_mark(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let look = move || {
        // Where nothing can be seen nothing can be ended.
        let Ok(mut system) = System::new() else {
            return Vec::new();
        };
        let kind = ProcessRefreshKind::nothing()
            .with_environ(UpdateKind::Always)
            .without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let has_mark = |entry: &std::ffi::OsString| entry.as_os_str() == OsStr::from_bytes(wanted.as_bytes());
        let marked = system
            .processes()
            .iter()
            .filter(|(_, process)| process.environ().iter().any(has_mark));
        marked.filter_map(|(pid, _)| i32::try_from(pid.as_u32()).ok()).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

//! The processes that are measured: started, watched, counted and stopped.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::error::LoadError;

/// How much of a log is shown when a process fails: bytes.
const LOG_TAIL: usize = 4000;

/// How long a process has to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Linux counts the CPU time that it shows in hundredths of a second, on every machine.
const TICK: Duration = Duration::from_millis(10);

/// A process with its log. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    pid: u32,
    log: PathBuf,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it; what it logs goes into a file in `logs`.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        logs: &Path,
    ) -> Result<Self, LoadError> {
        let log = logs.join(format!("{name}.log"));
        // One that is started anew writes on.
        let file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(LoadError::io(format!("creating {}", log.display())))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            // A group of its own: Ctrl-C is for the rig, which then stops all it started.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(LoadError::io(format!("starting {}", program.display())))?;
        let pid = child.id().unwrap_or_default();
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self {
            name,
            child,
            pid,
            log,
            output,
        })
    }

    /// The first line that it prints. What it prints later is thrown away.
    pub async fn first_line(&mut self, timeout: Duration) -> Result<String, LoadError> {
        let mut line = String::new();
        if let Some(mut output) = self.output.take() {
            let read = tokio::time::timeout(timeout, output.read_line(&mut line)).await;
            tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
            if read.is_err() {
                return Err(self.failed(format!("did not become ready in {} s", timeout.as_secs())));
            }
        }
        if line.trim().is_empty() {
            // It ends, or it closed its output: the log says more.
            let _ = tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await;
            return Err(self.failed("ended before it was ready"));
        }
        Ok(line)
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<(), LoadError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(format!("ended: {status}"))),
            Err(error) => Err(self.failed(format!("is lost: {error}"))),
        }
    }

    /// An error about it, with the end of its log.
    pub fn failed(&self, what: impl Into<String>) -> LoadError {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
        LoadError::Process {
            name: self.name,
            what: what.into(),
            log: String::from_utf8_lossy(tail).into_owned(),
        }
    }

    /// The CPU time that it has used so far, in user and system mode, ended threads included.
    pub fn cpu(&self) -> Result<Duration, LoadError> {
        let stat = self.proc("stat")?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| self.failed("has no CPU time in /proc"))?;
        Ok(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The most memory that it had resident so far, in bytes.
    pub fn peak_memory(&self) -> Result<u64, LoadError> {
        self.memory_named("VmHWM:")
    }

    /// The memory that it has resident now, in bytes.
    pub fn memory(&self) -> Result<u64, LoadError> {
        self.memory_named("VmRSS:")
    }

    fn memory_named(&self, name: &str) -> Result<u64, LoadError> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kilobytes.ok_or_else(|| self.failed("has no memory in /proc"))? * 1024)
    }

    fn proc(&self, file: &str) -> Result<String, LoadError> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path)
            .map_err(|error: io::Error| self.failed(format!("cannot be measured: {path}: {error}")))
    }

    /// Kills it, with no chance to say or write anything more; gone when this returns.
    pub async fn kill(&mut self) -> Result<(), LoadError> {
        self.child.kill().await.map_err(LoadError::io("killing a process"))
    }

    /// Asks it to end and waits for that; one that doesn't is killed.
    pub async fn stop(mut self) -> Result<(), LoadError> {
        let asked = Command::new("kill")
            .arg("-TERM")
            .arg(self.pid.to_string())
            .status()
            .await;
        asked.map_err(LoadError::io("asking a process to end"))?;
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            return Err(self.failed(format!("did not end in {} s", STOP_TIMEOUT.as_secs())));
        }
        Ok(())
    }
}

/// User and system time out of `/proc/PID/stat`. The name in it may hold anything, parentheses too.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        assert_eq!(cpu_ticks("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20"), Some(175));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[tokio::test]
    async fn a_process_is_watched_until_it_ends() {
        let logs = tempfile::tempdir().unwrap();
        // The trouble first: the test goes on at the first line of the output.
        let script = "echo trouble >&2; echo ready; exec cat /dev/zero > /dev/null";
        let mut process = Process::start("server", Path::new("/bin/sh"), ["-c", script], logs.path()).unwrap();
        assert_eq!(process.first_line(Duration::from_secs(10)).await.unwrap(), "ready\n");
        process.check().unwrap();
        process.cpu().unwrap();
        assert!(process.peak_memory().unwrap() >= process.memory().unwrap());
        assert!(process.memory().unwrap() > 0);
        assert!(process.failed("did it").to_string().contains("trouble"));
        process.stop().await.unwrap();
    }

    #[tokio::test]
    async fn one_that_ends_early_says_why() {
        let logs = tempfile::tempdir().unwrap();
        let script = "echo the port is taken >&2; exit 3";
        let mut process = Process::start("server", Path::new("/bin/sh"), ["-c", script], logs.path()).unwrap();
        let error = process
            .first_line(Duration::from_secs(10))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("the port is taken"), "{error}");
    }
}

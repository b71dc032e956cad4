//! The folder of an engine.
//!
//! ```text
//! lock            held by the Agent that runs it
//! mark            what its processes have in their environment
//! engine.log      what it prints, and engine.log.1: mode 0600
//! isolation.json  which protections hold since its last start
//! work/           the one folder that it may write to; emptied before each start
//! run/            its socket: only this user can enter
//! ```

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use resultity_core::clock::Entropy;

use super::ProcessError;
use super::sandbox::Protections;
use crate::identity::{Durable, create_private_dir, hexadecimal, private_options, replace_private};

/// A path of a Unix socket may have 103 bytes on macOS, 107 on Linux.
const LONGEST_SOCKET: usize = 100;

/// The file with the protections of the last start.
const REPORT: &str = "isolation.json";

/// An engine's folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    run: PathBuf,
    /// Whether `run` is elsewhere and goes with this.
    is_run_apart: bool,
    /// What earlier processes have in their environment.
    pub(super) former_mark: Option<String>,
    /// What ours will have.
    pub(super) mark: String,
    #[expect(dead_code, reason = "dropping it lets go of the folder")]
    lock: File,
}

impl Folder {
    pub(super) fn open(dir: &Path, entropy: &dyn Entropy) -> Result<Self, ProcessError> {
        create_private_dir(dir).map_err(|error| ProcessError::folder(dir, io::Error::other(error.to_string())))?;
        let failed = |error| ProcessError::folder(dir, error);
        let dir = fs::canonicalize(dir).map_err(failed)?;
        let lock = private_options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProcessError::InUse(dir)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let former_mark = fs::read_to_string(dir.join("mark"))
            .ok()
            .filter(|mark| !mark.is_empty());
        let mark = secret(entropy);
        let (run, is_run_apart) = run_folder(&dir, &mark);
        // What an earlier one left may have other rights.
        let _ = fs::remove_dir_all(&run);
        let folder = Self {
            dir,
            run,
            is_run_apart,
            former_mark,
            mark,
            lock,
        };
        for inner in [&folder.run, &folder.work()] {
            create_private_dir(inner)
                .map_err(|error| ProcessError::folder(inner, io::Error::other(error.to_string())))?;
        }
        Ok(folder)
    }

    /// Writes the mark down, once nothing of the former one runs.
    pub(super) fn set_mark(&self) -> Result<(), ProcessError> {
        let path = self.dir.join("mark");
        replace_private(&path, self.mark.as_bytes(), Durable::No).map_err(|error| ProcessError::folder(&path, error))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("engine.log")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    pub(super) fn run(&self) -> &Path {
        &self.run
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.run.join("engine.sock")
    }

    pub(super) fn report(&self) -> PathBuf {
        self.dir.join(REPORT)
    }

    /// Makes room for a new start. What an engine wrote is gone: prompts may be in it.
    pub(super) fn clear(&self) -> Result<(), ProcessError> {
        for path in [self.socket(), self.report()] {
            // Mostly there is none.
            let _ = fs::remove_file(path);
        }
        let work = self.work();
        match remove_all(&work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProcessError::folder(&work, error)),
            _ => create_private_dir(&work)
                .map_err(|error| ProcessError::folder(&work, io::Error::other(error.to_string()))),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_run_apart {
            let _ = fs::remove_dir_all(&self.run);
        }
    }
}

/// The protections that held at the last start of the engine in this folder, if one was started in a sandbox.
pub(super) fn report(dir: &Path) -> Option<Protections> {
    serde_json::from_slice(&fs::read(dir.join(REPORT)).ok()?).ok()
}

/// Removes a folder with all that is in it, also what whoever wrote it has closed to us.
fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_all(dir)?;
            fs::remove_dir_all(dir)
        }
        removed => removed,
    }
}

/// Lets us into a folder and all folders in it.
fn open_all(dir: &Path) -> io::Result<()> {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Links are no folders here: what they lead to is not ours.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A folder whose path is short enough for a socket in it.
fn run_folder(dir: &Path, mark: &str) -> (PathBuf, bool) {
    let run = dir.join("run");
    if run.as_os_str().len() + "/engine.sock".len() <= LONGEST_SOCKET {
        return (run, false);
    }
    let temporary = fs::canonicalize(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into());
    (
        temporary.join(format!("resultity-{}", mark.get(..16).unwrap_or(mark))),
        true,
    )
}

/// A random text that nobody guesses.
pub(super) fn secret(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    hexadecimal(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SystemEntropy;

    #[test]
    fn a_folder_is_private_for_one_at_a_time_and_its_socket_has_a_short_path() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["short".to_owned(), "l".repeat(150)] {
            let path = dir.path().join(name);
            let folder = Folder::open(&path, &SystemEntropy).unwrap();
            assert!(matches!(
                Folder::open(&path, &SystemEntropy),
                Err(ProcessError::InUse(_))
            ));
            assert!(folder.socket().as_os_str().len() <= LONGEST_SOCKET);
            for inner in [&path, &folder.run, &folder.work()] {
                assert_eq!(inner.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            }
            folder.set_mark().unwrap();
            let (mark, run) = (folder.mark.clone(), folder.run.clone());
            drop(folder);
            assert_eq!(run.exists(), run.starts_with(&path));
            assert_eq!(Folder::open(&path, &SystemEntropy).unwrap().former_mark, Some(mark));
        }
    }

    #[test]
    fn what_an_engine_has_closed_is_cleared_all_the_same_and_nothing_else_is_opened() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(dir.path(), &SystemEntropy).unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let closed = folder.work().join("a/b");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.work().join("link")).unwrap();
        mode(outside.path(), 0o755);
        for path in [&closed, &folder.work().join("a"), &folder.work()] {
            mode(path, 0o500);
        }
        // Root would get in without it.
        open_all(&folder.work()).unwrap();
        assert_eq!(closed.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(outside.path().metadata().unwrap().permissions().mode() & 0o777, 0o755);
        mode(&closed, 0o500);
        folder.clear().unwrap();
        assert_eq!(fs::read_dir(folder.work()).unwrap().count(), 0);
    }
}

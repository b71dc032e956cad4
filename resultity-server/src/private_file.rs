//! Files that only their owner may read: keys, passphrases, the description of a running `dev`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file or directory that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}. Check that the directory exists, is writable and has space", .path.display())]
pub struct FileError {
    /// What was tried, such as `read`.
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { action, path, source }
}

/// Makes a directory (and those above it) that only the owner may enter, unless it is there.
pub(crate) fn create_dir(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(error("make the directory", path))?;
    sync_parent(path).map_err(error("write to the disk what is above", path))
}

/// Waits until the disk has the names in the directory of this path: a file whose name is lost with the power is lost too.
fn sync_parent(path: &Path) -> io::Result<()> {
    // Elsewhere a directory can't be opened, and the file system does it by itself.
    #[cfg(unix)]
    {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The file's text; nothing if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(error("read", path)(other)),
    }
}

/// Replaces the file in one step, so that nobody ever reads half of it, and waits until the disk has it. Mode 0600.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = (|| {
        let mut file = options.open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    })();
    written.map_err(|failure| {
        // What is left of a failed write is of no use to anybody.
        let _ = fs::remove_file(&temporary);
        error("write", path)(failure)
    })
}

/// Locks the directory for one process, for as long as the file is kept. Nothing if another process has it. The system
/// lets go of the lock whatever way the process ends.
pub(crate) fn lock_dir(dir: &Path) -> Result<Option<File>, FileError> {
    lock_file(&dir.join("lock"))
}

/// The same for a file that is there to be locked.
pub(crate) fn lock_file(path: &Path) -> Result<Option<File>, FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(path).map_err(error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(error("lock", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_holds_the_name_is_synced_whatever_the_path_looks_like() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            Path::new("file"),
            Path::new("/"),
            &dir.path().join("file"),
            Path::new("./file"),
        ] {
            sync_parent(path).unwrap();
        }
        let missing = sync_parent(&dir.path().join("none/file")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_dir(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(lock_dir(dir.path()).unwrap().is_none());
        drop(first);
        assert!(lock_dir(dir.path()).unwrap().is_some());
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/secret");
        assert!(write(&path, "x").unwrap_err().to_string().contains("secret"));
        create_dir(path.parent().unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "first").unwrap();
        write(&path, "second").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("second"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

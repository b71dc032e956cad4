//! What an engine prints: kept in a file that only its owner can read, since it may hold prompts, and never sent anywhere.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::identity::private_options;

/// When the file has so many bytes it becomes the older one.
const FULL: u64 = 8 << 20;

/// How much of the end is kept in memory: bytes.
const TAIL: usize = 4 << 10;

/// A file, the one before it, and the end of both.
#[derive(Debug)]
pub(super) struct EngineLog {
    path: PathBuf,
    full: u64,
    file: Option<File>,
    written: u64,
    tail: VecDeque<u8>,
}

impl EngineLog {
    /// Opens the file, to go on at its end.
    pub(super) fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::with_size(path, FULL)
    }

    fn with_size(path: impl Into<PathBuf>, full: u64) -> io::Result<Self> {
        let path = path.into();
        let file = append(&path)?;
        Ok(Self {
            written: file.metadata()?.len(),
            file: Some(file),
            path,
            full,
            tail: VecDeque::new(),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a new run: the tail is of it alone.
    pub(super) fn begin(&mut self) {
        self.tail.clear();
    }

    /// Keeps these bytes. What can't be written to the disk is lost: an engine doesn't stop because of its log.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
        if self.written > 0 && self.written.saturating_add(bytes.len() as u64) > self.full {
            self.move_aside();
        }
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.written += bytes.len() as u64;
        }
    }

    fn move_aside(&mut self) {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        self.file = std::fs::rename(&self.path, older)
            .and_then(|()| append(&self.path))
            .ok();
        self.written = 0;
    }

    /// The last lines, whole ones, as text.
    pub(super) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let whole = match text.split_once('\n') {
            Some((_, rest)) if bytes.len() >= TAIL => rest,
            _ => &text,
        };
        let plain = whole.chars().filter(|c| *c == '\n' || !c.is_control());
        plain.collect::<String>().trim_end().to_owned()
    }
}

fn append(path: &Path) -> io::Result<File> {
    private_options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_bounded_and_private_and_its_end_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.log");
        let mut log = EngineLog::with_size(&path, 1000).unwrap();
        for line in 0..1000 {
            log.write(format!("line {line}\u{1b}\n").as_bytes());
        }
        let sizes = ["engine.log", "engine.log.1"].map(|name| dir.path().join(name).metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let tail = log.tail();
        assert!(tail.len() <= TAIL && tail.ends_with("line 998\nline 999"), "{tail}");
        assert!(tail.lines().all(|line| line.starts_with("line ")), "{tail}");
        log.begin();
        assert_eq!(log.tail(), "");
    }
}

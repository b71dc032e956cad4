//! A log file that is moved aside when it is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::config::settings::LogSettings;

/// Writes to a file; once a line would make it too large, the file gets the ending `.1`, what had that gets `.2`, and so on,
/// as the original node does it.
#[derive(Debug)]
pub struct LogFile {
    settings: LogSettings,
    file: File,
    written: u64,
}

impl LogFile {
    /// Opens the file, to go on at its end. Its folder is made.
    pub fn open(settings: LogSettings) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(&settings.path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            settings,
            file,
            written,
        })
    }

    fn is_full(&self, more: usize) -> bool {
        let (most, kept) = (self.settings.max_file_size, self.settings.backup_count);
        most > 0 && kept > 0 && self.written > 0 && self.written.saturating_add(more as u64) > most
    }

    /// The file with a number.
    fn older(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.settings.path.clone();
        }
        let mut path = self.settings.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    fn move_aside(&mut self) -> io::Result<()> {
        for number in (0..self.settings.backup_count).rev() {
            match std::fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = append(&self.settings.path)?;
        self.written = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.is_full(line.len()) {
            // A file that cannot be moved is written on: better too large than nothing.
            let _ = self.move_aside();
        }
        let count = self.file.write(line)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &Path, max_file_size: u64, backup_count: u32) -> LogSettings {
        LogSettings {
            path: path.to_owned(),
            max_file_size,
            backup_count,
        }
    }

    fn text(path: &Path, ending: &str) -> Option<String> {
        std::fs::read_to_string(format!("{}{ending}", path.display())).ok()
    }

    #[test]
    fn a_full_file_is_moved_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/node.log");
        for line in ["one\n", "two\n", "three\n", "four\n", "x\n"] {
            // Opened anew each time: it goes on where it was.
            let mut file = LogFile::open(settings(&path, 8, 2)).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path, "").unwrap(), "four\nx\n");
        assert_eq!(text(&path, ".1").unwrap(), "three\n");
        assert_eq!(text(&path, ".2").unwrap(), "one\ntwo\n");
        let mut file = LogFile::open(settings(&path, 8, 2)).unwrap();
        file.write_all(b"a long line\n").unwrap();
        assert_eq!(text(&path, ".2").unwrap(), "three\n");
        assert_eq!(text(&path, ".3"), None);
    }

    #[test]
    fn without_a_limit_or_older_files_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size, count) in [("a", 0, 2), ("b", 4, 0)] {
            let path = dir.path().join(name);
            let mut file = LogFile::open(settings(&path, size, count)).unwrap();
            file.write_all(b"one two\n").unwrap();
            file.write_all(b"three\n").unwrap();
            assert_eq!(text(&path, "").unwrap(), "one two\nthree\n");
            assert_eq!(text(&path, ".1"), None);
        }
    }
}

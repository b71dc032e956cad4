//! The journal: what a node has begun, and the results that the network has not acknowledged yet.
//!
//! One line of JSON per fact, appended to `DATA_DIR/<environment>/journal.jsonl`. It is not synced to the disk: what
//! `write` has handed to the kernel survives a kill of this process, which is what the journal is for. When the whole
//! machine dies, lines may be lost; then leases run out and the network asks another node, as with any other loss.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use resultity_core::id::{JobId, LeaseToken, SessionId};
use resultity_core::job::Attempt;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{JobKey, Text};
use crate::identity::{Durable, private_options, replace_private};

/// The file is written anew when it has grown beyond this.
const COMPACT_BYTES: u64 = 16 * 1024 * 1024;

/// A fact to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// The network let the node in.
    Session(SessionId),
    /// The node takes a job.
    Started(JobKey, LeaseToken),
    /// The node has a signed result or failure: the frame as sent.
    Result(JobKey, Text),
    /// The network dealt with it, or does not want it any more.
    Forgotten(JobKey),
    /// The network told the node to take no jobs, or to take jobs again.
    Paused(bool),
}

/// What the journal holds of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Begun, without a result.
    Started(LeaseToken),
    /// The signed result or failure.
    Result(Text),
}

/// What a node remembers from its earlier life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The last session.
    pub(super) session: Option<SessionId>,
    /// The attempts that are not forgotten yet.
    pub(super) entries: HashMap<JobKey, Entry>,
    /// Whether it was told to take no jobs.
    pub(super) is_paused: bool,
}

impl Memory {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Session(session) => self.session = Some(session),
            Record::Started(key, token) => {
                self.entries.insert(key, Entry::Started(token));
            }
            Record::Result(key, frame) => {
                self.entries.insert(key, Entry::Result(frame));
            }
            Record::Forgotten(key) => {
                self.entries.remove(&key);
            }
            Record::Paused(is_paused) => self.is_paused = is_paused,
        }
    }

    fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        if let Some(session) = self.session {
            Record::Session(session).write(&mut lines);
        }
        if self.is_paused {
            Record::Paused(true).write(&mut lines);
        }
        for (key, entry) in &self.entries {
            let record = match entry {
                Entry::Started(token) => Record::Started(*key, *token),
                Entry::Result(frame) => Record::Result(*key, frame.clone()),
            };
            record.write(&mut lines);
        }
        lines
    }
}

/// A line as it is read.
#[derive(Deserialize)]
struct Line<'a> {
    event: &'a str,
    session_id: Option<SessionId>,
    job_id: Option<JobId>,
    attempt: Option<Attempt>,
    lease_token: Option<LeaseToken>,
    #[serde(borrow)]
    frame: Option<&'a RawValue>,
}

impl Line<'_> {
    fn record(&self) -> Option<Record> {
        if self.event == "session" {
            return self.session_id.map(Record::Session);
        }
        match self.event {
            "paused" => return Some(Record::Paused(true)),
            "resumed" => return Some(Record::Paused(false)),
            _ => {}
        }
        let key = (self.job_id?, self.attempt?);
        match self.event {
            "started" => Some(Record::Started(key, self.lease_token?)),
            "result" => Some(Record::Result(key, self.frame?.get().to_owned().into())),
            "forgotten" => Some(Record::Forgotten(key)),
            _ => None,
        }
    }
}

impl Record {
    /// Adds its line. Written by hand, because ids need no escaping and a frame is JSON already: this runs for every job.
    fn write(&self, lines: &mut Vec<u8>) {
        let written = match self {
            Self::Session(session) => writeln!(lines, r#"{{"event":"session","session_id":"{session}"}}"#),
            Self::Paused(true) => writeln!(lines, r#"{{"event":"paused"}}"#),
            Self::Paused(false) => writeln!(lines, r#"{{"event":"resumed"}}"#),
            Self::Started((job, attempt), token) => writeln!(
                lines,
                r#"{{"event":"started","job_id":"{job}","attempt":{},"lease_token":"{token}"}}"#,
                attempt.get()
            ),
            Self::Result((job, attempt), frame) => writeln!(
                lines,
                r#"{{"event":"result","job_id":"{job}","attempt":{},"frame":{}}}"#,
                attempt.get(),
                frame.as_str()
            ),
            Self::Forgotten((job, attempt)) => {
                writeln!(
                    lines,
                    r#"{{"event":"forgotten","job_id":"{job}","attempt":{}}}"#,
                    attempt.get()
                )
            }
        };
        debug_assert!(written.is_ok(), "a vector takes everything");
    }
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    size: u64,
    memory: Memory,
    pending: Vec<u8>,
}

impl Journal {
    /// Opens it, reads what it holds and writes it anew without what is forgotten. A line that was cut off by a kill,
    /// or that this version does not know, is skipped.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut memory = Memory::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(record) = serde_json::from_slice::<Line<'_>>(line)
                .ok()
                .and_then(|line| line.record())
            {
                memory.apply(record);
            }
        }
        let (file, size) = compact(&path, &memory)?;
        Ok(Self {
            path,
            file,
            size,
            memory,
            pending: Vec::new(),
        })
    }

    /// What it holds.
    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Notes a fact; it is written with the next [`flush`](Self::flush).
    pub(super) fn note(&mut self, record: Record) {
        record.write(&mut self.pending);
        self.memory.apply(record);
    }

    /// Writes it anew without what is forgotten: no trace of jobs that are over is left.
    pub(super) fn trim(&mut self) -> io::Result<()> {
        (self.file, self.size) = compact(&self.path, &self.memory)?;
        self.pending.clear();
        Ok(())
    }

    /// Hands what was noted to the kernel, in one call for any number of facts. It goes to the page cache, so it takes
    /// microseconds.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.pending);
        self.size += self.pending.len() as u64;
        self.pending.clear();
        if written.is_err() {
            // What was written of a line must not swallow the next one.
            self.pending.push(b'\n');
        }
        written?;
        if self.size > COMPACT_BYTES + 2 * live_bytes(&self.memory) {
            (self.file, self.size) = compact(&self.path, &self.memory)?;
        }
        Ok(())
    }
}

fn live_bytes(memory: &Memory) -> u64 {
    memory
        .entries
        .values()
        .map(|entry| {
            if let Entry::Result(frame) = entry {
                frame.len() as u64
            } else {
                0
            }
        })
        .sum()
}

fn compact(path: &Path, memory: &Memory) -> io::Result<(File, u64)> {
    let lines = memory.lines();
    replace_private(path, &lines, Durable::No)?;
    let file = private_options().append(true).open(path)?;
    Ok((file, lines.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};

    /// Stands still, so that the same seed gives the same id.
    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_millis(1_700_000_000_000))
    }

    fn key(seed: u64) -> JobKey {
        (JobId::new(&clock(), &SeededEntropy::new(seed)), Attempt::FIRST)
    }

    fn token() -> LeaseToken {
        LeaseToken::new(&clock(), &SeededEntropy::new(99))
    }

    #[test]
    fn what_was_flushed_is_there_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let session = SessionId::new(&clock(), &SeededEntropy::new(5));
        let (begun, answered, done) = (key(1), key(2), key(3));
        let mut journal = Journal::open(path.clone()).unwrap();
        journal.note(Record::Session(session));
        for key in [begun, answered, done] {
            journal.note(Record::Started(key, token()));
        }
        journal.note(Record::Result(answered, r#"{"type":"result","text":"a\nb"}"#.into()));
        journal.note(Record::Result(done, "{}".into()));
        journal.note(Record::Forgotten(done));
        for is_paused in [true, false, true] {
            journal.note(Record::Paused(is_paused));
        }
        journal.flush().unwrap();
        let expected = journal.memory().clone();
        drop(journal);
        // A kill in the middle of a write leaves a torn line.
        private_options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(br#"{"event":"resu"#)
            .unwrap();
        let journal = Journal::open(path.clone()).unwrap();
        assert_eq!(journal.memory(), &expected);
        assert_eq!(journal.memory().entries.len(), 2);
        assert_eq!(journal.memory().entries[&begun], Entry::Started(token()));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(journal.memory().is_paused);
        assert_eq!(text.lines().count(), 4, "forgotten and torn lines are gone: {text}");
    }

    #[test]
    fn it_is_written_anew_when_it_has_grown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::open(path.clone()).unwrap();
        let frame: Text = format!(r#"{{"output":"{}"}}"#, "x".repeat(1_000_000)).into();
        for seed in 0..20 {
            let key = key(seed);
            journal.note(Record::Result(key, frame.clone()));
            journal.note(Record::Forgotten(key));
            journal.flush().unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < COMPACT_BYTES);
        journal.note(Record::Started(key(9), token()));
        journal.flush().unwrap();
        assert_eq!(Journal::open(path).unwrap().memory().entries.len(), 1);
    }
}

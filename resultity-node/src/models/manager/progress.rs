//! How far the download is that runs now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::models::progress::{Progress, TerminalProgress};

/// Remembers it, and shows it on a terminal.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    bytes: Arc<AtomicU64>,
    terminal: Option<Arc<TerminalProgress>>,
}

impl Watched {
    pub(super) fn new(terminal: Option<TerminalProgress>) -> Self {
        Self {
            bytes: Arc::default(),
            terminal: terminal.map(Arc::new),
        }
    }

    /// Bytes of the file that comes now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Progress for Watched {
    fn started(&self, file: &str, source: &str, total: u64) {
        self.bytes.store(0, Ordering::Relaxed);
        if let Some(terminal) = &self.terminal {
            terminal.started(file, source, total);
        }
    }

    fn at(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        if let Some(terminal) = &self.terminal {
            terminal.at(bytes);
        }
    }

    fn ended(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        if let Some(terminal) = &self.terminal {
            terminal.ended();
        }
    }
}

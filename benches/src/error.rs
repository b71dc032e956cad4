//! What can go wrong with a run.

use std::io;
use std::path::PathBuf;

/// Why a run ended without its numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file, socket or process could not be used.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program that is measured was not built.
    #[error("{} is missing; build it first:\n  cargo build --release -p resultity-server -p resultity-node", path.display())]
    NotBuilt {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A process that was started did not become ready, or ended.
    #[error("{name} {what}\n{log}")]
    Process {
        /// Which one.
        name: &'static str,
        /// What it did.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// SQLite failed in the probe.
    #[error("the probe of SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Answers that are not those that were asked for, or none at all.
    #[error("{0}")]
    Wrong(String),
    /// Ctrl-C, or a signal to end.
    #[error("interrupted")]
    Interrupted,
}

impl LoadError {
    /// Says what was tried when an I/O error came up.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

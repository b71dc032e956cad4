//! How much may be kept for a namespace.

use serde::Deserialize;

/// How much may be kept for each namespace: the section `[kept]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KeptLimits {
    /// The most bytes of requests and answers: of jobs in the background, of responses, of containers, of lines of batches, and
    /// of all others where the namespace's retention is `full`. What is under way is counted by its request; its answer may
    /// go beyond it.
    pub answer_bytes: u64,
    /// The longest file that may be uploaded: bytes.
    pub file_bytes: u64,
    /// The most bytes in all files.
    pub all_file_bytes: u64,
    /// The most files.
    pub files: u64,
}

impl Default for KeptLimits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            answer_bytes: 1024 * MIB,
            file_bytes: 64 * MIB,
            all_file_bytes: 1024 * MIB,
            files: 10_000,
        }
    }
}

//! How much may be kept: for a namespace, and of a stream that is under way.

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

/// The most bytes of a stream that is kept: until its end it is in memory. The limits of a long answer allow a node far more.
const MAX_KEPT: u64 = 64 * 1024 * 1024;

/// The most bytes of a stream that is kept for nothing but a check: many may be at once, and log-probabilities take many times as much
/// in memory.
const MAX_KEPT_FOR_CHECK: u64 = 1024 * 1024;

/// What of a stream is kept until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Nothing.
    Nothing,
    /// Its beginning, for a check. What comes after it is no fault of the node.
    Beginning,
    /// All, for somebody who comes back for it.
    All,
}

impl Keeps {
    /// Whether a piece is kept with which so many bytes have come.
    pub(super) const fn takes(self, bytes: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Beginning => bytes <= MAX_KEPT_FOR_CHECK,
            Self::All => true,
        }
    }

    /// Whether so many bytes may come.
    pub(super) const fn bears(self, bytes: u64) -> bool {
        !matches!(self, Self::All) || bytes <= MAX_KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing(Keeps::Nothing, 1, false, true)]
    #[case::a_beginning(Keeps::Beginning, MAX_KEPT_FOR_CHECK, true, true)]
    #[case::what_comes_after_it_costs_nobody_anything(Keeps::Beginning, MAX_KEPT + 1, false, true)]
    #[case::all(Keeps::All, MAX_KEPT, true, true)]
    #[case::more_than_all(Keeps::All, MAX_KEPT + 1, true, false)]
    fn a_stream_that_is_only_checked_may_be_of_any_length(
        #[case] keeps: Keeps,
        #[case] bytes: u64,
        #[case] takes: bool,
        #[case] bears: bool,
    ) {
        assert_eq!((keeps.takes(bytes), keeps.bears(bytes)), (takes, bears));
    }
}

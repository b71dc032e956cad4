//! How much work a job is, in one measure for all kinds: about the time of one token that is made.

/// What every job costs beside its tokens.
const BASE: u64 = 16;

/// So many tokens of a prompt are read in the time in which one is made.
const READ: u64 = 8;

/// The most work that one job counts as: sums of it never overflow.
const MOST: u64 = 1 << 32;

/// The work of a job with so many tokens: those that it may have, or those that it had.
pub fn work(prompt_tokens: u64, completion_tokens: u64) -> u64 {
    let tokens = (prompt_tokens / READ).saturating_add(completion_tokens);
    tokens.saturating_add(BASE).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nothing(0, 0, 16)]
    #[case::reads(800, 0, 116)]
    #[case::makes(0, 800, 816)]
    #[case::any(u64::MAX, u64::MAX, 1 << 32)]
    fn making_counts_more_than_reading(#[case] prompt: u64, #[case] completion: u64, #[case] expected: u64) {
        assert_eq!(work(prompt, completion), expected);
    }
}

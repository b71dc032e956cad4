//! Whether the time that an answer took is plausible.

use std::time::Duration;

use resultity_core::wire::Hardware;

use super::evidence::{Aspect, Finding};

/// Bytes a second that the memory of a large server delivers at most.
const MEMORY_BANDWIDTH: u64 = 1_000_000_000_000;

/// Bytes a second that the memory of one graphics processor delivers at most.
const GPU_BANDWIDTH: u64 = 10_000_000_000_000;

/// How many tokens an engine gets out of one reading of its weights where it guesses ahead (speculative decoding).
const GUESSED_AHEAD: u64 = 8;

/// From this share of its time on, in parts per hundred, an answer counts as just before the deadline.
const JUST_BEFORE: u32 = 95;

/// How long an answer took and might have taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// From sending the job to the end of the answer, on the network's clock.
    pub took: Duration,
    /// From sending the job to its deadline.
    pub allowed: Duration,
    /// Tokens that one choice has, by the trusted node's count.
    pub tokens: u64,
}

/// The least time that a token takes on this hardware: every weight is read once for it.
///
/// Generous by far: it is there to find answers that were not computed at all. `model_bytes` is the size of the model's files;
/// for a mixture of experts only a part of it is read, which the caller has to know.
pub fn least_per_token(hardware: &Hardware, model_bytes: u64) -> Duration {
    let gpus = hardware.gpus.len() as u64;
    let bandwidth = MEMORY_BANDWIDTH.max(gpus.saturating_mul(GPU_BANDWIDTH));
    let nanos = u128::from(model_bytes) * 1_000_000_000 / u128::from(bandwidth * GUESSED_AHEAD);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What the time says. An answer of few tokens may come at any speed.
pub fn findings(taken: &Taken, least_per_token: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let least = least_per_token.saturating_mul(u32::try_from(taken.tokens).unwrap_or(u32::MAX));
    // Where the bound is below a millisecond it tells nothing.
    if least >= Duration::from_millis(5) {
        findings.push(Finding::of_event(Aspect::TooFast, taken.took < least, 0.002, 0.5));
    }
    if !taken.allowed.is_zero() {
        let just_before = taken.took >= taken.allowed * JUST_BEFORE / 100;
        findings.push(Finding::of_event(Aspect::Deadline, just_before, 0.02, 0.9));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const GIB: u64 = 1 << 30;

    #[rstest]
    #[case::computed(3_000, 200, 16 * GIB, &[])]
    #[case::never_computed(20, 200, 16 * GIB, &[Aspect::TooFast])]
    #[case::a_small_model_may_be_fast(20, 200, GIB / 8, &[])]
    #[case::stalled(59_000, 200, 16 * GIB, &[Aspect::Deadline])]
    fn implausible_times_speak_against_a_node(
        #[case] millis: u64,
        #[case] tokens: u64,
        #[case] bytes: u64,
        #[case] expected: &[Aspect],
    ) {
        let taken = Taken {
            took: Duration::from_millis(millis),
            allowed: Duration::from_mins(1),
            tokens,
        };
        let findings = findings(&taken, least_per_token(&Hardware::default(), bytes));
        let against = findings.iter().filter(|finding| finding.weight.get() > 0);
        assert_eq!(against.map(|finding| finding.aspect).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn without_a_deadline_or_a_size_the_time_says_nothing() {
        let taken = Taken {
            took: Duration::ZERO,
            allowed: Duration::ZERO,
            tokens: 10,
        };
        assert_eq!(findings(&taken, Duration::ZERO), []);
    }
}

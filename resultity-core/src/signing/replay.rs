//! What keeps a signed frame from counting twice.

use std::time::Duration;

use crate::clock::Timestamp;

/// How far a signed time may be from the reader's clock: milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 60_000;

/// A signed frame that was seen before, or is too old or too new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Replay {
    /// Its number does not rise.
    #[error("sequence number {seq} was used: expected more than {last}")]
    Repeated {
        /// The number of the frame.
        seq: u64,
        /// The last one that counted.
        last: u64,
    },
    /// Its time is too far from the reader's clock.
    #[error("the signed time is {} ms {} the reader's clock: at most {MAX_CLOCK_SKEW_MS} ms are allowed", .by.as_millis(), if *.ahead { "ahead of" } else { "behind" })]
    Skewed {
        /// How far.
        by: Duration,
        /// Whether the writer's clock is ahead.
        ahead: bool,
    },
}

/// The replay protection of one session: numbers rise strictly (the first is above 0), times are near.
///
/// ```
/// use resultity_core::clock::Timestamp;
/// use resultity_core::signing::ReplayWindow;
///
/// let mut window = ReplayWindow::default();
/// let now = Timestamp::from_millis(1_000_000);
/// assert!(window.check(1, now, now).is_ok());
/// assert!(window.check(1, now, now).is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    last: u64,
}

impl ReplayWindow {
    /// A window that goes on after this number, as when the last one was kept elsewhere.
    pub const fn after(last: u64) -> Self {
        Self { last }
    }

    /// The last number that counted; 0 if none did.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Lets a frame of this number and signed time count once. Nothing changes if it is refused. Check the signature
    /// first, or anybody can use numbers up.
    pub fn check(&mut self, seq: u64, issued_at: Timestamp, now: Timestamp) -> Result<(), Replay> {
        if seq <= self.last {
            return Err(Replay::Repeated { seq, last: self.last });
        }
        check_skew(issued_at, now)?;
        self.last = seq;
        Ok(())
    }
}

/// Refuses a signed time that is more than [`MAX_CLOCK_SKEW_MS`] from the reader's clock: what a hello is checked with,
/// whose nonce does the rest.
pub fn check_skew(issued_at: Timestamp, now: Timestamp) -> Result<(), Replay> {
    let ahead = issued_at > now;
    let by = if ahead {
        issued_at.since(now)
    } else {
        now.since(issued_at)
    };
    if by > Duration::from_millis(MAX_CLOCK_SKEW_MS) {
        Err(Replay::Skewed { by, ahead })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const NOW: i64 = 1_700_000_000_000;
    const SKEW: i64 = MAX_CLOCK_SKEW_MS as i64;

    #[rstest]
    #[case(1, 0, true)]
    #[case(u64::MAX, 0, true)]
    #[case(1, SKEW, true)]
    #[case(1, -SKEW, true)]
    #[case(1, SKEW + 1, false)]
    #[case(1, -SKEW - 1, false)]
    #[case(1, i64::MAX - NOW, false)]
    #[case(1, i64::MIN, false)]
    #[case(0, 0, false)]
    fn numbers_begin_above_zero_and_times_are_near(#[case] seq: u64, #[case] off: i64, #[case] counts: bool) {
        let mut window = ReplayWindow::default();
        let checked = window.check(seq, Timestamp::from_millis(NOW + off), Timestamp::from_millis(NOW));
        assert_eq!(checked.is_ok(), counts, "{checked:?}");
        assert_eq!(window.last(), if counts { seq } else { 0 });
    }

    #[test]
    fn it_says_which_clock_is_ahead() {
        let at = Timestamp::from_millis;
        let error = |issued| check_skew(at(issued), at(NOW)).unwrap_err().to_string();
        assert!(error(NOW + 70_000).starts_with("the signed time is 70000 ms ahead of the reader's clock"));
        assert!(error(NOW - 70_000).starts_with("the signed time is 70000 ms behind the reader's clock"));
    }

    proptest! {
        /// Whatever comes in whatever order, what counts rises strictly and a refusal leaves no trace.
        #[test]
        fn every_number_counts_once(frames in proptest::collection::vec((0u64..20, -90_000i64..90_000), 0..60)) {
            let mut window = ReplayWindow::default();
            let mut counted = Vec::new();
            for (seq, off) in frames {
                let before = window;
                match window.check(seq, Timestamp::from_millis(NOW + off), Timestamp::from_millis(NOW)) {
                    Ok(()) => counted.push(seq),
                    Err(_) => prop_assert_eq!(window, before),
                }
            }
            prop_assert!(counted.is_sorted_by(|a, b| a < b));
        }
    }
}

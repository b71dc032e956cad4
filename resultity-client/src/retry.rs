//! What is tried again, and when.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::fmt::rfc2822::DateTimeParser;
use resultity_core::clock::Timestamp;

/// Whoever is asked to wait longer than this gets the error instead, with the time in it.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often a request is tried again, and how long the pauses are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) max_retries: usize,
    pub(crate) first_delay: Duration,
    pub(crate) longest_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(8),
        }
    }
}

impl RetryPolicy {
    /// The pauses between the attempts: doubling, with jitter so that many clients do not come back at once.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.longest_delay)
            .with_max_times(self.max_retries)
            .with_jitter()
            .build()
    }
}

/// What a repeat of a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing beyond costing time: it only reads, or the server knows it again.
    Harmless,
    /// It would do the work, and bill it, again: only where the first cannot have been done.
    OnlyIfUndone,
    /// It cannot be sent again.
    Never,
}

/// Whether an answer of this status is worth another attempt. The server's `x-should-retry` has the last word.
pub(crate) fn is_retried(repeat: Repeat, status: u16, headers: &HeaderMap) -> bool {
    if repeat == Repeat::Never {
        return false;
    }
    match headers.get("x-should-retry").map(http::HeaderValue::as_bytes) {
        Some(b"true") => return true,
        Some(b"false") => return false,
        _ => {}
    }
    match repeat {
        // Both mean that the request was turned away at the door: nothing was run and nothing charged.
        Repeat::OnlyIfUndone => matches!(status, 429 | 503),
        Repeat::Harmless => matches!(status, 429 | 500 | 502..=599),
        Repeat::Never => false,
    }
}

/// How long the server asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(wait) = text("retry-after-ms").and_then(|value| seconds(value, 1000.0)) {
        return Some(wait);
    }
    let value = text(RETRY_AFTER.as_str())?;
    seconds(value, 1.0).or_else(|| {
        let date = DateTimeParser::new().parse_timestamp(value).ok()?;
        Some(Timestamp::from_millis(date.as_millisecond()).since(now))
    })
}

/// Some servers send fractions, so these are read too.
fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[rstest]
    #[case::seconds(&[("retry-after", "3")], Some(3000))]
    #[case::fraction(&[("retry-after", "0.25")], Some(250))]
    #[case::milliseconds_win(&[("retry-after", "3"), ("retry-after-ms", "40")], Some(40))]
    #[case::date(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(7000))]
    #[case::date_that_is_over(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0))]
    #[case::nonsense(&[("retry-after", "soon")], None)]
    #[case::negative(&[("retry-after", "-1")], None)]
    #[case::not_a_number(&[("retry-after", "NaN")], None)]
    #[case::absent(&[], None)]
    fn the_wait_is_read(#[case] pairs: &[(&'static str, &'static str)], #[case] millis: Option<u64>) {
        let now = Timestamp::from_millis(784_111_770_000); // 08:49:30 on that day
        assert_eq!(retry_after(&headers(pairs), now), millis.map(Duration::from_millis));
    }

    #[rstest]
    #[case(Repeat::OnlyIfUndone, &[429, 503], &[400, 401, 402, 404, 408, 409, 500, 501, 502, 504])]
    #[case(Repeat::Harmless, &[429, 500, 502, 503, 504], &[400, 401, 402, 404, 501])]
    fn only_what_is_safe_is_tried_again(#[case] repeat: Repeat, #[case] yes: &[u16], #[case] no: &[u16]) {
        for (statuses, expected) in [(yes, true), (no, false)] {
            for &status in statuses {
                assert_eq!(is_retried(repeat, status, &HeaderMap::new()), expected, "{status}");
                assert!(is_retried(repeat, status, &headers(&[("x-should-retry", "true")])));
                assert!(!is_retried(repeat, status, &headers(&[("x-should-retry", "false")])));
            }
        }
    }

    #[test]
    fn the_pauses_grow_up_to_the_longest_and_end() {
        let policy = RetryPolicy {
            max_retries: 5,
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_millis(400),
        };
        let delays: Vec<u64> = policy
            .delays()
            .map(|delay| u64::try_from(delay.as_millis()).unwrap())
            .collect();
        assert_eq!(delays.len(), 5);
        for (delay, least) in delays.iter().zip([100, 200, 400, 400, 400]) {
            assert!((least..=2 * least).contains(delay), "{delays:?}");
        }
        assert_eq!(
            RetryPolicy {
                max_retries: 0,
                ..policy
            }
            .delays()
            .count(),
            0
        );
    }
}

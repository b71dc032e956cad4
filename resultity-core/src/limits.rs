//! Rate limits: as they are counted ([`Meter`]), and as they are told to a caller, in OpenAI's `x-ratelimit-*` headers.

use std::fmt::Write;
use std::time::Duration;

mod meter;

pub use meter::{Meter, Rate, Refusal};

const LIMIT_REQUESTS: &str = "x-ratelimit-limit-requests";
const REMAINING_REQUESTS: &str = "x-ratelimit-remaining-requests";
const RESET_REQUESTS: &str = "x-ratelimit-reset-requests";
const LIMIT_TOKENS: &str = "x-ratelimit-limit-tokens";
const REMAINING_TOKENS: &str = "x-ratelimit-remaining-tokens";
const RESET_TOKENS: &str = "x-ratelimit-reset-tokens";

/// What a caller may ask for, and how much of it is left.
///
/// ```
/// use resultity_core::limits::RateLimits;
/// use std::time::Duration;
/// let limits = RateLimits {
///     limit_requests: 600,
///     remaining_requests: 599,
///     reset_requests: Duration::from_millis(100),
///     limit_tokens: 200_000,
///     remaining_tokens: 150_000,
///     reset_tokens: Duration::from_secs(15),
/// };
/// let headers = limits.to_headers();
/// assert_eq!(headers[2], ("x-ratelimit-reset-requests", "100ms".to_owned()));
/// let read = RateLimits::from_headers(|name| Some(headers.iter().find(|(known, _)| *known == name)?.1.as_str()));
/// assert_eq!(read, Some(limits));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// How many requests may be made at once when none was made for a while.
    pub limit_requests: u64,
    /// How many of them are left.
    pub remaining_requests: u64,
    /// When all of them are there again, if none is made.
    pub reset_requests: Duration,
    /// How many tokens may be asked for at once when none were for a while.
    pub limit_tokens: u64,
    /// How many of them are left.
    pub remaining_tokens: u64,
    /// When all of them are there again, if none are asked for.
    pub reset_tokens: Duration,
}

impl RateLimits {
    /// The names of the headers, in the order of [`to_headers`](Self::to_headers).
    pub const HEADERS: [&str; 6] = [
        LIMIT_REQUESTS,
        REMAINING_REQUESTS,
        RESET_REQUESTS,
        LIMIT_TOKENS,
        REMAINING_TOKENS,
        RESET_TOKENS,
    ];

    /// The headers that say this.
    pub fn to_headers(&self) -> [(&'static str, String); 6] {
        [
            (LIMIT_REQUESTS, self.limit_requests.to_string()),
            (REMAINING_REQUESTS, self.remaining_requests.to_string()),
            (RESET_REQUESTS, show_duration(self.reset_requests)),
            (LIMIT_TOKENS, self.limit_tokens.to_string()),
            (REMAINING_TOKENS, self.remaining_tokens.to_string()),
            (RESET_TOKENS, show_duration(self.reset_tokens)),
        ]
    }

    /// What an answer's headers say; `header` gives the value of one. Nothing unless all six are there and readable.
    pub fn from_headers<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Option<Self> {
        let number = |name| header(name)?.trim().parse().ok();
        let duration = |name| parse_duration(header(name)?);
        Some(Self {
            limit_requests: number(LIMIT_REQUESTS)?,
            remaining_requests: number(REMAINING_REQUESTS)?,
            reset_requests: duration(RESET_REQUESTS)?,
            limit_tokens: number(LIMIT_TOKENS)?,
            remaining_tokens: number(REMAINING_TOKENS)?,
            reset_tokens: duration(RESET_TOKENS)?,
        })
    }
}

/// A duration as OpenAI writes it: `0s`, `20ms`, `1.5s`, `6m0s`, `1h0m0s`. Parts of a millisecond are rounded up.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    if millis > 0 && millis < 1000 {
        return format!("{millis}ms");
    }
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    // Writing to a String cannot fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{seconds}");
    if rest > 0 {
        let _ = write!(text, ".{}", format!("{rest:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// Reads what [`show_duration`] writes, and more of what servers send: other units (`d`, `us`, `µs`, `ns`) and a bare
/// number of seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|symbol: char| !symbol.is_ascii_digit() && symbol != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|symbol: char| symbol.is_ascii_digit() || symbol == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let is_bare = sum.is_zero() && number.len() == text.trim().len();
        let seconds: f64 = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            "" if is_bare => 1.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        for (millis, text) in [
            (0, "0s"),
            (20, "20ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (8_640, "8.64s"),
            (59_001, "59.001s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (90_061_001, "25h1m1.001s"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(show_duration(Duration::from_nanos(1)), "1ms");
        assert_eq!(show_duration(Duration::from_nanos(999_000_001)), "1s");
    }

    #[test]
    fn what_other_servers_write_is_read_and_nonsense_is_not() {
        for (text, millis) in [
            (" 60 ", 60_000),
            ("0.25", 250),
            ("1d", 86_400_000),
            ("1500us", 1),
            ("2h30m", 9_000_000),
        ] {
            assert_eq!(
                parse_duration(text).map(|read| read.as_millis()),
                Some(millis),
                "{text}"
            );
        }
        for text in [
            "",
            " ",
            "s",
            "-1s",
            "1x",
            "1s2",
            "1.2.3s",
            "1 s",
            "9e9s",
            "99999999999999999999999d",
            "NaN",
            "∞",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9.a-zµ ]{0,24}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn every_millisecond_reads_back(millis in 0_u64..10_u64.pow(11)) {
            let read = parse_duration(&show_duration(Duration::from_millis(millis))).expect("what was written");
            prop_assert_eq!(read.as_nanos().div_ceil(1_000_000).abs_diff(u128::from(millis)), 0);
        }
    }
}

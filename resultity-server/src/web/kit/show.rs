//! Numbers, money and times as people read them.

use std::time::Duration;

use jiff::tz::TimeZone;
use maud::{Markup, html};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;

/// A whole number with its thousands apart.
pub(in crate::web) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of something: `1 node`, `2 nodes`.
pub(in crate::web) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A number that need not be whole, with as many digits as say something.
pub(in crate::web) fn number(number: f64) -> String {
    match number {
        small if small.abs() < 10.0 => {
            let text = format!("{small:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        middle if middle.abs() < 100.0 => format!("{middle:.1}"),
        large => count(large.max(0.0).round() as u64),
    }
}

/// A share of one as a percentage.
pub(in crate::web) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// A span of milliseconds.
pub(in crate::web) fn millis(millis: f64) -> String {
    match millis {
        short if short < 1000.0 => format!("{} ms", number(short)),
        long => format!("{} s", number(long / 1000.0)),
    }
}

/// A span of time, in its largest unit.
pub(in crate::web) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// Bytes in the largest binary unit.
pub(in crate::web) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return format!("{} {unit}", number(size));
        }
        size /= 1024.0;
    }
    format!("{} TiB", number(size))
}

/// An amount of credits, with its unit.
pub(in crate::web) fn credits(amount: Credits) -> Markup {
    html! { span.amount { (amount.to_string()) } " " span.unit { "credits" } }
}

/// A moment as `2026-11-23 06:41:00 UTC`.
pub(in crate::web) fn exact(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(at) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "at no time".to_owned(),
    }
}

/// How long ago a moment was, or how far ahead it is.
pub(in crate::web) fn relative(seconds: i64, now: Timestamp) -> String {
    let now = now.as_seconds();
    let apart = Duration::from_secs(seconds.abs_diff(now));
    match () {
        () if apart.as_secs() < 5 => "just now".to_owned(),
        () if seconds <= now => format!("{} ago", span(apart)),
        () => format!("in {}", span(apart)),
    }
}

/// A moment, relative to now, with the exact one on hover and for programs.
pub(in crate::web) fn time(seconds: i64, now: Timestamp) -> Markup {
    let exact = exact(seconds);
    let machine = exact.replacen(' ', "T", 1).replace(" UTC", "Z");
    html! { time datetime=(machine) title=(exact) data-at=(seconds) { (relative(seconds, now)) } }
}

/// A moment that may not have been.
pub(in crate::web) fn time_if_any(seconds: Option<i64>, now: Timestamp) -> Markup {
    html! {
        @if let Some(seconds) = seconds { (time(seconds, now)) } @else { span.faint { "never" } }
    }
}

/// A long id or digest: its beginning, all of it on hover and to copy.
pub(in crate::web) fn short(text: &str) -> Markup {
    let is_long = text.chars().count() > 20;
    html! {
        @if is_long {
            @let (head, tail) = ends(text);
            code title=(text) { (head) "…" (tail) }
        } @else {
            code { (text) }
        }
    }
}

fn ends(text: &str) -> (String, String) {
    let letters: Vec<char> = text.chars().collect();
    let head = letters.iter().take(10).collect();
    let tail = letters.iter().skip(letters.len().saturating_sub(4)).collect();
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            (number(0.0), number(1.50), number(12.34)),
            ("0".into(), "1.5".into(), "12.3".into())
        );
        assert_eq!((percent(0.5), percent(1.0)), ("50.0 %".into(), "100 %".into()));
        assert_eq!((millis(0.5), millis(1500.0)), ("0.5 ms".into(), "1.5 s".into()));
        assert_eq!((bytes(512), bytes(24 << 30)), ("512 B".into(), "24.0 GiB".into()));
        assert_eq!(
            (of(1, "node", "nodes"), of(2_000, "node", "nodes")),
            ("1 node".into(), "2,000 nodes".into())
        );
    }

    #[test]
    fn times_are_relative_with_the_exact_one_beside() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        for (seconds, text) in [
            (1_700_000_000, "just now"),
            (1_699_999_970, "30 s ago"),
            (1_699_999_000, "16 min ago"),
            (1_699_900_000, "27 h ago"),
            (1_699_000_000, "11 days ago"),
            (1_700_000_600, "in 10 min"),
        ] {
            assert_eq!(relative(seconds, now), text);
        }
        let shown = time(1_699_999_970, now).into_string();
        assert!(shown.contains("datetime=\"2023-11-14T22:12:50Z\""), "{shown}");
        assert!(shown.contains("title=\"2023-11-14 22:12:50 UTC\""), "{shown}");
    }
}

//! Which of two version texts is the older one, for the forms that engines have: `0.6.3`, `b4567`, `2024-11-05`.

use std::cmp::Ordering;

/// The years that the first number of a date may be.
const YEARS: std::ops::Range<u64> = 1990..3000;

/// A version that can be compared with others of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    form: Form,
    /// Most significant first; what is left out at the end is 0.
    numbers: Vec<u64>,
    stage: Stage,
}

/// Versions of different forms have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `0.6.3`, `v1.2`, `1.2.3-rc.1`, `0.6.3.post1`.
    Numbered,
    /// `b4567` and `b4567-3e0ba0e`, as llama.cpp counts.
    Build,
    /// `2024-11-05`, `2024.11.5`, `20241105`.
    Date,
}

/// What stands behind the numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Such as `rc1`: older than the same numbers alone. The word, then its number.
    Before(String, u64),
    /// Nothing.
    Release,
    /// Such as `post1`: newer.
    After(u64),
}

impl Version {
    /// Reads a version; nothing if it is of none of the forms.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(build) = text.strip_prefix('b') {
            let (number, rest) = number(build)?;
            let is_build = rest.is_empty() || rest.starts_with(['-', '+', ' ']);
            return is_build.then(|| Self {
                form: Form::Build,
                numbers: vec![number],
                stage: Stage::Release,
            });
        }
        let text = text.strip_prefix('v').unwrap_or(&text);
        // What stands behind a plus is no part of the order (Semantic Versioning, PEP 440).
        let text = text.split('+').next().unwrap_or_default();
        if let Some(numbers) = date(text) {
            return Some(Self {
                form: Form::Date,
                numbers,
                stage: Stage::Release,
            });
        }
        let (first, mut rest) = number(text)?;
        let mut numbers = vec![first];
        while let Some((next, behind)) = rest.strip_prefix('.').and_then(number) {
            numbers.push(next);
            rest = behind;
        }
        let is_date = YEARS.contains(&first) && matches!(numbers.get(1), Some(1..=12));
        Some(Self {
            form: if is_date { Form::Date } else { Form::Numbered },
            numbers,
            stage: stage(rest)?,
        })
    }

    /// Whether this one is older; nothing if the two have no order.
    pub fn is_older_than(&self, other: &Self) -> Option<bool> {
        if self.form != other.form {
            return None;
        }
        let length = self.numbers.len().max(other.numbers.len());
        let padded = |version: &Self| {
            let mut numbers = version.numbers.clone();
            numbers.resize(length, 0);
            numbers
        };
        let order = padded(self)
            .cmp(&padded(other))
            .then_with(|| self.stage.cmp(&other.stage));
        Some(order == Ordering::Less)
    }
}

/// Whether a version is at least the one that is asked for. What can't be read or compared is not.
pub fn is_at_least(version: &str, least: &str) -> bool {
    let versions = Version::parse(version).zip(Version::parse(least));
    versions.and_then(|(version, least)| version.is_older_than(&least)) == Some(false)
}

/// The number that the text begins with, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// `2024-11-05` or `20241105`.
fn date(text: &str) -> Option<Vec<u64>> {
    let parts: Vec<&str> = if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        vec![&text[..4], &text[4..6], &text[6..]]
    } else {
        text.split('-').collect()
    };
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    let all = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(all(year, 4) && all(month, 2) && all(day, 2)) {
        return None;
    }
    let numbers: Vec<u64> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let is_date = YEARS.contains(&numbers[0]) && (1..=12).contains(&numbers[1]) && (1..=31).contains(&numbers[2]);
    is_date.then_some(numbers)
}

/// What follows the numbers; nothing if it can't follow any.
fn stage(text: &str) -> Option<Stage> {
    if text.is_empty() {
        return Some(Stage::Release);
    }
    // `1.2.3-5-gabcdef`: five changes after 1.2.3, as git describes it.
    if let Some((commits, rest)) = text.strip_prefix('-').and_then(number)
        && rest.starts_with("-g")
    {
        return Some(Stage::After(commits));
    }
    let tail = text.strip_prefix(['.', '-', '_', ' ']).unwrap_or(text);
    let end = tail
        .find(|char: char| !char.is_ascii_alphabetic())
        .unwrap_or(tail.len());
    let (word, rest) = tail.split_at(end);
    let rest = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
    let count = number(rest).map_or(0, |(count, _)| count);
    match word {
        "post" | "patch" => Some(Stage::After(count)),
        "" if rest.is_empty() => None,
        word => Some(Stage::Before(word.to_owned(), count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.6.3", "0.6.3", true)]
    #[case("0.10.0", "0.9.9", true)]
    #[case("0.9.9", "0.10.0", false)]
    #[case("v1.2", "1.2.0", true)]
    #[case("1.2", "1.2.1", false)]
    #[case("2", "1.9", true)]
    #[case("1.0.0-rc.1", "1.0.0", false)]
    #[case("1.0.0", "1.0.0-rc.1", true)]
    #[case("1.0.0-rc.2", "1.0.0-rc.10", false)]
    #[case("1.0.0-beta", "1.0.0-alpha.7", true)]
    #[case("0.6.4.dev12+g0123abc", "0.6.4", false)]
    #[case("0.6.4.dev12+g0123abc", "0.6.3", true)]
    #[case("0.6.3rc1", "0.6.3", false)]
    #[case("0.6.3.post1", "0.6.3", true)]
    #[case("0.6.3", "0.6.3.post1", false)]
    #[case("0.6.3+cu121", "0.6.3", true)]
    #[case("1.2.3-5-gabcdef0", "1.2.3", true)]
    #[case("1.2.3-5-gabcdef0", "1.2.4", false)]
    #[case("b4567", "b4567", true)]
    #[case("b4567-3e0ba0e60", "b4566", true)]
    #[case("b999", "b4567", false)]
    #[case("B10000", "b9999", true)]
    #[case("2024-11-05", "2024-09-30", true)]
    #[case("2024-09-30", "2024-11-05", false)]
    #[case("20241105", "2024-11-05", true)]
    #[case("2024.9.30", "2024.11.5", false)]
    #[case("2024.11.5", "2024-11-05", true)]
    // Of different forms, or of none: never enough.
    #[case("0.6.3", "b1", false)]
    #[case("b4567", "0.0.1", false)]
    #[case("2024-11-05", "0.6.3", false)]
    #[case("", "0.0.0", false)]
    #[case("unknown", "0.0.0", false)]
    #[case("latest", "latest", false)]
    #[case("b", "b1", false)]
    #[case("beta2", "b1", false)]
    #[case("99999999999999999999999999", "1", false)]
    #[case("1.", "1", false)]
    fn versions_have_the_order_of_their_form(#[case] version: &str, #[case] least: &str, #[case] enough: bool) {
        assert_eq!(is_at_least(version, least), enough);
    }
}

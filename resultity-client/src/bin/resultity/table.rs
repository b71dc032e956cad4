//! How lists, things and times look.

use std::collections::BTreeMap;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use resultity_client::core::clock::{Clock, SystemClock};

use crate::output::Failure;

/// Spaces between columns.
const GAP: u16 = 2;

/// Readable JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::new(format!("the answer is not JSON: {error}")))
}

/// One line of JSON.
pub(crate) fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(format!("the answer is not JSON: {error}")))
}

/// A list with the names of its columns.
pub(crate) fn list(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(header);
    table.add_rows(rows);
    shown(table)
}

/// One thing: what is known of it, a line each. What is empty is left out.
pub(crate) fn thing<const N: usize>(lines: [(&str, String); N]) -> String {
    let mut table = plain();
    table.add_rows(
        lines
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| [name.to_owned(), value]),
    );
    shown(table)
}

/// Versions by the names of what has them.
pub(crate) fn versions(of: &BTreeMap<String, String>) -> String {
    let each: Vec<_> = of.iter().map(|(name, version)| format!("{name} {version}")).collect();
    each.join(", ")
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Columns begin where the line does, two spaces apart. A narrow terminal breaks texts between words, never an id: who wants
/// to copy it needs it whole.
fn shown(mut table: Table) -> String {
    let longest_words: Vec<usize> = table
        .column_iter()
        .enumerate()
        .map(|(index, _)| {
            let cells = table.header().into_iter().chain(table.row_iter());
            let cells = cells.filter_map(|row| row.cell_iter().nth(index));
            let words = cells.filter_map(|cell| {
                let lengths = |text: String| text.split_whitespace().map(|word| word.chars().count()).max();
                lengths(cell.content())
            });
            words.max().unwrap_or_default()
        })
        .collect();
    for (column, longest) in table.column_iter_mut().zip(longest_words) {
        column.set_padding((0, GAP));
        let width = u16::try_from(longest).unwrap_or(u16::MAX).saturating_add(GAP);
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
    table.trim_fmt()
}

/// A moment, given in seconds since the Unix epoch, in UTC.
pub(crate) fn moment(seconds: i64) -> String {
    formatted(seconds, "%Y-%m-%d %H:%M:%SZ")
}

/// How long ago it was, for lists: `42s`, `5m`, `3h`, `12d`.
pub(crate) fn age(seconds: i64) -> String {
    let now = SystemClock.now().as_seconds();
    span(now.saturating_sub(seconds).max(0))
}

fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The day of a moment.
pub(crate) fn day(seconds: i64) -> String {
    formatted(seconds, "%Y-%m-%d")
}

fn formatted(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// What may be missing, as a text.
pub(crate) fn if_any(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// `1 job`, `2 jobs`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_broken() {
        let id = "01a20314-f680-7295-960c-168c034adef2";
        let row = vec![id.to_owned(), "the receiver could not be connected to".into()];
        let mut table = plain();
        table.set_header(["JOB", "LAST ANSWER"]).add_row(row).set_width(50);
        let text = shown(table);
        assert!(text.lines().any(|line| line.starts_with(id)), "{text}");
        assert!(text.lines().count() > 2, "{text}");
    }

    #[test]
    fn ages_are_short() {
        let spans = [0, 119, 120, 7199, 7200, 200_000].map(span);
        assert_eq!(spans, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }

    #[test]
    fn things_are_aligned_without_what_is_empty() {
        let text = thing([
            ("id", "x".into()),
            ("cost", String::new()),
            ("created", moment(1_700_000_000)),
        ]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [vec!["id", "x"], vec!["created", "2023-11-14", "22:13:20Z"]],
            "{text}"
        );
        assert_eq!(
            (counted(1, "job"), counted(0, "job")),
            ("1 job".into(), "0 jobs".into())
        );
    }
}

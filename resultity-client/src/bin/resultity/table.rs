//! How lists, things and times look.

use comfy_table::{ContentArrangement, Table, presets};

use crate::output::Failure;

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

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Columns begin where the line does, two spaces apart.
fn shown(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A moment, given in seconds since the Unix epoch, in UTC.
pub(crate) fn moment(seconds: i64) -> String {
    formatted(seconds, "%Y-%m-%d %H:%M:%SZ")
}

/// The same for lists.
pub(crate) fn short_moment(seconds: i64) -> String {
    formatted(seconds, "%m-%d %H:%M")
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

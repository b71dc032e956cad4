//! Between rows and types: reading ids from text, and turning SQLite's errors into sentences.

use std::str::FromStr;

use resultity_core::credits::Credits;
use rusqlite::ffi::ErrorCode;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, ToSql};
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// Runs a statement that is kept prepared; gives how many rows it changed.
pub(super) fn execute(connection: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<usize, StoreError> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// Runs a statement that is kept prepared; gives its first row, if it has one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    Ok(rows.next()?.map(read).transpose()?)
}

/// Runs a statement that is kept prepared; gives all of its rows.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The condition and order of a page behind an id, which may be none. Not `?2 IS NULL OR id > ?2`: for that SQLite reads all that
/// comes before the page.
pub(super) fn behind(column: &str, place: &str, is_some: bool, ascending: bool) -> (String, &'static str) {
    let (sign, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let condition = if is_some {
        format!("{column} {sign} {place}")
    } else {
        format!("{place} IS NULL")
    };
    (condition, order)
}

/// Reads a column of text that is the written form of something.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// The same where there may be nothing.
pub(super) fn parsed_if_any<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        Ok(None)
    } else {
        parsed(row, column).map(Some)
    }
}

/// Reads a column of JSON where there may be nothing.
pub(super) fn json_if_any<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Reads a column of micro-credits.
pub(super) fn credits(row: &Row<'_>, column: usize) -> rusqlite::Result<Credits> {
    row.get(column).map(Credits::from_micros)
}

/// A count as SQLite has it: signed, so that what is beyond its range is cut to the largest it can hold.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a column of a count.
pub(super) fn counted(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match &error {
            E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) => {
                Self::Corrupt(error.to_string())
            }
            E::SqliteFailure(failure, _) => Self::Database(match failure.code {
                ErrorCode::DiskFull => "the disk is full: free some space, nothing was changed".to_owned(),
                ErrorCode::SystemIoFailure => format!("the file could not be read or written ({error})"),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    "another process has the file locked: stop it, or wait until it is done".to_owned()
                }
                ErrorCode::ReadOnly => "the file may not be written to: check its permissions".to_owned(),
                ErrorCode::CannotOpen => "the file can't be opened: check its folder and permissions".to_owned(),
                ErrorCode::NotADatabase => "the file is not a database".to_owned(),
                ErrorCode::DatabaseCorrupt => format!("the file is damaged: restore it from a backup ({error})"),
                _ => error.to_string(),
            }),
            _ => Self::Database(error.to_string()),
        }
    }
}

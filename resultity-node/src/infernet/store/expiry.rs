//! What is too old or too many goes: from the front of `ended`, a few rows with each commit.

use std::time::Duration;

use resultity_core::clock::Timestamp;
use rusqlite::Connection;

use super::operations::execute;
use crate::infernet::config::settings::ResultSettings;

/// Rows in one step, besides twice as many as the commit can have added.
const ROWS: usize = 128;

/// Bytes of results in one step: pages of large ones are freed one by one.
const BYTES: i64 = 4 * 1024 * 1024;

/// An end that lies further ahead than this was written when the clock was wrong.
const SKEW: Duration = Duration::from_hours(1);

/// When results go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    /// Milliseconds.
    keep_for: i64,
    /// Rows.
    max_count: i64,
    /// Bytes of the file.
    max_bytes: i64,
}

impl Expiry {
    pub(super) fn new(settings: &ResultSettings) -> Self {
        Self {
            keep_for: i64::try_from(settings.keep_for.as_millis()).unwrap_or(i64::MAX),
            max_count: i64::try_from(settings.max_count).unwrap_or(i64::MAX),
            max_bytes: i64::try_from(settings.max_bytes).unwrap_or(i64::MAX),
        }
    }

    /// Takes out some of what is over, in the transaction of a commit of so many operations. `pending` goes down with running
    /// jobs that are gone. True: there is more.
    pub(super) fn step(
        self,
        connection: &Connection,
        now: Timestamp,
        operations: usize,
        pending: &mut i64,
    ) -> rusqlite::Result<bool> {
        let limit = ROWS + 2 * operations;
        let registered = registered(connection, now, limit, pending)?;
        Ok(self.ended(connection, now, limit)? || registered)
    }

    fn ended(self, connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<bool> {
        let mut last = connection.prepare_cached("SELECT ifnull(max(number), 0) FROM ended")?;
        let too_many = last
            .query_row([], |row| row.get::<_, i64>(0))?
            .saturating_sub(self.max_count);
        let too_old = now.as_millis().saturating_sub(self.keep_for);
        let too_large = used(connection)?.saturating_sub(self.max_bytes);
        let mut front = connection.prepare_cached(
            "SELECT number, ended_at, id, ifnull(octet_length(result), 0) + ifnull(octet_length(intermediate), 0)
                FROM ended ORDER BY number",
        )?;
        let mut due = Vec::new();
        let mut bytes = 0;
        let mut is_more = false;
        let mut rows = front.query([])?;
        while let Some(row) = rows.next()? {
            let (number, ended_at) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
            if number > too_many && ended_at > too_old && bytes >= too_large {
                if ended_at > now.after(SKEW).as_millis() {
                    correct(connection, now)?;
                }
                break;
            }
            if due.len() >= limit || bytes > BYTES {
                is_more = true;
                break;
            }
            bytes += row.get::<_, i64>(3)?;
            due.push((number, row.get::<_, String>(2)?));
        }
        drop(rows);
        for (number, id) in due {
            execute(connection, "DELETE FROM ended WHERE number = ?1", &[&number])?;
            execute(connection, "DELETE FROM own WHERE id = ?1", &[&id])?;
        }
        Ok(is_more)
    }
}

/// How many bytes of the file are in use.
fn used(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Ends that were written while the clock was ahead would hold up all that come after them.
fn correct(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE ended SET ended_at = ?1 WHERE ended_at > ?1";
    execute(connection, sql, &[&now.as_millis()])?;
    Ok(())
}

/// Registered jobs that nobody spoke of again are gone.
fn registered(connection: &Connection, now: Timestamp, limit: usize, pending: &mut i64) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM running WHERE (owner, id) IN
        (SELECT owner, id FROM running WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
    let gone = execute(connection, sql, &[&now.as_millis(), &(limit as i64)])?;
    *pending -= gone as i64;
    Ok(gone == limit)
}

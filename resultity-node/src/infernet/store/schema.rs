//! Opening the file: its lock, its settings and its schema.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;
use super::error::sentence;
use crate::identity::{create_private_dir, private_options};

/// Every step from an empty file to the newest schema. `PRAGMA user_version` counts those that were taken. Published steps are
/// never edited; changes come as new ones.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// Says in the file whose it is: "Rslt".
const APPLICATION: i32 = 0x5273_6c74;

/// How long to wait for someone who looks into the file from outside.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection: more than there are in this module.
const STATEMENTS: usize = 32;

/// Pages in the log before they move to the file: 8 MB. Many commits change the same few pages, which then move once.
const CHECKPOINT_PAGES: u32 = 2_000;

/// Opens the file for writing, makes it if it is not there, and brings its schema up to date. With it comes the lock that
/// keeps other processes out: to be held until every connection is closed.
pub(super) fn open_writer(path: &Path) -> Result<(Connection, File), StoreError> {
    let lock = lock(path)?;
    private_options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| failure(path, &error))?;
    let broken = |error: rusqlite::Error| unusable(path, &error);
    let mut connection = open(path).map_err(broken)?;
    // A file that turns out to be none of ours is left as it is, down to what stands in its log.
    keep_log(&connection, true).map_err(broken)?;
    check(&connection, path)?;
    keep_log(&connection, false).map_err(broken)?;
    prepare(&mut connection).map_err(broken)?;
    Ok((connection, lock))
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    // Each commit of the writer empties it: more would not help.
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

/// The error of a file that can't be used.
pub(super) fn unusable(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Unusable {
        path: path.to_owned(),
        reason: sentence(error),
    }
}

fn failure(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Keeps other processes out with a file beside the database, because SQLite has locks of its own on the database itself.
fn lock(path: &Path) -> Result<File, StoreError> {
    if let Some(directory) = path.parent().filter(|directory| *directory != Path::new("")) {
        create_private_dir(directory).map_err(|error| failure(path, &error))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = private_options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(PathBuf::from(beside))
        .map_err(|error| failure(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failure(path, &error)),
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Every connection is used by one thread at a time, so SQLite needs no locks of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it SQLite plans a kept statement again whenever a bound value changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)?;
    Ok(())
}

/// Whether the file is empty or one of ours, of a schema that this version knows.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let broken = |error: rusqlite::Error| unusable(path, &error);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(broken)?;
    let found = number("user_version").map_err(broken)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(broken)?;
    if application != i64::from(APPLICATION) && (application, found, tables) != (0, 0, 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > MIGRATIONS.len() as i64 {
        return Err(StoreError::TooNew {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: MIGRATIONS.len() as u32,
        });
    }
    Ok(())
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit that was acknowledged survives a loss of power, not only of the process.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -2_048)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = found as usize;
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    if found < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        touch(&transaction)?;
    }
    transaction.commit()
}

/// Writes what stands there already: the schema's version.
pub(super) fn touch(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", MIGRATIONS.len() as u32)
}

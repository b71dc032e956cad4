//! Opening the database file: its settings and its schema.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::store::StoreError;

/// Every step from an empty file to the newest schema. `PRAGMA user_version` counts those that were taken. Published
/// steps are never edited; changes come as new ones.
const MIGRATIONS: [&str; 19] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_jobs.sql"),
    include_str!("migrations/0003_webhooks.sql"),
    include_str!("migrations/0004_files.sql"),
    include_str!("migrations/0005_gate.sql"),
    include_str!("migrations/0006_identity.sql"),
    include_str!("migrations/0007_wallets.sql"),
    include_str!("migrations/0008_tenants.sql"),
    include_str!("migrations/0009_credits.sql"),
    include_str!("migrations/0010_nodes.sql"),
    include_str!("migrations/0011_config.sql"),
    include_str!("migrations/0012_admin.sql"),
    include_str!("migrations/0013_epochs.sql"),
    include_str!("migrations/0014_subclouds.sql"),
    include_str!("migrations/0015_trust.sql"),
    include_str!("migrations/0016_weights.sql"),
    include_str!("migrations/0017_node_logs.sql"),
    include_str!("migrations/0018_retention.sql"),
    include_str!("migrations/0019_points.sql"),
];

/// How long to wait for another process that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection: more than there are in this module.
const STATEMENTS: usize = 128;

/// Opens the file for writing, makes it (readable by its owner only) if it is not there, and brings its schema up to
/// date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    create_private(path)?;
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit that was acknowledged survives a loss of power, not only of the process.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is overwritten, in the file at once and in its log with the next writes: no cost that can be measured for a
    // job of which nothing is kept, a tenth of the writer's time for one that is.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    // Every connection is used by one thread at a time, so SQLite needs no locks of its own.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it SQLite plans a kept statement again whenever a bound value changes: a sixth of the writer's time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Savepoints keep old pages: in memory, not in a temporary file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Makes the file with its final permissions, which SQLite then copies to the files beside it.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Database(format!(
            "the file {} can't be made: {error}",
            path.display()
        ))),
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    // Immediate: of two processes that start at once, one migrates and the other finds it done.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for step in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

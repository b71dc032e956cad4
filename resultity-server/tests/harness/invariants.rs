//! What must be so after every fault.

use std::path::Path;

use resultity_server::assemble::database_path;
use resultity_server::store::Store;
use rusqlite::{Connection, OpenFlags};

use super::TestServer;

/// What must never be found: each query counts what is wrong.
const NEVER: [(&str, &str); 7] = [
    (
        "the ledger does not sum to 0",
        "SELECT coalesce(sum(amount), 0) FROM ledger_entries",
    ),
    (
        "jobs have not ended",
        "SELECT count(*) FROM jobs WHERE finished_at IS NULL",
    ),
    (
        "jobs have ended without a final state",
        "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'expired', 'cancelled')",
    ),
    (
        "holds have not ended exactly once",
        "SELECT count(*) FROM jobs WHERE (SELECT count(*) FROM ledger_transactions
                                          WHERE job = jobs.id AND kind IN ('settle', 'release')) <> 1",
    ),
    (
        "jobs were paid for without an answer",
        "SELECT count(*) FROM jobs WHERE cost > 0 AND id NOT IN (SELECT job FROM receipts)",
    ),
    (
        "jobs were answered to more than one line of a batch",
        "SELECT count(*) FROM (SELECT job FROM idempotency_keys GROUP BY job HAVING count(*) > 1)",
    ),
    (
        "kept jobs succeeded without an answer",
        "SELECT count(*) FROM jobs JOIN payloads ON payloads.job = jobs.id
         WHERE jobs.state = 'succeeded' AND payloads.answer IS NULL",
    ),
];

/// Waits until no job is under way; then the audit has to be clean, no hold may be open, the ledger must sum to zero, and
/// every job must be in one final state, settled at most once.
pub async fn invariants(server: &TestServer) {
    server.until_idle().await;
    invariants_of(&*server.store, server.data_dir.path()).await;
}

/// The same of a server that rests, or is another process.
pub async fn invariants_of(store: &dyn Store, data_dir: &Path) {
    let report = store.audit().await.unwrap();
    assert_eq!((report.problems, report.open_holds), (Vec::<String>::new(), 0));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database_path(data_dir), flags).unwrap();
    for (what, sql) in NEVER {
        let found: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{what}");
    }
}

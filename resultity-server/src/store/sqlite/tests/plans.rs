//! What is done often must not read through tables that only grow. SQLite decides how by itself, so it is asked.

use rstest::rstest;
use rusqlite::Connection;

use super::super::{administration, batches, detached, files, statements, tenants};
use super::open;

/// How SQLite would run a statement.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    steps.collect::<Result<_, _>>().unwrap()
}

#[rstest]
#[case::what_is_held(tenants::BALANCE, "jobs_open")]
#[case::jobs_under_way(administration::OPEN_JOBS, "jobs_open")]
#[case::jobs_to_take_up_again(detached::RESUMABLE, "jobs_open")]
#[case::batches_to_run(&format!("SELECT id {}", batches::OPEN), "batches_open")]
#[case::the_ledger_of_jobs(&statements::places(true, false), "jobs_of_namespace")]
#[case::the_ledger_of_moves(&statements::places(true, true), "namespace_moves USING PRIMARY KEY (namespace=? AND place>?)")]
#[case::files_that_nobody_writes(files::ABANDON, "files_to_purge")]
#[case::files_to_be_freed(files::DELETED, "files_to_purge")]
fn an_index_is_used(#[case] sql: &str, #[case] index: &str) {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let connection = Connection::open(folder.path().join("store.db")).unwrap();
    let plan = plan(&connection, sql);
    assert!(plan.iter().any(|step| step.contains(index)), "{plan:#?}");
    // A subquery has the few rows that it was limited to.
    let through_all =
        |step: &&String| step.starts_with("SCAN") && !step.contains(index) && !step.starts_with("SCAN (subquery-");
    assert_eq!(plan.iter().find(through_all), None, "{plan:#?}");
}

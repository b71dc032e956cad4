//! What was told to those who asked, and whether the server's books say the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::id::JobId;
use resultity_core::job::JobState;
use resultity_server::assemble::{database_path, open_store};
use resultity_server::store::Store as _;
use rusqlite::{Connection, OpenFlags};

use super::roles::Failure;

/// How many of one kind of wrong are told in full.
const TOLD: usize = 10;

/// What was told so far.
#[derive(Debug, Default)]
struct Told {
    answered: HashMap<JobId, Credits>,
    /// Jobs that cost nothing, as the server said.
    free: HashSet<JobId>,
    /// Jobs that the server promised to bring to an end.
    acknowledged: Vec<JobId>,
    failed: BTreeMap<&'static str, u64>,
    /// Those of them that were jobs.
    failed_jobs: u64,
    cancelled: u64,
    left: u64,
    wrong: Vec<String>,
    lost: Vec<String>,
}

/// Counts what is told.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Told>);

impl Tally {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs came to an end that somebody knows.
    pub(super) fn ended(&self) -> u64 {
        let told = self.told();
        told.answered.len() as u64 + told.cancelled + told.failed_jobs + told.left
    }

    /// A right answer, for this much.
    pub(super) fn answered(&self, job: JobId, cost: Credits) {
        let mut told = self.told();
        if told.answered.insert(job, cost).is_some() {
            told.wrong.push(format!("job {job} was the answer to two requests"));
        }
    }

    /// An end without an answer.
    pub(super) fn failed(&self, code: ErrorCode) {
        let mut told = self.told();
        *told.failed.entry(code.as_str()).or_default() += 1;
        // The others may not have come to be jobs.
        told.failed_jobs += u64::from(matches!(code, ErrorCode::NodeFailed | ErrorCode::DeadlineExceeded));
    }

    /// The server said that this job costs nothing.
    pub(super) fn free(&self, job: JobId) {
        self.told().free.insert(job);
    }

    /// The server promised to bring this job to an end.
    pub(super) fn acknowledged(&self, job: JobId) {
        self.told().acknowledged.push(job);
    }

    /// A job that was cancelled as it should be.
    pub(super) fn cancelled(&self) {
        self.told().cancelled += 1;
    }

    /// Somebody went away.
    pub(super) fn left(&self) {
        self.told().left += 1;
    }

    /// Not what was asked for, or not what it should cost.
    pub(super) fn wrong(&self, what: String) {
        self.told().wrong.push(what);
    }

    /// Something that was promised did not come.
    pub(super) fn lost(&self, what: String) {
        self.told().lost.push(what);
    }
}

/// How many jobs have not ended.
pub(super) fn open_jobs(data_dir: &Path) -> Result<u64, Failure> {
    number(&read(data_dir)?, "SELECT count(*) FROM jobs WHERE finished_at IS NULL")
}

fn read(data_dir: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(database_path(data_dir), flags)?)
}

fn number(connection: &Connection, sql: &str) -> Result<u64, Failure> {
    let number: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(number.unsigned_abs())
}

/// All that is to be said in the end.
#[derive(Debug, Default)]
pub(super) struct Books {
    jobs: u64,
    answered: u64,
    failed: Vec<(String, u64)>,
    told: BTreeMap<&'static str, u64>,
    cancelled: u64,
    left: u64,
    retried: u64,
    lost: Vec<String>,
    settled_twice: u64,
    wrong: Vec<String>,
    ledger_sum: u64,
    open_holds: u64,
    problems: Vec<String>,
}

impl Books {
    /// Reads the books of a server that has stopped, and compares them with what was told.
    pub(super) async fn read(data_dir: &Path, tally: Tally) -> Result<Self, Failure> {
        let told = tally.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let store = open_store(data_dir, None)?;
        let report = store.audit().await?;
        let mut books = Self {
            jobs: report.jobs,
            answered: told.answered.len() as u64,
            told: told.failed,
            cancelled: told.cancelled,
            left: told.left,
            lost: told.lost,
            wrong: told.wrong,
            open_holds: report.open_holds,
            problems: report.problems,
            ..Self::default()
        };
        for (job, cost) in &told.answered {
            match store.job(*job).await? {
                Some(found) if found.state == JobState::Succeeded && found.cost == Some(*cost) => {}
                Some(found) if found.state == JobState::Succeeded => {
                    books
                        .wrong
                        .push(format!("{job} was to cost {cost}, the books say {:?}", found.cost));
                }
                found => books.lost.push(format!("{job} was answered, the books have {found:?}")),
            }
        }
        for job in &told.free {
            match store.job(*job).await? {
                Some(found) if found.cost == Some(Credits::ZERO) => {}
                found => books
                    .wrong
                    .push(format!("{job} was to cost nothing, the books have {found:?}")),
            }
        }
        for job in &told.acknowledged {
            match store.job(*job).await? {
                Some(found) if found.state.is_final() => {}
                found => books
                    .lost
                    .push(format!("{job} was acknowledged, the books have {found:?}")),
            }
        }
        store.close().await;
        let connection = read(data_dir)?;
        books.ledger_sum = number(&connection, "SELECT coalesce(sum(amount), 0) FROM ledger_entries")?;
        // No two requests are the same: what was answered twice was billed twice.
        books.settled_twice = number(
            &connection,
            "SELECT (SELECT count(*) FROM (SELECT job FROM ledger_transactions WHERE kind = 'settle' GROUP BY job HAVING count(*) > 1))
                  + (SELECT count(*) FROM (SELECT request_hash FROM jobs WHERE state = 'succeeded' GROUP BY request_hash HAVING count(*) > 1))",
        )?;
        books.retried = number(
            &connection,
            "SELECT count(*) FROM jobs WHERE state = 'succeeded' AND attempt > 1",
        )?;
        let mut failed = connection.prepare(
            "SELECT state || ': ' || coalesce(error_code, 'paid for what was made'), count(*) FROM jobs WHERE state <> 'succeeded' GROUP BY 1 ORDER BY 2 DESC",
        )?;
        let rows = failed.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        books.failed = rows.collect::<Result<_, _>>()?;
        Ok(books)
    }

    /// Whether all is as it should be.
    pub(super) fn are_right(&self) -> bool {
        self.lost.is_empty()
            && self.wrong.is_empty()
            && self.problems.is_empty()
            && (self.settled_twice, self.ledger_sum, self.open_holds) == (0, 0, 0)
    }

    /// How many jobs there were.
    pub(super) const fn jobs(&self) -> u64 {
        self.jobs
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: u64| writeln!(f, "{name:<44}{value:>10}");
        row("jobs", self.jobs)?;
        row("answered, as asked for and at the right price", self.answered)?;
        row("cancelled", self.cancelled)?;
        row("whoever asked went away", self.left)?;
        row("retried unseen", self.retried)?;
        for (why, count) in &self.failed {
            row(&format!("  ended as {why}"), *count)?;
        }
        for (code, count) in &self.told {
            row(&format!("  told {code}"), *count)?;
        }
        row("lost (0)", self.lost.len() as u64)?;
        row("settled twice (0)", self.settled_twice)?;
        row("wrong answers or prices (0)", self.wrong.len() as u64)?;
        row("ledger sum (0)", self.ledger_sum)?;
        row("open holds (0)", self.open_holds)?;
        row("problems of the audit (0)", self.problems.len() as u64)?;
        for (name, all) in [("lost", &self.lost), ("wrong", &self.wrong), ("audit", &self.problems)] {
            for one in all.iter().take(TOLD) {
                writeln!(f, "{name}: {one}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SystemClock, SystemEntropy};

    #[tokio::test]
    async fn what_was_told_and_is_not_in_the_books_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let job = || JobId::new(&SystemClock, &SystemEntropy);
        let books = Books::read(folder.path(), Tally::default()).await.unwrap();
        assert!(books.are_right(), "{books}");

        let tally = Tally::default();
        tally.answered(job(), Credits::from_micros(1));
        tally.acknowledged(job());
        tally.free(job());
        let twice = job();
        tally.answered(twice, Credits::from_micros(1));
        tally.answered(twice, Credits::from_micros(1));
        let books = Books::read(folder.path(), tally).await.unwrap();
        assert!(!books.are_right(), "{books}");
        assert_eq!((books.lost.len(), books.wrong.len()), (3, 2), "{books}");
    }
}

//! What accounts have, used and earned, read for their owners.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, NamespaceId};
use resultity_core::ledger::LedgerAccount;
use rusqlite::{Connection, Row};

use super::rows::{all, behind, counted, credits, first, parsed, parsed_if_any};
use super::{SqliteStore, movements, usage};
use crate::store::StoreError;
use crate::store::statements::{
    AccountEarned, AccountUsageFilter, AccountUsageRecord, ActivityRecord, HoldRecord, LedgerRecord, NamespaceFunds,
    NodeEarned, StatementPage, StatementStore,
};

#[async_trait]
impl StatementStore for SqliteStore {
    async fn funds(&self, account: AccountId, environment: Environment) -> Result<Vec<NamespaceFunds>, StoreError> {
        self.readers
            .call(move |connection| funds(connection, account, environment))
            .await
    }

    async fn funds_of(
        &self,
        account: Option<AccountId>,
        namespace: NamespaceId,
    ) -> Result<Option<NamespaceFunds>, StoreError> {
        self.readers
            .call(move |connection| funds_of(connection, account, namespace))
            .await
    }

    async fn ledger(
        &self,
        namespace: NamespaceId,
        page: StatementPage<i64>,
    ) -> Result<Option<Vec<LedgerRecord>>, StoreError> {
        self.readers
            .call(move |connection| ledger(connection, namespace, page))
            .await
    }

    async fn holds(&self, namespace: NamespaceId, page: StatementPage<JobId>) -> Result<Vec<HoldRecord>, StoreError> {
        self.readers
            .call(move |connection| holds(connection, namespace, page))
            .await
    }

    async fn account_usage(&self, filter: AccountUsageFilter) -> Result<Vec<AccountUsageRecord>, StoreError> {
        self.readers
            .call_long(move |connection| usage::of_account(connection, &filter))
            .await
    }

    async fn activity(
        &self,
        account: AccountId,
        environment: Environment,
        page: StatementPage<String>,
    ) -> Result<Vec<ActivityRecord>, StoreError> {
        self.readers
            .call_long(move |connection| activity(connection, account, environment, &page))
            .await
    }

    async fn earned(&self, account: AccountId, environment: Environment) -> Result<AccountEarned, StoreError> {
        self.readers
            .call_long(move |connection| earned(connection, account, environment))
            .await
    }
}

/// What [`funds_record`] reads, and from where. The index is named, or SQLite would read all jobs that a namespace ever had.
const FUNDS: &str = "SELECT namespaces.id, namespaces.name, namespaces.environment, coalesce(balances.balance, 0),
        (SELECT coalesce(sum(held), 0) FROM jobs INDEXED BY jobs_open
         WHERE jobs.namespace = namespaces.id AND finished_at IS NULL),
        credit_alerts.below, credit_alerts.armed
 FROM namespaces LEFT JOIN balances ON balances.account = 'namespace:' || namespaces.id
 LEFT JOIN credit_alerts ON credit_alerts.namespace = namespaces.id";

fn funds_record(row: &Row<'_>) -> rusqlite::Result<NamespaceFunds> {
    let below = row.get::<_, Option<i64>>(5)?.map(Credits::from_micros);
    Ok(NamespaceFunds {
        namespace: parsed(row, 0)?,
        name: row.get(1)?,
        environment: parsed(row, 2)?,
        available: credits(row, 3)?,
        held: credits(row, 4)?,
        alert: below.zip(row.get::<_, Option<bool>>(6)?),
    })
}

fn funds(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
) -> Result<Vec<NamespaceFunds>, StoreError> {
    all(
        connection,
        &format!(
            "{FUNDS} WHERE namespaces.account = ?1 AND namespaces.environment = ?2 AND deleted_at IS NULL
         ORDER BY namespaces.name"
        ),
        &[&account.to_string(), &environment.as_str()],
        funds_record,
    )
}

fn funds_of(
    connection: &Connection,
    account: Option<AccountId>,
    namespace: NamespaceId,
) -> Result<Option<NamespaceFunds>, StoreError> {
    first(
        connection,
        &format!(
            "{FUNDS} WHERE namespaces.id = ?1 AND (?2 IS NULL OR (namespaces.account = ?2 AND deleted_at IS NULL))"
        ),
        &[&namespace.to_string(), &account.map(|account| account.to_string())],
        funds_record,
    )
}

/// The places of a ledger behind `?2`, each a job or a move. An index on the entries themselves would do the same, and cost
/// every job a third more of the writer's time.
pub(super) fn places(has_after: bool, ascending: bool) -> String {
    // At the place itself, a job may have lines left.
    let (sign, order) = if ascending { (">=", "ASC") } else { ("<=", "DESC") };
    let condition = |column: &str| {
        if has_after {
            format!("{column} {sign} ?2")
        } else {
            "?2 IS NULL".to_owned()
        }
    };
    format!(
        "SELECT place, transaction_id FROM (
             SELECT * FROM (SELECT id AS place, NULL AS transaction_id FROM jobs INDEXED BY jobs_of_namespace
                            WHERE namespace = ?1 AND {} ORDER BY id {order} LIMIT ?3)
             UNION ALL
             SELECT * FROM (SELECT place, transaction_id FROM namespace_moves
                            WHERE namespace = ?1 AND {} ORDER BY place {order} LIMIT ?3))
         ORDER BY place {order} LIMIT ?3",
        condition("id"),
        condition("place")
    )
}

fn ledger(
    connection: &Connection,
    namespace: NamespaceId,
    page: StatementPage<i64>,
) -> Result<Option<Vec<LedgerRecord>>, StoreError> {
    let after = match page.after {
        None => None,
        Some(transaction) => match place_of(connection, namespace, transaction)? {
            Some(place) => Some(place),
            None => return Ok(None),
        },
    };
    // One more: the first place may have no line left.
    let places: Vec<(String, Option<i64>)> = all(
        connection,
        &places(after.is_some(), page.ascending),
        &[&namespace.to_string(), &after, &(page.limit + 1)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let account = LedgerAccount::Namespace(namespace).to_string();
    let mut lines = Vec::new();
    for (place, transaction) in places {
        let mut of_place = match transaction {
            Some(transaction) => move_line(connection, &account, transaction)?,
            None => job_lines(connection, &account, &place)?,
        };
        if page.ascending {
            of_place.reverse();
        }
        if after.as_deref() == Some(place.as_str()) {
            let seen = page.after.unwrap_or_default();
            of_place.retain(|line| {
                if page.ascending {
                    line.transaction > seen
                } else {
                    line.transaction < seen
                }
            });
        }
        lines.append(&mut of_place);
        if lines.len() >= page.limit as usize {
            break;
        }
    }
    lines.truncate(page.limit as usize);
    Ok(Some(lines))
}

/// Where a transaction stands in the ledger of a namespace, if it does.
fn place_of(connection: &Connection, namespace: NamespaceId, transaction: i64) -> Result<Option<String>, StoreError> {
    let found = first(
        connection,
        "SELECT transactions.created_at, jobs.id, jobs.namespace = ?2
         FROM ledger_transactions AS transactions LEFT JOIN jobs ON jobs.id = transactions.job WHERE transactions.id = ?1",
        &[&transaction, &namespace.to_string()],
        |row| {
            Ok((
                row.get(0).map(Timestamp::from_millis)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, Option<bool>>(2)?,
            ))
        },
    )?;
    match found {
        Some((_, Some(job), Some(true))) => Ok(Some(job)),
        Some((created, None, _)) => first(
            connection,
            "SELECT place FROM namespace_moves WHERE namespace = ?1 AND place = ?2",
            &[&namespace.to_string(), &movements::place(created, transaction)],
            |row| row.get(0),
        ),
        _ => Ok(None),
    }
}

/// What [`line`] reads of `transactions` and `entries`.
const LINE: &str =
    "transactions.id, transactions.kind, coalesce(entries.amount, 0), transactions.job, transactions.reason,
    transactions.created_at";

fn line(row: &Row<'_>) -> rusqlite::Result<LedgerRecord> {
    Ok(LedgerRecord {
        transaction: row.get(0)?,
        kind: parsed(row, 1)?,
        amount: credits(row, 2)?,
        job: parsed_if_any(row, 3)?,
        reason: row.get(4)?,
        created: row.get(5).map(Timestamp::from_millis)?,
    })
}

/// What a job did to the namespace that paid for it, the newest first.
fn job_lines(connection: &Connection, account: &str, job: &str) -> Result<Vec<LedgerRecord>, StoreError> {
    all(
        connection,
        &format!(
            "SELECT {LINE} FROM ledger_transactions AS transactions
             LEFT JOIN ledger_entries AS entries
               ON entries.transaction_id = transactions.id AND entries.account = ?2
             WHERE transactions.kind IN ('hold', 'settle', 'release') AND transactions.reference = ?1
             ORDER BY transactions.id DESC"
        ),
        &[&job, &account],
        line,
    )
}

fn move_line(connection: &Connection, account: &str, transaction: i64) -> Result<Vec<LedgerRecord>, StoreError> {
    all(
        connection,
        &format!(
            "SELECT {LINE} FROM ledger_transactions AS transactions
             JOIN ledger_entries AS entries ON entries.transaction_id = transactions.id AND entries.account = ?2
             WHERE transactions.id = ?1"
        ),
        &[&transaction, &account],
        line,
    )
}

fn holds(
    connection: &Connection,
    namespace: NamespaceId,
    page: StatementPage<JobId>,
) -> Result<Vec<HoldRecord>, StoreError> {
    let (condition, order) = behind("id", "?2", page.after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT id, key, model, state, held, created_at, deadline FROM jobs INDEXED BY jobs_open
             WHERE namespace = ?1 AND finished_at IS NULL AND {condition} ORDER BY id {order} LIMIT ?3"
        ),
        &[
            &namespace.to_string(),
            &page.after.map(|job| job.to_string()),
            &page.limit,
        ],
        |row| {
            Ok(HoldRecord {
                job: parsed(row, 0)?,
                key: parsed(row, 1)?,
                model: row.get(2)?,
                state: parsed(row, 3)?,
                held: credits(row, 4)?,
                created: row.get(5).map(Timestamp::from_millis)?,
                deadline: row.get(6).map(Timestamp::from_millis)?,
            })
        },
    )
}

/// All that happened to an account (`?1`) in an environment (`?2`), with places that sort by time. Each kind of thing has a
/// letter of its own behind the time, so that no two places are the same.
const ACTIVITY: &str = "
    SELECT moves.place AS place, transactions.kind AS kind, namespaces.id AS subject, transactions.reason AS message,
           entries.amount AS amount, transactions.created_at AS created_at
    FROM namespaces JOIN namespace_moves AS moves ON moves.namespace = namespaces.id
    JOIN ledger_transactions AS transactions ON transactions.id = moves.transaction_id
    JOIN ledger_entries AS entries
      ON entries.transaction_id = transactions.id AND entries.account = 'namespace:' || namespaces.id
    WHERE namespaces.account = ?1 AND namespaces.environment = ?2
    UNION ALL
    SELECT printf('%08x-%04x-y', created_at / 65536, created_at % 65536) || id, kind, subject, message, NULL, created_at
    FROM notifications WHERE account = ?1 AND (environment IS NULL OR environment = ?2)
    UNION ALL
    SELECT printf('%08x-%04x-k', keys.created_at / 65536, keys.created_at % 65536) || keys.id, 'key.created', keys.id,
           'the API key ' || keys.label || ' was made in ' || namespaces.name, NULL, keys.created_at
    FROM namespaces JOIN keys ON keys.namespace = namespaces.id
    WHERE namespaces.account = ?1 AND namespaces.environment = ?2
    UNION ALL
    SELECT printf('%08x-%04x-r', keys.revoked_at / 65536, keys.revoked_at % 65536) || keys.id, 'key.revoked', keys.id,
           'the API key ' || keys.label || ' of ' || namespaces.name || ' was revoked', NULL, keys.revoked_at
    FROM namespaces JOIN keys ON keys.namespace = namespaces.id
    WHERE namespaces.account = ?1 AND namespaces.environment = ?2 AND keys.revoked_at IS NOT NULL
    UNION ALL
    SELECT printf('%08x-%04x-n', bound_at / 65536, bound_at % 65536) || id, 'node.bound', id, 'a node was bound', NULL,
           bound_at
    FROM nodes WHERE account = ?1 AND environment = ?2 AND bound_at IS NOT NULL";

fn activity(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
    page: &StatementPage<String>,
) -> Result<Vec<ActivityRecord>, StoreError> {
    let (condition, order) = behind("place", "?3", page.after.is_some(), page.ascending);
    all(
        connection,
        // Two namespaces of one transfer have the same place: the subject tells them apart.
        &format!(
            "SELECT place, kind, subject, message, amount, created_at
             FROM (SELECT place || ':' || subject AS place, kind, subject, message, amount, created_at FROM ({ACTIVITY}))
             WHERE {condition} ORDER BY place {order} LIMIT ?4"
        ),
        &[
            &account.to_string(),
            &environment.as_str(),
            &page.after,
            &page.limit,
        ],
        |row| {
            Ok(ActivityRecord {
                place: row.get(0)?,
                kind: row.get(1)?,
                subject: row.get(2)?,
                message: row.get(3)?,
                amount: row.get::<_, Option<i64>>(4)?.map(Credits::from_micros),
                created: row.get(5).map(Timestamp::from_millis)?,
            })
        },
    )
}

fn earned(connection: &Connection, account: AccountId, environment: Environment) -> Result<AccountEarned, StoreError> {
    let (account, environment) = (account.to_string(), environment.as_str());
    let nodes = all(
        connection,
        "SELECT nodes.id, coalesce(balances.balance, 0),
                (SELECT coalesce(sum(amount), 0) FROM payouts
                 WHERE payouts.account = ?1 AND payouts.environment = ?2 AND payouts.node = nodes.id),
                coalesce(earned.points, 0)
         FROM nodes LEFT JOIN balances ON balances.account = 'node:' || ?2 || ':' || nodes.id
         LEFT JOIN (SELECT node, sum(points) AS points FROM epoch_points WHERE environment = ?2
                      AND node IN (SELECT id FROM nodes WHERE account = ?1 AND environment = ?2) GROUP BY node) AS earned
           ON earned.node = nodes.id
         WHERE nodes.account = ?1 AND nodes.environment = ?2 ORDER BY nodes.id",
        &[&account, &environment],
        |row| {
            Ok(NodeEarned {
                node: parsed(row, 0)?,
                payable: credits(row, 1)?,
                paid_out: credits(row, 2)?,
                points: counted(row, 3)?,
            })
        },
    )?;
    let paid_out = first(
        connection,
        "SELECT coalesce(sum(amount), 0) FROM payouts WHERE account = ?1 AND environment = ?2",
        &[&account, &environment],
        |row| credits(row, 0),
    )?;
    Ok(AccountEarned {
        nodes,
        paid_out: paid_out.unwrap_or_default(),
    })
}

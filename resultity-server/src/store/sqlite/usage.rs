//! What all keys of an account used.

use resultity_core::id::{KeyId, NamespaceId};
use rusqlite::{Connection, Row, ToSql};

use super::history::least_id;
use super::rows::{counted, credits, parsed_if_any};
use crate::store::StoreError;
use crate::store::statements::{AccountUsageFilter, AccountUsageRecord};

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Usage, told apart as asked. Ids sort by the time of acceptance, which bounds what has to be read.
pub(super) fn of_account(
    connection: &Connection,
    filter: &AccountUsageFilter,
) -> Result<Vec<AccountUsageRecord>, StoreError> {
    let by = filter.by;
    // Of constants, so that every grouping is a statement of its own.
    let told = |is_asked: bool, column: &'static str| if is_asked { column } else { "NULL" };
    let sql = format!(
        "SELECT {day}, {namespace}, {name}, {key}, {label}, {model}, {endpoint}, count(*),
                sum(jobs.state = 'failed' OR jobs.state = 'expired'), sum(coalesce(jobs.prompt_tokens, 0)),
                sum(coalesce(jobs.completion_tokens, 0)), sum(jobs.finished_at - jobs.created_at), sum(jobs.cost)
         FROM namespaces CROSS JOIN jobs INDEXED BY jobs_of_namespace ON jobs.namespace = namespaces.id
         JOIN keys ON keys.id = jobs.key
         WHERE namespaces.account = ?1 AND namespaces.environment = ?2 AND jobs.id >= ?3
           AND jobs.finished_at >= ?4 AND jobs.finished_at < ?5 AND (?6 IS NULL OR namespaces.id = ?6)
           AND (?7 IS NULL OR jobs.key = ?7) AND (?8 IS NULL OR jobs.model = ?8)
         GROUP BY 1, 2, 4, 6, 7 ORDER BY 1, 3, 2, 5, 4, 6, 7 LIMIT ?9",
        day = if by.day {
            format!("jobs.finished_at / {DAY_MS}")
        } else {
            "NULL".to_owned()
        },
        namespace = told(by.namespace, "jobs.namespace"),
        name = told(by.namespace, "namespaces.name"),
        key = told(by.key, "jobs.key"),
        label = told(by.key, "keys.label"),
        model = told(by.model, "jobs.model"),
        endpoint = told(by.endpoint, "jobs.endpoint"),
    );
    let account = filter.account.to_string();
    let namespace = filter.namespace.map(|namespace| namespace.to_string());
    let key = filter.key.map(|key| key.to_string());
    let least = least_id(filter.accepted_from);
    let environment = filter.environment.as_str();
    let (from, until) = (filter.from.as_millis(), filter.until.as_millis());
    let params: [&dyn ToSql; 9] = [
        &account,
        &environment,
        &least,
        &from,
        &until,
        &namespace,
        &key,
        &filter.model,
        &filter.limit,
    ];
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params.as_slice(), record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<AccountUsageRecord> {
    let name = |column| row.get::<_, Option<String>>(column);
    Ok(AccountUsageRecord {
        day: row.get(0)?,
        namespace: parsed_if_any::<NamespaceId>(row, 1)?.zip(name(2)?),
        key: parsed_if_any::<KeyId>(row, 3)?.zip(name(4)?),
        model: name(5)?,
        endpoint: name(6)?,
        requests: counted(row, 7)?,
        failed: counted(row, 8)?,
        prompt_tokens: counted(row, 9)?,
        completion_tokens: counted(row, 10)?,
        duration_ms: counted(row, 11)?,
        cost: credits(row, 12)?,
    })
}

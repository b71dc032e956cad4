//! Lines of nodes' logs, and the verbs of [`NodeLogStore`].

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::wire::{LogLevel, LogLine};
use rusqlite::{Connection, Row};

use super::SqliteStore;
use super::rows::{all, behind, execute, first, json_if_any, parsed_if_any};
use crate::store::StoreError;
use crate::store::node_logs::{NewNodeLogs, NodeLogFilter, NodeLogRecord, NodeLogStore};

const LEVELS: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];

fn rank(level: LogLevel) -> i64 {
    LEVELS
        .iter()
        .position(|known| *known == level)
        .map_or(0, |place| place as i64)
}

fn keep(connection: &Connection, logs: &NewNodeLogs) -> Result<(), StoreError> {
    let (node, environment) = (logs.node.to_string(), logs.environment.as_str());
    let last = first(
        connection,
        "SELECT max(number) FROM node_logs WHERE node = ?1 AND environment = ?2",
        &[&node, &environment],
        |row| row.get::<_, Option<i64>>(0),
    )?;
    let mut number = last.flatten().unwrap_or_default();
    for line in &logs.lines {
        number += 1;
        let fields = serde_json::to_string(&line.fields).map_err(|error| StoreError::Invalid(error.to_string()))?;
        execute(
            connection,
            "INSERT INTO node_logs (node, environment, number, account, time, level, job, message, fields, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            &[
                &node,
                &environment,
                &number,
                &logs.account.to_string(),
                &line.time.as_millis(),
                &rank(line.level),
                &line.job_id.map(|job| job.to_string()),
                &line.message,
                &fields,
                &logs.now.as_millis(),
            ],
        )?;
    }
    execute(
        connection,
        "DELETE FROM node_logs WHERE node = ?1 AND environment = ?2 AND number <= ?3",
        &[&node, &environment, &(number - i64::from(logs.most))],
    )?;
    Ok(())
}

fn list(connection: &Connection, filter: &NodeLogFilter) -> Result<Vec<NodeLogRecord>, StoreError> {
    let page = &filter.page;
    let (condition, order) = behind("number", "?3", page.after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT number, time, level, job, message, fields, received_at FROM node_logs
             WHERE node = ?1 AND environment = ?2 AND {condition} AND (?4 IS NULL OR account = ?4) AND level >= ?5
               AND (?6 IS NULL OR job = ?6)
             ORDER BY number {order} LIMIT ?7"
        ),
        &[
            &filter.node.to_string(),
            &filter.environment.as_str(),
            &page.after,
            &filter.account.map(|account| account.to_string()),
            &filter.level.map_or(0, rank),
            &filter.job.map(|job| job.to_string()),
            &page.limit,
        ],
        read,
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<NodeLogRecord> {
    let level = usize::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
    Ok(NodeLogRecord {
        number: row.get(0)?,
        line: LogLine {
            time: Timestamp::from_millis(row.get(1)?),
            level: LEVELS.get(level).copied().unwrap_or(LogLevel::Error),
            job_id: parsed_if_any(row, 3)?,
            message: row.get(4)?,
            fields: json_if_any(row, 5)?.unwrap_or_default(),
        },
        received: Timestamp::from_millis(row.get(6)?),
    })
}

fn forget(connection: &Connection, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    let gone = execute(
        connection,
        "DELETE FROM node_logs WHERE (node, environment, number) IN
            (SELECT node, environment, number FROM node_logs WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
        &[&before.as_millis(), &most],
    )?;
    Ok(gone as u64)
}

#[async_trait]
impl NodeLogStore for SqliteStore {
    async fn keep_node_logs(&self, logs: NewNodeLogs) -> Result<(), StoreError> {
        self.writer.call(move |connection| keep(connection, &logs)).await
    }

    async fn node_logs(&self, filter: NodeLogFilter) -> Result<Vec<NodeLogRecord>, StoreError> {
        self.readers
            .call_long(move |connection| list(connection, &filter))
            .await
    }

    async fn forget_node_logs(&self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| forget(connection, before, most))
            .await
    }
}

//! Contribution points by week.

use std::fmt::Write;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use rusqlite::Connection;

use super::SqliteStore;
use super::rows::{all, count, execute, parsed};
use crate::store::StoreError;
use crate::store::epochs::{EpochRecord, EpochStore, epoch_of};

/// Adds what a node has earned to the open epoch: that of the time, unless it is closed already.
pub(super) fn add(
    connection: &Connection,
    environment: &str,
    node: &str,
    points: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO epoch_points (environment, epoch, node, points)
         VALUES (?1, max(?2, coalesce((SELECT max(epoch) + 1 FROM epochs WHERE environment = ?1), 0)), ?3, ?4)
         ON CONFLICT (environment, epoch, node) DO UPDATE SET points = points + excluded.points",
        &[&environment, &count(epoch_of(now)), &node, &points],
    )?;
    Ok(())
}

fn list(connection: &Connection, environment: Environment, most: u32) -> Result<Vec<EpochRecord>, StoreError> {
    all(
        connection,
        "SELECT earned.epoch, earned.points, earned.nodes, epochs.root
         FROM (SELECT epoch, sum(points) AS points, count(*) AS nodes FROM epoch_points
               WHERE environment = ?1 GROUP BY epoch ORDER BY epoch DESC LIMIT ?2) AS earned
         LEFT JOIN epochs ON epochs.environment = ?1 AND epochs.epoch = earned.epoch ORDER BY earned.epoch DESC",
        &[&environment.as_str(), &most],
        |row| {
            let root = row.get::<_, Option<Vec<u8>>>(3)?;
            Ok(EpochRecord {
                number: u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default(),
                points: u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
                nodes: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
                root: root.and_then(|root| B256::try_from(root.as_slice()).ok()),
            })
        },
    )
}

fn close(connection: &Connection, environment: Environment, before: u64, now: Timestamp) -> Result<u64, StoreError> {
    let open = all(
        connection,
        "SELECT DISTINCT epoch FROM epoch_points WHERE environment = ?1 AND epoch < ?2
           AND epoch NOT IN (SELECT epoch FROM epochs WHERE environment = ?1) ORDER BY epoch",
        &[&environment.as_str(), &count(before)],
        |row| row.get::<_, i64>(0),
    )?;
    for epoch in &open {
        let lines = all(
            connection,
            "SELECT node, points FROM epoch_points WHERE environment = ?1 AND epoch = ?2 ORDER BY node",
            &[&environment.as_str(), epoch],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let points: i64 = lines.iter().map(|(_, points)| points).sum();
        let mut text = String::new();
        for (node, points) in &lines {
            // Writing into a text never fails.
            let _ = writeln!(text, "{node} {points}");
        }
        execute(
            connection,
            "INSERT INTO epochs (environment, epoch, points, nodes, root, closed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            &[
                &environment.as_str(),
                epoch,
                &points,
                &count(lines.len() as u64),
                &sha256(text).as_slice(),
                &now.as_millis(),
            ],
        )?;
    }
    Ok(open.len() as u64)
}

#[async_trait]
impl EpochStore for SqliteStore {
    async fn epochs(&self, environment: Environment, most: u32) -> Result<Vec<EpochRecord>, StoreError> {
        self.readers
            .call(move |connection| list(connection, environment, most))
            .await
    }

    async fn nodes_of_epoch(&self, environment: Environment, epoch: u64) -> Result<Vec<NodeId>, StoreError> {
        let sql = "SELECT DISTINCT node FROM epoch_points WHERE environment = ?1 AND epoch BETWEEN ?2 AND ?2 + 1";
        let params = (environment, count(epoch));
        self.readers
            .call(move |connection| all(connection, sql, &[&params.0.as_str(), &params.1], |row| parsed(row, 0)))
            .await
    }

    async fn last_snapshots(&self, environment: Environment, most: u32) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT signed FROM snapshots WHERE environment = ?1 ORDER BY version DESC LIMIT ?2";
        self.readers
            .call(move |connection| all(connection, sql, &[&environment.as_str(), &most], |row| row.get(0)))
            .await
    }

    async fn close_epochs(&self, environment: Environment, before: u64, now: Timestamp) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| close(connection, environment, before, now))
            .await
    }
}

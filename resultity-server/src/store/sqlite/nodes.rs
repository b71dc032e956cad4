//! Nodes.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use rusqlite::Connection;

use super::rows::{execute, first, parsed, parsed_if_any};
use crate::store::{NodeRecord, StoreError};

/// Makes the node's record at first contact.
pub(super) fn register(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    now: Timestamp,
) -> Result<NodeRecord, StoreError> {
    execute(
        connection,
        "INSERT INTO nodes (id, environment, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (id, environment) DO NOTHING",
        &[&node.to_string(), &environment.as_str(), &now.as_millis()],
    )?;
    read(connection, node, environment)?
        .ok_or_else(|| StoreError::Corrupt("a node that was just registered is missing".to_owned()))
}

/// Binds the node to the account unless it has one.
pub(super) fn bind(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    account: AccountId,
    now: Timestamp,
) -> Result<Option<NodeRecord>, StoreError> {
    execute(
        connection,
        "UPDATE nodes SET account = ?3, bound_at = ?4 WHERE id = ?1 AND environment = ?2 AND account IS NULL",
        &[
            &node.to_string(),
            &environment.as_str(),
            &account.to_string(),
            &now.as_millis(),
        ],
    )?;
    read(connection, node, environment)
}

fn read(connection: &Connection, node: NodeId, environment: Environment) -> Result<Option<NodeRecord>, StoreError> {
    first(
        connection,
        "SELECT id, environment, account, banned_at IS NOT NULL FROM nodes WHERE id = ?1 AND environment = ?2",
        &[&node.to_string(), &environment.as_str()],
        |row| {
            Ok(NodeRecord {
                id: parsed(row, 0)?,
                environment: parsed(row, 1)?,
                account: parsed_if_any(row, 2)?,
                banned: row.get(3)?,
            })
        },
    )
}

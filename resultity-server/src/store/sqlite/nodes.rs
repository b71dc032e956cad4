//! Nodes.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use rusqlite::Connection;

use super::bindings;
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

/// What there has to be nothing of for a node to be forgotten: an owner, a decision, a job, credits.
const IS_BARE: &str = "n.account IS NULL AND n.banned_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM node_flags f WHERE f.node = n.id AND f.environment = n.environment)
    AND NOT EXISTS (SELECT 1 FROM penalties p WHERE p.node = n.id AND p.environment = n.environment)
    AND NOT EXISTS (SELECT 1 FROM reputations t WHERE t.node = n.id AND t.environment = n.environment)
    AND NOT EXISTS (SELECT 1 FROM checks c WHERE c.node = n.id AND c.environment = n.environment)
    AND NOT EXISTS (SELECT 1 FROM subcloud_nodes s WHERE s.node = n.id AND s.environment = n.environment)
    AND NOT EXISTS (SELECT 1 FROM receipts r WHERE r.node = n.id)
    AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.node = n.id)
    AND NOT EXISTS (SELECT 1 FROM balances b WHERE b.account = 'node:' || n.environment || ':' || n.id)";

/// Forgets nodes that are nobody's and that nothing is known of but their ids.
pub(super) fn forget(
    connection: &Connection,
    environment: Environment,
    unseen_since: Timestamp,
    most: u32,
) -> Result<u64, StoreError> {
    let forgotten = execute(
        connection,
        &format!(
            "DELETE FROM nodes WHERE (id, environment) IN (
                 SELECT n.id, n.environment FROM nodes n
                 WHERE n.environment = ?1 AND coalesce(n.seen_at, n.created_at) < ?2 AND {IS_BARE} LIMIT ?3)"
        ),
        &[&environment.as_str(), &unseen_since.as_millis(), &most],
    )?;
    Ok(forgotten as u64)
}

/// Takes back the registration of a node that came to nothing.
pub(super) fn forget_one(connection: &Connection, node: NodeId, environment: Environment) -> Result<(), StoreError> {
    execute(
        connection,
        &format!("DELETE FROM nodes AS n WHERE n.id = ?1 AND n.environment = ?2 AND {IS_BARE}"),
        &[&node.to_string(), &environment.as_str()],
    )?;
    Ok(())
}

/// Binds the node to the account unless it has one.
pub(super) fn bind(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    account: AccountId,
    now: Timestamp,
) -> Result<Option<NodeRecord>, StoreError> {
    let bound = execute(
        connection,
        "UPDATE nodes SET account = ?3, bound_at = ?4 WHERE id = ?1 AND environment = ?2 AND account IS NULL",
        &[
            &node.to_string(),
            &environment.as_str(),
            &account.to_string(),
            &now.as_millis(),
        ],
    )?;
    if bound > 0 {
        bindings::distrust(connection, node, environment)?;
    }
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

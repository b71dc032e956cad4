//! Subclouds, and which nodes are in them.

use resultity_core::B256;
use resultity_core::api::gate::JoinPolicy;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId, SubcloudId};
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::fleet;
use super::rows::{all, behind, execute, first, json_if_any, parsed};
use crate::store::StoreError;
use crate::store::subclouds::{
    Joining, Leaver, SubcloudChange, SubcloudChanged, SubcloudJoined, SubcloudMade, SubcloudMembership,
    SubcloudNodeRecord, SubcloudRecord, SubcloudRef, TokenSet,
};
use crate::store::webhooks::PageOf;

/// What [`read`] reads, in its order.
const SUBCLOUD: &str = "s.id, s.environment, s.account, s.name, s.description, s.models, s.join_policy, s.token_hash,
                        s.access, s.namespaces, s.isolated, s.created_at";

fn read(row: &Row<'_>) -> rusqlite::Result<SubcloudRecord> {
    Ok(SubcloudRecord {
        id: parsed(row, 0)?,
        environment: parsed(row, 1)?,
        account: parsed(row, 2)?,
        name: row.get(3)?,
        description: row.get(4)?,
        models: json_if_any(row, 5)?.unwrap_or_default(),
        join: parsed(row, 6)?,
        token_hash: row.get::<_, Option<[u8; 32]>>(7)?.map(B256::from),
        access: parsed(row, 8)?,
        namespaces: json_if_any(row, 9)?.unwrap_or_default(),
        isolated: row.get(10)?,
        created: Timestamp::from_millis(row.get(11)?),
    })
}

fn json(list: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::Invalid(error.to_string()))
}

fn is_taken(connection: &Connection, environment: Environment, name: &str, by: SubcloudId) -> Result<bool, StoreError> {
    let taken = first(
        connection,
        "SELECT 1 FROM subclouds WHERE environment = ?1 AND name = ?2 AND id <> ?3",
        &[&environment.as_str(), &name, &by.to_string()],
        |_| Ok(()),
    )?;
    Ok(taken.is_some())
}

/// Makes one.
pub(super) fn create(connection: &Connection, new: &SubcloudRecord, most: u32) -> Result<SubcloudMade, StoreError> {
    if is_taken(connection, new.environment, &new.name, new.id)? {
        return Ok(SubcloudMade::NameTaken);
    }
    let made = execute(
        connection,
        "INSERT INTO subclouds (id, environment, account, name, description, models, join_policy, token_hash, access,
                                namespaces, isolated, created_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
         WHERE (SELECT count(*) FROM subclouds WHERE account = ?3 AND environment = ?2) < ?13",
        &[
            &new.id.to_string(),
            &new.environment.as_str(),
            &new.account.to_string(),
            &new.name,
            &new.description,
            &json(&new.models)?,
            &new.join.as_str(),
            &new.token_hash.as_ref().map(B256::as_slice),
            &new.access.as_str(),
            &json(&new.namespaces)?,
            &new.isolated,
            &new.created.as_millis(),
            &most,
        ],
    )?;
    Ok(if made > 0 {
        SubcloudMade::Made
    } else {
        SubcloudMade::TooMany
    })
}

/// One, whoever owns it.
pub(super) fn find(connection: &Connection, wanted: &SubcloudRef) -> Result<Option<SubcloudRecord>, StoreError> {
    match wanted {
        SubcloudRef::Id(id) => first(
            connection,
            &format!("SELECT {SUBCLOUD} FROM subclouds s WHERE s.id = ?1"),
            &[&id.to_string()],
            read,
        ),
        SubcloudRef::Name(environment, name) => first(
            connection,
            &format!("SELECT {SUBCLOUD} FROM subclouds s WHERE s.environment = ?1 AND s.name = ?2"),
            &[&environment.as_str(), name],
            read,
        ),
    }
}

fn own(connection: &Connection, account: AccountId, id: SubcloudId) -> Result<Option<SubcloudRecord>, StoreError> {
    let found = find(connection, &SubcloudRef::Id(id))?;
    Ok(found.filter(|record| record.account == account))
}

/// Those of an account.
pub(super) fn list(
    connection: &Connection,
    account: AccountId,
    environment: Environment,
    page: &PageOf<SubcloudId>,
) -> Result<Vec<SubcloudRecord>, StoreError> {
    let (condition, order) = behind("s.id", "?3", page.after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT {SUBCLOUD} FROM subclouds s WHERE s.account = ?1 AND s.environment = ?2 AND {condition}
             ORDER BY s.id {order} LIMIT ?4"
        ),
        &[
            &account.to_string(),
            &environment.as_str(),
            &page.after.map(|id| id.to_string()),
            &page.limit,
        ],
        read,
    )
}

/// Changes one.
pub(super) fn update(
    connection: &Connection,
    account: AccountId,
    id: SubcloudId,
    change: SubcloudChange,
) -> Result<SubcloudChanged, StoreError> {
    let Some(before) = own(connection, account, id)? else {
        return Ok(SubcloudChanged::Unknown);
    };
    let mut after = SubcloudRecord {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        description: change.description.unwrap_or(before.description),
        models: change.models.unwrap_or(before.models),
        join: change.join.unwrap_or(before.join),
        access: change.access.unwrap_or(before.access),
        namespaces: change.namespaces.unwrap_or(before.namespaces),
        isolated: change.isolated.unwrap_or(before.isolated),
        ..before
    };
    if after.join == JoinPolicy::Open {
        after.token_hash = None;
    }
    if after.name != before.name && is_taken(connection, after.environment, &after.name, id)? {
        return Ok(SubcloudChanged::NameTaken);
    }
    let concerns_nodes = after.isolated != before.isolated;
    if concerns_nodes && has_nodes_of_others(connection, account, id)? {
        return Ok(SubcloudChanged::HasNodesOfOthers);
    }
    execute(
        connection,
        "UPDATE subclouds SET name = ?2, description = ?3, models = ?4, join_policy = ?5, token_hash = ?6, access = ?7,
                              namespaces = ?8, isolated = ?9
         WHERE id = ?1",
        &[
            &id.to_string(),
            &after.name,
            &after.description,
            &json(&after.models)?,
            &after.join.as_str(),
            &after.token_hash.as_ref().map(B256::as_slice),
            &after.access.as_str(),
            &json(&after.namespaces)?,
            &after.isolated,
        ],
    )?;
    let concerned = if concerns_nodes {
        nodes_in(connection, id)?
    } else {
        Vec::new()
    };
    Ok(SubcloudChanged::Done(Box::new(after), concerned))
}

fn has_nodes_of_others(connection: &Connection, account: AccountId, id: SubcloudId) -> Result<bool, StoreError> {
    let found = first(
        connection,
        "SELECT 1 FROM subcloud_nodes m JOIN nodes n ON n.id = m.node AND n.environment = m.environment
         WHERE m.subcloud = ?1 AND n.account IS NOT ?2",
        &[&id.to_string(), &account.to_string()],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

fn nodes_in(connection: &Connection, id: SubcloudId) -> Result<Vec<NodeId>, StoreError> {
    all(
        connection,
        "SELECT node FROM subcloud_nodes WHERE subcloud = ?1",
        &[&id.to_string()],
        |row| parsed(row, 0),
    )
}

/// Gives a closed one another join token.
pub(super) fn set_token(
    connection: &Connection,
    account: AccountId,
    id: SubcloudId,
    hash: B256,
) -> Result<TokenSet, StoreError> {
    let Some(record) = own(connection, account, id)? else {
        return Ok(TokenSet::Unknown);
    };
    if record.join == JoinPolicy::Open {
        return Ok(TokenSet::Open);
    }
    execute(
        connection,
        "UPDATE subclouds SET token_hash = ?2 WHERE id = ?1",
        &[&id.to_string(), &hash.as_slice()],
    )?;
    let token_hash = Some(hash);
    Ok(TokenSet::Done(Box::new(SubcloudRecord { token_hash, ..record })))
}

/// Deletes one.
pub(super) fn delete(
    connection: &Connection,
    account: AccountId,
    id: SubcloudId,
) -> Result<Option<Vec<NodeId>>, StoreError> {
    if own(connection, account, id)?.is_none() {
        return Ok(None);
    }
    let nodes = nodes_in(connection, id)?;
    execute(
        connection,
        "DELETE FROM subcloud_nodes WHERE subcloud = ?1",
        &[&id.to_string()],
    )?;
    execute(connection, "DELETE FROM subclouds WHERE id = ?1", &[&id.to_string()])?;
    Ok(Some(nodes))
}

/// Puts a node into one.
pub(super) fn join(connection: &Connection, joining: &Joining) -> Result<SubcloudJoined, StoreError> {
    let Some(subcloud) = find(connection, &SubcloudRef::Id(joining.subcloud))? else {
        return Ok(SubcloudJoined::UnknownSubcloud);
    };
    let (id, node) = (joining.subcloud.to_string(), joining.node.to_string());
    let environment = subcloud.environment.as_str();
    let owned = first(
        connection,
        "SELECT 1 FROM nodes WHERE id = ?1 AND environment = ?2 AND account = ?3",
        &[&node, &environment, &joining.account.to_string()],
        |_| Ok(()),
    )?;
    if owned.is_none() {
        return Ok(SubcloudJoined::UnknownNode);
    }
    let is_in = first(
        connection,
        "SELECT 1 FROM subcloud_nodes WHERE subcloud = ?1 AND node = ?2",
        &[&id, &node],
        |_| Ok(()),
    )?;
    if is_in.is_some() {
        return Ok(SubcloudJoined::Joined);
    }
    let has_token = subcloud.token_hash.is_some() && subcloud.token_hash == joining.token_hash;
    if subcloud.join == JoinPolicy::Closed && subcloud.account != joining.account && !has_token {
        return Ok(SubcloudJoined::WrongToken);
    }
    let joined = execute(
        connection,
        "INSERT INTO subcloud_nodes (subcloud, node, environment, joined_at)
         SELECT ?1, ?2, ?3, ?4
         WHERE (SELECT count(*) FROM subcloud_nodes WHERE node = ?2 AND environment = ?3) < ?5",
        &[&id, &node, &environment, &joining.now.as_millis(), &joining.most],
    )?;
    Ok(if joined > 0 {
        SubcloudJoined::Joined
    } else {
        SubcloudJoined::TooMany
    })
}

/// Takes a node out of one.
pub(super) fn leave(
    connection: &Connection,
    subcloud: SubcloudId,
    node: NodeId,
    by: Leaver,
) -> Result<bool, StoreError> {
    let (sql, account) = match by {
        Leaver::OfNode(account) => (
            "DELETE FROM subcloud_nodes WHERE subcloud = ?1 AND node = ?2
             AND EXISTS (SELECT 1 FROM nodes n WHERE n.id = subcloud_nodes.node
                         AND n.environment = subcloud_nodes.environment AND n.account = ?3)",
            account,
        ),
        Leaver::OfSubcloud(account) => (
            "DELETE FROM subcloud_nodes WHERE subcloud = ?1 AND node = ?2
             AND EXISTS (SELECT 1 FROM subclouds s WHERE s.id = subcloud_nodes.subcloud AND s.account = ?3)",
            account,
        ),
    };
    let left = execute(
        connection,
        sql,
        &[&subcloud.to_string(), &node.to_string(), &account.to_string()],
    )?;
    Ok(left > 0)
}

/// Takes a node out of all of them.
pub(super) fn leave_all(connection: &Connection, node: NodeId, environment: Environment) -> Result<(), StoreError> {
    execute(
        connection,
        "DELETE FROM subcloud_nodes WHERE node = ?1 AND environment = ?2",
        &[&node.to_string(), &environment.as_str()],
    )?;
    Ok(())
}

/// What a node's link has to know.
pub(super) fn memberships(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
) -> Result<Vec<SubcloudMembership>, StoreError> {
    all(
        connection,
        "SELECT s.id, s.isolated FROM subcloud_nodes m JOIN subclouds s ON s.id = m.subcloud
         WHERE m.node = ?1 AND m.environment = ?2 ORDER BY s.id",
        &[&node.to_string(), &environment.as_str()],
        |row| {
            Ok(SubcloudMembership {
                subcloud: parsed(row, 0)?,
                isolated: row.get(1)?,
            })
        },
    )
}

/// The Subclouds that a node is in.
pub(super) fn of_node(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
) -> Result<Vec<SubcloudRecord>, StoreError> {
    all(
        connection,
        &format!(
            "SELECT {SUBCLOUD} FROM subcloud_nodes m JOIN subclouds s ON s.id = m.subcloud
             WHERE m.node = ?1 AND m.environment = ?2 ORDER BY s.id"
        ),
        &[&node.to_string(), &environment.as_str()],
        read,
    )
}

/// The nodes of one.
pub(super) fn nodes(
    connection: &Connection,
    subcloud: SubcloudId,
    page: &PageOf<NodeId>,
    now: Timestamp,
) -> Result<Vec<SubcloudNodeRecord>, StoreError> {
    let (condition, order) = behind("node", "?2", page.after.is_some(), page.ascending);
    let found = all(
        connection,
        &format!(
            "SELECT node, environment, joined_at FROM subcloud_nodes WHERE subcloud = ?1 AND {condition}
             ORDER BY node {order} LIMIT ?3"
        ),
        &[
            &subcloud.to_string(),
            &page.after.map(|node| node.to_string()),
            &page.limit,
        ],
        |row| {
            Ok((
                parsed::<NodeId>(row, 0)?,
                parsed(row, 1)?,
                Timestamp::from_millis(row.get(2)?),
            ))
        },
    )?;
    let mut nodes = Vec::with_capacity(found.len());
    for (node, environment, joined) in found {
        if let Some(record) = fleet::record(connection, node, environment, now)? {
            nodes.push(SubcloudNodeRecord { record, joined });
        }
    }
    Ok(nodes)
}

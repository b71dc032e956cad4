//! Nodes: what is known of them, what keeps them from work. Bindings and penalties have files of their own.

use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use resultity_core::ledger::LedgerAccount;
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::penalties;
use super::rows::{all, behind, credits, execute, first, json_if_any, parsed, parsed_if_any};
use super::{audit_log, subclouds};
use crate::store::fleet::{
    FlagRecord, FleetRecord, NewFlag, NodeChange, NodeFacts, NodeFilter, NodeStanding, OwnerNotice,
};
use crate::store::{AuditEntry, NewNotification, StoreError};

/// What [`record`] reads, in its order.
const NODE: &str =
    "n.id, n.environment, n.account, n.name, n.banned_at IS NOT NULL, n.paused_at, n.created_at, n.bound_at,
                    n.seen_at, n.facts, n.bound_by,
                    EXISTS (SELECT 1 FROM accounts a WHERE a.id = n.account AND a.suspended_at IS NOT NULL)";

/// Keeps what a node said of itself.
pub(super) fn saw(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    facts: &NodeFacts,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let facts = serde_json::to_string(facts).map_err(|error| StoreError::Invalid(error.to_string()))?;
    let seen = execute(
        connection,
        "UPDATE nodes SET facts = ?3, seen_at = ?4 WHERE id = ?1 AND environment = ?2",
        &[&node.to_string(), &environment.as_str(), &facts, &now.as_millis()],
    )?;
    Ok(seen > 0)
}

/// A node with all that is kept of it.
pub(super) fn record(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    now: Timestamp,
) -> Result<Option<FleetRecord>, StoreError> {
    let found = first(
        connection,
        &format!("SELECT {NODE} FROM nodes n WHERE n.id = ?1 AND n.environment = ?2"),
        &[&node.to_string(), &environment.as_str()],
        read,
    )?;
    found.map(|record| completed(connection, record, now)).transpose()
}

/// Nodes by their ids.
pub(super) fn records(connection: &Connection, filter: &NodeFilter) -> Result<Vec<FleetRecord>, StoreError> {
    let page = &filter.page;
    let (condition, order) = behind("n.id", "?2", page.after.is_some(), page.ascending);
    // Each its own text, so that each has its index.
    let whose = match (filter.account, filter.unbound) {
        (Some(_), _) => "n.account = ?3",
        (None, true) => "?3 IS NULL AND n.account IS NULL",
        (None, false) => "?3 IS NULL",
    };
    let flagged = match filter.flag {
        Some(_) => {
            "EXISTS (SELECT 1 FROM node_flags f WHERE f.node = n.id AND f.environment = n.environment
                     AND f.flag = ?4 AND (f.until IS NULL OR f.until > ?5))"
        }
        None => "?4 IS NULL AND ?5 IS NOT NULL",
    };
    let found = all(
        connection,
        &format!(
            "SELECT {NODE} FROM nodes n WHERE n.environment = ?1 AND {condition} AND {whose} AND {flagged}
             ORDER BY n.id {order} LIMIT ?6"
        ),
        &[
            &filter.environment.as_str(),
            &page.after.map(|node| node.to_string()),
            &filter.account.map(|account| account.to_string()),
            &filter.flag.map(NodeFlag::as_str),
            &filter.now.as_millis(),
            &page.limit,
        ],
        read,
    )?;
    let records = found.into_iter();
    records
        .map(|record| completed(connection, record, filter.now))
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<FleetRecord> {
    let time = |column| -> rusqlite::Result<_> { Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis)) };
    Ok(FleetRecord {
        standing: NodeStanding {
            node: parsed(row, 0)?,
            environment: parsed(row, 1)?,
            account: parsed_if_any(row, 2)?,
            name: row.get(3)?,
            banned: row.get(4)?,
            paused: time(5)?,
            suspended: row.get(11)?,
            flags: Vec::new(),
            penalties: Vec::new(),
            subclouds: Vec::new(),
        },
        created: Timestamp::from_millis(row.get(6)?),
        bound: time(7)?,
        bound_by: parsed_if_any(row, 10)?,
        seen: time(8)?,
        facts: json_if_any(row, 9)?,
    })
}

/// With its flags, penalties and Subclouds.
fn completed(connection: &Connection, mut record: FleetRecord, now: Timestamp) -> Result<FleetRecord, StoreError> {
    let (node, environment) = (record.standing.node, record.standing.environment);
    record.standing.flags = all(
        connection,
        "SELECT flag, reason, until, created_at FROM node_flags WHERE node = ?1 AND environment = ?2 ORDER BY flag",
        &[&node.to_string(), &environment.as_str()],
        |row| {
            Ok(FlagRecord {
                flag: parsed(row, 0)?,
                reason: row.get(1)?,
                until: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
                created: Timestamp::from_millis(row.get(3)?),
            })
        },
    )?;
    record.standing.penalties = penalties::in_force(connection, node, environment, now)?;
    record.standing.subclouds = subclouds::memberships(connection, node, environment)?;
    Ok(record)
}

/// Changes a node of this account.
pub(super) fn update(
    connection: &Connection,
    account: AccountId,
    node: NodeId,
    environment: Environment,
    change: &NodeChange,
    now: Timestamp,
) -> Result<Option<FleetRecord>, StoreError> {
    // Paused again, it stays paused since when it was.
    let changed = execute(
        connection,
        "UPDATE nodes SET name = coalesce(?4, name),
                          paused_at = CASE ?5 WHEN 1 THEN coalesce(paused_at, ?6) WHEN 0 THEN NULL ELSE paused_at END
         WHERE id = ?1 AND environment = ?2 AND account = ?3",
        &[
            &node.to_string(),
            &environment.as_str(),
            &account.to_string(),
            &change.name,
            &change.paused,
            &now.as_millis(),
        ],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    record(connection, node, environment, now)
}

/// Puts a flag on a node.
pub(super) fn flag(connection: &Connection, mut new: NewFlag) -> Result<Option<FleetRecord>, StoreError> {
    let Some(before) = record(connection, new.node, new.environment, new.audit.now)? else {
        return Ok(None);
    };
    execute(
        connection,
        "INSERT INTO node_flags (node, environment, flag, reason, until, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (node, environment, flag)
         DO UPDATE SET reason = excluded.reason, until = excluded.until, created_at = excluded.created_at",
        &[
            &new.node.to_string(),
            &new.environment.as_str(),
            &new.flag.as_str(),
            &new.reason,
            &new.until.map(Timestamp::as_millis),
            &new.audit.now.as_millis(),
        ],
    )?;
    new.audit.before = Some(flag_as_json(before.standing.flag(new.flag, new.audit.now)));
    audit_log::append(connection, &new.audit)?;
    tell_owner(connection, &before.standing, new.notice.as_ref(), new.audit.now)?;
    record(connection, new.node, new.environment, new.audit.now)
}

/// Takes a flag off a node.
pub(super) fn unflag(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    flag: NodeFlag,
    mut audit: AuditEntry,
    notice: Option<&OwnerNotice>,
) -> Result<Option<FleetRecord>, StoreError> {
    let Some(before) = record(connection, node, environment, audit.now)? else {
        return Ok(None);
    };
    let was = before.standing.flag(flag, audit.now);
    execute(
        connection,
        "DELETE FROM node_flags WHERE node = ?1 AND environment = ?2 AND flag = ?3",
        &[&node.to_string(), &environment.as_str(), &flag.as_str()],
    )?;
    if was.is_none() {
        return Ok(None);
    }
    audit.before = Some(flag_as_json(was));
    audit_log::append(connection, &audit)?;
    tell_owner(connection, &before.standing, notice, audit.now)?;
    record(connection, node, environment, audit.now)
}

/// As the audit log shows it.
fn flag_as_json(flag: Option<&FlagRecord>) -> Value {
    flag.map_or(Value::Null, |flag| {
        json!({
            "flag": flag.flag,
            "reason": flag.reason,
            "until": flag.until.map(Timestamp::as_seconds),
        })
    })
}

/// Leaves the owner of a node a notification, if it has one.
pub(super) fn tell_owner(
    connection: &Connection,
    standing: &NodeStanding,
    notice: Option<&OwnerNotice>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (Some(account), Some(notice)) = (standing.account, notice) else {
        return Ok(());
    };
    let notification = NewNotification {
        id: notice.id,
        account,
        environment: Some(standing.environment),
        kind: notice.kind.clone(),
        subject: standing.node.to_string(),
        message: notice.message.clone(),
        now,
    };
    audit_log::notify(connection, &notification)
}

/// What a node has earned and was not paid out.
pub(super) fn balance(connection: &Connection, node: NodeId, environment: Environment) -> Result<Credits, StoreError> {
    let balance = first(
        connection,
        "SELECT balance FROM balances WHERE account = ?1",
        &[&LedgerAccount::Node(environment, node).to_string()],
        |row| credits(row, 0),
    )?;
    Ok(balance.unwrap_or_default())
}

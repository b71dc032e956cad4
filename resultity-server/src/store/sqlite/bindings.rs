//! Who owns a node: bound by a code that the node signs, or by a wallet of the account; given up.

use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use rusqlite::Connection;
use serde_json::json;

use super::fleet::{balance, record, tell_owner};
use super::rows::{execute, first, parsed, parsed_if_any};
use super::{audit_log, nodes, subclouds};
use crate::store::fleet::{BoundBy, Joined, NewBinding, NodeOffer, OwnerNotice, Unbound};
use crate::store::{Actor, AuditEntry, StoreError};

/// Keeps an offer, unless the account has `most` that have not expired.
pub(super) fn offer(connection: &Connection, offer: &NodeOffer, most: u32) -> Result<bool, StoreError> {
    let now = offer.now.as_millis();
    execute(connection, "DELETE FROM node_offers WHERE expires_at <= ?1", &[&now])?;
    let kept = execute(
        connection,
        "INSERT INTO node_offers (hash, account, environment, node, name, expires_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6
         WHERE (SELECT count(*) FROM node_offers WHERE account = ?2) < ?7
         ON CONFLICT (hash) DO NOTHING",
        &[
            &offer.hash.as_slice(),
            &offer.account.to_string(),
            &offer.environment.as_str(),
            &offer.node.map(|node| node.to_string()),
            &offer.name,
            &offer.expires.as_millis(),
            &most,
        ],
    )?;
    Ok(kept > 0)
}

/// An offer that has not expired.
struct Offer {
    hash: B256,
    account: AccountId,
    node: Option<NodeId>,
    environment: Environment,
    name: String,
}

fn open_offer(connection: &Connection, hash: B256, now: Timestamp) -> Result<Option<Offer>, StoreError> {
    first(
        connection,
        "SELECT account, node, environment, name FROM node_offers WHERE hash = ?1 AND expires_at > ?2",
        &[&hash.as_slice(), &now.as_millis()],
        |row| {
            Ok(Offer {
                hash,
                account: parsed(row, 0)?,
                node: parsed_if_any(row, 1)?,
                environment: parsed(row, 2)?,
                name: row.get(3)?,
            })
        },
    )
}

/// Binds a node that knows a code.
pub(super) fn join(
    connection: &Connection,
    hash: B256,
    node: NodeId,
    environment: Environment,
    new: NewBinding,
) -> Result<Joined, StoreError> {
    let now = new.audit.now;
    let offer = open_offer(connection, hash, now)?;
    let fitting = offer.filter(|offer| offer.node.is_none() && offer.environment == environment);
    let Some(offer) = fitting else {
        return Ok(Joined::UnknownOffer);
    };
    nodes::register(connection, node, environment, now)?;
    let joined = take(connection, &offer, node, BoundBy::Code, new)?;
    if joined == Joined::TooMany {
        // Else whoever has a code fills the table.
        nodes::forget_one(connection, node, environment)?;
    }
    Ok(joined)
}

/// Binds the node that a message names.
pub(super) fn claim(
    connection: &Connection,
    hash: B256,
    account: AccountId,
    environments: &[Environment],
    new: NewBinding,
) -> Result<(Joined, Option<(NodeId, Environment)>), StoreError> {
    let offer = open_offer(connection, hash, new.audit.now)?
        .filter(|offer| offer.account == account && environments.contains(&offer.environment));
    let Some((offer, node)) = offer.and_then(|offer| offer.node.map(|node| (offer, node))) else {
        return Ok((Joined::UnknownOffer, None));
    };
    let joined = take(connection, &offer, node, BoundBy::Wallet, new)?;
    if joined == Joined::TooMany {
        nodes::forget_one(connection, node, offer.environment)?;
    }
    Ok((joined, Some((node, offer.environment))))
}

fn take(
    connection: &Connection,
    offer: &Offer,
    node: NodeId,
    by: BoundBy,
    new: NewBinding,
) -> Result<Joined, StoreError> {
    let now = new.audit.now;
    let Some(there) = record(connection, node, offer.environment, now)? else {
        return Ok(Joined::UnknownOffer);
    };
    let (before, was_bound_by) = (there.standing, there.bound_by);
    let is_own = before.account == Some(offer.account);
    // A wallet says nothing of the node: whoever has the node's key outdoes it. Once the node has consented, nobody does.
    let is_outdone = by == BoundBy::Code && was_bound_by == Some(BoundBy::Wallet);
    if before.account.is_some() && !is_own && !is_outdone {
        return Ok(Joined::Taken);
    }
    if before.banned {
        return Ok(Joined::Banned);
    }
    let (account, environment) = (offer.account.to_string(), offer.environment.as_str());
    if !is_own {
        let bound = first(
            connection,
            "SELECT count(*) FROM nodes WHERE account = ?1 AND environment = ?2",
            &[&account, &environment],
            |row| row.get::<_, u32>(0),
        )?;
        if bound.unwrap_or_default() >= new.most {
            return Ok(Joined::TooMany);
        }
    }
    execute(
        connection,
        "DELETE FROM node_offers WHERE hash = ?1",
        &[&offer.hash.as_slice()],
    )?;
    let is_moved = before.account.is_some() && !is_own;
    let was_trusted = !is_own && distrust(connection, node, offer.environment)?;
    if is_moved {
        subclouds::leave_all(connection, node, offer.environment)?;
    }
    let name = match offer.name.as_str() {
        "" if is_moved => String::new(),
        "" => before.name.clone(),
        name => name.to_owned(),
    };
    // What the node earned stays in its own ledger account, from where its owner of the time is paid.
    execute(
        connection,
        "UPDATE nodes SET account = ?3, name = ?5,
                          bound_at = CASE WHEN account = ?3 THEN coalesce(bound_at, ?4) ELSE ?4 END,
                          bound_by = CASE WHEN account = ?3 AND ?6 = 'wallet' THEN bound_by ELSE ?6 END,
                          paused_at = CASE WHEN account = ?3 THEN paused_at END
         WHERE id = ?1 AND environment = ?2",
        &[
            &node.to_string(),
            &environment,
            &account,
            &now.as_millis(),
            &name,
            &by.as_str(),
        ],
    )?;
    let is_confirmed = is_own && is_outdone;
    if !is_own || is_confirmed {
        let was = before
            .account
            .map(|account| json!({ "account": account, "name": before.name, "by": was_bound_by.map(BoundBy::as_str) }));
        let was = if was_trusted {
            Some(with_trust(was.unwrap_or_else(|| json!({}))))
        } else {
            was
        };
        let line = AuditEntry {
            actor: Actor::Account(offer.account),
            subject: format!("node:{node}"),
            environment: Some(offer.environment),
            before: was,
            after: Some(json!({ "account": offer.account, "name": name, "by": by.as_str() })),
            ..new.audit
        };
        audit_log::append(connection, &line)?;
    }
    if !is_own {
        tell_owner(connection, &before, Some(&new.farewell), now)?;
        if let Some(there) = record(connection, node, offer.environment, now)? {
            tell_owner(connection, &there.standing, Some(&new.notice), now)?;
        }
    }
    Ok(Joined::Bound {
        account: offer.account,
        name,
    })
}

/// Whom the network trusts is its owner: whoever has it next has to be trusted anew. Whether it was trusted.
pub(super) fn distrust(connection: &Connection, node: NodeId, environment: Environment) -> Result<bool, StoreError> {
    let taken = execute(
        connection,
        "DELETE FROM node_flags WHERE node = ?1 AND environment = ?2 AND flag = ?3",
        &[&node.to_string(), &environment.as_str(), &NodeFlag::Trusted.as_str()],
    )?;
    Ok(taken > 0)
}

/// As the audit log tells it.
fn with_trust(mut was: serde_json::Value) -> serde_json::Value {
    was["trusted"] = true.into();
    was
}

/// Gives a node up.
pub(super) fn unbind(
    connection: &Connection,
    account: AccountId,
    node: NodeId,
    environment: Environment,
    mut audit: AuditEntry,
    notice: &OwnerNotice,
) -> Result<Unbound, StoreError> {
    let there = record(connection, node, environment, audit.now)?;
    let owned = there.filter(|record| record.standing.account == Some(account));
    let Some(record) = owned else {
        return Ok(Unbound::UnknownNode);
    };
    let left = balance(connection, node, environment)?;
    if left > Credits::ZERO {
        return Ok(Unbound::HasEarnings(left));
    }
    let works = first(
        connection,
        "SELECT 1 FROM jobs INDEXED BY jobs_open WHERE finished_at IS NULL AND node = ?1 AND environment = ?2
           AND (state = 'leased' OR state = 'running') LIMIT 1",
        &[&node.to_string(), &environment.as_str()],
        |_| Ok(()),
    )?;
    if works.is_some() {
        return Ok(Unbound::Busy);
    }
    execute(
        connection,
        "UPDATE nodes SET account = NULL, bound_at = NULL, bound_by = NULL, paused_at = NULL, name = ''
         WHERE id = ?1 AND environment = ?2",
        &[&node.to_string(), &environment.as_str()],
    )?;
    subclouds::leave_all(connection, node, environment)?;
    let was = json!({ "account": account, "name": record.standing.name });
    audit.before = if distrust(connection, node, environment)? {
        Some(with_trust(was))
    } else {
        Some(was)
    };
    audit_log::append(connection, &audit)?;
    tell_owner(connection, &record.standing, Some(notice), audit.now)?;
    Ok(Unbound::Done)
}

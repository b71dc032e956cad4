//! Penalties of nodes, and appeals against them.

use resultity_core::api::gate::AppealDecision;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId, PenaltyId};
use rusqlite::{Connection, Row};
use serde_json::json;

use super::rows::{all, behind, execute, first, parsed, parsed_if_any};
use super::{audit_log, fleet};
use crate::store::StoreError;
use crate::store::fleet::{AppealRecord, Appealed, Decided, Decision, NewPenalty, PenaltyRecord};
use crate::store::webhooks::PageOf;

/// What [`read`] reads, in its order.
const PENALTY: &str =
    "id, node, environment, account, reason, until, created_at, lifted_at, appeal, appealed_at, decision,
                       decision_reason, decided_at";

/// The penalties that keep a node from work.
pub(super) fn in_force(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    now: Timestamp,
) -> Result<Vec<PenaltyRecord>, StoreError> {
    all(
        connection,
        &format!(
            "SELECT {PENALTY} FROM penalties
             WHERE node = ?1 AND environment = ?2 AND lifted_at IS NULL AND (until IS NULL OR until > ?3)
             ORDER BY id"
        ),
        &[&node.to_string(), &environment.as_str(), &now.as_millis()],
        read,
    )
}

/// Gives a node a penalty.
pub(super) fn penalise(connection: &Connection, new: &NewPenalty) -> Result<Option<PenaltyRecord>, StoreError> {
    let Some(node) = fleet::record(connection, new.node, new.environment, new.audit.now)? else {
        return Ok(None);
    };
    execute(
        connection,
        "INSERT INTO penalties (id, node, environment, account, reason, until, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            &new.id.to_string(),
            &new.node.to_string(),
            &new.environment.as_str(),
            &node.standing.account.map(|account| account.to_string()),
            &new.reason,
            &new.until.map(Timestamp::as_millis),
            &new.audit.now.as_millis(),
        ],
    )?;
    audit_log::append(connection, &new.audit)?;
    fleet::tell_owner(connection, &node.standing, new.notice.as_ref(), new.audit.now)?;
    one(connection, new.id)
}

/// Penalties of a node.
pub(super) fn list(
    connection: &Connection,
    node: NodeId,
    environment: Environment,
    account: Option<AccountId>,
    page: &PageOf<PenaltyId>,
    now: Timestamp,
) -> Result<Vec<PenaltyRecord>, StoreError> {
    let (condition, order) = behind("id", "?3", page.after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT {PENALTY} FROM penalties
             WHERE node = ?1 AND environment = ?2 AND {condition}
               AND (?4 IS NULL OR account = ?4 OR (lifted_at IS NULL AND (until IS NULL OR until > ?5)))
             ORDER BY id {order} LIMIT ?6"
        ),
        &[
            &node.to_string(),
            &environment.as_str(),
            &page.after.map(|id| id.to_string()),
            &account.map(|account| account.to_string()),
            &now.as_millis(),
            &page.limit,
        ],
        read,
    )
}

/// Files an appeal.
pub(super) fn appeal(
    connection: &Connection,
    account: AccountId,
    (node, environment): (NodeId, Environment),
    penalty: PenaltyId,
    text: &str,
    now: Timestamp,
) -> Result<Appealed, StoreError> {
    let owner = fleet::record(connection, node, environment, now)?.and_then(|record| record.standing.account);
    let found = one(connection, penalty)?
        .filter(|found| owner == Some(account) && found.node == node && found.environment == environment);
    let Some(found) = found else {
        return Ok(Appealed::UnknownPenalty);
    };
    if found.appeal.is_some() {
        return Ok(Appealed::Already);
    }
    if !found.is_in_force(now) {
        return Ok(Appealed::Over);
    }
    execute(
        connection,
        "UPDATE penalties SET appeal = ?2, appealed_at = ?3 WHERE id = ?1 AND appeal IS NULL",
        &[&penalty.to_string(), &text, &now.as_millis()],
    )?;
    let filed = one(connection, penalty)?;
    Ok(filed.map_or(Appealed::UnknownPenalty, |record| Appealed::Filed(Box::new(record))))
}

/// Penalties with an appeal.
pub(super) fn appeals(
    connection: &Connection,
    environment: Environment,
    open: bool,
    page: &PageOf<PenaltyId>,
) -> Result<Vec<PenaltyRecord>, StoreError> {
    let (condition, order) = behind("id", "?2", page.after.is_some(), page.ascending);
    let undecided = if open { "decided_at IS NULL" } else { "TRUE" };
    all(
        connection,
        &format!(
            "SELECT {PENALTY} FROM penalties
             WHERE environment = ?1 AND appealed_at IS NOT NULL AND {condition} AND {undecided}
             ORDER BY id {order} LIMIT ?3"
        ),
        &[&environment.as_str(), &page.after.map(|id| id.to_string()), &page.limit],
        read,
    )
}

/// Decides an appeal.
pub(super) fn decide(
    connection: &Connection,
    environments: &[Environment],
    mut decision: Decision,
) -> Result<Decided, StoreError> {
    let found = one(connection, decision.penalty)?.filter(|found| environments.contains(&found.environment));
    let Some(found) = found else {
        return Ok(Decided::UnknownPenalty);
    };
    match &found.appeal {
        None => return Ok(Decided::NoAppeal),
        Some(appeal) if appeal.decision.is_some() => return Ok(Decided::Already),
        Some(_) => {}
    }
    let now = decision.audit.now;
    let lifted = (decision.decision == AppealDecision::Lift).then_some(now.as_millis());
    execute(
        connection,
        "UPDATE penalties SET decision = ?2, decision_reason = ?3, decided_at = ?4, lifted_at = coalesce(lifted_at, ?5)
         WHERE id = ?1 AND appeal IS NOT NULL AND decision IS NULL",
        &[
            &decision.penalty.to_string(),
            &name_of(decision.decision),
            &decision.reason,
            &now.as_millis(),
            &lifted,
        ],
    )?;
    decision.audit.subject = format!("node:{}", found.node);
    decision.audit.environment = Some(found.environment);
    decision.audit.before = Some(json!({
        "penalty": found.id,
        "reason": found.reason,
        "until": found.until.map(Timestamp::as_seconds),
        "in_force": found.is_in_force(now),
    }));
    audit_log::append(connection, &decision.audit)?;
    if let Some(node) = fleet::record(connection, found.node, found.environment, now)? {
        fleet::tell_owner(connection, &node.standing, Some(&decision.notice), now)?;
    }
    let decided = one(connection, decision.penalty)?;
    Ok(decided.map_or(Decided::UnknownPenalty, |record| Decided::Done(Box::new(record))))
}

fn one(connection: &Connection, id: PenaltyId) -> Result<Option<PenaltyRecord>, StoreError> {
    first(
        connection,
        &format!("SELECT {PENALTY} FROM penalties WHERE id = ?1"),
        &[&id.to_string()],
        read,
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<PenaltyRecord> {
    let time = |column| -> rusqlite::Result<_> { Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis)) };
    let decision = match (row.get::<_, Option<String>>(10)?, row.get(11)?, time(12)?) {
        (Some(name), Some(reason), Some(decided)) => Some((decision_named(&name), reason, decided)),
        _ => None,
    };
    let appeal = match (row.get(8)?, time(9)?) {
        (Some(text), Some(created)) => Some(AppealRecord {
            text,
            created,
            decision,
        }),
        _ => None,
    };
    Ok(PenaltyRecord {
        id: parsed(row, 0)?,
        node: parsed(row, 1)?,
        environment: parsed(row, 2)?,
        account: parsed_if_any(row, 3)?,
        reason: row.get(4)?,
        until: time(5)?,
        created: Timestamp::from_millis(row.get(6)?),
        lifted: time(7)?,
        appeal,
    })
}

/// The name in the database, which allows no other.
const fn name_of(decision: AppealDecision) -> &'static str {
    match decision {
        AppealDecision::Lift => "lift",
        AppealDecision::Uphold => "uphold",
    }
}

fn decision_named(name: &str) -> AppealDecision {
    if name == name_of(AppealDecision::Lift) {
        AppealDecision::Lift
    } else {
        AppealDecision::Uphold
    }
}

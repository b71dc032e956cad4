//! Checks of nodes, and reputations.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use resultity_core::ledger::{LedgerAccount, Posting, PostingKind};
use rusqlite::{Connection, Row};
use serde_json::json;

use super::ledger::About;
use super::movements::Posted;
use super::rows::{all, execute, first, json_if_any, parsed, parsed_if_any};
use super::{SqliteStore, fleet, movements, penalties};
use crate::store::fleet::{NewPenalty, OwnerNotice, PenaltyRecord};
use crate::store::trust::{CheckKind, CheckRecord, Checked, FundChecks, NewCheck, TrustStore};
use crate::store::{Actor, AuditEntry, StoreError};
use crate::trust::reputation::{cooldown, told};
use crate::trust::{Aspect, MilliNats, Reputation, Verdict};

/// Writes a check down.
fn record(connection: &Connection, check: &NewCheck) -> Result<Checked, StoreError> {
    let (node, environment) = (check.node.to_string(), check.environment.as_str());
    if fleet::record(connection, check.node, check.environment, check.now)?.is_none() {
        return Ok(Checked::UnknownNode);
    }
    let mut reputation = first(
        connection,
        "SELECT state FROM reputations WHERE node = ?1 AND environment = ?2 AND model = ?3",
        &[&node, &environment, &check.model],
        |row| json_if_any::<Reputation>(row, 0),
    )?
    .flatten()
    .unwrap_or_default();
    let known = first(
        connection,
        "SELECT 1 FROM checks WHERE job = ?1 AND node = ?2 AND kind = ?3",
        &[&check.job.to_string(), &node, &check.kind.as_str()],
        |_| Ok(()),
    )?;
    if known.is_some() {
        return Ok(Checked::Nothing(reputation));
    }
    // Where nobody is trusted, nobody is believed so much that it comes to an exclusion: whoever the others are, and however many.
    let verdict = match check.kind {
        CheckKind::Agreement => reputation.compared(&check.rules, &check.evidence, check.ended),
        _ => reputation.observe(&check.rules, &check.evidence, check.ended, check.now),
    };
    let penalty = match &verdict {
        Verdict::TooOld => return Ok(Checked::Nothing(reputation)),
        Verdict::Stays => None,
        Verdict::Excluded(reasons) => exclude(connection, check, reasons)?,
    };
    execute(
        connection,
        "INSERT INTO checks (node, environment, model, job, kind, weight, findings, ended_at, created_at, penalty)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &[
            &node,
            &environment,
            &check.model,
            &check.job.to_string(),
            &check.kind.as_str(),
            &check.evidence.weight().get(),
            &json!(check.evidence).to_string(),
            &check.ended.as_millis(),
            &check.now.as_millis(),
            &penalty.as_ref().map(|penalty| penalty.id.to_string()),
        ],
    )?;
    execute(
        connection,
        "INSERT INTO reputations (node, environment, model, state, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (node, environment, model) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
        &[
            &node,
            &environment,
            &check.model,
            &json!(reputation).to_string(),
            &check.now.as_millis(),
        ],
    )?;
    Ok(Checked::Done(reputation, penalty.map(Box::new)))
}

/// Excludes a node, longer each time: those of the other nodes of its account count too, so that a new key is no new beginning.
/// Exclusions that were lifted don't count.
fn exclude(
    connection: &Connection,
    check: &NewCheck,
    reasons: &[(Aspect, u32)],
) -> Result<Option<PenaltyRecord>, StoreError> {
    let before = first(
        connection,
        "SELECT count(*) FROM penalties p
         WHERE p.id IN (SELECT id FROM penalties WHERE node = ?1 AND environment = ?2
                        UNION
                        SELECT id FROM penalties WHERE environment = ?2 AND account =
                            (SELECT account FROM nodes WHERE id = ?1 AND environment = ?2))
           AND p.lifted_at IS NULL
           AND EXISTS (SELECT 1 FROM checks c WHERE c.node = p.node AND c.environment = p.environment AND c.penalty = p.id)",
        &[&check.node.to_string(), &check.environment.as_str()],
        |row| row.get::<_, u32>(0),
    )?;
    let until = cooldown(before.unwrap_or_default()).map(|cooldown| check.now.after(cooldown));
    let reason = format!("checks of its answers with {} found: {}", check.model, told(reasons));
    let ends = until.map_or_else(
        || ", until somebody decides otherwise".to_owned(),
        |until| format!(" until {until}"),
    );
    let message = format!(
        "Your node {} is excluded from work{ends}: {reason}. You can appeal against it.",
        check.node
    );
    penalties::penalise(
        connection,
        &NewPenalty {
            id: check.penalty,
            node: check.node,
            environment: check.environment,
            reason: reason.clone(),
            until,
            audit: AuditEntry {
                id: check.audit,
                actor: Actor::Network,
                action: "node.penalise".to_owned(),
                subject: format!("node:{}", check.node),
                environment: Some(check.environment),
                before: None,
                after: Some(json!({ "penalty": check.penalty, "until": until.map(Timestamp::as_seconds) })),
                reason,
                now: check.now,
            },
            notice: Some(OwnerNotice {
                id: check.notice,
                kind: "node.penalty".to_owned(),
                message,
            }),
        },
    )
}

/// Fills up what checks are paid from.
fn fund(connection: &Connection, fund: &FundChecks) -> Result<Credits, StoreError> {
    let to = LedgerAccount::Namespace(fund.namespace);
    let available = movements::balance(connection, to)?;
    if available >= fund.at_least {
        return Ok(available);
    }
    let missing = fund.up_to.checked_sub(available).unwrap_or_default();
    let fees = LedgerAccount::Fees(fund.environment);
    let from_fees = movements::balance(connection, fees)?.min(missing);
    let from_nothing = match fund.environment {
        Environment::Testnet => missing.checked_sub(from_fees).unwrap_or_default(),
        Environment::Mainnet => Credits::ZERO,
    };
    let issuance = LedgerAccount::Issuance(fund.environment);
    for (from, amount, name) in [(fees, from_fees, "fees"), (issuance, from_nothing, "issuance")] {
        if amount <= Credits::ZERO {
            continue;
        }
        // The last transaction's number makes it one of its own, and the same for whoever reads the ledger.
        let last = first(
            connection,
            "SELECT coalesce(max(id), 0) FROM ledger_transactions",
            &[],
            |row| row.get::<_, i64>(0),
        )?;
        let about = About {
            reference: &format!("checks:{name}:{}", last.unwrap_or_default()),
            environment: fund.environment,
            job: None,
            reason: "for checks of nodes",
            now: fund.now,
        };
        let posting = Posting::between(PostingKind::Grant, from, to, amount)?;
        match movements::post(connection, &posting, &about)? {
            Posted::Now => {}
            // Somebody else has moved the same, or what was there: what the namespace has now is the answer.
            Posted::Before { .. } | Posted::Insufficient { .. } => break,
        }
    }
    movements::balance(connection, to)
}

fn read(row: &Row<'_>) -> rusqlite::Result<CheckRecord> {
    Ok(CheckRecord {
        seq: row.get(0)?,
        model: row.get(1)?,
        job: parsed(row, 2)?,
        kind: row.get(3)?,
        weight: MilliNats::new(row.get(4)?),
        evidence: json_if_any(row, 5)?.unwrap_or_default(),
        created: Timestamp::from_millis(row.get(6)?),
        penalty: parsed_if_any(row, 7)?,
    })
}

#[async_trait]
impl TrustStore for SqliteStore {
    async fn record_check(&self, check: NewCheck) -> Result<Checked, StoreError> {
        self.writer.call(move |connection| record(connection, &check)).await
    }

    async fn reputations(&self, environment: Environment) -> Result<Vec<(NodeId, String, Reputation)>, StoreError> {
        let read = |row: &Row<'_>| Ok((parsed(row, 0)?, row.get(1)?, json_if_any(row, 2)?.unwrap_or_default()));
        self.readers
            .call_long(move |connection| {
                let sql = "SELECT node, model, state FROM reputations WHERE environment = ?1";
                all(connection, sql, &[&environment.as_str()], read)
            })
            .await
    }

    async fn reputations_of(
        &self,
        node: NodeId,
        environment: Environment,
    ) -> Result<Vec<(String, Reputation)>, StoreError> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, json_if_any(row, 1)?.unwrap_or_default()));
        self.readers
            .call(move |connection| {
                let sql = "SELECT model, state FROM reputations WHERE node = ?1 AND environment = ?2 ORDER BY model";
                all(connection, sql, &[&node.to_string(), &environment.as_str()], read)
            })
            .await
    }

    async fn fund_checks(&self, wanted: FundChecks) -> Result<Credits, StoreError> {
        self.writer.call(move |connection| fund(connection, &wanted)).await
    }

    async fn node_checks(
        &self,
        node: NodeId,
        environment: Environment,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<CheckRecord>, StoreError> {
        self.readers
            .call_long(move |connection| {
                all(
                    connection,
                    "SELECT seq, model, job, kind, weight, findings, created_at, penalty FROM checks
                     WHERE node = ?1 AND environment = ?2 AND (?3 IS NULL OR seq < ?3) ORDER BY seq DESC LIMIT ?4",
                    &[&node.to_string(), &environment.as_str(), &before, &limit],
                    read,
                )
            })
            .await
    }
}

//! Snapshots and the chain of the network's keys.

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::signing::KeyRotation;
use rusqlite::{Connection, Row};

use super::audit_log;
use super::rows::{all, behind, count, counted, execute, first, parsed};
use crate::store::StoreError;
use crate::store::publication::{Kept, Mark, NewRotation, NewSnapshot, SnapshotRecord};
use crate::store::webhooks::PageOf;

const SNAPSHOT: &str = "version, signed, actor, reason, created_at";

fn snapshot_record(row: &Row<'_>) -> rusqlite::Result<SnapshotRecord> {
    Ok(SnapshotRecord {
        version: counted(row, 0)?,
        signed: row.get(1)?,
        actor: parsed(row, 2)?,
        reason: row.get(3)?,
        published_at: Timestamp::from_millis(row.get(4)?),
    })
}

/// How far the publications are.
pub(super) fn mark(connection: &Connection, environment: Environment) -> Result<Mark, StoreError> {
    let found = first(
        connection,
        "SELECT coalesce((SELECT max(version) FROM snapshots WHERE environment = ?1), 0),
                coalesce((SELECT max(sequence) FROM key_rotations WHERE environment = ?1), 0)",
        &[&environment.as_str()],
        |row| {
            Ok(Mark {
                version: counted(row, 0)?,
                key_sequence: counted(row, 1)?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// Keeps a snapshot if it is the next one and signed by the key in force.
pub(super) fn publish(connection: &Connection, snapshot: &NewSnapshot) -> Result<Kept, StoreError> {
    let mark = mark(connection, snapshot.environment)?;
    if mark.key_sequence != snapshot.key_sequence {
        return Ok(Kept::OtherKey);
    }
    if mark.version + 1 != snapshot.version {
        return Ok(Kept::Stale { newest: mark.version });
    }
    insert(connection, snapshot)?;
    Ok(Kept::Kept)
}

fn insert(connection: &Connection, snapshot: &NewSnapshot) -> Result<(), StoreError> {
    let audit = &snapshot.audit;
    execute(
        connection,
        "INSERT INTO snapshots (environment, version, signed, created_at, actor, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            &snapshot.environment.as_str(),
            &count(snapshot.version),
            &snapshot.signed,
            &audit.now.as_millis(),
            &audit.actor.to_string(),
            &audit.reason,
        ],
    )?;
    if let Some(digest) = snapshot.offer_digest {
        keep_offer_digest(connection, snapshot.environment, digest)?;
    }
    audit_log::append(connection, audit)
}

/// The newest snapshot.
pub(super) fn latest(connection: &Connection, environment: Environment) -> Result<Option<SnapshotRecord>, StoreError> {
    first(
        connection,
        &format!("SELECT {SNAPSHOT} FROM snapshots WHERE environment = ?1 ORDER BY version DESC LIMIT 1"),
        &[&environment.as_str()],
        snapshot_record,
    )
}

/// A snapshot.
pub(super) fn read(
    connection: &Connection,
    environment: Environment,
    version: u64,
) -> Result<Option<SnapshotRecord>, StoreError> {
    first(
        connection,
        &format!("SELECT {SNAPSHOT} FROM snapshots WHERE environment = ?1 AND version = ?2"),
        &[&environment.as_str(), &count(version)],
        snapshot_record,
    )
}

/// All snapshots, by number.
pub(super) fn list(
    connection: &Connection,
    environment: Environment,
    page: &PageOf<u64>,
) -> Result<Vec<SnapshotRecord>, StoreError> {
    let (condition, order) = behind("version", "?2", page.after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT {SNAPSHOT} FROM snapshots WHERE environment = ?1 AND {condition} ORDER BY version {order} LIMIT ?3"
        ),
        &[&environment.as_str(), &page.after.map(count), &page.limit],
        snapshot_record,
    )
}

/// The offer of the configuration file at the last start.
pub(super) fn offer_digest(connection: &Connection, environment: Environment) -> Result<Option<B256>, StoreError> {
    let found: Option<Vec<u8>> = first(
        connection,
        "SELECT digest FROM config_offers WHERE environment = ?1",
        &[&environment.as_str()],
        |row| row.get(0),
    )?;
    found
        .map(|bytes| B256::try_from(bytes.as_slice()))
        .transpose()
        .map_err(|_| StoreError::Corrupt("the digest of an offer has another length".to_owned()))
}

/// Remembers the offer of the configuration file.
pub(super) fn keep_offer_digest(
    connection: &Connection,
    environment: Environment,
    digest: B256,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO config_offers (environment, digest) VALUES (?1, ?2)
         ON CONFLICT (environment) DO UPDATE SET digest = excluded.digest",
        &[&environment.as_str(), &digest.as_slice()],
    )?;
    Ok(())
}

/// How the network's key has changed.
pub(super) fn rotations(connection: &Connection, environment: Environment) -> Result<Vec<KeyRotation>, StoreError> {
    let signed: Vec<String> = all(
        connection,
        "SELECT signed FROM key_rotations WHERE environment = ?1 ORDER BY sequence",
        &[&environment.as_str()],
        |row| row.get(0),
    )?;
    let read = |text: String| {
        serde_json::from_str(&text)
            .map_err(|error| StoreError::Corrupt(format!("a change of the network's key can't be read: {error}")))
    };
    signed.into_iter().map(read).collect()
}

/// Changes the key and publishes what belongs to it. Looks at everything before it writes anything.
pub(super) fn rotate(connection: &Connection, rotation: &NewRotation) -> Result<Kept, StoreError> {
    for (environment, link) in &rotation.rotations {
        if mark(connection, *environment)?.key_sequence + 1 != link.sequence {
            return Ok(Kept::OtherKey);
        }
    }
    let mut newest = std::collections::HashMap::new();
    for snapshot in &rotation.snapshots {
        let version = match newest.get(&snapshot.environment) {
            Some(version) => *version,
            None => mark(connection, snapshot.environment)?.version,
        };
        if version + 1 != snapshot.version {
            return Ok(Kept::Stale { newest: version });
        }
        newest.insert(snapshot.environment, snapshot.version);
    }
    for (environment, link) in &rotation.rotations {
        let signed = serde_json::to_string(link).map_err(|error| StoreError::Invalid(error.to_string()))?;
        execute(
            connection,
            "INSERT INTO key_rotations (environment, sequence, signed) VALUES (?1, ?2, ?3)",
            &[&environment.as_str(), &count(link.sequence), &signed],
        )?;
    }
    for snapshot in &rotation.snapshots {
        insert(connection, snapshot)?;
    }
    audit_log::append(connection, &rotation.audit)?;
    Ok(Kept::Kept)
}

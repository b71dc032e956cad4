//! Deliveries of webhooks: what is to be sent when, and what came of it.

use resultity_core::api::webhooks::DeliveryState;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{DeliveryId, EventId, NamespaceId, WebhookId};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::enqueued;
use super::rows::{all, execute, first, parsed};
use super::webhooks::{WEBHOOK, WEBHOOK_COLUMNS, cursor, read, time, webhook_record};
use crate::store::StoreError;
use crate::store::webhooks::{
    AttemptEnd, AttemptOutcome, DeliveryRecord, DueDelivery, MAX_PENDING, NewEvent, PageOf, Replayed,
};

/// The columns that [`delivery_record`] reads.
const DELIVERY: &str = "d.id, d.webhook, d.event, d.kind, d.data_id, d.created_at, d.state, d.attempts, d.step,
                        d.next_attempt_at, d.last_attempt_at, d.last_status, d.last_error";

/// Why a delivery is not sent.
const TOO_MANY: &str = "too many events wait for this webhook";
const DISABLED: &str = "the webhook was disabled";

/// A delivery, unless there is one for this already.
pub(super) fn insert(
    connection: &Connection,
    webhook: WebhookId,
    pending: u32,
    event: &NewEvent,
) -> Result<Option<DeliveryId>, StoreError> {
    let NewEvent {
        namespace,
        kind,
        data_id,
        now,
        ..
    } = event;
    // An operation may be done more than once before it counts, so that ids come from what they name, not from chance.
    let event = EventId::from_uuid(uuid_of(*now, &format!("{namespace} {kind} {data_id}")));
    let delivery = DeliveryId::from_uuid(uuid_of(*now, &format!("{webhook} {kind} {data_id}")));
    let waits = pending < MAX_PENDING;
    let (state, due, error) = if waits {
        (DeliveryState::Pending, Some(now.as_millis()), None)
    } else {
        (DeliveryState::Failed, None, Some(TOO_MANY))
    };
    let webhook = webhook.to_string();
    let made = execute(
        connection,
        "INSERT INTO webhook_deliveries (id, webhook, event, kind, data_id, created_at, state, attempts, step,
                                         next_attempt_at, last_error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8, ?9) ON CONFLICT (webhook, kind, data_id) DO NOTHING",
        &[
            &delivery.to_string(),
            &webhook,
            &event.to_string(),
            &kind.as_str(),
            data_id,
            &now.as_millis(),
            &state_name(state),
            &due,
            &error,
        ],
    )?;
    if made == 0 {
        return Ok(None);
    }
    if waits {
        count_pending(connection, &webhook, 1)?;
        enqueued::mark(connection)?;
    }
    Ok(Some(delivery))
}

/// A UUID of version 7 whose random part comes from a text.
pub(super) fn uuid_of(now: Timestamp, text: &str) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&sha256(text)[..10]);
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn count_pending(connection: &Connection, webhook: &str, change: i64) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE webhooks SET pending = pending + ?2 WHERE id = ?1",
        &[&webhook, &change],
    )?;
    Ok(())
}

/// What is pending for a webhook that was disabled is not sent.
pub(super) fn fail_pending(connection: &Connection, webhook: &str) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE webhook_deliveries SET state = 'failed', next_attempt_at = NULL, last_error = ?2
         WHERE webhook = ?1 AND state = 'pending'",
        &[&webhook, &DISABLED],
    )?;
    execute(connection, "UPDATE webhooks SET pending = 0 WHERE id = ?1", &[&webhook])?;
    Ok(())
}

/// What a webhook was and is to be sent.
pub(super) fn list(
    connection: &Connection,
    namespace: NamespaceId,
    webhook: WebhookId,
    page: &PageOf<DeliveryId>,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let (condition, order, after) = cursor(page, "d.id");
    all(
        connection,
        &format!(
            "SELECT {DELIVERY} FROM webhook_deliveries d
             WHERE d.webhook = ?1 AND {condition} AND EXISTS (SELECT 1 FROM webhooks WHERE id = ?1 AND namespace = ?4)
             ORDER BY d.id {order} LIMIT ?3"
        ),
        &[&webhook.to_string(), &after, &page.limit, &namespace.to_string()],
        |row| delivery_record(row, 0),
    )
}

/// One delivery.
pub(super) fn read_one(
    connection: &Connection,
    namespace: NamespaceId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<DeliveryRecord>, StoreError> {
    first(
        connection,
        &format!(
            "SELECT {DELIVERY} FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook
             WHERE d.id = ?1 AND w.id = ?2 AND w.namespace = ?3"
        ),
        &[&id.to_string(), &webhook.to_string(), &namespace.to_string()],
        |row| delivery_record(row, 0),
    )
}

/// Makes a delivery pending and due.
pub(super) fn replay(
    connection: &Connection,
    namespace: NamespaceId,
    webhook: WebhookId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Replayed, StoreError> {
    let Some(record) = read_one(connection, namespace, webhook, id)? else {
        return Ok(Replayed::Unknown);
    };
    if !read(connection, namespace, webhook)?.is_some_and(|webhook| webhook.enabled) {
        return Ok(Replayed::Disabled);
    }
    execute(
        connection,
        "UPDATE webhook_deliveries SET state = 'pending', step = 0, next_attempt_at = ?2 WHERE id = ?1",
        &[&id.to_string(), &now.as_millis()],
    )?;
    if record.state != DeliveryState::Pending {
        count_pending(connection, &webhook.to_string(), 1)?;
    }
    enqueued::mark(connection)?;
    Ok(Replayed::Pending(DeliveryRecord {
        state: DeliveryState::Pending,
        step: 0,
        next_attempt_at: Some(now),
        ..record
    }))
}

/// What is to be sent now: of each namespace in turn, so that none with slow receivers holds up all others. What is a
/// suspended account's waits.
pub(super) fn due(
    connection: &Connection,
    environment: Environment,
    now: Timestamp,
    each: u32,
    limit: u32,
) -> Result<Vec<DueDelivery>, StoreError> {
    all(
        connection,
        &format!(
            "SELECT {WEBHOOK}, {DELIVERY} FROM webhooks w JOIN webhook_deliveries d ON d.id IN
                 (SELECT p.id FROM webhook_deliveries p
                  WHERE p.webhook = w.id AND p.state = 'pending' AND p.next_attempt_at <= ?2
                  ORDER BY p.next_attempt_at, p.id LIMIT ?3)
             WHERE w.pending > 0 AND w.environment = ?1
               AND NOT EXISTS (SELECT 1 FROM namespaces n JOIN accounts a ON a.id = n.account
                               WHERE n.id = w.namespace AND a.suspended_at IS NOT NULL)
             ORDER BY row_number() OVER (PARTITION BY w.namespace ORDER BY d.next_attempt_at, d.id),
                      d.next_attempt_at, d.id LIMIT ?4"
        ),
        &[&environment.as_str(), &now.as_millis(), &each, &limit],
        |row| {
            Ok(DueDelivery {
                webhook: webhook_record(row, 0)?,
                delivery: delivery_record(row, WEBHOOK_COLUMNS)?,
            })
        },
    )
}

/// When something is due next after `now`.
pub(super) fn next_after(connection: &Connection, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let next = first(
        connection,
        "SELECT min(next_attempt_at) FROM webhook_deliveries WHERE state = 'pending' AND next_attempt_at > ?1",
        &[&now.as_millis()],
        |row| row.get::<_, Option<i64>>(0),
    )?;
    Ok(next.flatten().map(Timestamp::from_millis))
}

/// Keeps what became of an attempt.
pub(super) fn end_attempt(connection: &Connection, end: &AttemptEnd) -> Result<(), StoreError> {
    let id = end.delivery.to_string();
    let found = first(
        connection,
        "SELECT webhook, state = 'pending' FROM webhook_deliveries WHERE id = ?1",
        &[&id],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)),
    )?;
    // It was deleted meanwhile.
    let Some((webhook, was_pending)) = found else {
        return Ok(());
    };
    let (state, next) = match end.outcome {
        AttemptOutcome::Delivered => (DeliveryState::Delivered, None),
        AttemptOutcome::Again(at) if was_pending => (DeliveryState::Pending, Some(at.as_millis())),
        _ => (DeliveryState::Failed, None),
    };
    execute(
        connection,
        "UPDATE webhook_deliveries SET state = ?2, next_attempt_at = ?3, last_status = ?4, last_error = ?5,
                                       last_attempt_at = ?6, attempts = attempts + 1, step = step + 1
         WHERE id = ?1",
        &[
            &id,
            &state_name(state),
            &next,
            &end.status,
            &end.error,
            &end.now.as_millis(),
        ],
    )?;
    if was_pending && state != DeliveryState::Pending {
        count_pending(connection, &webhook, -1)?;
    }
    if end.outcome == AttemptOutcome::Gone {
        execute(connection, "UPDATE webhooks SET enabled = 0 WHERE id = ?1", &[&webhook])?;
        fail_pending(connection, &webhook)?;
    }
    Ok(())
}

/// Forgets deliveries that were made before and are not pending.
pub(super) fn forget(connection: &Connection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let millis = u64::try_from(before.as_millis()).unwrap_or_default();
    // Ids sort by time.
    let first_kept = DeliveryId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid());
    let forgotten = execute(
        connection,
        "DELETE FROM webhook_deliveries WHERE id IN
             (SELECT id FROM webhook_deliveries WHERE id < ?1 AND state <> 'pending' ORDER BY id LIMIT ?2)",
        &[&first_kept.to_string(), &limit],
    )?;
    Ok(forgotten as u64)
}

const fn state_name(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        _ => "failed",
    }
}

fn delivery_record(row: &Row<'_>, at: usize) -> rusqlite::Result<DeliveryRecord> {
    let state = match row.get_ref(at + 6)?.as_str()? {
        "pending" => DeliveryState::Pending,
        "delivered" => DeliveryState::Delivered,
        _ => DeliveryState::Failed,
    };
    Ok(DeliveryRecord {
        id: parsed(row, at)?,
        webhook: parsed(row, at + 1)?,
        event: parsed(row, at + 2)?,
        kind: parsed(row, at + 3)?,
        data_id: row.get(at + 4)?,
        created_at: Timestamp::from_millis(row.get(at + 5)?),
        state,
        attempts: row.get(at + 7)?,
        step: row.get(at + 8)?,
        next_attempt_at: time(row, at + 9)?,
        last_attempt_at: time(row, at + 10)?,
        last_status: row.get(at + 11)?,
        last_error: row.get(at + 12)?,
    })
}

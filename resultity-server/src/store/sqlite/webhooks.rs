//! Webhooks, and what is told to them.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{NamespaceId, WebhookId};
use resultity_core::webhook::EventType;
use rusqlite::{Connection, Row};

use super::deliveries;
use super::rows::{all, count, execute, first, parsed};
use crate::store::StoreError;
use crate::store::webhooks::{
    DeliveryRecord, NewEvent, NewWebhook, PageOf, SealedSecret, WebhookChange, WebhookMade, WebhookRecord,
};

/// The columns that [`webhook_record`] reads.
pub(super) const WEBHOOK: &str =
    "w.id, w.url, w.description, w.events, w.enabled, w.secret, w.previous_secret, w.previous_until,
                       w.created_at";
pub(super) const WEBHOOK_COLUMNS: usize = 9;

/// Makes a webhook, unless the namespace has `most` already.
pub(super) fn create(connection: &Connection, webhook: &NewWebhook, most: u32) -> Result<WebhookMade, StoreError> {
    let namespace = webhook.namespace.to_string();
    let there = first(
        connection,
        "SELECT count(*) FROM webhooks WHERE namespace = ?1",
        &[&namespace],
        |row| row.get::<_, u32>(0),
    )?;
    if there.unwrap_or_default() >= most {
        return Ok(WebhookMade::TooMany);
    }
    execute(
        connection,
        "INSERT INTO webhooks (id, namespace, environment, url, description, events, enabled, secret, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            &webhook.id.to_string(),
            &namespace,
            &webhook.environment.as_str(),
            &webhook.url,
            &webhook.description,
            &names(&webhook.events),
            &webhook.enabled,
            &webhook.secret,
            &webhook.now.as_millis(),
        ],
    )?;
    let made = read(connection, webhook.namespace, webhook.id)?;
    made.map(WebhookMade::Made)
        .ok_or_else(|| StoreError::Corrupt("a webhook that was just made is missing".to_owned()))
}

/// The webhooks of a namespace.
pub(super) fn list(
    connection: &Connection,
    namespace: NamespaceId,
    page: &PageOf<WebhookId>,
) -> Result<Vec<WebhookRecord>, StoreError> {
    let (condition, order, after) = cursor(page, "w.id");
    all(
        connection,
        &format!(
            "SELECT {WEBHOOK} FROM webhooks w WHERE namespace = ?1 AND {condition} ORDER BY w.id {order} LIMIT ?3"
        ),
        &[&namespace.to_string(), &after, &page.limit],
        |row| webhook_record(row, 0),
    )
}

/// One of them.
pub(super) fn read(
    connection: &Connection,
    namespace: NamespaceId,
    id: WebhookId,
) -> Result<Option<WebhookRecord>, StoreError> {
    first(
        connection,
        &format!("SELECT {WEBHOOK} FROM webhooks w WHERE id = ?1 AND namespace = ?2"),
        &[&id.to_string(), &namespace.to_string()],
        |row| webhook_record(row, 0),
    )
}

/// Changes one.
pub(super) fn update(
    connection: &Connection,
    namespace: NamespaceId,
    id: WebhookId,
    change: &WebhookChange,
) -> Result<Option<WebhookRecord>, StoreError> {
    let events = change.events.as_deref().map(names);
    let found = execute(
        connection,
        "UPDATE webhooks SET url = coalesce(?3, url), description = coalesce(?4, description),
                             events = coalesce(?5, events), enabled = coalesce(?6, enabled)
         WHERE id = ?1 AND namespace = ?2",
        &[
            &id.to_string(),
            &namespace.to_string(),
            &change.url,
            &change.description,
            &events,
            &change.enabled,
        ],
    )?;
    if found > 0 && change.enabled == Some(false) {
        deliveries::fail_pending(connection, &id.to_string())?;
    }
    read(connection, namespace, id)
}

/// Gives one a new secret.
pub(super) fn rotate(
    connection: &Connection,
    namespace: NamespaceId,
    id: WebhookId,
    secret: &SealedSecret,
    previous_until: Timestamp,
) -> Result<Option<WebhookRecord>, StoreError> {
    execute(
        connection,
        "UPDATE webhooks SET previous_secret = secret, previous_until = ?4, secret = ?3 WHERE id = ?1 AND namespace = ?2",
        &[
            &id.to_string(),
            &namespace.to_string(),
            secret,
            &previous_until.as_millis(),
        ],
    )?;
    read(connection, namespace, id)
}

/// How many deliveries go in one operation with a webhook that is deleted: it may have had a great many.
const DELETED_AT_ONCE: usize = 1000;

/// Deletes one with its deliveries, or, if those are many, disables it and deletes some of them. None: there is more to do;
/// false: there is no such webhook.
pub(super) fn delete(
    connection: &Connection,
    namespace: NamespaceId,
    id: WebhookId,
) -> Result<Option<bool>, StoreError> {
    let Some(webhook) = read(connection, namespace, id)? else {
        return Ok(Some(false));
    };
    let id = id.to_string();
    let deleted = execute(
        connection,
        "DELETE FROM webhook_deliveries WHERE id IN
             (SELECT id FROM webhook_deliveries WHERE webhook = ?1 AND state <> 'pending' LIMIT ?2)",
        &[&id, &count(DELETED_AT_ONCE as u64)],
    )?;
    if deleted < DELETED_AT_ONCE {
        execute(connection, "DELETE FROM webhooks WHERE id = ?1", &[&id])?;
        return Ok(Some(true));
    }
    if webhook.enabled {
        execute(connection, "UPDATE webhooks SET enabled = 0 WHERE id = ?1", &[&id])?;
        deliveries::fail_pending(connection, &id)?;
    }
    Ok(None)
}

/// Something has happened: every enabled webhook of the namespace whose filter lets it through gets a delivery, at most one
/// for the same thing. Gives how many. To be called in the transaction that makes it happen; where there is no webhook it
/// costs one look into an index.
pub(super) fn enqueue_event(
    connection: &Connection,
    namespace: NamespaceId,
    environment: Environment,
    kind: EventType,
    data_id: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let webhooks = all(
        connection,
        "SELECT id, pending FROM webhooks
         WHERE namespace = ?1 AND enabled = 1 AND environment = ?2
           AND (events = '' OR instr(' ' || events || ' ', ' ' || ?3 || ' ') > 0)",
        &[&namespace.to_string(), &environment.as_str(), &kind.as_str()],
        |row| Ok((parsed::<WebhookId>(row, 0)?, row.get::<_, u32>(1)?)),
    )?;
    let mut made = 0;
    for (webhook, pending) in webhooks {
        let event = NewEvent {
            namespace,
            environment,
            kind,
            data_id: data_id.to_owned(),
            now,
        };
        if deliveries::insert(connection, webhook, pending, &event)?.is_some() {
            made += 1;
        }
    }
    Ok(made)
}

/// An event for one webhook, for trying it.
pub(super) fn enqueue_test(
    connection: &Connection,
    webhook: WebhookId,
    event: &NewEvent,
) -> Result<Option<DeliveryRecord>, StoreError> {
    let pending = first(
        connection,
        "SELECT pending FROM webhooks WHERE id = ?1 AND namespace = ?2 AND enabled = 1",
        &[&webhook.to_string(), &event.namespace.to_string()],
        |row| row.get::<_, u32>(0),
    )?;
    let Some(pending) = pending else { return Ok(None) };
    match deliveries::insert(connection, webhook, pending, event)? {
        Some(id) => deliveries::read_one(connection, event.namespace, webhook, id),
        None => Ok(None),
    }
}

/// The condition (`?2` is the id), the order and the id of a page.
pub(super) fn cursor<I: ToString>(page: &PageOf<I>, column: &str) -> (String, &'static str, Option<String>) {
    let (sign, order) = if page.ascending { (">", "ASC") } else { ("<", "DESC") };
    let after = page.after.as_ref().map(ToString::to_string);
    let condition = if after.is_some() {
        format!("{column} {sign} ?2")
    } else {
        "?2 IS NULL".to_owned()
    };
    (condition, order, after)
}

fn names(events: &[EventType]) -> String {
    events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn webhook_record(row: &Row<'_>, at: usize) -> rusqlite::Result<WebhookRecord> {
    let events = row.get_ref(at + 3)?.as_str()?;
    Ok(WebhookRecord {
        id: parsed(row, at)?,
        url: row.get(at + 1)?,
        description: row.get(at + 2)?,
        events: events.split(' ').filter_map(|name| name.parse().ok()).collect(),
        enabled: row.get(at + 4)?,
        secret: row.get(at + 5)?,
        previous: row.get::<_, Option<SealedSecret>>(at + 6)?.zip(time(row, at + 7)?),
        created_at: Timestamp::from_millis(row.get(at + 8)?),
    })
}

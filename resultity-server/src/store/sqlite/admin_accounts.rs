//! The accounts of the network, as administrators see and change them.

use async_trait::async_trait;
use resultity_core::api::gate::Role;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::administration::Conditions;
use super::rows::{all, counted, execute, first, parsed};
use super::{SqliteStore, audit_log, enqueued, logins};
use crate::store::StoreError;
use crate::store::admin::AuditEntry;
use crate::store::admin_accounts::{AccountChange, AccountChanged, AccountFilter, AccountOverview, AdminAccountStore};

#[async_trait]
impl AdminAccountStore for SqliteStore {
    async fn accounts(&self, filter: AccountFilter) -> Result<Vec<AccountOverview>, StoreError> {
        self.readers
            .call_long(move |connection| list(connection, &filter))
            .await
    }

    async fn account_overview(&self, id: AccountId) -> Result<Option<AccountOverview>, StoreError> {
        self.readers.call(move |connection| read(connection, id)).await
    }

    async fn change_account(&self, change: AccountChange) -> Result<AccountChanged, StoreError> {
        self.writer.call(move |connection| update(connection, &change)).await
    }
}

/// What [`overview`] reads, in its order.
const OVERVIEW: &str =
    "accounts.id, CASE display_name WHEN '' THEN name ELSE display_name END, email, role, suspended_at,
    (SELECT count(*) FROM wallets WHERE wallets.account = accounts.id),
    (SELECT count(*) FROM namespaces WHERE namespaces.account = accounts.id AND deleted_at IS NULL),
    (SELECT count(*) FROM namespaces JOIN keys ON keys.namespace = namespaces.id
     WHERE namespaces.account = accounts.id AND keys.revoked_at IS NULL),
    (SELECT count(*) FROM nodes WHERE nodes.account = accounts.id), created_at";

fn overview(row: &Row<'_>) -> rusqlite::Result<AccountOverview> {
    let role: String = row.get(3)?;
    Ok(AccountOverview {
        id: parsed(row, 0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        role: if role == Role::Admin.as_str() {
            Role::Admin
        } else {
            Role::User
        },
        suspended: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        wallets: counted(row, 5)?,
        namespaces: counted(row, 6)?,
        keys: counted(row, 7)?,
        nodes: counted(row, 8)?,
        created: Timestamp::from_millis(row.get(9)?),
    })
}

fn list(connection: &Connection, filter: &AccountFilter) -> Result<Vec<AccountOverview>, StoreError> {
    let mut conditions = Conditions::default();
    // Not LIKE: what is searched for may hold its signs.
    conditions.add_if(
        "(instr(lower(display_name), ?) > 0 OR instr(lower(name), ?) > 0 OR instr(coalesce(email, ''), ?) > 0)",
        filter.search.as_ref().map(|search| search.to_lowercase()),
    );
    conditions.add_if("role = ?", filter.role.map(Role::as_str));
    conditions.add_if("(suspended_at IS NOT NULL) = ?", filter.suspended);
    let after = filter.after.map(|id| id.to_string());
    let page = conditions.page("id", after, filter.ascending, filter.limit);
    let sql = format!("SELECT {OVERVIEW} FROM accounts {page}");
    all(connection, &sql, &conditions.values(), overview)
}

fn read(connection: &Connection, id: AccountId) -> Result<Option<AccountOverview>, StoreError> {
    let sql = format!("SELECT {OVERVIEW} FROM accounts WHERE id = ?1");
    first(connection, &sql, &[&id.to_string()], overview)
}

fn update(connection: &Connection, change: &AccountChange) -> Result<AccountChanged, StoreError> {
    let id = change.id.to_string();
    let Some(before) = read(connection, change.id)? else {
        return Ok(AccountChanged::Unknown);
    };
    let suspended = change.suspended.unwrap_or(before.suspended.is_some());
    let role = change.role.unwrap_or(before.role);
    let is_one = |role: Role, suspended: bool| role == Role::Admin && !suspended;
    if is_one(before.role, before.suspended.is_some()) && !is_one(role, suspended) {
        let other = first(
            connection,
            "SELECT 1 FROM accounts WHERE role = 'admin' AND suspended_at IS NULL AND id <> ?1 LIMIT 1",
            &[&id],
            |_| Ok(()),
        )?;
        if other.is_none() {
            return Ok(AccountChanged::LastAdministrator);
        }
    }
    execute(
        connection,
        "UPDATE accounts SET role = ?2, suspended_at = CASE WHEN ?3 THEN coalesce(suspended_at, ?4) END WHERE id = ?1",
        &[&id, &role.as_str(), &suspended, &change.audit.now.as_millis()],
    )?;
    if suspended && before.suspended.is_none() {
        // Restoring the account must not revive what somebody else may hold.
        logins::end_all(connection, change.id, None)?;
        execute(connection, "DELETE FROM access_tokens WHERE account = ?1", &[&id])?;
    }
    if !suspended && before.suspended.is_some() {
        // Its webhooks go on.
        enqueued::mark(connection)?;
    }
    if (role, suspended) != (before.role, before.suspended.is_some()) {
        let shown = |role: Role, suspended: bool| Some(json!({"role": role.as_str(), "suspended": suspended}));
        let audit = AuditEntry {
            before: shown(before.role, before.suspended.is_some()),
            after: shown(role, suspended),
            ..change.audit.clone()
        };
        audit_log::append(connection, &audit)?;
    }
    let after = read(connection, change.id)?;
    after
        .map(|after| AccountChanged::Done(Box::new(after)))
        .ok_or_else(|| StoreError::Corrupt(format!("the account {id} vanished while it was changed")))
}

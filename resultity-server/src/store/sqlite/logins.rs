//! Where accounts are signed in, their access tokens, and when somebody signed in.

use resultity_core::api::gate::Scope;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, LoginId, SignInId, TokenId};
use rusqlite::{Connection, Row};

use super::rows::{all, behind, execute, first, parsed, parsed_if_any};
use crate::store::StoreError;
use crate::store::identity::{LoginRecord, NewLogin, NewToken, SecretHash, SignInRecord, TokenRecord};
use crate::store::webhooks::PageOf;

/// How many sign-ins of an account are kept, and as many attempts.
const SIGN_INS_KEPT: u32 = 100;

/// What [`login_record`] reads.
const LOGIN: &str = "SELECT l.id, l.account, a.role, a.suspended_at IS NOT NULL, l.kind, l.method, l.environment,
                            l.address, l.user_agent, l.created_at, l.last_used_at, l.expires_at, l.ends_at
                     FROM logins l JOIN accounts a ON a.id = l.account";

/// What [`token_record`] reads.
const TOKEN: &str = "SELECT t.id, t.account, a.role, a.suspended_at IS NOT NULL, t.name, t.scopes, t.environment,
                            t.created_at, t.expires_at, t.last_used_at
                     FROM access_tokens t JOIN accounts a ON a.id = t.account";

/// Signs an account in.
pub(super) fn open(
    connection: &Connection,
    login: &NewLogin,
    sign_in: SignInId,
    most: u32,
) -> Result<bool, StoreError> {
    let account = login.account.to_string();
    let opened = execute(
        connection,
        "INSERT INTO logins (id, account, hash, kind, method, address, user_agent, created_at, last_used_at, expires_at,
                             ends_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10 FROM accounts WHERE id = ?2 AND suspended_at IS NULL",
        &[
            &login.id.to_string(),
            &account,
            &login.hash.as_slice(),
            &login.kind.as_str(),
            &login.method.as_str(),
            &login.address,
            &login.user_agent,
            &login.now.as_millis(),
            &login.expires_at.as_millis(),
            &login.ends_at.as_millis(),
        ],
    )? > 0;
    execute(
        connection,
        "DELETE FROM logins WHERE account = ?1 AND (expires_at <= ?2 OR ends_at <= ?2)",
        &[&account, &login.now.as_millis()],
    )?;
    execute(
        connection,
        "DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE account = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        &[&account, &most],
    )?;
    let record = SignInRecord {
        id: sign_in,
        account: login.account,
        method: login.method,
        succeeded: opened,
        address: login.address.clone(),
        user_agent: login.user_agent.clone(),
        at: login.now,
    };
    record_sign_in(connection, &record)?;
    Ok(opened)
}

/// The session with this hash.
pub(super) fn login(
    connection: &Connection,
    hash: SecretHash,
    now: Timestamp,
) -> Result<Option<LoginRecord>, StoreError> {
    first(
        connection,
        &format!("{LOGIN} WHERE l.hash = ?1 AND l.expires_at > ?2 AND l.ends_at > ?2"),
        &[&hash.as_slice(), &now.as_millis()],
        login_record,
    )
}

/// A session was used.
pub(super) fn touch(
    connection: &Connection,
    id: LoginId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE logins SET last_used_at = max(last_used_at, ?2), expires_at = max(expires_at, ?3) WHERE id = ?1",
        &[&id.to_string(), &now.as_millis(), &expires_at.as_millis()],
    )?;
    Ok(())
}

/// Where the account is signed in.
pub(super) fn logins(
    connection: &Connection,
    account: AccountId,
    page: &PageOf<LoginId>,
    now: Timestamp,
) -> Result<Vec<LoginRecord>, StoreError> {
    let after = page.after.map(|id| id.to_string());
    let (condition, order) = behind("l.id", "?2", after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "{LOGIN} WHERE l.account = ?1 AND {condition} AND l.expires_at > ?4 AND l.ends_at > ?4
             ORDER BY l.id {order} LIMIT ?3"
        ),
        &[&account.to_string(), &after, &page.limit, &now.as_millis()],
        login_record,
    )
}

/// A session looks at another environment.
pub(super) fn switch(connection: &Connection, id: LoginId, environment: Environment) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "UPDATE logins SET environment = ?2 WHERE id = ?1",
        &[&id.to_string(), &environment.as_str()],
    )?;
    Ok(found > 0)
}

/// Ends a session.
pub(super) fn end(connection: &Connection, account: AccountId, id: LoginId) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "DELETE FROM logins WHERE id = ?1 AND account = ?2",
        &[&id.to_string(), &account.to_string()],
    )?;
    Ok(found > 0)
}

/// Ends all sessions of the account but this one.
pub(super) fn end_all(connection: &Connection, account: AccountId, but: Option<LoginId>) -> Result<u64, StoreError> {
    let ended = execute(
        connection,
        "DELETE FROM logins WHERE account = ?1 AND (?2 IS NULL OR id <> ?2)",
        &[&account.to_string(), &but.map(|id| id.to_string())],
    )?;
    Ok(ended as u64)
}

/// Makes an access token, unless the account has `most` already or is suspended.
pub(super) fn create_token(connection: &Connection, token: &NewToken, most: u32) -> Result<bool, StoreError> {
    let (account, now) = (token.account.to_string(), token.now.as_millis());
    execute(
        connection,
        "DELETE FROM access_tokens WHERE account = ?1 AND expires_at <= ?2",
        &[&account, &now],
    )?;
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let made = execute(
        connection,
        "INSERT INTO access_tokens (id, account, hash, name, scopes, environment, created_at, expires_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE (SELECT count(*) FROM access_tokens WHERE account = ?2) < ?9
           AND EXISTS (SELECT 1 FROM accounts WHERE id = ?2 AND suspended_at IS NULL)",
        &[
            &token.id.to_string(),
            &account,
            &token.hash.as_slice(),
            &token.name,
            &scopes.join(" "),
            &token.environment.map(Environment::as_str),
            &now,
            &token.expires_at.as_millis(),
            &most,
        ],
    )?;
    Ok(made > 0)
}

/// The access token with this hash.
pub(super) fn token(
    connection: &Connection,
    hash: SecretHash,
    now: Timestamp,
) -> Result<Option<TokenRecord>, StoreError> {
    first(
        connection,
        &format!("{TOKEN} WHERE t.hash = ?1 AND t.expires_at > ?2"),
        &[&hash.as_slice(), &now.as_millis()],
        token_record,
    )
}

/// An access token was used.
pub(super) fn touch_token(connection: &Connection, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE access_tokens SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1",
        &[&id.to_string(), &now.as_millis()],
    )?;
    Ok(())
}

/// The access tokens of the account.
pub(super) fn tokens(
    connection: &Connection,
    account: AccountId,
    page: &PageOf<TokenId>,
    now: Timestamp,
) -> Result<Vec<TokenRecord>, StoreError> {
    let after = page.after.map(|id| id.to_string());
    let (condition, order) = behind("t.id", "?2", after.is_some(), page.ascending);
    all(
        connection,
        &format!("{TOKEN} WHERE t.account = ?1 AND {condition} AND t.expires_at > ?4 ORDER BY t.id {order} LIMIT ?3"),
        &[&account.to_string(), &after, &page.limit, &now.as_millis()],
        token_record,
    )
}

/// Ends an access token.
pub(super) fn delete_token(connection: &Connection, account: AccountId, id: TokenId) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "DELETE FROM access_tokens WHERE id = ?1 AND account = ?2",
        &[&id.to_string(), &account.to_string()],
    )?;
    Ok(found > 0)
}

/// Keeps that somebody signed in or tried to. Those who were let in and those who were not are kept apart, so that many
/// attempts don't push out who was there.
pub(super) fn record_sign_in(connection: &Connection, record: &SignInRecord) -> Result<(), StoreError> {
    let account = record.account.to_string();
    execute(
        connection,
        "INSERT INTO sign_ins (id, account, method, succeeded, address, user_agent, created_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7 FROM accounts WHERE id = ?2",
        &[
            &record.id.to_string(),
            &account,
            &record.method.as_str(),
            &record.succeeded,
            &record.address,
            &record.user_agent,
            &record.at.as_millis(),
        ],
    )?;
    execute(
        connection,
        "DELETE FROM sign_ins WHERE account = ?1 AND succeeded = ?2 AND id <=
             (SELECT id FROM sign_ins WHERE account = ?1 AND succeeded = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        &[&account, &record.succeeded, &SIGN_INS_KEPT],
    )?;
    Ok(())
}

/// When somebody signed in or tried to.
pub(super) fn sign_ins(
    connection: &Connection,
    account: AccountId,
    page: &PageOf<SignInId>,
) -> Result<Vec<SignInRecord>, StoreError> {
    let after = page.after.map(|id| id.to_string());
    let (condition, order) = behind("id", "?2", after.is_some(), page.ascending);
    all(
        connection,
        &format!(
            "SELECT id, account, method, succeeded, address, user_agent, created_at FROM sign_ins
             WHERE account = ?1 AND {condition} ORDER BY id {order} LIMIT ?3"
        ),
        &[&account.to_string(), &after, &page.limit],
        |row| {
            Ok(SignInRecord {
                id: parsed(row, 0)?,
                account: parsed(row, 1)?,
                method: parsed(row, 2)?,
                succeeded: row.get(3)?,
                address: row.get(4)?,
                user_agent: row.get(5)?,
                at: Timestamp::from_millis(row.get(6)?),
            })
        },
    )
}

fn login_record(row: &Row<'_>) -> rusqlite::Result<LoginRecord> {
    Ok(LoginRecord {
        id: parsed(row, 0)?,
        account: parsed(row, 1)?,
        role: parsed(row, 2)?,
        suspended: row.get(3)?,
        kind: parsed(row, 4)?,
        method: parsed(row, 5)?,
        environment: parsed_if_any(row, 6)?,
        address: row.get(7)?,
        user_agent: row.get(8)?,
        created_at: Timestamp::from_millis(row.get(9)?),
        last_used_at: Timestamp::from_millis(row.get(10)?),
        expires_at: Timestamp::from_millis(row.get(11)?),
        ends_at: Timestamp::from_millis(row.get(12)?),
    })
}

fn token_record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let scopes = row.get_ref(5)?.as_str()?;
    Ok(TokenRecord {
        id: parsed(row, 0)?,
        account: parsed(row, 1)?,
        role: parsed(row, 2)?,
        suspended: row.get(3)?,
        name: row.get(4)?,
        scopes: scopes
            .split(' ')
            .filter_map(|name| name.parse::<Scope>().ok())
            .collect(),
        environment: parsed_if_any(row, 6)?,
        created_at: Timestamp::from_millis(row.get(7)?),
        expires_at: Timestamp::from_millis(row.get(8)?),
        last_used_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
    })
}

//! Accounts, and the codes that are sent by mail to their owners.

use resultity_core::B256;
use resultity_core::api::gate::Role;
use resultity_core::clock::Timestamp;
use resultity_core::id::{AccountId, LoginId};
use rusqlite::{Connection, Row};
use subtle::ConstantTimeEq;

use super::rows::{execute, first, parsed, parsed_if_any};
use super::{audit_log, logins};
use crate::store::StoreError;
use crate::store::admin::AuditEntry;
use crate::store::identity::{
    AccountMade, AccountRecord, AccountSummary, AdministratorMade, CodePurpose, EmailRemoved, GivenCode, NewAccount,
    NewCode, PasswordHash,
};

/// The columns that [`record`] reads, of `accounts a`.
pub(super) const ACCOUNT: &str = "a.id, a.display_name, a.role, a.email, a.password_hash, a.suspended_at, a.created_at";
pub(super) const ACCOUNT_COLUMNS: usize = 7;

/// Makes an account.
pub(super) fn create(connection: &Connection, account: &NewAccount) -> Result<AccountMade, StoreError> {
    let confirmed_at = account.email.as_ref().map(|_| account.now.as_millis());
    let made = execute(
        connection,
        "INSERT INTO accounts (id, name, display_name, role, email, email_confirmed_at, password_hash, created_at)
         SELECT ?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7
         WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE email = ?4)",
        &[
            &account.id.to_string(),
            &account.name,
            &account.role.as_str(),
            &account.email,
            &confirmed_at,
            &account.password.as_ref().map(|hash| &hash.0),
            &account.now.as_millis(),
        ],
    )?;
    Ok(if made > 0 {
        AccountMade::Made
    } else {
        AccountMade::EmailTaken
    })
}

/// Makes an administrator.
pub(super) fn make_administrator(
    connection: &Connection,
    account: &NewAccount,
    mut audit: AuditEntry,
) -> Result<AdministratorMade, StoreError> {
    let known = match &account.email {
        Some(email) => by_email(connection, email)?,
        None => None,
    };
    let made = match known {
        Some(known) => {
            execute(
                connection,
                "UPDATE accounts SET role = 'admin', password_hash = coalesce(?2, password_hash) WHERE id = ?1",
                &[&known.id.to_string(), &account.password.as_ref().map(|hash| &hash.0)],
            )?;
            audit.before = Some(serde_json::json!({"role": known.role.as_str()}));
            AdministratorMade::Promoted(known.id)
        }
        None => {
            let account = NewAccount {
                role: Role::Admin,
                ..account.clone()
            };
            create(connection, &account)?;
            AdministratorMade::Made(account.id)
        }
    };
    let (AdministratorMade::Made(id) | AdministratorMade::Promoted(id)) = made;
    audit.subject = format!("account:{id}");
    audit.after = Some(serde_json::json!({"role": Role::Admin.as_str()}));
    audit_log::append(connection, &audit)?;
    Ok(made)
}

/// The account.
pub(super) fn read(connection: &Connection, id: AccountId) -> Result<Option<AccountRecord>, StoreError> {
    let sql = format!("SELECT {ACCOUNT} FROM accounts a WHERE a.id = ?1");
    first(connection, &sql, &[&id.to_string()], |row| record(row, 0))
}

/// The account with this address.
pub(super) fn by_email(connection: &Connection, email: &str) -> Result<Option<AccountRecord>, StoreError> {
    let sql = format!("SELECT {ACCOUNT} FROM accounts a WHERE a.email = ?1");
    first(connection, &sql, &[&email], |row| record(row, 0))
}

/// The account with what belongs to it.
pub(super) fn summary(connection: &Connection, id: AccountId) -> Result<Option<AccountSummary>, StoreError> {
    let sql = format!(
        "SELECT {ACCOUNT}, (SELECT count(*) FROM wallets WHERE account = a.id),
                EXISTS (SELECT 1 FROM second_factors WHERE account = a.id AND confirmed_at IS NOT NULL),
                (SELECT created_at FROM sign_ins WHERE account = a.id AND succeeded = 1 ORDER BY id DESC LIMIT 1)
         FROM accounts a WHERE a.id = ?1"
    );
    first(connection, &sql, &[&id.to_string()], |row| {
        Ok(AccountSummary {
            account: record(row, 0)?,
            wallets: row.get(ACCOUNT_COLUMNS)?,
            second_factor: row.get(ACCOUNT_COLUMNS + 1)?,
            last_sign_in_at: time(row, ACCOUNT_COLUMNS + 2)?,
        })
    })
}

/// Changes what it is called.
pub(super) fn rename(connection: &Connection, id: AccountId, name: &str) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "UPDATE accounts SET display_name = ?2 WHERE id = ?1",
        &[&id.to_string(), &name],
    )?;
    Ok(found > 0)
}

/// Changes the password, and ends all sessions but this one.
pub(super) fn set_password(
    connection: &Connection,
    id: AccountId,
    password: &PasswordHash,
    but: Option<LoginId>,
) -> Result<bool, StoreError> {
    let found = execute(
        connection,
        "UPDATE accounts SET password_hash = ?2 WHERE id = ?1",
        &[&id.to_string(), &password.0],
    )?;
    logins::end_all(connection, id, but)?;
    // Whoever changes a password may do so because somebody else was in.
    execute(
        connection,
        "DELETE FROM access_tokens WHERE account = ?1",
        &[&id.to_string()],
    )?;
    Ok(found > 0)
}

/// Keeps a code; those that are over are forgotten. Gives whether the address has an account.
pub(super) fn keep_code(connection: &Connection, code: &NewCode) -> Result<bool, StoreError> {
    execute(
        connection,
        "DELETE FROM mail_codes WHERE expires_at <= ?1",
        &[&code.now.as_millis()],
    )?;
    let known = by_email(connection, &code.email)?.map(|account| account.id);
    let account = match code.purpose {
        CodePurpose::Reset => known,
        CodePurpose::SignUp | CodePurpose::Email => code.account,
    };
    execute(
        connection,
        "INSERT INTO mail_codes (ticket, code, purpose, email, account, password_hash, attempts_left, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &[
            &code.ticket.as_slice(),
            &code.code.as_slice(),
            &code.purpose.as_str(),
            &code.email,
            &account.map(|account| account.to_string()),
            &code.password.as_ref().map(|hash| &hash.0),
            &code.attempts,
            &code.expires_at.as_millis(),
        ],
    )?;
    Ok(known.is_some())
}

/// What a code that was right is for.
struct Redeemed {
    email: String,
    account: Option<AccountId>,
    password: Option<String>,
}

/// Takes a code; a wrong one uses up an attempt.
fn redeem(connection: &Connection, given: &GivenCode, purpose: CodePurpose) -> Result<Option<Redeemed>, StoreError> {
    let ticket = given.ticket.as_slice();
    let tried = execute(
        connection,
        "UPDATE mail_codes SET attempts_left = attempts_left - 1
         WHERE ticket = ?1 AND purpose = ?2 AND expires_at > ?3 AND attempts_left > 0",
        &[&ticket, &purpose.as_str(), &given.now.as_millis()],
    )?;
    if tried == 0 {
        return Ok(None);
    }
    let kept = first(
        connection,
        "SELECT code, email, account, password_hash FROM mail_codes WHERE ticket = ?1",
        &[&ticket],
        |row| {
            let redeemed = Redeemed {
                email: row.get(1)?,
                account: parsed_if_any(row, 2)?,
                password: row.get(3)?,
            };
            Ok((row.get::<_, [u8; 32]>(0)?, redeemed))
        },
    )?;
    let right = kept.filter(|(code, _)| bool::from(B256::from(*code).as_slice().ct_eq(given.code.as_slice())));
    let Some((_, redeemed)) = right else { return Ok(None) };
    // Whoever was sent several has no use for the others any more.
    execute(
        connection,
        "DELETE FROM mail_codes WHERE email = ?1 AND purpose = ?2",
        &[&redeemed.email, &purpose.as_str()],
    )?;
    Ok(Some(redeemed))
}

/// Makes the account that a code is for.
pub(super) fn redeem_sign_up(connection: &Connection, given: &GivenCode, id: AccountId) -> Result<bool, StoreError> {
    let Some(redeemed) = redeem(connection, given, CodePurpose::SignUp)? else {
        return Ok(false);
    };
    let account = NewAccount {
        id,
        name: String::new(),
        role: Role::User,
        email: Some(redeemed.email),
        password: redeemed.password.map(PasswordHash),
        now: given.now,
    };
    Ok(create(connection, &account)? == AccountMade::Made)
}

/// Replaces the password of the account that a code is for.
pub(super) fn redeem_reset(
    connection: &Connection,
    given: &GivenCode,
    password: &PasswordHash,
) -> Result<Option<AccountId>, StoreError> {
    let redeemed = redeem(connection, given, CodePurpose::Reset)?;
    let Some((account, email)) = redeemed.and_then(|redeemed| Some((redeemed.account?, redeemed.email))) else {
        return Ok(None);
    };
    let changed = execute(
        connection,
        "UPDATE accounts SET password_hash = ?3 WHERE id = ?1 AND email = ?2",
        &[&account.to_string(), &email, &password.0],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    logins::end_all(connection, account, None)?;
    execute(
        connection,
        "DELETE FROM access_tokens WHERE account = ?1",
        &[&account.to_string()],
    )?;
    Ok(Some(account))
}

/// Gives the account the address that a code is for.
pub(super) fn redeem_email(connection: &Connection, given: &GivenCode, account: AccountId) -> Result<bool, StoreError> {
    let redeemed = redeem(connection, given, CodePurpose::Email)?;
    let Some(redeemed) = redeemed.filter(|redeemed| redeemed.account == Some(account)) else {
        return Ok(false);
    };
    let changed = execute(
        connection,
        "UPDATE accounts SET email = ?2, email_confirmed_at = ?3, password_hash = coalesce(password_hash, ?4)
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM accounts WHERE email = ?2)",
        &[
            &account.to_string(),
            &redeemed.email,
            &given.now.as_millis(),
            &redeemed.password,
        ],
    )?;
    // What was sent to the old address does not count any more.
    execute(
        connection,
        "DELETE FROM mail_codes WHERE account = ?1",
        &[&account.to_string()],
    )?;
    Ok(changed > 0)
}

/// Removes address and password, unless nothing else is left.
pub(super) fn remove_email(connection: &Connection, account: AccountId) -> Result<EmailRemoved, StoreError> {
    let id = account.to_string();
    let changed = execute(
        connection,
        "UPDATE accounts SET email = NULL, email_confirmed_at = NULL, password_hash = NULL
         WHERE id = ?1 AND (email IS NULL OR EXISTS (SELECT 1 FROM wallets WHERE account = ?1))",
        &[&id],
    )?;
    if changed == 0 {
        return Ok(EmailRemoved::LastCredential);
    }
    execute(connection, "DELETE FROM mail_codes WHERE account = ?1", &[&id])?;
    Ok(EmailRemoved::Removed)
}

pub(super) fn record(row: &Row<'_>, at: usize) -> rusqlite::Result<AccountRecord> {
    Ok(AccountRecord {
        id: parsed(row, at)?,
        name: row.get(at + 1)?,
        role: parsed(row, at + 2)?,
        email: row.get(at + 3)?,
        password: row.get::<_, Option<String>>(at + 4)?.map(PasswordHash),
        suspended_at: time(row, at + 5)?,
        created_at: Timestamp::from_millis(row.get(at + 6)?),
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

//! Accounts made from the shell: an account with a namespace, a key and credits, in one step.

use resultity_core::api::gate::Role;
use resultity_core::clock::{Clock, Entropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::ApiError;
use resultity_core::id::{AccountId, AuditId, KeyId, NamespaceId};
use secrecy::{ExposeSecret, SecretString};

use crate::flow::checks::ACCOUNT as NETWORK;
use crate::session::{Passwords, hash_key, key_hint};
use crate::store::identity::{AdministratorMade, NewAccount};
use crate::store::{Actor, AuditEntry, Grant, Granted, KeyLimits, KeyRecord, NewTenant, Store, StoreError};

/// Who is to have a key.
#[derive(Debug, Clone)]
pub struct Tenant<'a> {
    /// The account's name; made if it is not there.
    pub account: &'a str,
    /// The namespace's name in the account; made if it is not there.
    pub namespace: &'a str,
    /// What people call the key.
    pub key_label: &'a str,
    /// Where it counts.
    pub environment: Environment,
}

/// Makes what is missing of a tenant; the key is known by its hash, so a repeat changes nothing.
pub async fn ensure(
    store: &dyn Store,
    tenant: Tenant<'_>,
    key: &SecretString,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<KeyRecord, StoreError> {
    ensure_limited(store, tenant, KeyLimits::default(), key, clock, entropy).await
}

/// The same with limits of the key, which count if the key is made now.
pub async fn ensure_limited(
    store: &dyn Store,
    tenant: Tenant<'_>,
    limits: KeyLimits,
    key: &SecretString,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<KeyRecord, StoreError> {
    if tenant.account == NETWORK {
        let why = format!("the account {NETWORK:?} is the network's own: choose another name");
        return Err(StoreError::Invalid(why));
    }
    let new = NewTenant {
        account: AccountId::new(clock, entropy),
        account_name: tenant.account.to_owned(),
        namespace: NamespaceId::new(clock, entropy),
        namespace_name: tenant.namespace.to_owned(),
        environment: tenant.environment,
        key: KeyId::new(clock, entropy),
        key_hash: hash_key(key),
        key_label: tenant.key_label.to_owned(),
        key_hint: key_hint(key),
        key_limits: limits,
        now: clock.now(),
    };
    store.ensure_tenant(new).await
}

/// Gives credits once for this idempotency key; the balance after it.
pub async fn grant_once(
    store: &dyn Store,
    record: &KeyRecord,
    amount: Credits,
    idempotency_key: String,
    clock: &dyn Clock,
) -> Result<Credits, StoreError> {
    let grant = Grant {
        idempotency_key,
        namespace: record.namespace,
        amount,
        reason: "granted from the shell".into(),
        now: clock.now(),
    };
    match store.grant(grant).await? {
        Granted::Balance(balance) => Ok(balance),
        Granted::UnknownNamespace | Granted::Conflict => {
            Err(StoreError::Corrupt("a namespace that was just made is gone".into()))
        }
    }
}

/// Why an administrator was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdministratorError {
    /// The password can't be one.
    #[error("{}", .0.message)]
    Password(ApiError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes an account of an administrator, or one of the account with this address (in lower case), with a line in the audit
/// log. A password that is named counts from now on.
pub async fn administrator(
    store: &dyn Store,
    email: &str,
    name: &str,
    password: Option<&SecretString>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<AdministratorMade, AdministratorError> {
    let password = match password {
        Some(password) => {
            let password = password.expose_secret();
            Passwords::check(password, "the password").map_err(AdministratorError::Password)?;
            let hashed = Passwords::default().hash(password, entropy).await;
            Some(hashed.map_err(AdministratorError::Password)?)
        }
        None => None,
    };
    let now = clock.now();
    let account = NewAccount {
        id: AccountId::new(clock, entropy),
        name: name.to_owned(),
        role: Role::Admin,
        email: Some(email.to_owned()),
        password,
        now,
    };
    let audit = AuditEntry {
        id: AuditId::new(clock, entropy),
        actor: Actor::Operator,
        action: "account.make_administrator".into(),
        subject: format!("account:{}", account.id),
        environment: None,
        before: None,
        after: None,
        reason: "made from the server's shell".into(),
        now,
    };
    Ok(store.make_administrator(account, audit).await?)
}

//! Accounts made from the shell: an account with a namespace, a key and credits, in one step.

use resultity_core::clock::{Clock, Entropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, KeyId, NamespaceId};
use secrecy::SecretString;

use crate::session::{hash_key, key_hint};
use crate::store::{Grant, Granted, KeyLimits, KeyRecord, NewTenant, Store, StoreError};

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
        Granted::UnknownNamespace => Err(StoreError::Corrupt("a namespace that was just made is gone".into())),
    }
}

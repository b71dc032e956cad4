//! API keys of the account's namespaces.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    ApiKey, ApiKeyWithSecret, CreateKey, InEnvironment, KeyQuery, KeysApi, RotateKey, Scope, UpdateKey,
};
use resultity_core::api::page::Page;
use resultity_core::api::usage::{UsageQuery, UsageReport, UsageScope};
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, KeyId};
use resultity_core::networks::Networks;
use secrecy::{ExposeSecret, SecretString};

use super::{GateSession, failed, not_found};
use crate::session::usage::report;
use crate::session::webhooks::page_of;
use crate::session::{hash_key, key_hint, new_key};
use crate::store::tenancy::{KeyChange, KeyChanged, KeyDetails, KeyFilter, KeyMade, KeyRotated, NewKey, NewSecret};
use crate::store::{Actor, AuditEntry, KeyLimits};

/// The most keys of a namespace that are not revoked.
const MOST: u32 = 100;

/// The longest label, in characters.
const LONGEST_LABEL: usize = 100;

/// The most entries of a list of models or addresses.
const MOST_LISTED: usize = 100;

/// The longest name of a model: bytes.
const LONGEST_MODEL: usize = 200;

/// The latest time that a key may end at: the begin of the year 10000.
const LATEST: i64 = 253_402_300_800;

/// How long two secrets count after a change: if nothing is said, and at most. Seconds.
const OVERLAP: u64 = 24 * 60 * 60;
const LONGEST_OVERLAP: u64 = 7 * OVERLAP;

#[async_trait]
impl KeysApi for GateSession {
    async fn create_key(&self, request: CreateKey) -> Result<ApiKeyWithSecret, ApiError> {
        let account = self.account(Scope::Keys)?;
        let now = self.gate.clock.now();
        let label = checked_label(request.label.unwrap_or_default())?;
        let limits = KeyLimits {
            requests_per_minute: request.requests_per_minute,
            tokens_per_minute: request.tokens_per_minute,
            spend_limit: request.spend_limit.map(checked_spend_limit).transpose()?,
            expires_at: request.expires_at.map(|end| checked_expiry(end, now)).transpose()?,
            models: request.models.map(checked_models).transpose()?,
            addresses: request.ip_addresses.map(checked_addresses).transpose()?,
            is_capped: true,
            ..KeyLimits::default()
        };
        let (namespace, environment) = match request.namespace {
            Some(id) => {
                let within = InEnvironment {
                    environment: request.environment,
                };
                let namespace = self.own_namespace(account, id, within).await;
                let namespace = namespace.map_err(|error| error.with_param("namespace"))?;
                (namespace.id, namespace.environment)
            }
            None => {
                let environment = self.flow(request.environment)?.environment;
                (self.default_namespace(account, environment).await?, environment)
            }
        };
        let id = KeyId::new(&*self.gate.clock, &*self.gate.entropy);
        let secret = new_key(environment, &*self.gate.entropy);
        let key = NewKey {
            id,
            namespace,
            hash: hash_key(&secret),
            hint: key_hint(&secret),
            label,
            limits,
            now,
        };
        let audit = self.audit_of_key(account, "key.create", id);
        match self
            .gate
            .store
            .create_key(account, key, MOST, audit)
            .await
            .map_err(failed)?
        {
            KeyMade::Made(key) => Ok(self.with_secret(*key, &secret)),
            KeyMade::TooMany => {
                let message = format!(
                    "the namespace has {MOST} API keys already, which is the most: revoke one that is not used"
                );
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
            KeyMade::UnknownNamespace => Err(not_found("namespace").with_param("namespace")),
        }
    }

    async fn keys(&self, query: KeyQuery) -> Result<Page<ApiKey>, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(query.environment)?.environment;
        let (page, size) = page_of(&query.page())?;
        if let Some(namespace) = query.namespace {
            let within = InEnvironment::from(environment);
            self.own_namespace(account, namespace, within).await?;
        }
        let filter = KeyFilter {
            account,
            environment,
            namespace: query.namespace,
            status: query.status,
            now: self.gate.clock.now(),
        };
        let keys = self.gate.store.keys(filter, page).await.map_err(failed)?;
        let keys = keys.into_iter().map(|key| self.key_shown(key)).collect();
        Ok(Page::of(keys, size, |key: &ApiKey| key.id.to_string()))
    }

    async fn key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError> {
        let account = self.account(Scope::Read)?;
        Ok(self.key_shown(self.own_key(account, id, within).await?))
    }

    async fn update_key(&self, id: KeyId, within: InEnvironment, request: UpdateKey) -> Result<ApiKey, ApiError> {
        let account = self.account(Scope::Keys)?;
        self.own_key(account, id, within).await?;
        let now = self.gate.clock.now();
        let change = KeyChange {
            label: request.label.map(checked_label).transpose()?,
            expires_at: request.expires_at.try_map(|end| checked_expiry(end, now))?,
            requests_per_minute: request.requests_per_minute,
            tokens_per_minute: request.tokens_per_minute,
            spend_limit: request.spend_limit.try_map(checked_spend_limit)?,
            models: request.models.try_map(checked_models)?,
            addresses: request.ip_addresses.try_map(checked_addresses)?,
        };
        let audit = self.audit_of_key(account, "key.update", id);
        let changed = self.gate.store.update_key(account, id, change, audit).await;
        match changed.map_err(failed)? {
            KeyChanged::Changed(key) => {
                self.gate.keys.forget_all(key.hashes());
                Ok(self.key_shown(*key))
            }
            KeyChanged::Revoked => Err(revoked()),
            KeyChanged::Unknown => Err(not_found("key")),
        }
    }

    async fn revoke_key(&self, id: KeyId, within: InEnvironment) -> Result<ApiKey, ApiError> {
        let account = self.account(Scope::Keys)?;
        self.own_key(account, id, within).await?;
        let audit = self.audit_of_key(account, "key.revoke", id);
        let revoked = self.gate.store.revoke_key_of(Some(account), id, audit).await;
        let key = revoked.map_err(failed)?.ok_or_else(|| not_found("key"))?;
        self.gate.keys.forget_all(key.hashes());
        tracing::info!(key.id = %id, "API key revoked");
        Ok(self.key_shown(key))
    }

    async fn rotate_key(
        &self,
        id: KeyId,
        within: InEnvironment,
        request: RotateKey,
    ) -> Result<ApiKeyWithSecret, ApiError> {
        let account = self.account(Scope::Keys)?;
        let overlap = request.overlap_seconds.unwrap_or(OVERLAP);
        if overlap > LONGEST_OVERLAP {
            let message = format!("overlap_seconds must be from 0 to {LONGEST_OVERLAP}");
            return Err(invalid("overlap_seconds", message));
        }
        let key = self.own_key(account, id, within).await?;
        let secret = new_key(key.environment, &*self.gate.entropy);
        let new = NewSecret {
            hash: hash_key(&secret),
            hint: key_hint(&secret),
            previous_until: self.gate.clock.now().after(Duration::from_secs(overlap)),
        };
        let audit = self.audit_of_key(account, "key.rotate", id);
        let rotated = self.gate.store.rotate_key(account, id, new, audit).await;
        match rotated.map_err(failed)? {
            KeyRotated::Rotated { key, outdated } => {
                self.gate.keys.forget_all(outdated);
                Ok(self.with_secret(*key, &secret))
            }
            KeyRotated::Revoked => Err(revoked()),
            KeyRotated::Unknown => Err(not_found("key")),
        }
    }

    async fn key_usage(&self, id: KeyId, within: InEnvironment, query: UsageQuery) -> Result<UsageReport, ApiError> {
        let account = self.account(Scope::Read)?;
        if query.scope == Some(UsageScope::Namespace) {
            let message = "this is the usage of one key: GET /gate/v1/usage has that of a namespace";
            return Err(invalid("scope", message));
        }
        let key = self.own_key(account, id, within).await?;
        report(self.flow(Some(key.environment))?, query, key.namespace, Some(id)).await
    }
}

impl GateSession {
    /// A key of this account, if the caller sees its environment and that is the one that is asked for. Everything else is
    /// not found.
    async fn own_key(&self, account: AccountId, id: KeyId, within: InEnvironment) -> Result<KeyDetails, ApiError> {
        let key = self.gate.store.key_details(Some(account), id).await.map_err(failed)?;
        key.filter(|key| self.sees(key.environment))
            .filter(|key| within.environment.is_none_or(|asked| asked == key.environment))
            .ok_or_else(|| not_found("key"))
    }

    fn audit_of_key(&self, account: AccountId, action: &str, id: KeyId) -> AuditEntry {
        self.audit(Actor::Account(account), action, format!("key:{id}"), "")
    }

    fn key_shown(&self, key: KeyDetails) -> ApiKey {
        let now = self.gate.clock.now();
        let status = key.status(now);
        let previous = key.previous.map(|(_, until)| until).filter(|until| *until > now);
        ApiKey {
            id: key.id,
            object: "api_key".into(),
            namespace: key.namespace,
            environment: key.environment,
            label: key.label,
            hint: hint(key.hint, key.environment),
            status,
            created_at: key.created.as_seconds(),
            expires_at: key.limits.expires_at.map(Timestamp::as_seconds),
            revoked_at: key.revoked.map(Timestamp::as_seconds),
            previous_secret_expires_at: previous.map(Timestamp::as_seconds),
            requests_per_minute: key.limits.requests_per_minute,
            tokens_per_minute: key.limits.tokens_per_minute,
            spend_limit: key.limits.spend_limit,
            spent: key.limits.spend_limit.map(|_| key.spent),
            models: key.limits.models,
            ip_addresses: key.limits.addresses.map(|addresses| addresses.texts().collect()),
        }
    }

    fn with_secret(&self, key: KeyDetails, secret: &SecretString) -> ApiKeyWithSecret {
        ApiKeyWithSecret {
            key: self.key_shown(key),
            secret: secret.expose_secret().to_owned(),
        }
    }
}

/// Of keys that were made before hints were kept, no more is known than where they count.
fn hint(known: String, environment: Environment) -> String {
    if known.is_empty() {
        return format!("{}…", environment.key_prefix());
    }
    known
}

fn checked_label(label: String) -> Result<String, ApiError> {
    if label.chars().count() <= LONGEST_LABEL && !label.chars().any(char::is_control) {
        return Ok(label);
    }
    let message = format!("label must have at most {LONGEST_LABEL} characters, and no control characters");
    Err(invalid("label", message))
}

fn checked_expiry(seconds: i64, now: Timestamp) -> Result<Timestamp, ApiError> {
    let end = Timestamp::from_millis(seconds.clamp(0, LATEST) * 1000);
    if end > now && seconds <= LATEST {
        return Ok(end);
    }
    let message = "expires_at must be a time to come, in seconds since the Unix epoch";
    Err(invalid("expires_at", message))
}

fn checked_spend_limit(limit: Credits) -> Result<Credits, ApiError> {
    if limit >= Credits::ZERO {
        return Ok(limit);
    }
    Err(invalid("spend_limit", "spend_limit must not be negative"))
}

/// Names are not looked up: a model may come and go, and the key stays.
fn checked_models(mut models: Vec<String>) -> Result<Vec<String>, ApiError> {
    check_count("models", models.len())?;
    let is_bad = |name: &String| name.is_empty() || name.len() > LONGEST_MODEL || name.chars().any(char::is_control);
    if let Some(index) = models.iter().position(is_bad) {
        let message = format!("models[{index}] must be the name of a model");
        return Err(invalid(format!("models[{index}]"), message));
    }
    models.sort_unstable();
    models.dedup();
    Ok(models)
}

fn checked_addresses(addresses: Vec<String>) -> Result<Networks, ApiError> {
    check_count("ip_addresses", addresses.len())?;
    Networks::parse(&addresses).map_err(|error| {
        let param = format!("ip_addresses[{}]", error.index);
        invalid(param.clone(), format!("{param}: {error}"))
    })
}

/// An empty list would allow nothing, which nobody means; `null` allows all.
fn check_count(field: &str, count: usize) -> Result<(), ApiError> {
    if (1..=MOST_LISTED).contains(&count) {
        return Ok(());
    }
    let message = format!("{field} must have 1 to {MOST_LISTED} entries; leave it out, or null, to allow all");
    Err(invalid(field, message))
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(field.into())
}

fn revoked() -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        "this API key was revoked, for good: make a new one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_in_time_to_come() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(checked_expiry(1_800_000_001, now).unwrap().as_seconds(), 1_800_000_001);
        for bad in [i64::MIN, -1, 0, 1_800_000_000, LATEST + 1, i64::MAX] {
            assert_eq!(
                checked_expiry(bad, now).unwrap_err().param.as_deref(),
                Some("expires_at"),
                "{bad}"
            );
        }
    }

    #[test]
    fn lists_are_checked() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(checked_models(texts(&["b", "a", "b"])).unwrap(), ["a", "b"]);
        for (bad, param) in [
            (texts(&[]), "models"),
            (vec!["m".into(); MOST_LISTED + 1], "models"),
            (texts(&["a", ""]), "models[1]"),
            (texts(&["a\u{0}"]), "models[0]"),
            (vec!["m".repeat(LONGEST_MODEL + 1)], "models[0]"),
        ] {
            assert_eq!(checked_models(bad).unwrap_err().param.as_deref(), Some(param));
        }
        let addresses = checked_addresses(texts(&["10.0.0.1", "fd00::/8"])).unwrap();
        assert!(addresses.contain("fd12::1".parse().unwrap()));
        let error = checked_addresses(texts(&["10.0.0.1", "everywhere"])).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("ip_addresses[1]"));
        assert!(checked_addresses(Vec::new()).is_err());
    }
}

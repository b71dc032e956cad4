//! Credits that an administrator gives.

use async_trait::async_trait;
use resultity_core::api::gate::{CreditGrant, CreditGranted, GrantApi};
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use secrecy::SecretString;

use super::credits::{checked_key, key_conflict};
use super::{GateSession, reason};
use crate::session::hash_key;
use crate::store::{Grant, Granted};

/// The most that is granted at once: a mistyped amount should not upset the books.
const MAX_GRANT: Credits = Credits::from_whole(1_000_000_000);

#[async_trait]
impl GrantApi for GateSession {
    async fn grant_credits(&self, grant: CreditGrant) -> Result<CreditGranted, ApiError> {
        let actor = self.administrator()?;
        let invalid = |param: &str, message: String| ApiError::new(ErrorCode::InvalidValue, message).with_param(param);
        if grant.credits <= Credits::ZERO || grant.credits > MAX_GRANT {
            return Err(invalid(
                "credits",
                format!("credits must be more than 0 and at most {MAX_GRANT}"),
            ));
        }
        let namespace = match (grant.api_key, grant.namespace) {
            (Some(key), None) => {
                let now = self.gate.clock.now();
                let record = self.gate.keys.record(hash_key(&SecretString::from(key)), now).await?;
                record
                    .filter(|record| self.sees(record.environment))
                    .ok_or_else(|| {
                        ApiError::new(ErrorCode::NotFound, "there is no such API key").with_param("api_key")
                    })?
                    .namespace
            }
            (None, Some(namespace)) => namespace,
            _ => return Err(invalid("api_key", "name either api_key or namespace".into())),
        };
        self.funds_if_seen(None, namespace, None)
            .await
            .map_err(|error| error.with_param("namespace"))?;
        let why = match reason::optional(grant.reason.as_deref())? {
            why if why.is_empty() => "granted by an administrator".to_owned(),
            why => why,
        };
        // Each administrator's keys are their own.
        let idempotency_key = match grant.idempotency_key {
            Some(key) => format!("admin:{actor}:{}", checked_key(key)?),
            None => format!("admin:{}", JobId::new(&*self.gate.clock, &*self.gate.entropy)),
        };
        let audit = self.audit(actor, "credits.grant", format!("namespace:{namespace}"), why.clone());
        let store_grant = Grant {
            idempotency_key,
            namespace,
            amount: grant.credits,
            reason: why,
            now: self.gate.clock.now(),
        };
        match self.gate.store.grant_audited(store_grant, audit).await {
            Ok(Granted::Balance(balance)) => {
                tracing::info!(namespace.id = %namespace, credits = %grant.credits, "credits granted");
                Ok(CreditGranted {
                    namespace,
                    granted: grant.credits,
                    balance,
                })
            }
            Ok(Granted::UnknownNamespace) => {
                Err(ApiError::new(ErrorCode::NotFound, "there is no such namespace").with_param("namespace"))
            }
            Ok(Granted::Conflict) => Err(key_conflict()),
            Err(error) => {
                tracing::error!(%error, "credits could not be granted");
                Err(ApiError::new(
                    ErrorCode::Internal,
                    "the credits could not be granted; nothing was changed",
                ))
            }
        }
    }
}

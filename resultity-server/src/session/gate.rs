//! The Gate API for an administrator.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::api::gate::{CreditGrant, CreditGranted, GrantApi};
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use secrecy::SecretString;

use crate::flow::Flow;
use crate::session::{Keys, hash_key};
use crate::store::{Grant, Granted};

/// The most that is granted at once: a mistyped amount should not upset the books.
const MAX_GRANT: Credits = Credits::from_whole(1_000_000_000);

/// An administrator's session.
#[derive(Debug, Clone)]
pub struct AdminSession {
    flow: Arc<Flow>,
    keys: Keys,
}

impl AdminSession {
    /// A session of an administrator, who was checked before.
    pub fn new(flow: Arc<Flow>, keys: Keys) -> Self {
        Self { flow, keys }
    }
}

#[async_trait]
impl GrantApi for AdminSession {
    async fn grant_credits(&self, grant: CreditGrant) -> Result<CreditGranted, ApiError> {
        let invalid = |param: &str, message: String| ApiError::new(ErrorCode::InvalidValue, message).with_param(param);
        if grant.credits <= Credits::ZERO || grant.credits > MAX_GRANT {
            return Err(invalid(
                "credits",
                format!("credits must be more than 0 and at most {MAX_GRANT}"),
            ));
        }
        let namespace = match (grant.api_key, grant.namespace) {
            (Some(key), None) => {
                let now = self.flow.clock.now();
                let record = self.keys.record(hash_key(&SecretString::from(key)), now).await?;
                record
                    .filter(|record| record.environment == self.flow.environment)
                    .ok_or_else(|| {
                        ApiError::new(ErrorCode::NotFound, "there is no such API key").with_param("api_key")
                    })?
                    .namespace
            }
            (None, Some(namespace)) => namespace,
            _ => return Err(invalid("api_key", "name either api_key or namespace".into())),
        };
        let store_grant = Grant {
            idempotency_key: format!("admin:{}", JobId::new(&*self.flow.clock, &*self.flow.entropy)),
            namespace,
            amount: grant.credits,
            reason: "granted by an administrator".into(),
            now: self.flow.clock.now(),
        };
        match self.flow.store.grant(store_grant).await {
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

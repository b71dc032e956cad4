//! Credits that were paid for: told by a payment provider, signed as Standard Webhooks has it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credits::{self, Credits};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::NamespaceId;
use crate::webhook::SigningSecret;

use super::CreditsReceived;

/// `POST /gate/v1/payments`: somebody has paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Payment {
    /// Names it at the provider: 1 to 255 printable characters. It counts once.
    pub payment_id: String,
    /// Who gets the credits.
    pub namespace: NamespaceId,
    /// The environment of that namespace.
    pub environment: Environment,
    /// How many credits; more than 0.
    #[serde(with = "credits::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub amount: Credits,
}

impl Payment {
    /// So much for this namespace.
    pub fn new(
        payment_id: impl Into<String>,
        namespace: NamespaceId,
        environment: Environment,
        amount: Credits,
    ) -> Self {
        Self {
            payment_id: payment_id.into(),
            namespace,
            environment,
            amount,
        }
    }

    /// The message of a provider that shares this secret with the network.
    ///
    /// # Errors
    /// It cannot be written as JSON, which does not happen.
    pub fn sign(&self, id: &str, secret: &SigningSecret, now: Timestamp) -> Result<SignedPayment, serde_json::Error> {
        let body = serde_json::to_vec(self)?;
        Ok(SignedPayment {
            id: id.to_owned(),
            timestamp: now.as_seconds().to_string(),
            signature: secret.sign(id, now.as_seconds(), &body),
            body,
        })
    }
}

/// A message of a payment provider: three headers and the bytes of a [`Payment`].
#[derive(Clone, PartialEq, Eq)]
pub struct SignedPayment {
    /// The header `webhook-id`.
    pub id: String,
    /// The header `webhook-timestamp`: seconds since the Unix epoch.
    pub timestamp: String,
    /// The header `webhook-signature`.
    pub signature: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl fmt::Debug for SignedPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPayment")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish_non_exhaustive()
    }
}

/// What payment providers tell.
#[async_trait]
pub trait PaymentsApi: Send + Sync {
    /// Credits what was paid. The same payment again gives the first outcome; under the same id another payment is a
    /// conflict.
    async fn receive_payment(&self, payment: SignedPayment) -> Result<CreditsReceived, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SeededEntropy};
    use crate::webhook::{SIGNATURE_HEADER, TIMESTAMP_HEADER, Verifier};
    use std::sync::Arc;

    #[test]
    fn a_signed_payment_is_believed() {
        let secret = SigningSecret::generate(&SeededEntropy::new(1));
        let now = Timestamp::from_millis(1_700_000_000_000);
        let namespace = NamespaceId::from_uuid(uuid::Uuid::nil());
        let payment = Payment::new("pay_1", namespace, Environment::Mainnet, Credits::from_whole(5));
        let signed = payment.sign("msg_1", &secret, now).unwrap();
        let verifier = Verifier::new(&secret.expose())
            .unwrap()
            .with_clock(Arc::new(ManualClock::new(now)));
        let header = |name: &'static str| match name {
            TIMESTAMP_HEADER => Some(signed.timestamp.as_str()),
            SIGNATURE_HEADER => Some(signed.signature.as_str()),
            _ => Some(signed.id.as_str()),
        };
        assert_eq!(verifier.verify(&signed.body, header), Ok(()));
        assert_eq!(
            std::str::from_utf8(&signed.body).unwrap(),
            r#"{"payment_id":"pay_1","namespace":"00000000-0000-0000-0000-000000000000","environment":"mainnet","amount":"5"}"#
        );
        assert!(!format!("{signed:?}").contains(&signed.signature));
    }
}

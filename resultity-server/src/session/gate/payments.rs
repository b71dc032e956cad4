//! Credits that were paid for: told by the payment provider.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::api::gate::{CreditsReceived, Payment, PaymentsApi, SignedPayment};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::webhook::{ID_HEADER, InvalidWebhook, SIGNATURE_HEADER, TIMESTAMP_HEADER, Verifier};

use super::credits::{check_amount, invalid};
use super::{GateDoor, failed, not_found};
use crate::json;
use crate::store::funds::{NewPayment, PaymentReceived};

#[async_trait]
impl PaymentsApi for GateDoor {
    async fn receive_payment(&self, payment: SignedPayment) -> Result<CreditsReceived, ApiError> {
        let Some(secret) = &self.gate.options.payment_secret else {
            let message = "this network takes no payments: its operator has to set a secret for them";
            return Err(ApiError::new(ErrorCode::NotImplemented, message));
        };
        let verifier = Verifier::of(secret.clone()).with_clock(Arc::clone(&self.gate.clock));
        // Before anything is read of the body.
        verifier
            .verify(&payment.body, |name| said(&payment, name))
            .map_err(|error| refused(&error))?;
        let payment: Payment = json::parse(&payment.body)?;
        check_amount("amount", payment.amount)?;
        let id_is_good = |byte: u8| byte.is_ascii_graphic();
        if !(1..=255).contains(&payment.payment_id.len()) || !payment.payment_id.bytes().all(id_is_good) {
            let message = "payment_id must have 1 to 255 printable ASCII characters without spaces";
            return Err(invalid("payment_id", message));
        }
        let (namespace, amount) = (payment.namespace, payment.amount);
        let received = self
            .gate
            .store
            .receive_payment(NewPayment {
                id: payment.payment_id,
                environment: payment.environment,
                namespace,
                amount,
                now: self.gate.clock.now(),
            })
            .await
            .map_err(failed)?;
        match received {
            PaymentReceived::Balance(balance) => {
                tracing::info!(namespace.id = %namespace, credits = %amount, "payment credited");
                Ok(CreditsReceived {
                    namespace,
                    received: amount,
                    balance,
                })
            }
            PaymentReceived::UnknownNamespace => {
                tracing::warn!(namespace.id = %namespace, credits = %amount, "a payment names no namespace that is there");
                Err(not_found("namespace").with_param("namespace"))
            }
            PaymentReceived::Conflict => {
                let message = "another payment had this payment_id: nothing was credited";
                Err(ApiError::new(ErrorCode::Conflict, message).with_param("payment_id"))
            }
        }
    }
}

fn said<'a>(payment: &'a SignedPayment, name: &str) -> Option<&'a str> {
    let value = match name {
        ID_HEADER => &payment.id,
        TIMESTAMP_HEADER => &payment.timestamp,
        SIGNATURE_HEADER => &payment.signature,
        _ => return None,
    };
    (!value.is_empty()).then_some(value.as_str())
}

fn refused(error: &InvalidWebhook) -> ApiError {
    tracing::warn!(%error, "a payment was refused");
    let message = format!("the payment is not to be believed: {error}");
    ApiError::new(ErrorCode::InvalidCredentials, message)
}

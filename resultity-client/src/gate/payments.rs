//! What a payment provider tells.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use resultity_core::api::gate::{CreditsReceived, PaymentsApi, SignedPayment};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};

use super::GateClient;

#[async_trait]
impl PaymentsApi for GateClient {
    async fn receive_payment(&self, payment: SignedPayment) -> Result<CreditsReceived, ApiError> {
        let mut call = self.transport.post_nothing(&["payments"]);
        call.headers = headers(&payment)?;
        // The bytes as they were signed.
        call.body = Some(Bytes::from(payment.body));
        Ok(self.transport.json(call.repeatable()).await?.body)
    }
}

fn headers(payment: &SignedPayment) -> Result<HeaderMap, ApiError> {
    let said = [
        (ID_HEADER, &payment.id),
        (TIMESTAMP_HEADER, &payment.timestamp),
        (SIGNATURE_HEADER, &payment.signature),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        let value = HeaderValue::from_str(value).map_err(|_| {
            ApiError::new(ErrorCode::InvalidValue, format!("{name} cannot be sent as a header")).with_param(name)
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

//! `/gate/v1/payments`.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use resultity_core::api::gate::{PaymentsApi, SignedPayment};
use resultity_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};

use super::{Door, encode};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::table::Table;

pub(super) fn routes(table: Table) -> Table {
    table.post("/gate/v1/payments", receive)
}

async fn receive(Door(door): Door, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let header = |name| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        // None of two: whoever stands in front may have looked at the other one.
        value.filter(|_| values.next().is_none()).unwrap_or_default().to_owned()
    };
    let payment = SignedPayment {
        id: header(ID_HEADER),
        timestamp: header(TIMESTAMP_HEADER),
        signature: header(SIGNATURE_HEADER),
        body: body::text(&headers, body).await?.to_vec(),
    };
    Ok(encode(&door.receive_payment(payment).await?))
}

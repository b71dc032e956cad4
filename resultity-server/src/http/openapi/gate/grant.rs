//! `/gate/v1/admin/credits`.

use resultity_core::api::gate::{CreditGrant, CreditGranted};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::Post;
use utoipa::openapi::schema::Type;

use super::credits::KEY_ABOUT;
use crate::http::openapi::operation::{Access, Operation};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Post,
            "/gate/v1/admin/credits",
            "Gate: administration",
            "grantCredits",
            "Give credits to a namespace",
        )
        .access(Access::Administrator)
        .header("Idempotency-Key", Type::String, KEY_ABOUT)
        .takes::<CreditGrant>()
        .gives::<CreditGranted>("What was granted.")
        .of_one()
        .fails([ErrorCode::Conflict]),
    ]
}

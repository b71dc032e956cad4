//! `/gate/v1/admin/credits`.

use resultity_core::api::gate::{CreditGrant, CreditGranted};
use utoipa::openapi::path::HttpMethod::Post;

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
        .takes::<CreditGrant>()
        .gives::<CreditGranted>("What was granted.")
        .of_one(),
    ]
}

//! `/gate/v1/account/totp` and `/gate/v1/account/recovery-codes`.

use resultity_core::api::gate::{ConfirmTotp, RecoveryCodes, SecondFactor, SecondFactorStatus, TotpSetup};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: account";
const PATH: &str = "/gate/v1/account/totp";

pub(super) fn operations() -> Vec<Operation> {
    let account = |operation: Operation| operation.access(Access::SignedIn);
    vec![
        account(Operation::new(
            Get,
            PATH,
            TAG,
            "secondFactor",
            "Whether signing in asks for a code",
        ))
        .gives::<SecondFactorStatus>("The second factor."),
        account(Operation::new(
            Post,
            PATH,
            TAG,
            "setUpTotp",
            "Begin to set a second factor",
        ))
        .about("The secret is shown this once. It counts from the moment on at which a code of it is confirmed.")
        .gives::<TotpSetup>("The secret.")
        .fails([ErrorCode::Conflict, ErrorCode::Internal]),
        account(Operation::new(
            Post,
            "/gate/v1/account/totp/confirm",
            TAG,
            "confirmTotp",
            "Set the second factor",
        ))
        .takes::<ConfirmTotp>()
        .gives::<RecoveryCodes>("The recovery codes, shown this once.")
        .fails([ErrorCode::InvalidCredentials, ErrorCode::Conflict, ErrorCode::Internal]),
        account(Operation::new(
            Delete,
            PATH,
            TAG,
            "removeTotp",
            "Remove the second factor",
        ))
        .about("Needs a code of it, or a recovery code.")
        .takes::<SecondFactor>()
        .gives::<SecondFactorStatus>("It is removed.")
        .fails([ErrorCode::InvalidCredentials, ErrorCode::Conflict, ErrorCode::Internal]),
        account(Operation::new(
            Post,
            "/gate/v1/account/recovery-codes",
            TAG,
            "renewRecoveryCodes",
            "Replace the recovery codes",
        ))
        .about("Needs a code of the second factor, or a recovery code.")
        .takes::<SecondFactor>()
        .gives::<RecoveryCodes>("The new recovery codes, shown this once.")
        .fails([ErrorCode::InvalidCredentials, ErrorCode::Conflict, ErrorCode::Internal]),
    ]
}

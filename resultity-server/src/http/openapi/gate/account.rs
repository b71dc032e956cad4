//! The caller's account.

use resultity_core::api::gate::{
    Account, ChangeEmail, ChangePassword, CodeSent, ConfirmEmail, SignInEvent, UpdateAccount,
};
use resultity_core::api::page::PageQuery;
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: account";

pub(super) fn operations() -> Vec<Operation> {
    let secrets = [ErrorCode::InvalidCredentials, ErrorCode::NoCapacity];
    let operations = [
        Operation::new(Get, "/gate/v1/account", TAG, "getAccount", "The account").gives::<Account>("The account."),
        Operation::new(
            Post,
            "/gate/v1/account",
            TAG,
            "updateAccount",
            "Change the account's name",
        )
        .takes::<UpdateAccount>()
        .gives::<Account>("The account."),
        Operation::new(
            Post,
            "/gate/v1/account/password",
            TAG,
            "changePassword",
            "Change the password",
        )
        .about("All other sessions end.")
        .takes::<ChangePassword>()
        .gives_nothing("204", "It is changed.")
        .fails(secrets)
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Post,
            "/gate/v1/account/email",
            TAG,
            "changeEmail",
            "Change the address, or add one",
        )
        .about(
            "A code is mailed to the new address; to one that has an account, the mail says so instead. The answer is \
                 the same either way.",
        )
        .takes::<ChangeEmail>()
        .gives::<CodeSent>("What to give back with the code.")
        .status("202")
        .fails(secrets)
        .fails([ErrorCode::NotImplemented]),
        Operation::new(
            Delete,
            "/gate/v1/account/email",
            TAG,
            "removeEmail",
            "Remove address and password",
        )
        .about("Refused where nothing else is left to sign in with.")
        .gives::<Account>("The account.")
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Post,
            "/gate/v1/account/email/confirm",
            TAG,
            "confirmEmail",
            "Give the code back",
        )
        .takes::<ConfirmEmail>()
        .gives::<Account>("The account."),
        Operation::new(
            Get,
            "/gate/v1/account/sign-ins",
            TAG,
            "listSignIns",
            "When somebody signed in, or tried to",
        )
        .query::<PageQuery>()
        .gives_page::<SignInEvent>("A page of sign-ins and attempts; the last 100 of each are kept."),
    ];
    let operations = operations.into_iter().map(|operation| {
        let operation = operation.access(Access::SignedIn);
        operation.of_one().fails([ErrorCode::Internal])
    });
    operations.collect()
}

//! Signing up and in with e-mail and password.

use resultity_core::api::gate::{CodeSent, ConfirmReset, ConfirmSignUp, ResetPassword, SignIn, SignUp, SignedIn};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::Post;

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: signing in";

fn door(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Post, path, TAG, id, summary)
        .access(Access::Anyone)
        .fails([ErrorCode::RateLimitExceeded, ErrorCode::NoCapacity, ErrorCode::Internal])
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        door(
            "/gate/v1/sign-up",
            "signUp",
            "Ask for an account with e-mail and password",
        )
        .about(
            "A code is mailed; to an address that has an account, the mail says so instead. The answer is the same \
                 either way.",
        )
        .takes::<SignUp>()
        .gives::<CodeSent>("What to give back with the code.")
        .status("202")
        .fails([ErrorCode::PermissionDenied, ErrorCode::NotImplemented]),
        door(
            "/gate/v1/sign-up/confirm",
            "confirmSignUp",
            "Give the code back: the account is made, and signed in",
        )
        .takes::<ConfirmSignUp>()
        .gives::<SignedIn>("The session. With `cookie`, its token is in the cookie `resultity_session`.")
        .fails([ErrorCode::PermissionDenied]),
        door("/gate/v1/sign-in", "signIn", "Sign in with e-mail and password")
            .about(
                "`second_factor_required` (401) says that the password was right: ask again with the second factor. \
                 Attempts are counted by account and by address.",
            )
            .takes::<SignIn>()
            .gives::<SignedIn>("The session. With `cookie`, its token is in the cookie `resultity_session`.")
            .fails([
                ErrorCode::InvalidCredentials,
                ErrorCode::SecondFactorRequired,
                ErrorCode::PermissionDenied,
            ]),
        door(
            "/gate/v1/password/reset",
            "resetPassword",
            "Ask for a code to replace a forgotten password",
        )
        .about("A code is mailed if the address has an account. The answer is the same either way.")
        .takes::<ResetPassword>()
        .gives::<CodeSent>("What to give back with the code.")
        .status("202")
        .fails([ErrorCode::NotImplemented]),
        door(
            "/gate/v1/password/reset/confirm",
            "confirmPasswordReset",
            "Replace the password",
        )
        .about("All sessions and access tokens of the account end; its second factor stays.")
        .takes::<ConfirmReset>()
        .gives_nothing("204", "It is replaced."),
    ]
}

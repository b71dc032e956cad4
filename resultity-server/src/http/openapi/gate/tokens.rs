//! Access tokens.

use resultity_core::api::gate::{AccessToken, CreateToken, TokenWithSecret};
use resultity_core::api::page::PageQuery;
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: account";

pub(super) fn operations() -> Vec<Operation> {
    let operations = [
        Operation::new(Get, "/gate/v1/tokens", TAG, "listTokens", "The account's access tokens")
            .query::<PageQuery>()
            .gives_page::<AccessToken>("A page of access tokens."),
        Operation::new(Post, "/gate/v1/tokens", TAG, "createToken", "Make an access token")
            .about("For sessions: an access token makes no other.")
            .takes::<CreateToken>()
            .gives::<TokenWithSecret>("The token with its secret, which is shown this once.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(
            Delete,
            "/gate/v1/tokens/{token}",
            TAG,
            "deleteToken",
            "End an access token",
        )
        .gives_nothing("204", "It has ended.")
        .of_one(),
    ];
    let operations = operations.into_iter().map(|operation| {
        let operation = operation.access(Access::SignedIn);
        operation.fails([ErrorCode::Internal])
    });
    operations.collect()
}

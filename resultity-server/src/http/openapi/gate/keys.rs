//! API keys.

use resultity_core::api::gate::{ApiKey, ApiKeyWithSecret, CreateKey, InEnvironment, KeyQuery, RotateKey, UpdateKey};
use resultity_core::api::usage::{UsageQuery, UsageReport};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};
use utoipa::openapi::schema::Type;

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: namespaces and keys";
const ONE: &str = "/gate/v1/keys/{key}";

pub(super) fn operations() -> Vec<Operation> {
    let operations = [
        Operation::new(
            Get,
            "/gate/v1/keys",
            TAG,
            "listKeys",
            "The API keys of the account's namespaces",
        )
        .query::<KeyQuery>()
        .gives_page::<ApiKey>("A page of keys, without their secrets.")
        .of_one(),
        Operation::new(Post, "/gate/v1/keys", TAG, "createKey", "Make an API key")
            .takes::<CreateKey>()
            .gives::<ApiKeyWithSecret>("The key with its secret, which is shown this once.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(Get, ONE, TAG, "retrieveKey", "An API key")
            .query::<InEnvironment>()
            .gives::<ApiKey>("The key, without its secret.")
            .of_one(),
        Operation::new(Post, ONE, TAG, "updateKey", "Change an API key")
            .about("What is named is changed, the rest stays; `null` takes a limit away. It counts at once.")
            .query::<InEnvironment>()
            .takes::<UpdateKey>()
            .gives::<ApiKey>("The key as it is now.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(Delete, ONE, TAG, "revokeKey", "Revoke an API key, for good")
            .about("It counts at once: nothing new is accepted. What was accepted before ends as it would.")
            .query::<InEnvironment>()
            .gives::<ApiKey>("The key as it is now.")
            .of_one(),
        Operation::new(
            Post,
            "/gate/v1/keys/{key}/rotate",
            TAG,
            "rotateKey",
            "Give an API key a new secret",
        )
        .about("Until the overlap is over, the secret before works too. Usage and limits go on.")
        .query::<InEnvironment>()
        .takes::<RotateKey>()
        .gives::<ApiKeyWithSecret>("The key with its new secret, which is shown this once.")
        .of_one()
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Get,
            "/gate/v1/keys/{key}/usage",
            TAG,
            "keyUsage",
            "What was used with an API key",
        )
        .query::<UsageQuery>()
        .query::<InEnvironment>()
        .query_field("format", Type::String, "`json`, or `csv` for a table.")
        .gives::<UsageReport>("The report.")
        .or_text("text/csv")
        .of_one(),
    ];
    let operations = operations.into_iter().map(|operation| {
        let operation = operation.access(Access::SignedIn);
        operation.fails([ErrorCode::Internal])
    });
    operations.collect()
}

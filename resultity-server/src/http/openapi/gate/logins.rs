//! Sessions.

use resultity_core::api::gate::{Login, LoginsEnded, Session, SwitchEnvironment};
use resultity_core::api::page::PageQuery;
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: signing in";

pub(super) fn operations() -> Vec<Operation> {
    let operations = [
        Operation::new(
            Get,
            "/gate/v1/session",
            TAG,
            "getSession",
            "Who asks, and what they see",
        )
        .gives::<Session>("The session."),
        Operation::new(
            Post,
            "/gate/v1/session",
            TAG,
            "switchEnvironment",
            "Look at another environment",
        )
        .takes::<SwitchEnvironment>()
        .gives::<Session>("The session.")
        .of_one(),
        Operation::new(
            Delete,
            "/gate/v1/session",
            TAG,
            "signOut",
            "End the session, or the access token, that asks",
        )
        .gives_nothing("204", "It has ended."),
        Operation::new(
            Get,
            "/gate/v1/sessions",
            TAG,
            "listSessions",
            "Where the account is signed in",
        )
        .query::<PageQuery>()
        .gives_page::<Login>("A page of sessions."),
        Operation::new(
            Delete,
            "/gate/v1/sessions",
            TAG,
            "endOtherSessions",
            "End all sessions but the one that asks",
        )
        .gives::<LoginsEnded>("How many have ended."),
        Operation::new(
            Delete,
            "/gate/v1/sessions/{session}",
            TAG,
            "endSession",
            "End a session",
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

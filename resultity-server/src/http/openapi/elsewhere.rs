//! The operations of all surfaces but the Cloud and the Gate.

use resultity_core::api::gate::InEnvironment;
use resultity_core::error::ErrorCode;
use resultity_core::signing::KeyChain;
use resultity_core::wire::{
    DeliverResults, DeliveredResults, JoinAnswer, JoinRequest, NodeStatus, Ping, RegisterNode, ReportHeartbeat,
};
use utoipa::openapi::path::HttpMethod::{Get, Post};

use super::operation::{Access, Operation};

const IO: &str = "IO";
const OPERATIONS: &str = "Operations";

pub(super) fn operations() -> Vec<Operation> {
    let anyone = |operation: Operation| operation.access(Access::Anyone);
    vec![
        anyone(Operation::new(Get, "/io/v1/ws", IO, "nodeLink", "The link of a node"))
            .about("A WebSocket of the network's own subprotocol.")
            .gives_nothing("101", "The link begins.")
            .fails([
                ErrorCode::InvalidValue,
                ErrorCode::NoCapacity,
                ErrorCode::RateLimitExceeded,
            ]),
        anyone(Operation::new(
            Get,
            "/io/v1/config",
            IO,
            "signedSnapshot",
            "The snapshot in force, signed",
        ))
        .about("Its `ETag` is its digest; with `If-None-Match` the answer may be 304.")
        .gives_text("application/json", "The signed snapshot."),
        anyone(Operation::new(
            Get,
            "/io/v1/keys",
            IO,
            "networkKeys",
            "The chain of the network's keys",
        ))
        .about("Each key names the next: whoever trusts one of them can follow to the one that signs now.")
        .query::<InEnvironment>()
        .gives::<KeyChain>("All keys, from the first.")
        .of_one(),
        anyone(Operation::new(Get, "/io/v1/ping", IO, "ping", "The server's time"))
            .query::<InEnvironment>()
            .gives::<Ping>("Milliseconds since the Unix epoch, and whose network it is."),
        anyone(Operation::new(Post, "/io/v1/join", IO, "joinNode", "Binds a node by a code"))
            .about("Signed by the node: it agrees to belong to the account that made the code. What `resultity-node join` calls.")
            .takes::<JoinRequest>()
            .gives::<JoinAnswer>("It is bound, and gets work at once if it is connected.")
            .fails([
                ErrorCode::InvalidValue,
                ErrorCode::PermissionDenied,
                ErrorCode::NotFound,
                ErrorCode::Conflict,
                ErrorCode::RateLimitExceeded,
            ]),
        anyone(Operation::new(
            Post,
            "/io/v1/nodes",
            IO,
            "knock",
            "A session for a node that has no socket",
        ))
        .about("Without anything it gives a challenge; with the hello that answers one, a welcome. Over it a node stays known and keeps its leases; it gets no new jobs.")
        .query::<InEnvironment>()
        .takes::<RegisterNode>()
        .gives_text("application/json", "A challenge or a welcome, under its name.")
        .fails([
            ErrorCode::InvalidValue,
            ErrorCode::PermissionDenied,
            ErrorCode::Conflict,
            ErrorCode::NoCapacity,
            ErrorCode::RateLimitExceeded,
        ]),
        anyone(Operation::new(
            Post,
            "/io/v1/heartbeat",
            IO,
            "reportHeartbeat",
            "A node without a socket is alive",
        ))
        .query::<InEnvironment>()
        .takes::<ReportHeartbeat>()
        .gives_text("application/json", "The answer to a heartbeat, as over the socket; with `acks` of what it names and is dealt with.")
        .fails([
            ErrorCode::InvalidValue,
            ErrorCode::PermissionDenied,
            ErrorCode::NotFound,
            ErrorCode::NoCapacity,
            ErrorCode::RateLimitExceeded,
        ]),
        anyone(Operation::new(
            Post,
            "/io/v1/results",
            IO,
            "deliverResults",
            "Ends of jobs, of a node without a socket",
        ))
        .about("With the headers `x-resultity-node`, `x-resultity-issued-at`, `x-resultity-body-hash` and `x-resultity-signature`: the node signs the body with its key. What is said twice gets the same answer.")
        .query::<InEnvironment>()
        .takes::<DeliverResults>()
        .gives::<DeliveredResults>("Those that were dealt with.")
        .fails([
            ErrorCode::InvalidValue,
            ErrorCode::PermissionDenied,
            ErrorCode::PayloadTooLarge,
            ErrorCode::NoCapacity,
            ErrorCode::RateLimitExceeded,
        ]),
        anyone(Operation::new(
            Get,
            "/io/v1/nodes/{id}",
            IO,
            "nodeStanding",
            "How a node stands, for the node itself",
        ))
        .about("With the headers `x-resultity-issued-at` and `x-resultity-signature`: the node signs the request with its key.")
        .query::<InEnvironment>()
        .gives::<NodeStatus>("Where it stands, and why it gets no work.")
        .fails([ErrorCode::InvalidValue, ErrorCode::PermissionDenied])
        .of_one(),
        anyone(Operation::new(
            Get,
            "/healthz",
            OPERATIONS,
            "health",
            "Whether the process runs",
        ))
        .gives_text("text/plain", "It does."),
        anyone(Operation::new(
            Get,
            "/readyz",
            OPERATIONS,
            "readiness",
            "Whether it takes work",
        ))
        .gives_text("text/plain", "It does; else the status is 503."),
        anyone(Operation::new(Get, "/metrics", OPERATIONS, "metrics", "Counters"))
            .about("In Prometheus' text format. `serve` has them on a listener of their own.")
            .gives_text("text/plain", "The counters."),
        anyone(Operation::new(
            Get,
            "/openapi.json",
            OPERATIONS,
            "openapi",
            "This document",
        ))
        .gives_text("application/json", "An OpenAPI document."),
    ]
}

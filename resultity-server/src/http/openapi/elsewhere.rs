//! The operations of all surfaces but the Cloud and the Gate.

use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::Get;

use super::operation::{Access, Operation};

const IO: &str = "IO";
const OPERATIONS: &str = "Operations";

pub(super) fn operations() -> Vec<Operation> {
    let anyone = |operation: Operation| operation.access(Access::Anyone);
    vec![
        anyone(Operation::new(Get, "/io/v1/ws", IO, "nodeLink", "The link of a node"))
            .about("A WebSocket of the network's own subprotocol.")
            .gives_nothing("101", "The link begins.")
            .fails([ErrorCode::InvalidValue, ErrorCode::NoCapacity]),
        anyone(Operation::new(
            Get,
            "/io/v1/config",
            IO,
            "signedSnapshot",
            "The snapshot in force, signed",
        ))
        .about("Its `ETag` is its digest; with `If-None-Match` the answer may be 304.")
        .gives_text("application/json", "The signed snapshot."),
        anyone(Operation::new(Get, "/io/v1/ping", IO, "ping", "The server's time")).gives_text(
            "application/json",
            "Milliseconds since the Unix epoch, and the environment.",
        ),
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

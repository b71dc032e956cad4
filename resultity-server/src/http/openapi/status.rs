//! The operations of the Status API.

use resultity_core::api::gate::InEnvironment;
use resultity_core::api::status::{
    ConfigStatus, Epochs, Models, NetworkStatus, Pricing, Regions, Seen, StatusEvent, Versions,
};
use resultity_core::error::ErrorCode;
use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod::Get;

use super::operation::{Access, Operation};

const ABOUT: &str = "From a cache that is made anew every second; `age_ms` says how old it is. Its `ETag` stays the same for as long \
    as it says the same: with `If-None-Match` the answer may be 304, without a body.";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        seen::<NetworkStatus>(
            "/status/v1/network",
            "networkStatus",
            "Nodes, load, requests, latency, queue",
        ),
        seen::<Models>("/status/v1/models", "modelStatus", "What is served, and by how much"),
        seen::<Regions>("/status/v1/regions", "regionStatus", "Where nodes say that they are"),
        seen::<Versions>(
            "/status/v1/versions",
            "versionStatus",
            "What nodes have to run, and what they run",
        ),
        seen::<Pricing>("/status/v1/pricing", "pricing", "What models cost"),
        seen::<ConfigStatus>(
            "/status/v1/config",
            "configStatus",
            "The snapshot in force, and those before it",
        ),
        seen::<Epochs>("/status/v1/epochs", "epochs", "Contribution points, by week"),
        operation("/status/v1/events", "statusEvents", "What happens, as it happens")
            .about(
                "Server-sent events: `network` first and whenever its numbers change, `model`, `config`, `epoch`. A \
                 comment every 15 seconds while nothing happens.",
            )
            .fails([ErrorCode::NoCapacity])
            .or_events::<StatusEvent>(),
    ]
}

fn seen<T: ToSchema + 'static>(path: &'static str, id: &'static str, summary: &'static str) -> Operation
where
    Seen<T>: ToSchema,
{
    operation(path, id, summary)
        .about(ABOUT)
        .gives::<Seen<T>>("What was seen.")
        .names::<T>()
}

fn operation(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Get, path, "Status", id, summary)
        .access(Access::Anyone)
        .query::<InEnvironment>()
        .fails([ErrorCode::InvalidValue, ErrorCode::NotFound])
}

//! `/gate/v1/config`, `/gate/v1/admin/snapshots`, `/gate/v1/admin/models`, `/gate/v1/admin/network-key`.

use resultity_core::api::gate::{
    ApproveModel, DeprecateModel, DiffSnapshots, InEnvironment, NetworkKeyRotated, PriceModel, Publication,
    PublishSnapshot, PublishedSnapshot, RollBackSnapshot, RotateNetworkKey, SnapshotDiff, SnapshotQuery,
    SnapshotSummary,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{self, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: configuration";

fn administrator(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, TAG, id, summary).access(Access::Administrator)
}

/// One that publishes.
fn publishing(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    administrator(Post, path, id, summary)
        .query::<InEnvironment>()
        .gives::<Publication>("What is in force now, and what is different.")
        .of_one()
        .fails([ErrorCode::Conflict])
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, "/gate/v1/config", TAG, "getConfig", "The snapshot in force")
            .access(Access::SignedIn)
            .query::<InEnvironment>()
            .gives::<PublishedSnapshot>("The snapshot.")
            .of_one(),
        administrator(
            Get,
            "/gate/v1/admin/snapshots",
            "listSnapshots",
            "All that was ever published",
        )
        .query::<SnapshotQuery>()
        .gives_page::<SnapshotSummary>("A page of snapshots.")
        .of_one(),
        administrator(
            Get,
            "/gate/v1/admin/snapshots/{version}",
            "getSnapshot",
            "One snapshot",
        )
        .query::<InEnvironment>()
        .gives::<PublishedSnapshot>("The snapshot.")
        .of_one(),
        publishing("/gate/v1/admin/snapshots", "publishSnapshot", "Publish a configuration")
            .about(
                "It is in force at once: nodes fetch it by themselves, and what was admitted before is settled by what was in \
                 force then. What is in force already is not published again.",
            )
            .takes::<PublishSnapshot>(),
        administrator(
            Post,
            "/gate/v1/admin/snapshots/diff",
            "diffSnapshots",
            "Compare, and publish nothing",
        )
        .query::<InEnvironment>()
        .takes::<DiffSnapshots>()
        .gives::<SnapshotDiff>("What is different.")
        .of_one(),
        publishing(
            "/gate/v1/admin/snapshots/rollback",
            "rollBackSnapshot",
            "Go back to an earlier version",
        )
        .about("Published as a new version that says the same as that one.")
        .takes::<RollBackSnapshot>(),
        publishing("/gate/v1/admin/models", "approveModel", "Add a model, or replace it by its name")
            .takes::<ApproveModel>(),
        publishing(
            "/gate/v1/admin/models/{model}/deprecate",
            "deprecateModel",
            "End a model, at once or at a time",
        )
        .about("Slashes in the name are written as `%2F`.")
        .takes::<DeprecateModel>(),
        publishing(
            "/gate/v1/admin/models/{model}/price",
            "priceModel",
            "Change a model's price",
        )
        .about("In micro-credits. Slashes in the name are written as `%2F`.")
        .takes::<PriceModel>(),
        administrator(
            Post,
            "/gate/v1/admin/network-key/rotate",
            "rotateNetworkKey",
            "Give the network a new key",
        )
        .about(
            "The key in force names and announces the new one; nodes follow. What is signed stays valid. The key is that of \
             all environments.",
        )
        .takes::<RotateNetworkKey>()
        .gives::<NetworkKeyRotated>("The keys.")
        .fails([ErrorCode::Conflict]),
    ]
}

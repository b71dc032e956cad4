//! `/gate/v1/subclouds` and `/gate/v1/nodes/{node}/subclouds`.

use resultity_core::api::gate::{
    CreateSubcloud, InEnvironment, JoinSubcloud, Subcloud, SubcloudDeleted, SubcloudLeft, SubcloudNode,
    SubcloudNodesQuery, SubcloudQuery, SubcloudWithToken, UpdateSubcloud,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const SUBCLOUDS: &str = "/gate/v1/subclouds";
const SUBCLOUD: &str = "/gate/v1/subclouds/{subcloud}";
const OF_NODE: &str = "/gate/v1/nodes/{node}/subclouds";

fn operation(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, "Gate: Subclouds", id, summary)
        .access(Access::SignedIn)
        .of_one()
        .fails([ErrorCode::PermissionDenied, ErrorCode::Internal])
}

pub(super) fn operations() -> Vec<Operation> {
    of_owner().into_iter().chain(of_nodes()).collect()
}

fn of_owner() -> Vec<Operation> {
    vec![
        operation(Get, SUBCLOUDS, "subclouds", "The account's Subclouds")
            .query::<SubcloudQuery>()
            .gives_page::<Subcloud>("A page of them, in the order of their ids."),
        operation(Post, SUBCLOUDS, "createSubcloud", "Make a Subcloud")
            .about(
                "A group of nodes that jobs can be addressed to: requests with the header `x-resultity-subcloud: NAME` go to \
                 its nodes alone. The nodes of an isolated one take no other jobs.",
            )
            .takes::<CreateSubcloud>()
            .gives::<SubcloudWithToken>("The Subcloud; a closed one with its join token, which is shown this once.")
            .fails([ErrorCode::Conflict]),
        operation(Get, SUBCLOUD, "subcloud", "A Subcloud")
            .about("By its id or name. Whoever has signed in may see it, to join it; its owner sees more.")
            .query::<InEnvironment>()
            .gives::<Subcloud>("The Subcloud."),
        operation(Post, SUBCLOUD, "updateSubcloud", "Change a Subcloud")
            .about("What is named is changed. `isolated` stays as it is while nodes of others are in.")
            .query::<InEnvironment>()
            .takes::<UpdateSubcloud>()
            .gives::<Subcloud>("The Subcloud as it is now.")
            .fails([ErrorCode::Conflict]),
        operation(Delete, SUBCLOUD, "deleteSubcloud", "Delete a Subcloud")
            .about("Its nodes go on without it. Jobs that wait for it find no node any more.")
            .query::<InEnvironment>()
            .gives::<SubcloudDeleted>("It is gone."),
        operation(
            Post,
            "/gate/v1/subclouds/{subcloud}/token",
            "rotateSubcloudToken",
            "Make a new join token",
        )
        .about("The old one is worth nothing any more; nodes that are in stay.")
        .query::<InEnvironment>()
        .gives::<SubcloudWithToken>("The Subcloud with its join token, shown this once.")
        .fails([ErrorCode::Conflict]),
        operation(
            Get,
            "/gate/v1/subclouds/{subcloud}/nodes",
            "subcloudNodes",
            "The nodes of a Subcloud",
        )
        .query::<SubcloudNodesQuery>()
        .gives_page::<SubcloudNode>("A page of them, in the order of their ids."),
        operation(
            Delete,
            "/gate/v1/subclouds/{subcloud}/nodes/{node}",
            "removeSubcloudNode",
            "Take a node out of a Subcloud",
        )
        .about("For the Subcloud's owner.")
        .query::<InEnvironment>()
        .gives::<SubcloudLeft>("It is in no more."),
    ]
}

fn of_nodes() -> Vec<Operation> {
    vec![
        operation(Get, OF_NODE, "nodeSubclouds", "The Subclouds of a node")
            .query::<InEnvironment>()
            .gives_page::<Subcloud>("All of them."),
        operation(Post, OF_NODE, "joinSubcloud", "Put a node into a Subcloud")
            .about(
                "For the node's owner. A closed Subcloud of somebody else needs its join token. In an isolated one the node \
                 takes jobs of isolated Subclouds alone.",
            )
            .query::<InEnvironment>()
            .takes::<JoinSubcloud>()
            .gives::<Subcloud>("The Subcloud.")
            .fails([ErrorCode::Conflict]),
        operation(
            Delete,
            "/gate/v1/nodes/{node}/subclouds/{subcloud}",
            "leaveSubcloud",
            "Take a node out of a Subcloud",
        )
        .about("For the node's owner.")
        .query::<InEnvironment>()
        .gives::<SubcloudLeft>("It is in no more."),
    ]
}

//! `/gate/v1/admin/nodes` and `/gate/v1/admin/appeals`.

use resultity_core::api::gate::{
    AdminNode, AdminNodesQuery, AppealsQuery, DecideAppeal, FlagNode, InEnvironment, NodeCheck, NodeChecksQuery,
    NodeLog, NodeLogsQuery, PenaliseNode, PenaltiesQuery, Penalty, PseudonymResolved, ResolvePseudonym, UnflagNode,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

fn operation(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, "Gate: administration", id, summary)
        .access(Access::Administrator)
        .of_one()
        .fails([ErrorCode::Internal])
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Get, "/gate/v1/admin/nodes", "adminNodes", "All nodes")
            .query::<AdminNodesQuery>()
            .gives_page::<AdminNode>("A page of them, in the order of their ids."),
        operation(Get, "/gate/v1/admin/nodes/{node}", "adminNode", "Any node")
            .query::<InEnvironment>()
            .gives::<AdminNode>("The node."),
        operation(
            Post,
            "/gate/v1/admin/nodes/{node}/flags",
            "flagNode",
            "Keep a node from work",
        )
        .about("It gets no new jobs from now on; what it works on goes on. Its owner is told, but not of a `shadow`.")
        .query::<InEnvironment>()
        .takes::<FlagNode>()
        .gives::<AdminNode>("The node as it is now."),
        operation(
            Delete,
            "/gate/v1/admin/nodes/{node}/flags/{flag}",
            "unflagNode",
            "Take a flag off a node",
        )
        .query::<UnflagNode>()
        .gives::<AdminNode>("The node as it is now."),
        operation(
            Get,
            "/gate/v1/admin/nodes/{node}/logs",
            "adminNodeLogs",
            "What a node tells of itself",
        )
        .about("Whoever had it then. Nothing of a request or an answer.")
        .query::<NodeLogsQuery>()
        .gives_page::<NodeLog>("A page of lines."),
        operation(
            Get,
            "/gate/v1/admin/nodes/{node}/checks",
            "nodeChecks",
            "Checks of a node's honesty",
        )
        .about("What was found, the newest first. Nothing of what was asked or answered.")
        .query::<NodeChecksQuery>()
        .gives_page::<NodeCheck>("A page of them."),
        operation(
            Get,
            "/gate/v1/admin/nodes/{node}/penalties",
            "adminPenalties",
            "All penalties of a node",
        )
        .query::<PenaltiesQuery>()
        .gives_page::<Penalty>("A page of them."),
        operation(
            Post,
            "/gate/v1/admin/nodes/{node}/penalties",
            "penaliseNode",
            "Give a node a penalty",
        )
        .about("It gets no new jobs until the penalty ends or is lifted. Its owner is told, and may appeal.")
        .query::<InEnvironment>()
        .takes::<PenaliseNode>()
        .gives::<Penalty>("The penalty."),
        operation(
            Post,
            "/gate/v1/admin/pseudonyms",
            "resolvePseudonym",
            "Whose pseudonym a receipt has",
        )
        .about("The audit log keeps who found it out, and why.")
        .takes::<ResolvePseudonym>()
        .gives::<PseudonymResolved>("The node."),
        operation(Get, "/gate/v1/admin/appeals", "appeals", "Appeals against penalties")
            .query::<AppealsQuery>()
            .gives_page::<Penalty>("A page of penalties with an appeal."),
        operation(
            Post,
            "/gate/v1/admin/appeals/{penalty}",
            "decideAppeal",
            "Decide an appeal",
        )
        .takes::<DecideAppeal>()
        .gives::<Penalty>("The penalty as it is now.")
        .fails([ErrorCode::Conflict]),
    ]
}

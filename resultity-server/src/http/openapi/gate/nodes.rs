//! `/gate/v1/nodes`.

use resultity_core::api::gate::{
    AppealPenalty, AskBinding, BindChallenge, BindNode, ControlNode, CreateJoinCode, InEnvironment, JoinCode, Node,
    NodeEarnings, NodeJob, NodeJobsQuery, NodeLog, NodeLogsQuery, NodePaidOut, NodeUnbound, NodeWhy, NodeWorkQuery,
    NodesQuery, PayOutNode, PenaltiesQuery, Penalty, UpdateNode,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const NODES: &str = "/gate/v1/nodes";
const NODE: &str = "/gate/v1/nodes/{node}";

/// One of a signed-in account, which may ask for an environment that is not there.
fn operation(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, "Gate: nodes", id, summary)
        .access(Access::SignedIn)
        .of_one()
        .fails([ErrorCode::PermissionDenied, ErrorCode::Internal])
}

pub(super) fn operations() -> Vec<Operation> {
    binding().into_iter().chain(of_one()).chain(work()).collect()
}

fn binding() -> Vec<Operation> {
    vec![
        operation(Post, "/gate/v1/nodes/codes", "createJoinCode", "Make a code for a node")
            .about("`resultity-node join CODE` binds the node to the account. The code counts once, for 15 minutes.")
            .takes::<CreateJoinCode>()
            .gives::<JoinCode>("The code, shown this once.")
            .fails([ErrorCode::Conflict]),
        operation(
            Post,
            "/gate/v1/nodes/bind/challenge",
            "askBinding",
            "What a wallet is to sign to bind a node",
        )
        .takes::<AskBinding>()
        .gives::<BindChallenge>("The message; it counts once, for 15 minutes.")
        .fails([ErrorCode::Conflict]),
        operation(Post, "/gate/v1/nodes/bind", "bindNode", "Bind a node by a wallet")
            .about(
                "A wallet of the account signed the message. The node has to have been connected to the network, and to be \
                 nobody else's.",
            )
            .takes::<BindNode>()
            .gives::<Node>("The node.")
            .fails([ErrorCode::Conflict, ErrorCode::RateLimitExceeded]),
        operation(Get, NODES, "nodes", "The account's nodes")
            .query::<NodesQuery>()
            .gives_page::<Node>("A page of them, in the order of their ids."),
    ]
}

fn of_one() -> Vec<Operation> {
    vec![
        operation(Get, NODE, "node", "A node")
            .query::<InEnvironment>()
            .gives::<Node>("The node."),
        operation(Post, NODE, "updateNode", "Change a node")
            .query::<InEnvironment>()
            .takes::<UpdateNode>()
            .gives::<Node>("The node as it is now."),
        operation(Delete, NODE, "unbindNode", "Give a node up")
            .about("What it has earned has to be paid out before. Somebody else may bind it then.")
            .query::<InEnvironment>()
            .gives::<NodeUnbound>("It is nobody's.")
            .fails([ErrorCode::Conflict]),
        operation(
            Post,
            "/gate/v1/nodes/{node}/control",
            "controlNode",
            "Tell a node what to do",
        )
        .about(
            "A pause is kept until it is resumed, whether or not the node is connected. `drain` is a pause, too: the node \
             finishes what it works on and leaves. `restart` starts its Runtime anew.",
        )
        .query::<InEnvironment>()
        .takes::<ControlNode>()
        .gives::<Node>("The node as it is now.")
        .fails([ErrorCode::Conflict]),
        operation(Get, "/gate/v1/nodes/{node}/why", "whyNode", "Why a node gets no work")
            .query::<InEnvironment>()
            .gives::<NodeWhy>("The reasons, the most important first, each with what helps."),
        operation(
            Get,
            "/gate/v1/nodes/{node}/penalties",
            "nodePenalties",
            "The penalties of a node",
        )
        .query::<PenaltiesQuery>()
        .gives_page::<Penalty>("A page of them."),
        operation(
            Post,
            "/gate/v1/nodes/{node}/penalties/{penalty}/appeal",
            "appealPenalty",
            "Appeal against a penalty",
        )
        .about("Once for each penalty, while it is in force. An administrator decides; the account is told.")
        .query::<InEnvironment>()
        .takes::<AppealPenalty>()
        .gives::<Penalty>("The penalty with the appeal.")
        .fails([ErrorCode::Conflict]),
    ]
}

fn work() -> Vec<Operation> {
    vec![
        operation(Get, "/gate/v1/nodes/{node}/jobs", "nodeJobs", "What a node did")
            .about("Attempts of jobs since the account has the node. Nothing tells who asked or what.")
            .query::<NodeJobsQuery>()
            .gives_page::<NodeJob>("A page of them."),
        operation(
            Get,
            "/gate/v1/nodes/{node}/logs",
            "nodeLogs",
            "What a node tells of itself",
        )
        .about("Durations, failures, models, since the account has the node. Nothing of a request or an answer.")
        .query::<NodeLogsQuery>()
        .gives_page::<NodeLog>("A page of lines."),
        operation(
            Get,
            "/gate/v1/nodes/{node}/earnings",
            "nodeEarnings",
            "What a node earned",
        )
        .query::<NodeWorkQuery>()
        .gives::<NodeEarnings>("By day and by model, and what can be paid out."),
        operation(
            Post,
            "/gate/v1/nodes/{node}/payout",
            "payOutNode",
            "Pay a node's earnings out",
        )
        .query::<InEnvironment>()
        .takes::<PayOutNode>()
        .gives::<NodePaidOut>("What was paid out.")
        .fails([ErrorCode::Conflict]),
    ]
}

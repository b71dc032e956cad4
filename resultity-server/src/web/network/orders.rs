//! What an owner asks of a node.

use axum::extract::Path;
use axum::response::Response;
use resultity_core::api::gate::{ControlNode, NodeAction, NodesApi, UpdateNode};
use resultity_core::error::{ApiError, ErrorCode};

use super::super::kit::form::{Filled, InsideForm};
use super::super::kit::notice::done;
use super::node::{id_of, page, place};
use super::nodes::HERE;

/// `POST /network/nodes/{node}/name`.
pub(super) async fn rename(Path(node): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let renamed = async {
        let request = UpdateNode::name(fields.get("name"));
        inside
            .session()?
            .update_node(id_of(&node)?, inside.visitor.within(), request)
            .await
    };
    match renamed.await {
        Ok(_) => done(&place(&node), "The name is saved."),
        Err(error) => page(&inside, &node, &Filled::refused(fields, error)).await,
    }
}

/// `POST /network/nodes/{node}/order`.
pub(super) async fn order(Path(node): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let ordered = async {
        let known = [
            NodeAction::Pause,
            NodeAction::Resume,
            NodeAction::Drain,
            NodeAction::Restart,
        ];
        let action = known.into_iter().find(|action| action.as_str() == fields.get("action"));
        let action = action.ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidValue, "this must be pause, resume, drain or restart").with_param("action")
        })?;
        inside
            .session()?
            .control_node(id_of(&node)?, inside.visitor.within(), ControlNode::new(action))
            .await?;
        Ok::<_, ApiError>(action)
    };
    match ordered.await {
        Ok(NodeAction::Pause) => done(&place(&node), "It is paused: what it works on ends, nothing new comes."),
        Ok(NodeAction::Resume) => done(&place(&node), "It gets work again."),
        Ok(NodeAction::Drain) => done(&place(&node), "It finishes its work, then leaves."),
        Ok(_) => done(&place(&node), "It was told to restart."),
        Err(error) => page(&inside, &node, &Filled::refused(fields, error)).await,
    }
}

/// `POST /network/nodes/{node}/unbind`.
pub(super) async fn unbind(Path(node): Path<String>, InsideForm { inside, fields }: InsideForm) -> Response {
    let unbound = async {
        inside
            .session()?
            .unbind_node(id_of(&node)?, inside.visitor.within())
            .await
    };
    match unbound.await {
        Ok(_) => done(HERE, "The node is unbound."),
        Err(error) => page(&inside, &node, &Filled::refused(fields, error)).await,
    }
}

//! What a node itself asks: to be bound to the account that made a code, and how it stands. Its key is what it is known by.

use resultity_core::api::gate::join_code_hash;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::NodeId;
use resultity_core::signing::{Signature, TypedData, check_skew};
use resultity_core::wire::{JoinAnswer, JoinRequest, MAX_JOIN_LIFETIME_MS, ModelStanding, NodeStatus, status_request};

use super::throttle::Attempted;
use super::{GateDoor, failed};
use crate::flow::Flow;
use crate::flow::fleet::{ModelView, shown_state};
use crate::store::fleet::{Joined, NodeStanding};

impl GateDoor {
    /// Binds a node to the account that made the code. Whoever guesses codes is slowed down.
    pub async fn join(&self, asked: JoinRequest) -> Result<JoinAnswer, ApiError> {
        let (node, environment) = (asked.node_id, asked.environment);
        let throttle = &self.gate.throttle;
        throttle.attempt(Attempted::JoinCode, &self.address.to_string(), self.address)?;
        let flow = self.served(environment)?;
        let now = self.gate.clock.now();
        let lifetime = std::time::Duration::from_millis(MAX_JOIN_LIFETIME_MS);
        if asked.expires_at <= now || asked.expires_at > now.after(lifetime) {
            let message = "the consent has expired, or is for longer than ten minutes: check the node's clock";
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("expires_at"));
        }
        let signed = asked.signed_data();
        signed
            .verify(&flow.domain, &asked.signature, node.address())
            .map_err(|_| not_by_the_node())?;
        // Not before it is known that the node asks: others could use its attempts up.
        throttle.attempt(Attempted::JoinCode, &node.to_string(), self.address)?;
        let no_code = || {
            let message = "there is no such code: it may be used, or older than 15 minutes. Make another one";
            ApiError::new(ErrorCode::NotFound, message).with_param("code")
        };
        let hash = join_code_hash(&asked.code).ok_or_else(no_code)?;
        let binding = self
            .gate
            .binding("The node has joined your account with a code that you made.");
        let joined = self.gate.store.join_node(hash, node, environment, binding).await;
        let joined = joined.map_err(failed)?;
        match joined {
            Joined::Bound { account, name } => {
                self.gate
                    .throttle
                    .succeeded(Attempted::JoinCode, &node.to_string(), self.address);
                tracing::info!(node.id = %node, account.id = %account, "a node was bound by a code");
                flow.fleet_changed(node);
                Ok(JoinAnswer {
                    node_id: node,
                    environment,
                    name: Some(name).filter(|name| !name.is_empty()),
                })
            }
            Joined::UnknownOffer => Err(no_code()),
            Joined::Taken => Err(conflict(
                "another account has this node: that one has to unbind it first",
            )),
            Joined::TooMany => Err(conflict("the account has as many nodes as it may have")),
            Joined::Banned => Err(ApiError::new(
                ErrorCode::PermissionDenied,
                "this node is excluded from the network",
            )),
        }
    }

    /// How a node stands, for the node itself: the request is signed with its key, just now.
    pub async fn node_status(
        &self,
        node: NodeId,
        environment: Option<Environment>,
        issued_at: Timestamp,
        signature: &Signature,
    ) -> Result<NodeStatus, ApiError> {
        let flow = match environment {
            Some(environment) => self.served(environment)?,
            None => self.gate.flows.first(),
        };
        let now = self.gate.clock.now();
        check_skew(issued_at, now)
            .map_err(|error| ApiError::new(ErrorCode::PermissionDenied, format!("{error}: set the node's clock")))?;
        status_request(node, flow.environment, issued_at)
            .verify(&flow.domain, signature, node.address())
            .map_err(|_| not_by_the_node())?;
        let standing = self.gate.store.node_standing(node, flow.environment, now).await;
        // Nothing is kept of a node that nobody has bound; its link knows it.
        let linked = || flow.fleet.node(node).map(|view| view.standing.clone());
        let standing = standing.map_err(failed)?.or_else(linked).ok_or_else(|| {
            let message = "this network has never seen the node: start it, or bind it with a code";
            ApiError::new(ErrorCode::NotFound, message)
        })?;
        Ok(status_of(flow, standing, now))
    }

    fn served(&self, environment: Environment) -> Result<&std::sync::Arc<Flow>, ApiError> {
        self.gate.flows.get(environment).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, format!("{environment} is not served here")).with_param("environment")
        })
    }
}

/// A shadow shows nowhere: the node's owner sees this.
fn status_of(flow: &Flow, standing: NodeStanding, now: Timestamp) -> NodeStatus {
    let view = flow.fleet.node(standing.node);
    let reasons = flow.why(standing.node, &standing);
    let state = shown_state(&standing, now);
    let load = view.as_ref().map(|view| view.load).unwrap_or_default();
    let models = view.as_ref().map(|view| view.models.as_slice()).unwrap_or_default();
    NodeStatus {
        node_id: standing.node,
        environment: standing.environment,
        name: Some(standing.name).filter(|name| !name.is_empty()),
        bound: standing.account.is_some(),
        state: state.to_owned(),
        connected: view.as_ref().is_some_and(|view| view.is_connected()),
        in_rotation: view.as_ref().is_some_and(|view| view.in_rotation(now)),
        last_heartbeat: view.as_ref().map(|view| view.last_heartbeat),
        running: load.running,
        slots: load.slots,
        models: models.iter().map(model).collect(),
        reasons,
    }
}

fn model(view: &ModelView) -> ModelStanding {
    ModelStanding {
        id: view.id.clone(),
        readiness: view.readiness,
        error: view.error.clone(),
    }
}

fn not_by_the_node() -> ApiError {
    let message = "the signature is not by the key of this node, for this network and environment";
    ApiError::new(ErrorCode::PermissionDenied, message).with_param("signature")
}

fn conflict(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Conflict, message)
}

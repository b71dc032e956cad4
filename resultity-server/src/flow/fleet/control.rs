//! Orders to nodes, signed by the network.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::id::NodeId;
use resultity_core::signing::{Signature, TypedData};
use resultity_core::wire::{Control, ControlAction};

use crate::flow::Flow;

/// How long an order counts.
const LIFETIME: Duration = Duration::from_mins(1);

impl Flow {
    /// Tells a node to do something. False: it has no link, or can't keep up; nothing was sent.
    ///
    /// A pause and a resume are not for this: they are kept in the store, and [`fleet_changed`](Self::fleet_changed) makes
    /// the link tell the node. A drain is a pause that is kept, and then this.
    pub fn control(&self, node: NodeId, action: ControlAction) -> bool {
        let Some(topic) = self.bus.node(node) else { return false };
        let mut nonce = B256::ZERO;
        self.entropy.fill(nonce.as_mut_slice());
        let mut control = Control {
            node_id: node,
            session_id: topic.session,
            action,
            nonce,
            expires_at: self.clock.now().after(LIFETIME),
            signature: Signature::from_bytes([0; 65]),
        };
        control.signature = control.signed_data().sign(&self.domain, &self.network_key());
        tracing::info!(node.id = %node, action = action.as_str(), "the node is told");
        self.bus.send_to_node(node, control)
    }
}

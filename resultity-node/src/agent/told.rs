//! What operators see in the log, and watchers in the status.

use resultity_core::model::ModelState;
use resultity_core::wire::ServerFrame;

use super::AgentStatus;
use super::actor::Actor;
use super::event::Input;

impl Actor {
    /// Tells those who watch.
    pub(super) fn publish(&self) {
        let (live, session) = (self.session.live(), &self.session);
        let models = || {
            let active = session
                .offer()
                .models
                .iter()
                .filter(|model| model.state == ModelState::Active);
            active.map(|model| model.id.as_str())
        };
        self.parts.status.send_if_modified(|status| {
            let same = status.connected == live.is_some()
                && status.session == live.map(|(id, _)| id)
                && status.state == live.map_or("", |(_, state)| state)
                && status.running == session.running()
                && status.draining == session.is_draining()
                && status.paused == session.is_paused()
                && models().eq(status.models.iter().map(String::as_str));
            if !same {
                *status = AgentStatus {
                    connected: live.is_some(),
                    session: live.map(|(id, _)| id),
                    state: live.map_or_else(String::new, |(_, state)| state.to_owned()),
                    models: models().map(str::to_owned).collect(),
                    running: session.running(),
                    draining: session.is_draining(),
                    paused: session.is_paused(),
                };
            }
            !same
        });
    }
}

/// Logs what an operator should see of a frame.
pub(super) fn note(input: &Input) {
    match input {
        Input::Frame(ServerFrame::Welcome(welcome)) => {
            tracing::info!(node.state = %welcome.state, node.bound = welcome.bound, "the network lets the node in");
            if !welcome.bound {
                tracing::warn!(
                    "there is no work until an account binds this node: make a code there, then run resultity-node join CODE"
                );
            }
        }
        Input::Frame(ServerFrame::Reject(reject)) => {
            tracing::warn!(code = ?reject.code, message = %reject.message, "the network rejects the node");
        }
        Input::Frame(ServerFrame::Error(error)) => {
            tracing::warn!(code = %error.code, message = %error.message, frame = ?error.frame, "the network could not use a frame");
        }
        Input::Frame(ServerFrame::Control(control)) => {
            tracing::info!(
                action = control.action.as_str(),
                "the network tells the node to do something"
            );
        }
        Input::Frame(ServerFrame::Notice(notice)) => {
            let until = notice.until.map(|until| until.to_string());
            if notice.state.as_deref() == Some("active") {
                tracing::info!(code = %notice.code, node.state = notice.state, "{}", notice.message);
            } else {
                tracing::warn!(code = %notice.code, node.state = notice.state, until, "{}", notice.message);
            }
        }
        Input::UnknownFrame(kind) => tracing::debug!(kind, "a frame of an unknown type"),
        Input::Malformed(reason) => tracing::warn!(%reason, "the network sent a malformed frame"),
        _ => {}
    }
}

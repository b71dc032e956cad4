//! Whether new jobs are taken.

use async_trait::async_trait;
use resultity_core::api::gate::{InEnvironment, Intake, IntakeApi, SetIntake};
use resultity_core::error::ApiError;

use super::{GateSession, failed, reason};
use crate::flow::Flow;
use crate::store::IntakeStop;

/// The longest message to askers: characters.
const LONGEST_MESSAGE: usize = 200;

/// How it is.
pub(super) fn shown(flow: &Flow) -> Intake {
    let stop = flow.intake_stop();
    let stop = stop.as_deref();
    Intake {
        environment: flow.environment,
        stopped: stop.is_some(),
        reason: stop.map(|stop| stop.reason.clone()),
        message: stop.and_then(|stop| stop.message.clone()),
        stopped_by: stop.map(|stop| stop.actor.to_string()),
        stopped_at: stop.map(|stop| stop.since.as_seconds()),
    }
}

#[async_trait]
impl IntakeApi for GateSession {
    async fn intake(&self, query: InEnvironment) -> Result<Intake, ApiError> {
        self.administrator()?;
        Ok(shown(self.flow(query.environment)?))
    }

    async fn set_intake(&self, request: SetIntake) -> Result<Intake, ApiError> {
        let actor = self.administrator()?;
        let flow = self.flow(request.environment)?;
        let reason = reason::required(&request.reason)?;
        let message = reason::text(
            "message",
            request.message.as_deref().unwrap_or_default(),
            LONGEST_MESSAGE,
        )?;
        let action = if request.stopped {
            "intake.stop"
        } else {
            "intake.reopen"
        };
        let audit = self.audit(actor, action, format!("intake:{}", flow.environment), reason.clone());
        let stop = request.stopped.then_some(IntakeStop {
            reason,
            message: Some(message).filter(|message| !message.is_empty()),
            actor,
            since: audit.now,
        });
        flow.set_intake(stop, audit).await.map_err(failed)?;
        tracing::warn!(environment = %flow.environment, stopped = request.stopped, actor = %actor, "the intake of new jobs was changed");
        Ok(shown(flow))
    }
}

//! Whether an environment takes new jobs: an administrator may stop that. Jobs under way go on, and so does readiness.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use resultity_core::error::{ApiError, ErrorCode};
use tokio::sync::Mutex;

use crate::flow::Flow;
use crate::store::{AuditEntry, IntakeStop, StoreError};

/// When an asker may come back: nobody knows how long a stop lasts.
const COME_BACK: Duration = Duration::from_mins(1);

/// What is asked for every job: one load of a pointer.
#[derive(Debug, Default)]
pub(super) struct Intake {
    stop: ArcSwapOption<IntakeStop>,
    /// One change after the other, so that what is here is what the store has.
    changing: Mutex<()>,
}

impl Flow {
    /// Reads from the store whether jobs are taken. To be called before anything is served.
    pub async fn load_intake(&self) -> Result<(), StoreError> {
        let _changing = self.intake.changing.lock().await;
        self.read_intake().await
    }

    /// Stops the intake, or, with none, reopens it. It counts from here on, and after a restart.
    pub async fn set_intake(&self, stop: Option<IntakeStop>, audit: AuditEntry) -> Result<(), StoreError> {
        let _changing = self.intake.changing.lock().await;
        self.store.set_intake(self.environment, stop, audit).await?;
        self.read_intake().await
    }

    async fn read_intake(&self) -> Result<(), StoreError> {
        let stop = self.store.intake_stop(self.environment).await?;
        self.intake.stop.store(stop.map(Arc::new));
        Ok(())
    }

    /// Why no new jobs are taken, if that is so.
    pub fn intake_stop(&self) -> Option<Arc<IntakeStop>> {
        self.intake.stop.load_full()
    }

    /// Refuses a new job if none are taken.
    pub(super) fn check_intake(&self) -> Result<(), ApiError> {
        let stop = self.intake.stop.load();
        let Some(stop) = stop.as_ref() else { return Ok(()) };
        let why = stop.message.as_deref().map_or(String::new(), |why| format!(": {why}"));
        let message = format!(
            "{} takes no new jobs at the moment{why}. Nothing was charged: please ask again later",
            self.environment
        );
        Err(ApiError::new(ErrorCode::NoCapacity, message).with_retry_after(COME_BACK))
    }
}

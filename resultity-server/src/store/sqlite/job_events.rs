//! The events that the end of a job makes, for whoever wants them by webhook.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, NamespaceId, ResponseId};
use resultity_core::job::JobState;
use resultity_core::webhook::EventType;
use rusqlite::Connection;

use super::webhooks::enqueue_event;
use crate::store::{EventSource, StoreError};

/// How a job ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobEnded {
    pub(super) job: JobId,
    pub(super) namespace: NamespaceId,
    pub(super) environment: Environment,
    pub(super) state: JobState,
    /// Whether its answer ended at the limit of tokens.
    pub(super) is_cut: bool,
    pub(super) now: Timestamp,
}

/// Enqueues the event of an end. `source` is what the job's row says: see [`EventSource`].
pub(super) fn ended(connection: &Connection, source: &str, end: JobEnded) -> Result<(), StoreError> {
    let is_response = source == EventSource::Response.as_str();
    let kind = match (end.state, is_response) {
        (JobState::Succeeded, true) if end.is_cut => EventType::ResponseIncomplete,
        (JobState::Succeeded, true) => EventType::ResponseCompleted,
        (JobState::Succeeded, false) => EventType::JobSucceeded,
        (JobState::Cancelled, true) => EventType::ResponseCancelled,
        (JobState::Cancelled, false) => EventType::JobCancelled,
        (_, true) => EventType::ResponseFailed,
        (_, false) => EventType::JobFailed,
    };
    let id = if is_response {
        ResponseId::from(end.job).to_string()
    } else {
        end.job.to_string()
    };
    enqueue_event(connection, end.namespace, end.environment, kind, &id, end.now)?;
    Ok(())
}

//! What administrators see of a network's work and do about it: intake, queues, dead letters, the overview.

use async_trait::async_trait;
use resultity_core::api::gate::{
    DeadLetter, DeadLetterAction, DeadLetterDropped, DeadLetterQuery, DeadLettersApi, InEnvironment, Intake, IntakeApi,
    JobWhy, Overview, OverviewApi, QueueApi, QueueHealth, Requeued, SetIntake,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::JobId;

use super::GateClient;

#[async_trait]
impl IntakeApi for GateClient {
    async fn intake(&self, query: InEnvironment) -> Result<Intake, ApiError> {
        let call = self.transport.get(&["admin", "intake"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn set_intake(&self, request: SetIntake) -> Result<Intake, ApiError> {
        let call = self.transport.post(&["admin", "intake"], &request)?;
        // It says how the intake is to be.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }
}

#[async_trait]
impl QueueApi for GateClient {
    async fn queue_health(&self, query: InEnvironment) -> Result<QueueHealth, ApiError> {
        let call = self.transport.get(&["admin", "queue"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn job_why(&self, job: JobId, query: InEnvironment) -> Result<JobWhy, ApiError> {
        let path = ["admin", "jobs", &job.to_string(), "why"];
        let call = self.transport.get(&path).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}

#[async_trait]
impl OverviewApi for GateClient {
    async fn overview(&self, query: InEnvironment) -> Result<Overview, ApiError> {
        let call = self.transport.get(&["admin", "overview"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }
}

#[async_trait]
impl DeadLettersApi for GateClient {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Page<DeadLetter>, ApiError> {
        let call = self.transport.get(&["admin", "dead-letters"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn requeue_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<Requeued, ApiError> {
        let job = job.to_string();
        let call = self
            .transport
            .post(&["admin", "dead-letters", &job, "requeue"], &action)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn drop_dead_letter(&self, job: JobId, action: DeadLetterAction) -> Result<DeadLetterDropped, ApiError> {
        let call = self.transport.delete(&["admin", "dead-letters", &job.to_string()]);
        Ok(self.transport.json(call.with_query(&action)?).await?.body)
    }
}

//! Jobs.

use async_trait::async_trait;
use resultity_core::api::cloud::Reply;
use resultity_core::api::jobs::{Feedback, Job, JobQuery, JobRequest, JobsApi, Quote};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::JobId;
use resultity_core::receipt::SignedReceipt;

use crate::cloud::CloudClient;
use crate::pages::{Entries, cursor, pages};

#[async_trait]
impl JobsApi for CloudClient {
    async fn create_job(&self, request: JobRequest) -> Result<Reply<Job>, ApiError> {
        self.transport.json(self.ask(&["jobs"], &request)?).await
    }

    async fn job(&self, id: JobId) -> Result<Reply<Job>, ApiError> {
        self.transport
            .json(self.transport.get(&["jobs", &id.to_string()]))
            .await
    }

    async fn jobs(&self, query: JobQuery) -> Result<Reply<Page<Job>>, ApiError> {
        self.transport
            .json(self.transport.get(&["jobs"]).with_query(&query)?)
            .await
    }

    async fn cancel_job(&self, id: JobId) -> Result<Reply<Job>, ApiError> {
        let call = self.transport.post_nothing(&["jobs", &id.to_string(), "cancel"]);
        self.transport.json(call.repeatable()).await
    }

    async fn receipt(&self, id: JobId) -> Result<Reply<SignedReceipt>, ApiError> {
        let call = self.transport.get(&["jobs", &id.to_string(), "receipt"]);
        self.transport.json(call).await
    }

    async fn feedback(&self, id: JobId, feedback: Feedback) -> Result<Reply<Feedback>, ApiError> {
        let call = self.transport.post(&["jobs", &id.to_string(), "feedback"], &feedback)?;
        // A later one replaces it.
        self.transport.json(call.repeatable()).await
    }

    async fn quote(&self, request: JobRequest) -> Result<Reply<Quote>, ApiError> {
        let path: Vec<&str> = request
            .endpoint
            .as_str()
            .trim_start_matches("/v1/")
            .split('/')
            .collect();
        self.transport.json(self.ask(&path, &request.body)?.dry_run()).await
    }
}

impl CloudClient {
    /// The jobs of all pages, without their answers.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use resultity_client::CloudClient;
    /// use resultity_client::core::api::jobs::JobQuery;
    /// use resultity_client::core::job::JobState;
    ///
    /// # async fn list(client: CloudClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let query = JobQuery { status: Some(JobState::Failed), ..JobQuery::default() };
    /// let mut jobs = client.jobs_stream(query);
    /// while let Some(job) = jobs.try_next().await? {
    ///     println!("{} {}", job.id, job.model);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn jobs_stream(&self, query: JobQuery) -> Entries<Job> {
        let client = self.clone();
        pages(query.after.map(|id| id.to_string()), move |after| {
            let (client, mut query) = (client.clone(), query.clone());
            async move {
                query.after = cursor(after)?;
                client.jobs(query).await
            }
        })
    }
}

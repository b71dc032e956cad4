//! One Runtime for several Agents: a node that is in two environments has its slots once.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use resultity_core::environment::Environment;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::score::{Score, ScoreRequest};
use resultity_core::snapshot::Snapshot;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ContainerRequest, Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

/// A [`Runtime`] that works on no more requests at once than it has slots. What comes beyond that waits, first come first
/// served, whichever Agent it comes from.
pub struct Shared {
    runtime: Arc<dyn Runtime>,
    slots: u32,
    permits: Arc<Semaphore>,
}

impl Shared {
    /// Shares a Runtime with so many slots, at least one.
    pub fn new(runtime: Arc<dyn Runtime>, slots: u32) -> Self {
        let slots = slots.max(1);
        Self {
            runtime,
            slots,
            permits: Arc::new(Semaphore::new(slots as usize)),
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, RuntimeError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| RuntimeError::Unavailable("the node stops".to_owned()))
    }
}

/// The slot is taken until the stream is dropped.
fn holding(permit: OwnedSemaphorePermit, stream: RuntimeStream) -> RuntimeStream {
    stream
        .map(move |event| {
            let _ = &permit;
            event
        })
        .boxed()
}

#[async_trait]
impl Runtime for Shared {
    fn kind(&self) -> &'static str {
        self.runtime.kind()
    }

    fn version(&self) -> String {
        self.runtime.version()
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        self.runtime.models().await
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    fn configure(&self, environment: Environment, snapshot: &Snapshot) {
        self.runtime.configure(environment, snapshot);
    }

    async fn stop(&self) {
        self.runtime.stop().await;
    }

    async fn changed(&self) {
        self.runtime.changed().await;
    }

    /// Waits until nothing is under way for any Agent.
    async fn restart(&self) -> Result<(), RuntimeError> {
        let all = Arc::clone(&self.permits).acquire_many_owned(self.slots).await;
        let _all = all.map_err(|_| RuntimeError::Unavailable("the node stops".to_owned()))?;
        self.runtime.restart().await
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let permit = self.permit().await?;
        Ok(holding(permit, self.runtime.chat(request).await?))
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        let permit = self.permit().await?;
        Ok(holding(permit, self.runtime.complete(request).await?))
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        let _permit = self.permit().await?;
        self.runtime.embed(request).await
    }

    async fn score(&self, model: &str, request: ScoreRequest) -> Result<Score, RuntimeError> {
        let _permit = self.permit().await?;
        self.runtime.score(model, request).await
    }

    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        let _permit = self.permit().await?;
        self.runtime.compute(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::RuntimeEvent;
    use resultity_core::openai::chat::{ChunkChoice, Message};

    struct Endless;

    #[async_trait]
    impl Runtime for Endless {
        fn kind(&self) -> &'static str {
            "endless"
        }
        async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
            Ok(vec![EngineModel::new("m")])
        }
        async fn chat(&self, _: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
            let words = std::iter::repeat_with(|| Ok(RuntimeEvent::Delta(vec![ChunkChoice::text(0, "w")])));
            Ok(futures::stream::iter(words).boxed())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_taken_until_its_stream_is_dropped() {
        let shared = Shared::new(Arc::new(Endless), 2);
        let ask = || shared.chat(ChatRequest::new("m", [Message::user("hi")]));
        let (mut first, _second) = (ask().await.unwrap(), ask().await.unwrap());
        assert!(first.next().await.is_some());
        let waits = async {
            tokio::time::timeout(std::time::Duration::from_secs(1), ask())
                .await
                .is_err()
        };
        assert!(waits.await);
        let restarts = tokio::time::timeout(std::time::Duration::from_secs(1), shared.restart()).await;
        assert!(restarts.is_err(), "something is under way");
        drop(first);
        assert!(ask().await.is_ok());
    }
}

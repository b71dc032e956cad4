//! The manager as a Runtime: every request goes to the model that is in service by that name.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::{join_all, select_all};
use resultity_core::environment::Environment;
use resultity_core::model::ModelState;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::score::{Score, ScoreRequest};
use resultity_core::snapshot::Snapshot;

use super::ModelManager;
use super::machine::Input;
use crate::runtime::{Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

impl ModelManager {
    fn serving(&self, model: &str) -> Result<Arc<dyn Runtime>, RuntimeError> {
        let state = self.shared.lock();
        let serving = state.machine.serving(model).and_then(|id| state.loaded.get(&id));
        serving
            .cloned()
            .ok_or_else(|| RuntimeError::ModelMissing(model.to_owned()))
    }
}

/// A model that is taken out of service stays until its last answer is over.
fn holding(runtime: Arc<dyn Runtime>, stream: RuntimeStream) -> RuntimeStream {
    stream
        .map(move |event| {
            let _ = &runtime;
            event
        })
        .boxed()
}

#[async_trait]
impl Runtime for ModelManager {
    fn kind(&self) -> &'static str {
        self.shared.loader.kind()
    }

    fn version(&self) -> String {
        self.shared.loader.version()
    }

    /// All models that the node is to serve, with how far it is with them.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        let listed: Vec<_> = {
            let state = self.shared.lock();
            self.seen.store(*self.shared.version.borrow(), Ordering::Relaxed);
            let entries = state.machine.entries().iter();
            let listed = entries.filter(|entry| !matches!(entry.state(), ModelState::Archived));
            listed
                .map(|entry| {
                    let model = EngineModel::new(&entry.spec.name)
                        .with_digest(entry.spec.files.first().map(|file| file.sha256.clone()))
                        .with_state(entry.state());
                    let runtime = state.loaded.get(&entry.id).filter(|_| entry.in_service);
                    (model, runtime.cloned())
                })
                .collect()
        };
        // What a Runtime says of itself counts, where it can be asked.
        let asked = listed.into_iter().map(async |(model, runtime)| {
            let Some(runtime) = runtime else { return model };
            match runtime.models().await {
                Ok(own) => match own.into_iter().find(|own| own.name == model.name) {
                    Some(own) => EngineModel {
                        engine: Some(own.engine_of(&*runtime)),
                        context_length: own.context_length,
                        ..model
                    },
                    None => model.with_state(ModelState::Inactive),
                },
                Err(_) => model.with_state(ModelState::Inactive),
            }
        });
        Ok(join_all(asked).await)
    }

    fn slots(&self) -> u32 {
        self.shared.loader.slots()
    }

    fn configure(&self, environment: Environment, snapshot: &Snapshot) {
        let models = snapshot.models.iter().filter(|model| self.shared.loader.knows(model));
        let models = models.cloned().collect();
        self.shared.handle(Input::Listed(environment, models));
    }

    async fn restart(&self) -> Result<(), RuntimeError> {
        let loaded: Vec<_> = self.shared.lock().loaded.values().cloned().collect();
        let mut outcome = Ok(());
        for runtime in loaded {
            outcome = outcome.and(runtime.restart().await);
        }
        self.shared.handle(Input::Restarted);
        outcome
    }

    async fn stop(&self) {
        let loaded: Vec<_> = {
            let mut state = self.shared.lock();
            state.tasks.clear();
            state.loaded.values().cloned().collect()
        };
        join_all(loaded.iter().map(|runtime| runtime.stop())).await;
    }

    async fn changed(&self) {
        let (mut version, seen) = (self.changes(), self.seen.load(Ordering::Relaxed));
        // Those that [`Runtime::models`] asks, and no others: one that was not asked says again and again that it has changed.
        let loaded: Vec<_> = {
            let state = self.shared.lock();
            let asked = state.machine.entries().iter().filter(|entry| entry.in_service);
            asked.filter_map(|entry| state.loaded.get(&entry.id).cloned()).collect()
        };
        let inside = async {
            match loaded.as_slice() {
                [] => pending().await,
                loaded => drop(select_all(loaded.iter().map(|runtime| runtime.changed())).await),
            }
        };
        tokio::select! {
            // An error can't be: it holds the sender.
            _ = version.wait_for(|version| *version != seen) => {}
            () = inside => {}
        }
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        let runtime = self.serving(&request.model)?;
        let stream = runtime.chat(request).await?;
        Ok(holding(runtime, stream))
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        let runtime = self.serving(&request.model)?;
        let stream = runtime.complete(request).await?;
        Ok(holding(runtime, stream))
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        self.serving(&request.model)?.embed(request).await
    }

    async fn score(&self, model: &str, request: ScoreRequest) -> Result<Score, RuntimeError> {
        self.serving(model)?.score(model, request).await
    }
}

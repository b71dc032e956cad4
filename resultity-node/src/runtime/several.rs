//! Several Runtimes behind one: each model goes to the first that has it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures::future::{join_all, select_all};
use resultity_core::environment::Environment;
use resultity_core::model::ModelState;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::score::{Score, ScoreRequest};
use resultity_core::snapshot::Snapshot;
use serde_json::value::RawValue;

use super::{ContainerRequest, Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

/// Sends every request to the first of its Runtimes that has the model.
pub struct Several {
    runtimes: Vec<Arc<dyn Runtime>>,
    /// By model, as of the last time that the models were listed.
    routes: RwLock<HashMap<String, usize>>,
}

impl Several {
    /// Combines them. Where two have a model of one name, the earlier gets its requests.
    pub fn new(runtimes: Vec<Arc<dyn Runtime>>) -> Self {
        Self {
            runtimes,
            routes: RwLock::default(),
        }
    }

    fn known(&self, model: &str) -> Option<Arc<dyn Runtime>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(model).and_then(|index| self.runtimes.get(*index)).cloned()
    }

    async fn route(&self, model: &str) -> Result<Arc<dyn Runtime>, RuntimeError> {
        if let Some(runtime) = self.known(model) {
            return Ok(runtime);
        }
        self.models().await?;
        self.known(model)
            .ok_or_else(|| RuntimeError::ModelMissing(model.to_owned()))
    }
}

#[async_trait]
impl Runtime for Several {
    fn kind(&self) -> &'static str {
        match self.runtimes.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other.kind() == first.kind()) => first.kind(),
            _ => "several",
        }
    }

    fn version(&self) -> String {
        self.runtimes
            .iter()
            .map(|runtime| runtime.version())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The models of all that can be reached; an error if none can.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        let lists = join_all(self.runtimes.iter().map(|runtime| runtime.models())).await;
        let (mut all, mut routes, mut failure, mut reached) = (Vec::<EngineModel>::new(), HashMap::new(), None, false);
        for (index, list) in lists.into_iter().enumerate() {
            match list {
                Ok(models) => {
                    reached = true;
                    for model in models {
                        let other = all.iter().position(|other| other.name == model.name);
                        let is_better = other.is_none_or(|other| {
                            model.state == ModelState::Active && all[other].state != ModelState::Active
                        });
                        if is_better {
                            routes.insert(model.name.clone(), index);
                            // Out of this list nobody sees any more whose it is.
                            let engine = model.engine_of(&*self.runtimes[index]);
                            let model = model.with_engine(engine);
                            match other {
                                Some(other) => all[other] = model,
                                None => all.push(model),
                            }
                        }
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !reached => return Err(error),
            _ => {}
        }
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
        Ok(all)
    }

    fn slots(&self) -> u32 {
        self.runtimes
            .iter()
            .map(|runtime| runtime.slots())
            .fold(0, u32::saturating_add)
            .max(1)
    }

    fn configure(&self, environment: Environment, snapshot: &Snapshot) {
        for runtime in &self.runtimes {
            runtime.configure(environment, snapshot);
        }
    }

    async fn stop(&self) {
        join_all(self.runtimes.iter().map(|runtime| runtime.stop())).await;
    }

    /// When one of them says so.
    async fn changed(&self) {
        if self.runtimes.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.runtimes.iter().map(|runtime| runtime.changed())).await;
    }

    /// All of them, one after the other; an error if one could not be.
    async fn restart(&self) -> Result<(), RuntimeError> {
        let mut outcome = Ok(());
        for runtime in &self.runtimes {
            outcome = outcome.and(runtime.restart().await);
        }
        outcome
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.route(&request.model).await?.chat(request).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        self.route(&request.model).await?.complete(request).await
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        self.route(&request.model).await?.embed(request).await
    }

    async fn score(&self, model: &str, request: ScoreRequest) -> Result<Score, RuntimeError> {
        self.route(model).await?.score(model, request).await
    }

    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        self.route(&request.model).await?.compute(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::RuntimeEvent;
    use futures::StreamExt;
    use resultity_core::openai::chat::{ChunkChoice, Message, Usage};

    struct Fixed(&'static str, Result<Vec<&'static str>, ()>);

    #[async_trait]
    impl Runtime for Fixed {
        fn kind(&self) -> &'static str {
            "fixed"
        }
        async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
            let names = self.1.clone().map_err(|()| RuntimeError::Unavailable("down".into()))?;
            Ok(names.into_iter().map(EngineModel::new).collect())
        }
        async fn chat(&self, _: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
            let events = [
                RuntimeEvent::Delta(vec![ChunkChoice::text(0, self.0)]),
                RuntimeEvent::Done(Usage::new(1, 1)),
            ];
            Ok(futures::stream::iter(events.map(Ok)).boxed())
        }
        async fn embed(&self, _: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
            Ok(Embeddings {
                vectors: vec![vec![f32::from(self.0.as_bytes()[0])]],
                prompt_tokens: 1,
            })
        }
        async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
            Ok(request.data)
        }
    }

    async fn who_answers(several: &Several, model: &str) -> Result<String, RuntimeError> {
        let mut events = several.chat(ChatRequest::new(model, [Message::user("hi")])).await?;
        match events.next().await {
            Some(Ok(RuntimeEvent::Delta(pieces))) => Ok(pieces[0].delta.content.clone().unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_model_goes_to_the_first_that_has_it() {
        let several = Several::new(vec![
            Arc::new(Fixed("down", Err(()))),
            Arc::new(Fixed("a", Ok(vec!["m", "n"]))),
            Arc::new(Fixed("b", Ok(vec!["n", "o"]))),
        ]);
        for (model, who) in [("m", "a"), ("n", "a"), ("o", "b")] {
            assert_eq!(who_answers(&several, model).await.unwrap(), who);
        }
        assert!(matches!(
            who_answers(&several, "x").await,
            Err(RuntimeError::ModelMissing(_))
        ));
        let embeddings = several.embed(EmbeddingRequest::new("o", "x")).await.unwrap();
        assert_eq!(embeddings.vectors, [[f32::from(b'b')]]);
        let data = RawValue::from_string("12345678901234567890123".into()).unwrap();
        let computed = several.compute(ContainerRequest::new("o", data)).await.unwrap();
        assert_eq!(computed.get(), "12345678901234567890123");
        let refused = several.complete(CompletionRequest::new("o", "x")).await.map(|_| ());
        assert!(
            matches!(&refused, Err(RuntimeError::InvalidRequest { param: Some(param), .. }) if param == "model"),
            "{refused:?}"
        );
        let names: Vec<_> = several
            .models()
            .await
            .unwrap()
            .into_iter()
            .map(|model| model.name)
            .collect();
        assert_eq!(names, ["m", "n", "o"]);
        assert_eq!((several.slots(), several.kind()), (3, "fixed"));
        let down = Several::new(vec![Arc::new(Fixed("down", Err(())))]);
        assert!(matches!(down.models().await, Err(RuntimeError::Unavailable(_))));
    }
}

//! The Cloud API for the holder of a key. One file a resource; here is what they share, and the models.

use std::sync::Arc;

use async_trait::async_trait;
use resultity_core::api::cloud::{CallOptions, ModelsApi, Reply, ReplyMeta};
use resultity_core::error::ApiError;
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::openai::model::{Model, ModelList};
use serde_json::json;

use crate::flow::{Flow, KeptLimits, Principal};
use crate::session::Limits;

/// The Cloud API, bound to the holder of a key.
#[derive(Debug, Clone)]
pub struct CloudSession {
    pub(super) flow: Arc<Flow>,
    pub(super) limits: Arc<Limits>,
    pub(super) principal: Principal,
    pub(super) options: CallOptions,
}

impl CloudSession {
    /// A session of the holder of a key.
    pub fn new(flow: Arc<Flow>, limits: Arc<Limits>, principal: Principal) -> Self {
        Self {
            flow,
            limits,
            principal,
            options: CallOptions::default(),
        }
    }

    /// The same session, with what the caller says beside its requests.
    #[must_use]
    pub fn with_options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// How much may be kept for the caller's namespace.
    pub fn kept_limits(&self) -> KeptLimits {
        self.flow.kept
    }

    /// The model that a name means, if the key may ask it.
    pub(super) fn model_to_ask(&self, name: &str) -> Result<ModelSpec, ApiError> {
        let model = self.flow.model(name)?;
        self.principal.check_model(&model)?;
        Ok(model)
    }

    /// Lets a call through that makes no job.
    pub(super) fn touch(&self) -> Result<(), ApiError> {
        self.limits.touch(self.principal.key)
    }

    fn created(&self) -> i64 {
        self.flow.current().snapshot.issued_at.as_seconds()
    }
}

#[async_trait]
impl ModelsApi for CloudSession {
    async fn models(&self) -> Result<Reply<ModelList>, ApiError> {
        self.touch()?;
        let created = self.created();
        let subcloud = self.subcloud().await?;
        let served = self.flow.served_models(subcloud.as_ref().map(|subcloud| subcloud.id));
        let models = served
            .into_iter()
            .filter(|model| self.principal.limits.allows(model))
            .filter(|model| {
                subcloud
                    .as_ref()
                    .is_none_or(|subcloud| subcloud.answers_for(&model.name))
            })
            .flat_map(|model| {
                let names = std::iter::once(&model.name).chain(&model.aliases);
                names.map(|name| listed(name, &model, created)).collect::<Vec<_>>()
            });
        Ok(Reply {
            body: ModelList::new(models.collect()),
            meta: ReplyMeta::default(),
        })
    }

    async fn model(&self, id: &str) -> Result<Reply<Model>, ApiError> {
        self.touch()?;
        let model = self.flow.model(id)?;
        self.principal.check_model(&model)?;
        Ok(Reply {
            body: listed(id, &model, self.created()),
            meta: ReplyMeta::default(),
        })
    }
}

/// A model under one of its names, with what OpenAI does not say of its own: what it can do, and what it costs in credits.
fn listed(name: &str, model: &ModelSpec, created: i64) -> Model {
    let price = json!({
        "input_per_million": model.price.input_per_million.to_string(),
        "output_per_million": model.price.output_per_million.to_string(),
        "per_request": model.price.per_request.to_string(),
    });
    let mut listed = Model::new(name, created);
    listed.extra.insert("capabilities".into(), json!(model.capabilities));
    // A container counts no tokens.
    if model.kind != ModelKind::Container {
        listed
            .extra
            .insert("context_length".into(), json!(model.context_length));
    }
    listed.extra.insert("price".into(), price);
    listed
}

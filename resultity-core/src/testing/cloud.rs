//! The contract of [`CloudApi`]: all of its parts.
//!
//! ```no_run
//! use resultity_core::api::cloud::{CallOptions, CloudApi};
//! use resultity_core::testing::{Setting, cloud};
//!
//! # async fn example(client: impl CloudApi, with: &cloud::WithOptions<'_>, setting: &Setting<'_>) {
//! cloud::all(&client, with, setting).await;
//! # }
//! ```

use super::{Setting, batches, chat, completions, compute, embeddings, files, idempotency, jobs, responses, usage};
use crate::api::cloud::{CallOptions, CloudApi};

/// Gives an API that says something beside its requests.
pub type WithOptions<'a> = dyn Fn(CallOptions) -> Box<dyn CloudApi> + Sync + 'a;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn CloudApi, with_options: &WithOptions<'_>, setting: &Setting<'_>) {
    chat::all(api, setting.model).await;
    completions::all(api, setting.model).await;
    if let Some(model) = setting.embedding_model {
        embeddings::all(api, model).await;
    }
    if let Some(model) = setting.container_model {
        compute::all(api, model, setting).await;
    }
    responses::all(api, setting.model).await;
    idempotency::all(with_options, setting.model).await;
    jobs::all(api, setting).await;
    usage::all(api, setting.model).await;
    files::all(api).await;
    batches::all(api, setting).await;
}

#![doc = include_str!("../README.md")]

mod builder;
mod call;
mod cloud;
mod error;
mod gate;
mod infernet;
pub mod pages;
mod retry;
mod sse;
mod status;
mod transport;

pub use builder::ClientBuilder;
pub use cloud::CloudClient;
pub use error::ConfigError;
pub use gate::GateClient;
pub use infernet::{InfernetClient, RunError};
pub use resultity_core as core;
pub use resultity_core::webhook;
pub use status::StatusClient;

/// The traits of the API, for `use resultity_client::prelude::*`.
pub mod prelude {
    pub use crate::core::api::batches::BatchesApi;
    pub use crate::core::api::cloud::{CallOptions, ChatApi, CloudApi, ModelsApi};
    pub use crate::core::api::completions::CompletionsApi;
    pub use crate::core::api::compute::ComputeApi;
    pub use crate::core::api::embeddings::EmbeddingsApi;
    pub use crate::core::api::files::FilesApi;
    pub use crate::core::api::gate::{DoorApi, GateApi};
    pub use crate::core::api::jobs::JobsApi;
    pub use crate::core::api::node::NodeApi;
    pub use crate::core::api::responses::ResponsesApi;
    pub use crate::core::api::status::StatusApi;
    pub use crate::core::api::usage::UsageApi;
    pub use crate::core::api::webhooks::WebhooksApi;
    pub use crate::{CloudClient, GateClient, InfernetClient, StatusClient};
}

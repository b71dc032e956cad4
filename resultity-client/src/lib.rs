#![doc = include_str!("../README.md")]

mod builder;
mod call;
mod cloud;
mod error;
mod gate;
pub mod pages;
mod retry;
mod sse;
mod transport;

pub use builder::ClientBuilder;
pub use cloud::CloudClient;
pub use error::ConfigError;
pub use gate::GateClient;
pub use resultity_core as core;
pub use resultity_core::webhook;

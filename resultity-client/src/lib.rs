#![doc = include_str!("../README.md")]

mod builder;
mod cloud;
mod error;
mod gate;
mod retry;
mod sse;
mod transport;

pub use builder::ClientBuilder;
pub use cloud::CloudClient;
pub use error::ConfigError;
pub use gate::GateClient;
pub use resultity_core as core;

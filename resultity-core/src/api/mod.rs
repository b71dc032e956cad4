//! The API surfaces as traits, one per resource. A client over HTTP and a session inside a server implement the same
//! trait, so an app can embed either, and both pass the same contract scenarios.
//!
//! The caller is not a parameter: an implementation is already bound to one.

pub mod batches;
pub mod cloud;
pub mod completions;
pub mod compute;
pub mod embeddings;
pub mod files;
pub mod gate;
pub mod jobs;
pub mod node;
pub mod page;
pub mod responses;
pub mod status;
pub mod usage;
pub mod webhooks;

//! Contract scenarios: what every implementation of an API trait has to do, whether it runs in-process or over HTTP. One
//! file a resource; [`cloud::all`] runs those of the whole Cloud API, [`node::all`] those of the node's API.
//!
//! They panic where an implementation breaks the contract, as a test does, and need no particular async runtime. They
//! set no time limits: wrap them in the timeout of your runtime.

use std::fmt;

use futures::future::BoxFuture;

use crate::Address;

pub mod batches;
pub mod chat;
pub mod cloud;
pub mod completions;
pub mod compute;
pub mod embeddings;
pub mod files;
pub mod gate;
pub mod idempotency;
pub mod jobs;
pub mod node;
pub mod responses;
pub mod status;
pub mod usage;

/// What the scenarios need to know of where they run. Nobody else uses the caller's namespace meanwhile.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// A model that chats and completes texts.
    pub model: &'a str,
    /// A model that makes embeddings; none: those scenarios are left out.
    pub embedding_model: Option<&'a str>,
    /// A container that answers with the data that it gets; none: those scenarios are left out.
    pub container_model: Option<&'a str>,
    /// The address of the network's first key, which signs its receipts.
    pub network_key: Address,
    /// A short pause between two questions, such as 50 ms.
    pub pause: &'a (dyn Fn() -> BoxFuture<'static, ()> + Sync),
}

impl fmt::Debug for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("model", &self.model)
            .field("embedding_model", &self.embedding_model)
            .field("container_model", &self.container_model)
            .field("network_key", &self.network_key)
            .finish_non_exhaustive()
    }
}

//! The history of the network's configuration and keys.

use async_trait::async_trait;

/// The history of the network's configuration and keys.
#[async_trait]
pub trait PublicationStore: Send + Sync {}

//! Nodes as their owners and administrators manage them.

use async_trait::async_trait;

/// Nodes as their owners and administrators manage them.
#[async_trait]
pub trait FleetStore: Send + Sync {}

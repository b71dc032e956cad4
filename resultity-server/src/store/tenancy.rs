//! Namespaces and API keys as their owners manage them.

use async_trait::async_trait;

/// Namespaces and API keys as their owners manage them.
#[async_trait]
pub trait TenancyStore: Send + Sync {}

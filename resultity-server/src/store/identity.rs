//! Accounts: how people sign in, where they are signed in, their access tokens.

use async_trait::async_trait;

/// Accounts: how people sign in, where they are signed in, their access tokens.
#[async_trait]
pub trait IdentityStore: Send + Sync {}

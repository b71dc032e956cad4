//! Second credentials: wallets, e-mail codes, second factors.

use async_trait::async_trait;

/// Second credentials: wallets, e-mail codes, second factors.
#[async_trait]
pub trait WalletStore: Send + Sync {}

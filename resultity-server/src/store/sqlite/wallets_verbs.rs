//! The verbs of [`WalletStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::wallets::WalletStore;

#[async_trait]
impl WalletStore for SqliteStore {}

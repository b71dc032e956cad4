//! The verbs of [`FundsStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::funds::FundsStore;

#[async_trait]
impl FundsStore for SqliteStore {}

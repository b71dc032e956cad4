//! The verbs of [`TenancyStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::tenancy::TenancyStore;

#[async_trait]
impl TenancyStore for SqliteStore {}

//! The verbs of [`AdminStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::admin::AdminStore;

#[async_trait]
impl AdminStore for SqliteStore {}

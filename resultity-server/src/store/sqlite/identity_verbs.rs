//! The verbs of [`IdentityStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::identity::IdentityStore;

#[async_trait]
impl IdentityStore for SqliteStore {}

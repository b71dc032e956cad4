//! The verbs of [`FleetStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::fleet::FleetStore;

#[async_trait]
impl FleetStore for SqliteStore {}

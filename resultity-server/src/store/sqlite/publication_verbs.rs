//! The verbs of [`PublicationStore`], each on the writer or a reader.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::publication::PublicationStore;

#[async_trait]
impl PublicationStore for SqliteStore {}

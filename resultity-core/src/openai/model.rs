//! `GET /v1/models`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One model that can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Model {
    /// The name to ask for; may hold slashes.
    pub id: String,
    /// Always `model`.
    pub object: String,
    /// When it was published: seconds since the Unix epoch.
    pub created: i64,
    /// Who offers it.
    pub owned_by: String,
    /// What else the server says of it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Model {
    /// A model of this name.
    pub fn new(id: impl Into<String>, created: i64) -> Self {
        Self {
            id: id.into(),
            object: "model".into(),
            created,
            owned_by: "resultity".into(),
            extra: Map::new(),
        }
    }
}

/// All models that can be asked now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelList {
    /// Always `list`.
    pub object: String,
    /// The models.
    pub data: Vec<Model>,
}

impl ModelList {
    /// A list of these models.
    pub fn new(data: Vec<Model>) -> Self {
        Self {
            object: "list".into(),
            data,
        }
    }
}

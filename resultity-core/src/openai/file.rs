//! Files: what batches read and write.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::FileId;

/// A stored file; its content is at `GET /v1/files/{id}/content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Always `file`.
    pub object: String,
    /// How long it is.
    pub bytes: u64,
    /// When it was complete: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it will be gone: seconds since the Unix epoch. None: it stays until it is deleted.
    #[serde(default)]
    pub expires_at: Option<i64>,
    /// What its owner calls it.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// Always `processed`: a file can be used as soon as it is there.
    pub status: String,
    /// Always none.
    #[serde(default)]
    pub status_details: Option<String>,
}

/// The answer to `DELETE /v1/files/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileDeleted {
    /// The file that is gone.
    pub id: FileId,
    /// Always `file`.
    pub object: String,
    /// Always true.
    pub deleted: bool,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FilePurpose {
    /// The requests of a batch: one in a line.
    Batch,
    /// What a batch wrote: answers or errors.
    BatchOutput,
    /// Whatever its owner likes to keep here.
    UserData,
}

impl FilePurpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Batch, Self::BatchOutput, Self::UserData];

    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BatchOutput => "batch_output",
            Self::UserData => "user_data",
        }
    }
}

impl fmt::Display for FilePurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A purpose that files are not kept for here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected batch, batch_output or user_data")]
pub struct UnknownFilePurpose;

impl FromStr for FilePurpose {
    type Err = UnknownFilePurpose;
    fn from_str(text: &str) -> Result<Self, UnknownFilePurpose> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
            .ok_or(UnknownFilePurpose)
    }
}

impl<'de> Deserialize<'de> for FilePurpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::id::deserialize_text(deserializer, "a purpose: batch, batch_output or user_data")
    }
}

/// When a file is to go by itself: so many seconds after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExpiresAfter {
    /// Counted from when.
    pub anchor: ExpiryAnchor,
    /// How long: one hour to 30 days, in seconds.
    pub seconds: u64,
}

impl ExpiresAfter {
    /// The shortest: one hour.
    pub const MIN_SECONDS: u64 = 3_600;
    /// The longest: 30 days.
    pub const MAX_SECONDS: u64 = 2_592_000;

    /// So many seconds after the file was made.
    pub const fn seconds(seconds: u64) -> Self {
        Self {
            anchor: ExpiryAnchor::CreatedAt,
            seconds,
        }
    }

    /// Whether it is within bounds.
    pub fn is_valid(&self) -> bool {
        (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&self.seconds)
    }

    /// How long.
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// From when an expiry is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExpiryAnchor {
    /// From when the file was made.
    CreatedAt,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_has_openais_shape() {
        let json = json!({
            "id": "file-0190a6f6000070008000000000000001", "object": "file", "bytes": 12, "created_at": 5,
            "expires_at": null, "filename": "a.jsonl", "purpose": "batch", "status": "processed",
            "status_details": null,
        });
        let file: File = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(file).unwrap(), json);
    }

    #[test]
    fn a_purpose_is_one_of_those_that_are_known() {
        for purpose in FilePurpose::ALL {
            assert_eq!(purpose.as_str().parse(), Ok(purpose));
            assert_eq!(serde_json::to_value(purpose).unwrap(), json!(purpose.as_str()));
        }
        let error = serde_json::from_value::<FilePurpose>(json!("fine-tune")).unwrap_err();
        assert!(error.to_string().contains("batch_output"), "{error}");
    }

    #[test]
    fn an_expiry_is_an_hour_to_thirty_days_off() {
        let parsed: ExpiresAfter = serde_json::from_value(json!({"anchor": "created_at", "seconds": 3600})).unwrap();
        assert!(parsed.is_valid());
        assert!(!ExpiresAfter::seconds(3_599).is_valid());
        assert!(!ExpiresAfter::seconds(2_592_001).is_valid());
        assert!(serde_json::from_value::<ExpiresAfter>(json!({"anchor": "last_active_at", "seconds": 3600})).is_err());
    }
}

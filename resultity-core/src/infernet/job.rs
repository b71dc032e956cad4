//! Jobs: what is asked of a node's containers, and what came of it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::ErrorResponse;
use super::subscription::DelegatedRequest;

/// The id of a job: a UUID where the node made it, any text where a container registered it with `PUT /api/status`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The id with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for JobId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// `POST /api/jobs`: containers to run one after the other; the output of one is the input of the next.
///
/// ```
/// use resultity_core::infernet::JobRequest;
/// let request = JobRequest::new(["summarise"], &serde_json::json!({"text": "…"}))?;
/// assert_eq!(serde_json::to_string(&request)?, r#"{"containers":["summarise"],"data":{"text":"…"}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeJobRequest))]
pub struct JobRequest {
    /// Their ids, at least one; the first has to be external.
    pub containers: Vec<String>,
    /// What the first one gets: a JSON object.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Map<String, serde_json::Value>))]
    pub data: Box<RawValue>,
    /// Whether the last one has to prove what it computed. Null counts as absent, which means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_proof: Option<bool>,
}

impl JobRequest {
    /// A request of these containers with this input, which has to be a JSON object.
    pub fn new<S: Into<String>>(
        containers: impl IntoIterator<Item = S>,
        data: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            containers: containers.into_iter().map(Into::into).collect(),
            data: serde_json::value::to_raw_value(data)?,
            requires_proof: None,
        })
    }

    /// Asks the last container for a proof.
    #[must_use]
    pub fn with_proof(mut self) -> Self {
        self.requires_proof = Some(true);
        self
    }
}

/// The answer to a job: its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeJobResponse))]
pub struct JobResponse {
    /// To fetch the result with.
    pub id: JobId,
}

/// One entry of `POST /api/jobs/batch`.
#[derive(Debug, Clone)]
pub enum BatchRequest {
    /// A job whose result is fetched.
    Job(JobRequest),
    /// A delegated subscription, whose results go to a chain.
    Delegated(Box<DelegatedRequest>),
}

impl Serialize for BatchRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Job(request) => request.serialize(serializer),
            Self::Delegated(request) => request.serialize(serializer),
        }
    }
}

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchAnswer {
    /// `{"id": …}`: it is a job now.
    Job(JobResponse),
    /// `{}`: the subscription is followed; its results go to the chain.
    Delegated,
    /// `{"error": …}`: it was refused.
    Error(ErrorResponse),
}

impl Serialize for BatchAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Nothing {}
        match self {
            Self::Job(response) => response.serialize(serializer),
            Self::Delegated => Nothing {}.serialize(serializer),
            Self::Error(error) => error.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for BatchAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            id: Option<JobId>,
            error: Option<String>,
            params: Option<serde_json::Map<String, serde_json::Value>>,
        }
        let fields = Fields::deserialize(deserializer)?;
        Ok(match (fields.error, fields.id) {
            (Some(error), _) => Self::Error(ErrorResponse {
                error,
                params: fields.params,
            }),
            (None, Some(id)) => Self::Job(JobResponse { id }),
            (None, None) => Self::Delegated,
        })
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeJobStatus))]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits or runs.
    Running,
    /// Every container answered.
    Success,
    /// A container failed, or the job was cut off.
    Failed,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Running, Self::Success, Self::Failed];

    /// The name, as on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a container answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerOutput {
    /// Which container.
    pub container: String,
    /// Its answer: any JSON. Of a stream: `{"output": text}`.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub output: Box<RawValue>,
}

impl ContainerOutput {
    /// Its answer, if it is of this form.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.output.get())
    }
}

/// Why a container did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContainerError {
    /// Which container.
    pub container: String,
    /// What it said, or why it could not be asked.
    pub error: String,
}

/// What came of one container.
#[derive(Debug, Clone)]
pub enum ContainerResult {
    /// It answered.
    Output(ContainerOutput),
    /// It failed.
    Error(ContainerError),
}

impl ContainerResult {
    /// What a container answered.
    pub fn output(container: impl Into<String>, output: Box<RawValue>) -> Self {
        Self::Output(ContainerOutput {
            container: container.into(),
            output,
        })
    }

    /// Why a container did not answer.
    pub fn error(container: impl Into<String>, error: impl Into<String>) -> Self {
        Self::Error(ContainerError {
            container: container.into(),
            error: error.into(),
        })
    }

    /// Which container.
    pub fn container(&self) -> &str {
        match self {
            Self::Output(output) => &output.container,
            Self::Error(error) => &error.container,
        }
    }

    /// Whether it failed.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl Serialize for ContainerResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Output(output) => output.serialize(serializer),
            Self::Error(error) => error.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ContainerResult {
    // By hand, because raw JSON can't stand in an untagged enum.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            container: String,
            // A container may well answer null.
            #[serde(default, deserialize_with = "some")]
            output: Option<Box<RawValue>>,
            error: Option<String>,
        }
        fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
            Box::<RawValue>::deserialize(deserializer).map(Some)
        }
        let fields = Fields::deserialize(deserializer)?;
        match (fields.output, fields.error) {
            (Some(output), _) => Ok(Self::output(fields.container, output)),
            (None, Some(error)) => Ok(Self::error(fields.container, error)),
            (None, None) => Err(serde::de::Error::missing_field("output")),
        }
    }
}

/// A job, as `GET /api/jobs?id=…` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeJobResult))]
pub struct JobResult {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// What the last container that ran said; null while it runs, and of a job that a container registered.
    pub result: Option<ContainerResult>,
    /// What the containers before it said, where that was asked for. (The document's prose calls it `intermediate`, its JSON and
    /// the original node call it this.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediate_results: Option<Vec<ContainerResult>>,
}

/// `PUT /api/status`: a job that a container ran by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusUpdate {
    /// Its id: 1 to 128 bytes.
    pub id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// The containers that it belongs to.
    pub containers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back<T: for<'de> Deserialize<'de> + Serialize>(text: &str) {
        let value: T = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }

    #[test]
    fn jobs_read_back_with_every_digit() {
        read_back::<JobRequest>(r#"{"containers":["a"],"data":{"n":123456789012345678901234567890.50}}"#);
        read_back::<JobRequest>(r#"{"containers":[],"data":{},"requires_proof":true}"#);
        read_back::<JobResult>(r#"{"id":"1","status":"running","result":null}"#);
        read_back::<JobResult>(
            r#"{"id":"1","status":"success","result":{"container":"b","output":null},"intermediate_results":[{"container":"a","output":18446744073709551616}]}"#,
        );
        read_back::<JobResult>(r#"{"id":"1","status":"failed","result":{"container":"b","error":"no"}}"#);
        read_back::<StatusUpdate>(r#"{"id":"1","status":"success","containers":["a"]}"#);
        assert!(serde_json::from_str::<ContainerResult>(r#"{"container":"a"}"#).is_err());
    }

    #[test]
    fn a_batch_answers_in_three_ways() {
        read_back::<Vec<BatchAnswer>>(r#"[{"id":"1"},{},{"error":"no","params":{"container":"x"}},{"error":"no"}]"#);
    }

    #[test]
    fn a_proof_that_is_null_is_none() {
        let request: JobRequest =
            serde_json::from_str(r#"{"containers":["a"],"data":{},"requires_proof":null,"ip":"1"}"#).unwrap();
        assert_eq!(request.requires_proof, None);
    }
}

//! What containers can do: `GET /resources`. A container says it itself, so whatever it says beyond these fields is kept.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// JSON as a container sent it, passed on unread. [`read`](Self::read) gives it as what it should be.
#[derive(Debug, Clone)]
pub struct Said<T> {
    json: Box<RawValue>,
    read_as: PhantomData<fn() -> T>,
}

impl<T> Said<T> {
    /// This text.
    pub fn new(json: Box<RawValue>) -> Self {
        Self {
            json,
            read_as: PhantomData,
        }
    }

    /// The text.
    pub fn json(&self) -> &str {
        self.json.get()
    }
}

impl<T: DeserializeOwned> Said<T> {
    /// What it says, if it is of the documented form.
    pub fn read(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.json.get())
    }
}

impl<T> Serialize for Said<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self::new)
    }
}

/// What a container can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceResources {
    /// Which service it is.
    #[serde(default)]
    pub service_id: String,
    /// What it can compute.
    #[serde(default)]
    pub compute_capability: Vec<ComputeCapability>,
    /// What it runs on.
    #[serde(default)]
    pub hardware_capabilities: Vec<HardwareCapability>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Something that a service can compute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComputeCapability {
    /// Such as `ml` or `zk`.
    pub id: String,
    /// The type of service, such as `css`, `onnx`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Tasks, such as `text_generation`.
    #[serde(default)]
    pub task: Vec<String>,
    /// The models that it can serve.
    #[serde(default)]
    pub models: Vec<MlModel>,
    /// Those that are there already.
    #[serde(default)]
    pub cached_models: Vec<MlModel>,
    /// What runs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference_engine: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference_engine_version: Option<String>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A machine-learning model (`MLModel`). Services of different ages say different parts of this.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MLModel))]
pub struct MlModel {
    /// The organisation that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What type of model it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ml_type: Option<String>,
    /// What else is said of it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a service runs on. The document leaves it undefined; the fields are those that the ecosystem's services send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HardwareCapability {
    /// Such as `base` or `gpu`.
    #[serde(default)]
    pub capability_id: String,
    /// The processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_info: Option<CpuInfo>,
    /// The disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disk_info: Vec<DiskInfo>,
    /// The operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_info: Option<OsInfo>,
    /// What else it says: graphics cards, for one.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A processor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CPUInfo))]
pub struct CpuInfo {
    /// Such as `x86_64`.
    #[serde(default)]
    pub architecture: String,
    /// Such as `Little Endian`.
    #[serde(default)]
    pub byte_order: String,
    /// Its cores: names in the document, objects with frequencies in the ecosystem's services.
    #[serde(default)]
    pub cores: Vec<Value>,
    /// Its name.
    #[serde(default)]
    pub model: String,
    /// How many cores.
    #[serde(default)]
    pub num_cores: u64,
    /// Who made it.
    #[serde(default)]
    pub vendor_id: String,
}

/// A disk, in the units that the service counts in (the ecosystem's: KiB).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskInfo {
    /// What is free.
    #[serde(default)]
    pub available: u64,
    /// Its filesystem.
    #[serde(default)]
    pub filesystem: String,
    /// Where it is mounted.
    #[serde(default)]
    pub mount_point: String,
    /// All of it.
    #[serde(default)]
    pub size: u64,
    /// What is taken.
    #[serde(default)]
    pub used: u64,
}

/// An operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OSInfo))]
pub struct OsInfo {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// Whether a container supports a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelSupport {
    /// Whether it does.
    pub supported: bool,
    /// Why the id means nothing to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

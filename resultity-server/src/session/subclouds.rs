//! Jobs that are addressed to a Subcloud, or want a certain node.

use resultity_core::api::cloud::CallOptions;
use resultity_core::error::{ApiError, ErrorCode};

use crate::flow::internal;
use crate::flow::schedule::Constraints;
use crate::flow::validate::ValidJob;
use crate::session::CloudSession;
use crate::store::subclouds::{SubcloudRecord, SubcloudRef};

/// Where callers name a region.
const REGION: &str = "x-resultity-region";

/// Where callers name a GPU.
const GPU: &str = "x-resultity-gpu";

/// Where callers name it.
const SUBCLOUD: &str = "x-resultity-subcloud";

/// What a caller wants of the node, as nodes are compared with it.
fn constraints(options: &CallOptions) -> Constraints {
    let gpu = options.gpu.iter().flat_map(|gpu| gpu.split_whitespace());
    Constraints {
        region: options.region.as_ref().map(|region| region.to_ascii_uppercase()),
        is_region_required: options.region_required,
        gpu: gpu.map(str::to_ascii_lowercase).collect(),
        gpu_memory: u64::from(options.gpu_memory_gib.unwrap_or_default()) << 30,
    }
}

impl CloudSession {
    /// The Subcloud that the caller names, if it may address jobs to it. Whoever names none pays nothing for this.
    pub(super) async fn subcloud(&self) -> Result<Option<SubcloudRecord>, ApiError> {
        let Some(name) = &self.options.subcloud else {
            return Ok(None);
        };
        let wanted = SubcloudRef::Name(self.flow.environment, name.clone());
        let found = self.flow.store.subcloud(wanted).await.map_err(internal)?;
        let Some(subcloud) = found else {
            let message = format!("there is no Subcloud {name:?} in {}", self.flow.environment);
            return Err(ApiError::new(ErrorCode::NotFound, message).with_param(SUBCLOUD));
        };
        if !subcloud.admits(self.principal.account, self.principal.namespace) {
            let message = "this namespace may not address jobs to this Subcloud: ask its owner to let it";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param(SUBCLOUD));
        }
        Ok(Some(subcloud))
    }

    /// What the caller wants of the node.
    pub(super) fn constrain(&self, valid: &mut ValidJob) {
        valid.constraints = constraints(&self.options);
    }

    /// Addresses a job to the Subcloud that the caller names.
    pub(super) async fn address(&self, valid: &mut ValidJob) -> Result<(), ApiError> {
        let Some(subcloud) = self.subcloud().await? else {
            return Ok(());
        };
        if !subcloud.answers_for(&valid.model.name) {
            let message = format!(
                "the Subcloud {:?} does not answer for this model, but for: {}",
                subcloud.name,
                subcloud.models.join(", ")
            );
            return Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param(SUBCLOUD));
        }
        valid.subcloud = Some(subcloud.id);
        Ok(())
    }

    /// Refuses a Subcloud, a region or a GPU where it would be dropped.
    pub(super) fn check_no_subcloud(&self) -> Result<(), ApiError> {
        if self.options.region.is_some() || self.options.gpu.is_some() || self.options.gpu_memory_gib.is_some() {
            let message = "a batch goes to any node that serves the model: send its requests one by one";
            let header = if self.options.region.is_some() { REGION } else { GPU };
            return Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(header));
        }
        if self.options.subcloud.is_none() {
            return Ok(());
        }
        let message = "a batch cannot be addressed to a Subcloud yet: send its requests one by one";
        Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(SUBCLOUD))
    }
}

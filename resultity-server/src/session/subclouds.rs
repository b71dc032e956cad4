//! Jobs that are addressed to a Subcloud.

use resultity_core::error::{ApiError, ErrorCode};

use crate::flow::internal;
use crate::flow::validate::ValidJob;
use crate::session::CloudSession;
use crate::store::subclouds::{SubcloudRecord, SubcloudRef};

/// Where callers name it.
const SUBCLOUD: &str = "x-resultity-subcloud";

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

    /// Refuses a Subcloud where it would be dropped.
    pub(super) fn check_no_subcloud(&self) -> Result<(), ApiError> {
        if self.options.subcloud.is_none() {
            return Ok(());
        }
        let message = "a batch cannot be addressed to a Subcloud yet: send its requests one by one";
        Err(ApiError::new(ErrorCode::UnsupportedParameter, message).with_param(SUBCLOUD))
    }
}

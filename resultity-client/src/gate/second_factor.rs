//! The second factor.

use async_trait::async_trait;
use resultity_core::api::gate::{
    ConfirmTotp, RecoveryCodes, SecondFactor, SecondFactorApi, SecondFactorStatus, TotpSetup,
};
use resultity_core::error::ApiError;

use crate::gate::GateClient;

#[async_trait]
impl SecondFactorApi for GateClient {
    async fn second_factor(&self) -> Result<SecondFactorStatus, ApiError> {
        let call = self.transport.get(&["account", "totp"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn set_up_totp(&self) -> Result<TotpSetup, ApiError> {
        let call = self.transport.post_nothing(&["account", "totp"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn confirm_totp(&self, request: ConfirmTotp) -> Result<RecoveryCodes, ApiError> {
        let call = self.transport.post(&["account", "totp", "confirm"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn remove_totp(&self, proof: SecondFactor) -> Result<SecondFactorStatus, ApiError> {
        let call = self.transport.delete(&["account", "totp"]).with_json(&proof)?;
        // Done twice, the second time has no code that counts.
        Ok(self.transport.json(call).await?.body)
    }

    async fn renew_recovery_codes(&self, proof: SecondFactor) -> Result<RecoveryCodes, ApiError> {
        let call = self.transport.post(&["account", "recovery-codes"], &proof)?;
        Ok(self.transport.json(call).await?.body)
    }
}

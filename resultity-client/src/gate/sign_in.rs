//! Signing up and in: for a client without a token.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CodeSent, ConfirmReset, ConfirmSignUp, ResetPassword, SignIn, SignInApi, SignUp, SignedIn,
};
use resultity_core::error::ApiError;

use crate::gate::GateClient;

#[async_trait]
impl SignInApi for GateClient {
    async fn sign_up(&self, request: SignUp) -> Result<CodeSent, ApiError> {
        let call = self.transport.post(&["sign-up"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn confirm_sign_up(&self, request: ConfirmSignUp) -> Result<SignedIn, ApiError> {
        let call = self.transport.post(&["sign-up", "confirm"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn sign_in(&self, request: SignIn) -> Result<SignedIn, ApiError> {
        let call = self.transport.post(&["sign-in"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn reset_password(&self, request: ResetPassword) -> Result<CodeSent, ApiError> {
        let call = self.transport.post(&["password", "reset"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn confirm_reset(&self, request: ConfirmReset) -> Result<(), ApiError> {
        let call = self.transport.post(&["password", "reset", "confirm"], &request)?;
        self.transport.whole(call).await.map(drop)
    }
}

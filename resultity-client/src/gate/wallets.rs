//! Wallets that sign in.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AskWallet, LinkWallet, SignedIn, Wallet, WalletChallenge, WalletSignIn, WalletSignInApi, WalletUnlinked, WalletsApi,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use crate::gate::GateClient;

#[async_trait]
impl WalletSignInApi for GateClient {
    async fn wallet_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError> {
        let call = self.transport.post(&["wallet", "challenge"], &request)?;
        // It changes nothing.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn wallet_sign_in(&self, request: WalletSignIn) -> Result<SignedIn, ApiError> {
        let call = self.transport.post(&["wallet", "sign-in"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }
}

#[async_trait]
impl WalletsApi for GateClient {
    async fn wallets(&self) -> Result<Page<Wallet>, ApiError> {
        let call = self.transport.get(&["account", "wallets"]);
        Ok(self.transport.json(call).await?.body)
    }

    async fn wallet_link_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError> {
        let call = self.transport.post(&["account", "wallets", "challenge"], &request)?;
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn link_wallet(&self, request: LinkWallet) -> Result<Wallet, ApiError> {
        let call = self.transport.post(&["account", "wallets"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn unlink_wallet(&self, address: &str) -> Result<WalletUnlinked, ApiError> {
        let call = self.transport.delete(&["account", "wallets", address]);
        Ok(self.transport.json(call).await?.body)
    }
}

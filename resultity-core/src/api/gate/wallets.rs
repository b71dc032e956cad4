//! EVM wallets that sign in: questions that they sign (EIP-4361), and those that an account has.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{SecondFactor, SignedIn};
use crate::api::page::Page;
use crate::error::ApiError;

/// `POST /gate/v1/wallet/challenge` and `POST /gate/v1/account/wallets/challenge`: who is going to sign, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AskWallet {
    /// The wallet's address: `0x` and 40 hexadecimal digits.
    pub address: String,
    /// The chain that the wallet is on (EIP-155), one of those that the network takes; the first of them if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// The host (and port) of the page that asks, one of those that the network takes, since wallets compare it with what
    /// the browser shows; the first of them if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl AskWallet {
    /// For the wallet with this address.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }

    /// On this chain.
    #[must_use]
    pub fn chain_id(mut self, chain_id: u64) -> Self {
        self.chain_id = Some(chain_id);
        self
    }

    /// On a page of this host.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }
}

/// What a wallet is to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletChallenge {
    /// The message of EIP-4361, to be signed as it is (`personal_sign`). A program may write its own one with the nonce.
    pub message: String,
    /// What is in it that counts once.
    pub nonce: String,
    /// Until when it counts: seconds since the Unix epoch.
    pub expires_at: i64,
}

/// `POST /gate/v1/wallet/sign-in`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WalletSignIn {
    /// What was signed.
    pub message: String,
    /// The signature: `0x` and 130 hexadecimal digits.
    pub signature: String,
    /// The account's second factor, where one is set. The same message counts until it was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
    /// For browsers: the session is kept in a cookie, and the answer has no token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

impl WalletSignIn {
    /// With this message and its signature.
    pub fn new(message: impl Into<String>, signature: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            signature: signature.into(),
            ..Self::default()
        }
    }

    /// And this second factor.
    #[must_use]
    pub fn with_second_factor(mut self, factor: SecondFactor) -> Self {
        self.second_factor = Some(factor);
        self
    }

    /// In a browser.
    #[must_use]
    pub fn with_cookie(mut self) -> Self {
        self.cookie = true;
        self
    }
}

impl fmt::Debug for WalletSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalletSignIn([hidden])")
    }
}

/// `POST /gate/v1/account/wallets`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LinkWallet {
    /// What was signed.
    pub message: String,
    /// The signature: `0x` and 130 hexadecimal digits.
    pub signature: String,
}

impl LinkWallet {
    /// With this message and its signature.
    pub fn new(message: impl Into<String>, signature: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            signature: signature.into(),
        }
    }
}

impl fmt::Debug for LinkWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkWallet([hidden])")
    }
}

/// A wallet that an account may sign in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Wallet {
    /// Its address, with the checksum of EIP-55.
    pub address: String,
    /// When it was linked: seconds since the Unix epoch.
    pub created_at: i64,
    /// When somebody signed in with it last: seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<i64>,
}

/// A wallet that an account may not sign in with any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletUnlinked {
    /// Its address.
    pub address: String,
    /// Always true.
    pub deleted: bool,
}

/// Signing in with a wallet, for anybody.
#[async_trait]
pub trait WalletSignInApi: Send + Sync {
    /// A message to be signed. It says nothing of whether the wallet has an account.
    async fn wallet_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError>;

    /// Signs in with what a wallet signed; makes the account at its first time, if the network takes new ones.
    async fn wallet_sign_in(&self, request: WalletSignIn) -> Result<SignedIn, ApiError>;
}

/// The wallets of the caller's account.
#[async_trait]
pub trait WalletsApi: Send + Sync {
    /// All of them, the oldest first.
    async fn wallets(&self) -> Result<Page<Wallet>, ApiError>;

    /// A message that links a wallet once it is signed. It names the account.
    async fn wallet_link_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError>;

    /// Links the wallet that signed. One that another account has is refused.
    async fn link_wallet(&self, request: LinkWallet) -> Result<Wallet, ApiError>;

    /// Unlinks a wallet. The last credential of an account stays.
    async fn unlink_wallet(&self, address: &str) -> Result<WalletUnlinked, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signature_is_shown() {
        let shown = format!(
            "{:?} {:?}",
            WalletSignIn::new("message", "signature").with_second_factor(SecondFactor::Totp("1".into())),
            LinkWallet::new("message", "signature")
        );
        assert!(!shown.contains("message") && !shown.contains("signature"), "{shown}");
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        assert_eq!(
            serde_json::to_string(&WalletSignIn::new("m", "s")).unwrap(),
            r#"{"message":"m","signature":"s"}"#
        );
        assert_eq!(
            serde_json::to_string(&AskWallet::new("0x")).unwrap(),
            r#"{"address":"0x"}"#
        );
        assert!(serde_json::from_str::<AskWallet>(r#"{"address":"0x","host":"a"}"#).is_err());
    }
}

//! The second factor: one-time codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// What proves the second factor: `{"totp": "123456"}` or `{"recovery_code": "…"}`. Each code counts once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecondFactor {
    /// The six digits that the app shows now.
    Totp(String),
    /// One of the recovery codes; it is used up by this.
    RecoveryCode(String),
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Totp(_) => "Totp([hidden])",
            Self::RecoveryCode(_) => "RecoveryCode([hidden])",
        })
    }
}

/// Whether a second factor is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecondFactorStatus {
    /// Whether signing in needs a code.
    pub totp: bool,
    /// Since when: seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<i64>,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
}

/// A secret to be put into an authenticator app. It counts once a code of it was confirmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotpSetup {
    /// The secret in base32, to be typed in; shown this once.
    pub secret: String,
    /// The same as `otpauth://totp/…`, for a QR code.
    pub uri: String,
}

impl fmt::Debug for TotpSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSetup([hidden])")
    }
}

/// `POST /gate/v1/account/totp/confirm`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfirmTotp {
    /// The six digits that the app shows now.
    pub code: String,
}

impl ConfirmTotp {
    /// With this code.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into() }
    }
}

impl fmt::Debug for ConfirmTotp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmTotp([hidden])")
    }
}

/// Recovery codes, shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoveryCodes {
    /// The codes: each signs in once instead of the app.
    pub recovery_codes: Vec<String>,
}

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryCodes([{} hidden])", self.recovery_codes.len())
    }
}

/// The second factor of the caller's account.
#[async_trait]
pub trait SecondFactorApi: Send + Sync {
    /// Whether one is set.
    async fn second_factor(&self) -> Result<SecondFactorStatus, ApiError>;

    /// A new secret. Nothing is asked for at sign-in until a code of it is confirmed. One that is confirmed already has to be
    /// removed first.
    async fn set_up_totp(&self) -> Result<TotpSetup, ApiError>;

    /// Sets the second factor; gives recovery codes.
    async fn confirm_totp(&self, request: ConfirmTotp) -> Result<RecoveryCodes, ApiError>;

    /// Removes the second factor and its recovery codes.
    async fn remove_totp(&self, proof: SecondFactor) -> Result<SecondFactorStatus, ApiError>;

    /// New recovery codes; the old ones are worth nothing any more.
    async fn renew_recovery_codes(&self, proof: SecondFactor) -> Result<RecoveryCodes, ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_one_code_by_its_name_and_is_not_shown() {
        let proof: SecondFactor = serde_json::from_str(r#"{"totp":"123456"}"#).unwrap();
        assert_eq!(proof, SecondFactor::Totp("123456".into()));
        assert_eq!(serde_json::to_string(&proof).unwrap(), r#"{"totp":"123456"}"#);
        assert!(!format!("{proof:?}").contains("123456"));
        for bad in [
            "{}",
            r#"{"totp":1}"#,
            r#"{"totp":"1","recovery_code":"2"}"#,
            r#"{"sms":"1"}"#,
            r#""totp""#,
        ] {
            assert!(serde_json::from_str::<SecondFactor>(bad).is_err(), "{bad}");
        }
    }
}

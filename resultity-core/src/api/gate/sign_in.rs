//! Signing up and in with e-mail and password; a password that was forgotten.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::SecondFactor;
use crate::error::ApiError;
use crate::id::{AccountId, LoginId};

/// `POST /gate/v1/sign-up`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignUp {
    /// The address that the code is sent to.
    pub email: String,
    /// 10 to 256 characters.
    pub password: String,
}

impl SignUp {
    /// With this address and password.
    pub fn new(email: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            email: email.into(),
            password: password.into(),
        }
    }
}

/// That a code is on its way, if there is anybody to send it to: the answer never says which.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CodeSent {
    /// To be given back with the code. Whoever reads the mail alone can do nothing with the code, and whoever asked
    /// alone neither.
    pub ticket: String,
    /// Until when the code counts: seconds since the Unix epoch.
    pub expires_at: i64,
}

impl fmt::Debug for CodeSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeSent")
            .field("ticket", &"[hidden]")
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// `POST /gate/v1/sign-up/confirm`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfirmSignUp {
    /// What the answer to the sign-up said.
    pub ticket: String,
    /// The code of the mail.
    pub code: String,
    /// For browsers: the session is kept in a cookie, and the answer has no token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

impl ConfirmSignUp {
    /// With this ticket and code.
    pub fn new(ticket: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            ticket: ticket.into(),
            code: code.into(),
            cookie: false,
        }
    }

    /// In a browser.
    #[must_use]
    pub fn with_cookie(mut self) -> Self {
        self.cookie = true;
        self
    }
}

/// `POST /gate/v1/sign-in`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignIn {
    /// The account's address.
    pub email: String,
    /// Its password.
    pub password: String,
    /// Its second factor, where one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
    /// For browsers: the session is kept in a cookie, and the answer has no token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

impl SignIn {
    /// With this address and password.
    pub fn new(email: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            email: email.into(),
            password: password.into(),
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

/// Somebody has signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedIn {
    /// Who.
    pub account: AccountId,
    /// Names where, in the list of sessions.
    pub login: LoginId,
    /// What to send as `Authorization: Bearer …`. Not there if it is kept in a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where the session is in a cookie: what to send as `x-csrf-token` with everything that is not a `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf_token: Option<String>,
    /// When it ends unless it is used before: seconds since the Unix epoch.
    pub expires_at: i64,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("account", &self.account)
            .field("login", &self.login)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `POST /gate/v1/password/reset`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ResetPassword {
    /// The account's address.
    pub email: String,
}

impl ResetPassword {
    /// Of the account with this address.
    pub fn new(email: impl Into<String>) -> Self {
        Self { email: email.into() }
    }
}

/// `POST /gate/v1/password/reset/confirm`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfirmReset {
    /// What the answer before said.
    pub ticket: String,
    /// The code of the mail.
    pub code: String,
    /// The new password: 10 to 256 characters.
    pub password: String,
}

impl ConfirmReset {
    /// With this ticket and code, to this password.
    pub fn new(ticket: impl Into<String>, code: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            ticket: ticket.into(),
            code: code.into(),
            password: password.into(),
        }
    }
}

/// Only the name of the type: what is in it is a secret, or says who somebody is.
macro_rules! hidden {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

hidden! { SignUp ConfirmSignUp SignIn ResetPassword ConfirmReset }

/// Signing up and in, for anybody. No answer, and no time that one takes, tells whether an address has an account.
#[async_trait]
pub trait SignInApi: Send + Sync {
    /// Begins a sign-up: a code is mailed. To an address that has an account, the mail says so instead.
    async fn sign_up(&self, request: SignUp) -> Result<CodeSent, ApiError>;

    /// Ends it: the account is there, and signed in.
    async fn confirm_sign_up(&self, request: ConfirmSignUp) -> Result<SignedIn, ApiError>;

    /// Signs in. `second_factor_required` says that the password was right, and that the account has a second factor.
    async fn sign_in(&self, request: SignIn) -> Result<SignedIn, ApiError>;

    /// Begins to replace a password that was forgotten: a code is mailed if the address has an account.
    async fn reset_password(&self, request: ResetPassword) -> Result<CodeSent, ApiError>;

    /// Replaces it. All sessions and access tokens of the account end; the second factor stays.
    async fn confirm_reset(&self, request: ConfirmReset) -> Result<(), ApiError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            SignUp::new("somebody@example.org", "secret"),
            SignIn::new("somebody@example.org", "secret").with_second_factor(SecondFactor::Totp("secret".into())),
            ConfirmSignUp::new("secret", "secret"),
            ConfirmReset::new("secret", "secret", "secret"),
        );
        assert!(!shown.contains("secret") && !shown.contains("somebody"), "{shown}");
    }

    #[test]
    fn a_second_factor_is_named_by_its_kind() {
        let json = r#"{"email":"a@b.c","password":"p","second_factor":{"totp":"123456"}}"#;
        let request: SignIn = serde_json::from_str(json).unwrap();
        assert_eq!(request.second_factor, Some(SecondFactor::Totp("123456".into())));
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert!(serde_json::from_str::<SignIn>(r#"{"email":"a","password":"p","totp":"1"}"#).is_err());
    }
}

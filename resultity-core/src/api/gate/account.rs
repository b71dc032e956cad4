//! The caller's account: its name, password and e-mail address, and when somebody signed in.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{CodeSent, Role, SignInMethod};
use crate::api::page::{Page, PageQuery};
use crate::error::ApiError;
use crate::id::{AccountId, SignInId};

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// Names it.
    pub id: AccountId,
    /// What it is called; may be empty.
    pub name: String,
    /// What it is in the network.
    pub role: Role,
    /// The address that it signs in with, which was shown to be its owner's.
    pub email: Option<String>,
    /// Whether it has a password.
    pub has_password: bool,
    /// How many wallets it may sign in with.
    pub wallets: u32,
    /// Whether a second factor is asked.
    pub second_factor: bool,
    /// When it was made: seconds since the Unix epoch.
    pub created_at: i64,
    /// When somebody signed in last: seconds since the Unix epoch.
    pub last_sign_in_at: Option<i64>,
}

/// `POST /gate/v1/account`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UpdateAccount {
    /// What it is to be called: at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl UpdateAccount {
    /// Another name.
    pub fn name(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
        }
    }
}

/// `POST /gate/v1/account/password`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangePassword {
    /// The one that counts now.
    pub current_password: String,
    /// The one that is to count: 10 to 256 characters.
    pub password: String,
}

impl ChangePassword {
    /// From this one to that one.
    pub fn new(current: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            current_password: current.into(),
            password: password.into(),
        }
    }
}

/// `POST /gate/v1/account/email`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ChangeEmail {
    /// The new address, which the code is sent to.
    pub email: String,
    /// The account's password; if it has none yet, the one that it is to have: 10 to 256 characters.
    pub password: String,
}

impl ChangeEmail {
    /// To this address, with the account's password.
    pub fn new(email: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            email: email.into(),
            password: password.into(),
        }
    }
}

/// `POST /gate/v1/account/email/confirm`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfirmEmail {
    /// What the answer before said.
    pub ticket: String,
    /// The code of the mail.
    pub code: String,
}

impl ConfirmEmail {
    /// With this ticket and code.
    pub fn new(ticket: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            ticket: ticket.into(),
            code: code.into(),
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

hidden! { ChangePassword ChangeEmail ConfirmEmail }

/// Once that somebody signed in, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignInEvent {
    /// Names it.
    pub id: SignInId,
    /// How.
    pub method: SignInMethod,
    /// Whether they were let in.
    pub succeeded: bool,
    /// Where from.
    pub address: String,
    /// What the browser or program called itself.
    pub user_agent: String,
    /// When: seconds since the Unix epoch.
    pub created_at: i64,
}

/// The caller's account.
#[async_trait]
pub trait AccountApi: Send + Sync {
    /// The account.
    async fn own_account(&self) -> Result<Account, ApiError>;

    /// Changes what is named.
    async fn update_account(&self, request: UpdateAccount) -> Result<Account, ApiError>;

    /// Changes the password. All other sessions end.
    async fn change_password(&self, request: ChangePassword) -> Result<(), ApiError>;

    /// Begins to change the address, or to add one: a code is mailed to it. To an address that has an account, the mail
    /// says so instead.
    async fn change_email(&self, request: ChangeEmail) -> Result<CodeSent, ApiError>;

    /// Ends it.
    async fn confirm_email(&self, request: ConfirmEmail) -> Result<Account, ApiError>;

    /// Removes address and password, unless nothing else is left to sign in with.
    async fn remove_email(&self) -> Result<Account, ApiError>;

    /// A page of when somebody signed in or tried to; the last 100 of each are kept.
    async fn sign_ins(&self, query: PageQuery) -> Result<Page<SignInEvent>, ApiError>;
}

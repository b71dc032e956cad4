//! Where an account is signed in, and what a session sees.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Role, Scope};
use crate::api::page::{Page, PageQuery};
use crate::environment::Environment;
use crate::error::ApiError;
use crate::id::{AccountId, LoginId, TokenId};

/// How somebody showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignInMethod {
    /// E-mail and password.
    Password,
    /// The signature of a wallet.
    Wallet,
    /// The code of a mail, when the account was made.
    Mail,
}

impl SignInMethod {
    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Wallet => "wallet",
            Self::Mail => "mail",
        }
    }
}

/// Where a session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// In the cookie of a browser.
    Browser,
    /// As a token, by a command or another program.
    Command,
}

impl LoginKind {
    /// The name, as on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Command => "command",
        }
    }

    /// The kind that is meant by whether a cookie is asked for.
    pub const fn by_cookie(cookie: bool) -> Self {
        if cookie { Self::Browser } else { Self::Command }
    }
}

macro_rules! named {
    ($($name:ident: $($variant:ident)*;)*) => {$(
        impl std::str::FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                [$(Self::$variant),*].into_iter().find(|one| one.as_str() == text).ok_or(UnknownName)
            }
        }
    )*};
}

/// A text that names none of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of a kind of sign-in or session")]
pub struct UnknownName;

named! {
    SignInMethod: Password Wallet Mail;
    LoginKind: Browser Command;
}

/// Where an account is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Login {
    /// Names it.
    pub id: LoginId,
    /// Where it is kept.
    pub kind: LoginKind,
    /// How somebody signed in.
    pub method: SignInMethod,
    /// Whether it is the one that asks.
    pub current: bool,
    /// The address that somebody signed in from.
    pub address: String,
    /// What the browser or program called itself then.
    pub user_agent: String,
    /// When somebody signed in: seconds since the Unix epoch.
    pub created_at: i64,
    /// When it was used last, to the minute: seconds since the Unix epoch.
    pub last_used_at: i64,
    /// When it ends unless it is used before: seconds since the Unix epoch.
    pub expires_at: i64,
}

/// `GET /gate/v1/session`: who asks, and what they see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Who; nobody for the operator's token.
    pub account: Option<AccountId>,
    /// What the account is in the network.
    pub role: Role,
    /// The environment that is meant where nothing is said.
    pub environment: Environment,
    /// The environments that can be seen.
    pub environments: Vec<Environment>,
    /// The session, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginId>,
    /// The access token, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// What the access token may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Where the session is in a cookie: what to send as `x-csrf-token` with everything that is not a `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf_token: Option<String>,
}

/// `POST /gate/v1/session`: which environment to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SwitchEnvironment {
    /// `testnet` or `mainnet`.
    pub environment: Environment,
}

impl SwitchEnvironment {
    /// To this one.
    pub const fn to(environment: Environment) -> Self {
        Self { environment }
    }
}

/// `DELETE /gate/v1/sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginsEnded {
    /// How many.
    pub ended: u64,
}

/// The session that asks, and the others of its account.
#[async_trait]
pub trait LoginsApi: Send + Sync {
    /// Who asks, and what they see.
    async fn session(&self) -> Result<Session, ApiError>;

    /// Looks at another environment from now on. For sessions; an access token has its own for good.
    async fn switch_environment(&self, request: SwitchEnvironment) -> Result<Session, ApiError>;

    /// Ends the session, or the access token, that asks.
    async fn sign_out(&self) -> Result<(), ApiError>;

    /// A page of where the account is signed in.
    async fn logins(&self, query: PageQuery) -> Result<Page<Login>, ApiError>;

    /// Ends one of them.
    async fn end_login(&self, id: LoginId) -> Result<(), ApiError>;

    /// Ends all but the one that asks.
    async fn end_other_logins(&self) -> Result<LoginsEnded, ApiError>;
}

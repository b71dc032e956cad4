//! Accounts: how people sign in, where they are signed in, their access tokens.

use std::fmt;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::{LoginKind, Role, Scope, SignInMethod};
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, LoginId, SignInId, TokenId};

use super::admin::AuditEntry;
use super::webhooks::PageOf;
use crate::store::StoreError;

/// SHA-256 of a token or ticket of 256 random bits: what is stored of it.
pub type SecretHash = B256;

/// Argon2id of a password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([hidden])")
    }
}

/// An account, to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Names it.
    pub id: AccountId,
    /// What it is called; may be empty.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The address that it signs in with: lower case, and shown to be its owner's.
    pub email: Option<String>,
    /// Its password.
    pub password: Option<PasswordHash>,
    /// When.
    pub now: Timestamp,
}

/// What became of an account that was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountMade {
    /// It is there.
    Made,
    /// Another account has the address. Nothing was changed.
    EmailTaken,
}

/// What became of an administrator who was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministratorMade {
    /// A new account.
    Made(AccountId),
    /// The account that had the address already.
    Promoted(AccountId),
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Names it.
    pub id: AccountId,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The address that it signs in with.
    pub email: Option<String>,
    /// Its password.
    pub password: Option<PasswordHash>,
    /// Since when it may not do anything.
    pub suspended_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An account with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// The account.
    pub account: AccountRecord,
    /// How many wallets it may sign in with.
    pub wallets: u32,
    /// Whether a second factor is asked.
    pub second_factor: bool,
    /// When somebody signed in last.
    pub last_sign_in_at: Option<Timestamp>,
}

/// What a code that is sent by mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePurpose {
    /// An account is to be made.
    SignUp,
    /// A password was forgotten.
    Reset,
    /// An account is to have another address.
    Email,
}

impl CodePurpose {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Reset => "reset",
            Self::Email => "email",
        }
    }
}

/// A code that is sent by mail.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// SHA-256 of what the asker holds.
    pub ticket: SecretHash,
    /// SHA-256 of that and the code.
    pub code: B256,
    /// What for.
    pub purpose: CodePurpose,
    /// Where to: lower case.
    pub email: String,
    /// Whose address is to be changed.
    pub account: Option<AccountId>,
    /// The password that the account is to have.
    pub password: Option<PasswordHash>,
    /// How often it may be tried.
    pub attempts: u32,
    /// When.
    pub now: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// A code that is given back.
#[derive(Debug, Clone, Copy)]
pub struct GivenCode {
    /// SHA-256 of what the asker holds.
    pub ticket: SecretHash,
    /// SHA-256 of that and the code.
    pub code: B256,
    /// When.
    pub now: Timestamp,
}

/// What became of an address that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailRemoved {
    /// It is gone, or was never there.
    Removed,
    /// Nothing else is left to sign in with. Nothing was changed.
    LastCredential,
}

/// Where an account is to be signed in.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// Names it.
    pub id: LoginId,
    /// Whose.
    pub account: AccountId,
    /// SHA-256 of the token.
    pub hash: SecretHash,
    /// Where it is kept.
    pub kind: LoginKind,
    /// How somebody signed in.
    pub method: SignInMethod,
    /// Where from.
    pub address: String,
    /// What the browser or program calls itself.
    pub user_agent: String,
    /// When.
    pub now: Timestamp,
    /// When it ends if it is not used before.
    pub expires_at: Timestamp,
    /// When it ends in any case.
    pub ends_at: Timestamp,
}

/// Where an account is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRecord {
    /// Names it.
    pub id: LoginId,
    /// Whose.
    pub account: AccountId,
    /// What the account is.
    pub role: Role,
    /// Whether the account may not do anything.
    pub suspended: bool,
    /// Where it is kept.
    pub kind: LoginKind,
    /// How somebody signed in.
    pub method: SignInMethod,
    /// What it looks at.
    pub environment: Option<Environment>,
    /// Where from.
    pub address: String,
    /// What the browser or program called itself.
    pub user_agent: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was used last.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used before.
    pub expires_at: Timestamp,
    /// When it ends in any case.
    pub ends_at: Timestamp,
}

/// An access token, to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Names it.
    pub id: TokenId,
    /// Whose.
    pub account: AccountId,
    /// SHA-256 of the token.
    pub hash: SecretHash,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one environment that it sees.
    pub environment: Option<Environment>,
    /// When.
    pub now: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// An access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Names it.
    pub id: TokenId,
    /// Whose.
    pub account: AccountId,
    /// What the account is.
    pub role: Role,
    /// Whether the account may not do anything.
    pub suspended: bool,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one environment that it sees.
    pub environment: Option<Environment>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// When it was used last.
    pub last_used_at: Option<Timestamp>,
}

/// Once that somebody signed in, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInRecord {
    /// Names it.
    pub id: SignInId,
    /// To which account.
    pub account: AccountId,
    /// How.
    pub method: SignInMethod,
    /// Whether they were let in.
    pub succeeded: bool,
    /// Where from.
    pub address: String,
    /// What the browser or program called itself.
    pub user_agent: String,
    /// When.
    pub at: Timestamp,
}

/// Accounts: how people sign in, where they are signed in, their access tokens.
#[async_trait]
pub trait IdentityStore: Send + Sync {
    /// Makes an account.
    async fn create_account(&self, account: NewAccount) -> Result<AccountMade, StoreError>;

    /// Makes an account of an administrator, or one of the account that has the address; a password that is named
    /// counts from now on. The line of the audit log names the account as its subject.
    async fn make_administrator(&self, account: NewAccount, audit: AuditEntry)
    -> Result<AdministratorMade, StoreError>;

    /// The account.
    async fn account_record(&self, id: AccountId) -> Result<Option<AccountRecord>, StoreError>;

    /// The account with this address, which is in lower case.
    async fn account_by_email(&self, email: &str) -> Result<Option<AccountRecord>, StoreError>;

    /// The account with what belongs to it.
    async fn account_summary(&self, id: AccountId) -> Result<Option<AccountSummary>, StoreError>;

    /// Changes what it is called. False: no such account.
    async fn rename_account(&self, id: AccountId, name: String) -> Result<bool, StoreError>;

    /// Changes the password, and ends all sessions but this one. False: no such account.
    async fn set_password(
        &self,
        id: AccountId,
        password: PasswordHash,
        but: Option<LoginId>,
    ) -> Result<bool, StoreError>;

    /// Keeps a code that is sent by mail; of a reset, for the account with the address, if there is one. Gives whether
    /// the address has an account.
    async fn keep_code(&self, code: NewCode) -> Result<bool, StoreError>;

    /// Makes the account (of this id) that a code is for. False: the code does not count (any more), or the address has
    /// an account by now.
    async fn redeem_sign_up(&self, given: GivenCode, id: AccountId) -> Result<bool, StoreError>;

    /// Replaces the password of the account that a code is for, and ends all its sessions and access tokens. None: the
    /// code does not count (any more).
    async fn redeem_reset(&self, given: GivenCode, password: PasswordHash) -> Result<Option<AccountId>, StoreError>;

    /// Gives the account the address that a code is for; one without a password the one that was named with it. False:
    /// the code does not count (any more), or the address has an account by now.
    async fn redeem_email(&self, given: GivenCode, account: AccountId) -> Result<bool, StoreError>;

    /// Removes address and password.
    async fn remove_email(&self, account: AccountId) -> Result<EmailRemoved, StoreError>;

    /// Signs an account in; beyond `most` the oldest session ends. False: there is no such account, or it is suspended;
    /// then this is kept as an attempt.
    async fn open_login(&self, login: NewLogin, sign_in: SignInId, most: u32) -> Result<bool, StoreError>;

    /// The session with this hash, if it has not ended.
    async fn login(&self, hash: SecretHash, now: Timestamp) -> Result<Option<LoginRecord>, StoreError>;

    /// A session was used, and ends then if it is not used again.
    async fn touch_login(&self, id: LoginId, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError>;

    /// Where the account is signed in.
    async fn logins(
        &self,
        account: AccountId,
        page: PageOf<LoginId>,
        now: Timestamp,
    ) -> Result<Vec<LoginRecord>, StoreError>;

    /// A session looks at another environment. False: it has ended.
    async fn switch_login(&self, id: LoginId, environment: Environment) -> Result<bool, StoreError>;

    /// Ends a session of the account. False: there is none of this id.
    async fn end_login(&self, account: AccountId, id: LoginId) -> Result<bool, StoreError>;

    /// Ends all sessions of the account but this one; gives how many.
    async fn end_logins(&self, account: AccountId, but: Option<LoginId>) -> Result<u64, StoreError>;

    /// Makes an access token. False: the account has `most` already, or is suspended.
    async fn create_token(&self, token: NewToken, most: u32) -> Result<bool, StoreError>;

    /// The access token with this hash, if it counts.
    async fn token(&self, hash: SecretHash, now: Timestamp) -> Result<Option<TokenRecord>, StoreError>;

    /// An access token was used.
    async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError>;

    /// The access tokens of the account that count.
    async fn tokens(
        &self,
        account: AccountId,
        page: PageOf<TokenId>,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError>;

    /// Ends an access token of the account. False: there is none of this id.
    async fn delete_token(&self, account: AccountId, id: TokenId) -> Result<bool, StoreError>;

    /// Keeps that somebody signed in, or tried to.
    async fn record_sign_in(&self, record: SignInRecord) -> Result<(), StoreError>;

    /// When somebody signed in, or tried to.
    async fn sign_ins(&self, account: AccountId, page: PageOf<SignInId>) -> Result<Vec<SignInRecord>, StoreError>;
}

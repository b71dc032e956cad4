//! Who calls: sessions and access tokens, made and believed.

use std::net::IpAddr;
use std::time::Duration;

use resultity_core::api::gate::{LoginKind, SignInMethod, SignedIn};
use resultity_core::canonical::sha256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, LoginId, SignInId};

use super::{Authority, Caller, Gate, failed};
use crate::store::identity::NewLogin;

/// What the token of a session begins with.
const LOGIN_PREFIX: &str = "rs_";

/// What an access token begins with.
pub(super) const TOKEN_PREFIX: &str = "rt_";

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 128;

/// How exactly it is known when a session was used last.
const TOUCHED_EVERY: Duration = Duration::from_mins(1);

/// The most sessions of an account: beyond that the oldest ends.
const MOST_LOGINS: u32 = 100;

/// A new token of 256 random bits.
pub(super) fn new_token(prefix: &str, entropy: &dyn Entropy) -> String {
    let mut secret = [0; 32];
    entropy.fill(&mut secret);
    format!("{prefix}{}", hex::encode(secret))
}

/// What a page that was loaded with this session's cookie has to send with whatever changes something. It follows from
/// the cookie, which no other site can read.
pub fn csrf_token(token: &str) -> String {
    hex::encode(sha256(format!("resultity csrf {token}")))
}

/// Nobody has signed in with this, or not any more.
fn not_signed_in() -> ApiError {
    ApiError::new(
        ErrorCode::NotSignedIn,
        "this session or access token does not count (any more): sign in",
    )
}

/// The account may not do anything.
pub(super) fn suspended() -> ApiError {
    ApiError::new(
        ErrorCode::AccountSuspended,
        "this account is suspended: ask whoever runs this network",
    )
}

impl Gate {
    /// Signs an account in, whose credentials and second factor were checked before. Public for those who check them by
    /// themselves, such as tests.
    ///
    /// # Errors
    /// The account is suspended, or there is none.
    pub async fn open_login(
        &self,
        account: AccountId,
        method: SignInMethod,
        kind: LoginKind,
        address: IpAddr,
        user_agent: &str,
    ) -> Result<SignedIn, ApiError> {
        let token = new_token(LOGIN_PREFIX, &*self.entropy);
        let (id, now) = (LoginId::new(&*self.clock, &*self.entropy), self.clock.now());
        let login = NewLogin {
            id,
            account,
            hash: sha256(&token),
            kind,
            method,
            address: address.to_string(),
            user_agent: user_agent.to_owned(),
            now,
            expires_at: now.after(self.options.accounts.idle()),
            ends_at: now.after(self.options.accounts.longest()),
        };
        let expires_at = login.expires_at.min(login.ends_at);
        let sign_in = SignInId::new(&*self.clock, &*self.entropy);
        let opened = self.store.open_login(login, sign_in, MOST_LOGINS).await;
        if !opened.map_err(failed)? {
            return Err(suspended());
        }
        metrics::counter!("resultity_sign_ins_total", "outcome" => "signed_in").increment(1);
        let csrf_token = (kind == LoginKind::Browser).then(|| csrf_token(&token));
        Ok(SignedIn {
            account,
            login: id,
            token: Some(token),
            csrf_token,
            expires_at: expires_at.as_seconds(),
        })
    }

    /// Who shows this token: that of a session of this kind, or an access token. Read anew at every call, so that an end
    /// counts at once.
    ///
    /// # Errors
    /// It does not count (any more), its account is suspended, or called too often.
    pub async fn caller(&self, token: &str, kind: LoginKind, address: IpAddr) -> Result<Caller, ApiError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(not_signed_in());
        }
        let caller = if token.starts_with(LOGIN_PREFIX) {
            self.login_caller(token, kind, address).await?
        } else if token.starts_with(TOKEN_PREFIX) && kind == LoginKind::Command {
            self.token_caller(token, address).await?
        } else {
            return Err(not_signed_in());
        };
        if let Some(account) = caller.account {
            self.throttle.call(account, self.options.accounts.calls_per_minute)?;
        }
        Ok(caller)
    }

    async fn login_caller(&self, token: &str, kind: LoginKind, address: IpAddr) -> Result<Caller, ApiError> {
        let now = self.clock.now();
        let login = self.store.login(sha256(token), now).await.map_err(failed)?;
        // The token of a command does not become a cookie, and a cookie not a token.
        let login = login.filter(|login| login.kind == kind).ok_or_else(not_signed_in)?;
        if login.suspended {
            return Err(suspended());
        }
        if now.since(login.last_used_at) >= TOUCHED_EVERY {
            let expires_at = now.after(self.options.accounts.idle()).min(login.ends_at);
            self.store
                .touch_login(login.id, now, expires_at)
                .await
                .map_err(failed)?;
        }
        Ok(Caller {
            account: Some(login.account),
            role: login.role,
            authority: Authority::Login(login.id),
            environment: self.served(login.environment),
            address,
        })
    }

    async fn token_caller(&self, token: &str, address: IpAddr) -> Result<Caller, ApiError> {
        let now = self.clock.now();
        let token = self.store.token(sha256(token), now).await.map_err(failed)?;
        let token = token.ok_or_else(not_signed_in)?;
        if token.suspended {
            return Err(suspended());
        }
        let is_stale = |used: Timestamp| now.since(used) >= TOUCHED_EVERY;
        if token.last_used_at.is_none_or(is_stale) {
            self.store.touch_token(token.id, now).await.map_err(failed)?;
        }
        Ok(Caller {
            account: Some(token.account),
            role: token.role,
            environment: token.environment.unwrap_or_else(|| self.served(None)),
            authority: Authority::Token {
                id: token.id,
                scopes: token.scopes,
                environment: token.environment,
            },
            address,
        })
    }

    /// This environment, if it is served; otherwise the one that is meant where nothing is said.
    fn served(&self, environment: Option<Environment>) -> Environment {
        let served = environment.filter(|environment| self.flows.get(*environment).is_some());
        served.unwrap_or_else(|| self.flows.first().environment)
    }
}

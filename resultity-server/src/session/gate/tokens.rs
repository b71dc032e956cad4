//! Access tokens of the account.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{AccessToken, CreateToken, Role, Scope, TokenWithSecret, TokensApi};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::TokenId;

use super::callers::{TOKEN_PREFIX, new_token};
use super::{Authority, GateSession, checked_name, failed, not_found};
use crate::session::webhooks::page_of;
use crate::store::identity::{NewToken, TokenRecord};

/// The most access tokens of an account.
const MOST: u32 = 50;

/// How long a token counts: if nothing is said, and at most.
const USUAL_LIFE: Duration = Duration::from_hours(24 * 90);
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 366);

#[async_trait]
impl TokensApi for GateSession {
    async fn create_token(&self, request: CreateToken) -> Result<TokenWithSecret, ApiError> {
        let account = self.account(Scope::Account)?;
        if matches!(self.caller.authority, Authority::Token { .. }) {
            let message = "an access token makes no other: sign in for that";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
        let now = self.gate.clock.now();
        let name = checked_name(&request.name, 1)?;
        let scopes = self.checked_scopes(request.scopes)?;
        let environment = match request.environment {
            Some(environment) => Some(self.flow(Some(environment))?.environment),
            None => None,
        };
        let expires_at = checked_expiry(request.expires_at, now)?;
        let secret = new_token(TOKEN_PREFIX, &*self.gate.entropy);
        let token = NewToken {
            id: TokenId::new(&*self.gate.clock, &*self.gate.entropy),
            account,
            hash: sha256(&secret),
            name,
            scopes,
            environment,
            now,
            expires_at,
        };
        let made = self.gate.store.create_token(token.clone(), MOST).await;
        if !made.map_err(failed)? {
            let message = format!("there are {MOST} access tokens already, which is the most: end one first");
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        let token = AccessToken {
            id: token.id,
            name: token.name,
            scopes: token.scopes,
            environment: token.environment,
            created_at: now.as_seconds(),
            expires_at: expires_at.as_seconds(),
            last_used_at: None,
        };
        Ok(TokenWithSecret { token, secret })
    }

    async fn tokens(&self, query: PageQuery) -> Result<Page<AccessToken>, ApiError> {
        let account = self.account(Scope::Read)?;
        let (page, size) = page_of(&query)?;
        let now = self.gate.clock.now();
        let records = self.gate.store.tokens(account, page, now).await.map_err(failed)?;
        let tokens = records.into_iter().map(shown).collect();
        Ok(Page::of(tokens, size, |token: &AccessToken| token.id.to_string()))
    }

    async fn delete_token(&self, id: TokenId) -> Result<(), ApiError> {
        let account = self.account(Scope::Account)?;
        if !self.gate.store.delete_token(account, id).await.map_err(failed)? {
            return Err(not_found("access token"));
        }
        Ok(())
    }
}

impl GateSession {
    fn checked_scopes(&self, mut scopes: Vec<Scope>) -> Result<Vec<Scope>, ApiError> {
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            let message = "scopes must name at least one";
            return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("scopes"));
        }
        if scopes.contains(&Scope::Admin) && self.caller.role != Role::Admin {
            let message = "the scope `admin` is for administrators";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param("scopes"));
        }
        Ok(scopes)
    }
}

fn checked_expiry(asked: Option<i64>, now: Timestamp) -> Result<Timestamp, ApiError> {
    let Some(seconds) = asked else {
        return Ok(now.after(USUAL_LIFE));
    };
    let asked = Timestamp::from_millis(seconds.saturating_mul(1000));
    if asked > now && asked <= now.after(LONGEST_LIFE) {
        return Ok(asked);
    }
    let message = "expires_at must be in the future and at most 366 days from now, in seconds since the Unix epoch";
    Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("expires_at"))
}

fn shown(record: TokenRecord) -> AccessToken {
    AccessToken {
        id: record.id,
        name: record.name,
        scopes: record.scopes,
        environment: record.environment,
        created_at: record.created_at.as_seconds(),
        expires_at: record.expires_at.as_seconds(),
        last_used_at: record.last_used_at.map(Timestamp::as_seconds),
    }
}

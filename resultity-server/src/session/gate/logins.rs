//! The session that asks, and the others of its account.

use async_trait::async_trait;
use resultity_core::api::gate::{Login, LoginsApi, LoginsEnded, Scope, Session, SwitchEnvironment};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::LoginId;

use super::{Authority, GateSession, failed, not_found};
use crate::session::webhooks::page_of;
use crate::store::identity::LoginRecord;

#[async_trait]
impl LoginsApi for GateSession {
    async fn session(&self) -> Result<Session, ApiError> {
        let caller = &self.caller;
        let environments = self.gate.flows.iter().map(|flow| flow.environment);
        let mut session = Session {
            account: caller.account,
            role: caller.role,
            environment: caller.environment,
            environments: environments.filter(|environment| self.sees(*environment)).collect(),
            login: None,
            token: None,
            scopes: None,
            csrf_token: None,
        };
        match &caller.authority {
            Authority::Login(id) => session.login = Some(*id),
            Authority::Token { id, scopes, .. } => {
                session.token = Some(*id);
                session.scopes = Some(scopes.clone());
            }
            Authority::Operator => {}
        }
        Ok(session)
    }

    async fn switch_environment(&self, request: SwitchEnvironment) -> Result<Session, ApiError> {
        let Authority::Login(id) = self.caller.authority else {
            let message = "only a session looks at another environment: name the environment with each request";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        };
        let environment = self.flow(Some(request.environment))?.environment;
        let switched = self.gate.store.switch_login(id, environment).await;
        if !switched.map_err(failed)? {
            return Err(not_found("session"));
        }
        let mut switched = self.clone();
        switched.caller.environment = environment;
        switched.session().await
    }

    async fn sign_out(&self) -> Result<(), ApiError> {
        let store = &self.gate.store;
        match (&self.caller.authority, self.caller.account) {
            // Signed out twice at once is signed out.
            (Authority::Login(id), Some(account)) => store.end_login(account, *id).await.map(drop).map_err(failed),
            (Authority::Token { id, .. }, Some(account)) => {
                store.delete_token(account, *id).await.map(drop).map_err(failed)
            }
            _ => {
                let message = "the operator's token does not end: it is in the server's configuration";
                Err(ApiError::new(ErrorCode::PermissionDenied, message))
            }
        }
    }

    async fn logins(&self, query: PageQuery) -> Result<Page<Login>, ApiError> {
        let account = self.account(Scope::Read)?;
        let (page, size) = page_of(&query)?;
        let now = self.gate.clock.now();
        let records = self.gate.store.logins(account, page, now).await.map_err(failed)?;
        let logins = records.into_iter().map(|record| self.shown_login(record)).collect();
        Ok(Page::of(logins, size, |login: &Login| login.id.to_string()))
    }

    async fn end_login(&self, id: LoginId) -> Result<(), ApiError> {
        let account = self.account(Scope::Account)?;
        if !self.gate.store.end_login(account, id).await.map_err(failed)? {
            return Err(not_found("session"));
        }
        Ok(())
    }

    async fn end_other_logins(&self) -> Result<LoginsEnded, ApiError> {
        let account = self.account(Scope::Account)?;
        let ended = self.gate.store.end_logins(account, self.login_id()).await;
        Ok(LoginsEnded {
            ended: ended.map_err(failed)?,
        })
    }
}

impl GateSession {
    /// The session that asks, if it is one.
    pub(super) fn login_id(&self) -> Option<LoginId> {
        match self.caller.authority {
            Authority::Login(id) => Some(id),
            Authority::Token { .. } | Authority::Operator => None,
        }
    }

    fn shown_login(&self, record: LoginRecord) -> Login {
        Login {
            current: self.login_id() == Some(record.id),
            id: record.id,
            kind: record.kind,
            method: record.method,
            address: record.address,
            user_agent: record.user_agent,
            created_at: record.created_at.as_seconds(),
            last_used_at: record.last_used_at.as_seconds(),
            expires_at: record.expires_at.min(record.ends_at).as_seconds(),
        }
    }
}

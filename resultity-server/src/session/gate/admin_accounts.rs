//! The accounts of the network, for administrators.

use async_trait::async_trait;
use resultity_core::api::gate::{AccountsQuery, AdminAccount, AdminAccountsApi, ChangeAccount};
use resultity_core::api::page::{Order, Page};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;

use super::{GateSession, failed, not_found, reason};
use crate::store::Actor;
use crate::store::admin_accounts::{AccountChange, AccountChanged, AccountFilter, AccountOverview};

/// The longest text that is searched for: characters.
const LONGEST_SEARCH: usize = 200;

fn shown(account: AccountOverview) -> AdminAccount {
    AdminAccount {
        id: account.id,
        name: account.name,
        email: account.email,
        role: account.role,
        suspended_at: account.suspended.map(Timestamp::as_seconds),
        wallets: account.wallets,
        namespaces: account.namespaces,
        keys: account.keys,
        nodes: account.nodes,
        created_at: account.created.as_seconds(),
    }
}

fn conflict(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Conflict, message)
}

#[async_trait]
impl AdminAccountsApi for GateSession {
    async fn accounts(&self, query: AccountsQuery) -> Result<Page<AdminAccount>, ApiError> {
        self.administrator()?;
        let size = query.size();
        let search = reason::text("search", query.search.as_deref().unwrap_or_default(), LONGEST_SEARCH)?;
        let filter = AccountFilter {
            search: Some(search).filter(|search| !search.is_empty()),
            role: query.role,
            suspended: query.suspended,
            after: query.after,
            ascending: query.order == Some(Order::Asc),
            limit: size + 1,
        };
        let found = self.gate.store.accounts(filter).await.map_err(failed)?;
        let found = found.into_iter().map(shown).collect();
        Ok(Page::of(found, size, |account: &AdminAccount| account.id.to_string()))
    }

    async fn account_of(&self, id: AccountId) -> Result<AdminAccount, ApiError> {
        self.administrator()?;
        let found = self.gate.store.account_overview(id).await.map_err(failed)?;
        found.map(shown).ok_or_else(|| not_found("account"))
    }

    async fn change_account(&self, id: AccountId, request: ChangeAccount) -> Result<AdminAccount, ApiError> {
        let actor = self.administrator()?;
        let reason = reason::required(&request.reason)?;
        // An account is in both environments.
        if self.only_environment().is_some() {
            let message = "this changes an account in every environment: use a token that is not for one alone";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
        if actor == Actor::Account(id) {
            return Err(conflict(
                "nobody suspends or demotes their own account: ask another administrator",
            ));
        }
        let action = match (request.suspended, request.role) {
            (None, None) => {
                let message = "say what is to be different: suspended, or role";
                return Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("suspended"));
            }
            (Some(true), _) => "account.suspend",
            (Some(false), None) => "account.restore",
            _ => "account.role",
        };
        let change = AccountChange {
            id,
            suspended: request.suspended,
            role: request.role,
            audit: self.audit(actor, action, format!("account:{id}"), reason),
        };
        match self.gate.store.change_account(change).await.map_err(failed)? {
            AccountChanged::Done(account) => {
                // What is remembered of its keys is from before.
                self.gate.keys.forget_account(id);
                for flow in self.gate.flows.iter() {
                    flow.account_changed(id);
                }
                tracing::warn!(account.id = %id, actor = %actor, suspended = account.suspended.is_some(), role = account.role.as_str(), "an account was changed");
                Ok(shown(*account))
            }
            AccountChanged::LastAdministrator => Err(conflict(
                "this is the last administrator: make another one before, or the network has none",
            )),
            AccountChanged::Unknown => Err(not_found("account")),
        }
    }
}

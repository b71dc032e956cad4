//! The caller's account.

use async_trait::async_trait;
use resultity_core::api::gate::{
    Account, AccountApi, ChangeEmail, ChangePassword, CodeSent, ConfirmEmail, Scope, SignInEvent, UpdateAccount,
};
use resultity_core::api::page::{Page, PageQuery};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;

use super::codes::{Sending, checked_email, wrong_code};
use super::{Attempted, GateSession, Passwords, checked_name, failed, not_found};
use crate::mail::PostError;
use crate::session::webhooks::page_of;
use crate::store::identity::{AccountRecord, AccountSummary, CodePurpose, EmailRemoved, SignInRecord};

#[async_trait]
impl AccountApi for GateSession {
    async fn own_account(&self) -> Result<Account, ApiError> {
        self.shown_account(self.account(Scope::Read)?).await
    }

    async fn update_account(&self, request: UpdateAccount) -> Result<Account, ApiError> {
        let account = self.account(Scope::Account)?;
        if let Some(name) = request.name {
            let name = checked_name(&name, 0)?;
            self.gate.store.rename_account(account, name).await.map_err(failed)?;
        }
        self.shown_account(account).await
    }

    async fn change_password(&self, request: ChangePassword) -> Result<(), ApiError> {
        let account = self.account(Scope::Account)?;
        Passwords::check(&request.password, "password")?;
        let record = self.account_record(account).await?;
        if record.password.is_none() {
            let message = "this account has no password: add an e-mail address, which brings one";
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        self.check_password(&record, &request.current_password, "current_password")
            .await?;
        let gate = &self.gate;
        let password = gate.passwords.hash(&request.password, &*gate.entropy).await?;
        let set = gate.store.set_password(account, password, self.login_id()).await;
        set.map_err(failed)?;
        gate.tell(
            record.email.as_deref(),
            "your password was changed",
            "The password of your account was changed by somebody who is signed in\n\
             and knew it. All other sessions and all access tokens have ended.\n",
        );
        Ok(())
    }

    async fn change_email(&self, request: ChangeEmail) -> Result<CodeSent, ApiError> {
        let account = self.signed_in()?;
        let gate = &self.gate;
        if !gate.mail.is_open() {
            return Err(PostError::NoMail.into());
        }
        let email = checked_email(&request.email)?;
        let record = self.account_record(account).await?;
        let password = if record.password.is_some() {
            self.check_password(&record, &request.password, "password").await?;
            None
        } else {
            Passwords::check(&request.password, "password")?;
            Some(&request.password)
        };
        gate.throttle.attempt(Attempted::Letter, &email, self.caller.address)?;
        let password = match password {
            Some(password) => Some(gate.passwords.hash(password, &*gate.entropy).await?),
            None => None,
        };
        let sending = Sending {
            purpose: CodePurpose::Email,
            email,
            account: Some(account),
            password,
        };
        gate.send_code(sending).await
    }

    async fn confirm_email(&self, request: ConfirmEmail) -> Result<Account, ApiError> {
        let account = self.signed_in()?;
        let gate = &self.gate;
        let given = gate.given(&request.ticket, &request.code)?;
        gate.throttle
            .attempt(Attempted::MailCode, &account.to_string(), self.caller.address)?;
        let before = self.account_record(account).await?;
        if !gate.store.redeem_email(given, account).await.map_err(failed)? {
            return Err(wrong_code());
        }
        gate.throttle
            .succeeded(Attempted::MailCode, &account.to_string(), self.caller.address);
        gate.tell(
            before.email.as_deref(),
            "your address was changed",
            "Your account has another e-mail address now.\nThis one does not sign in any more.\n",
        );
        self.shown_account(account).await
    }

    async fn remove_email(&self) -> Result<Account, ApiError> {
        let account = self.signed_in()?;
        let before = self.account_record(account).await?;
        match self.gate.store.remove_email(account).await.map_err(failed)? {
            EmailRemoved::Removed => {
                self.gate.tell(
                    before.email.as_deref(),
                    "your address was removed",
                    "This address and its password do not sign in to your account any more.\n",
                );
                self.shown_account(account).await
            }
            EmailRemoved::LastCredential => {
                let message = "nothing else is left to sign in with: link a wallet first";
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
        }
    }

    async fn sign_ins(&self, query: PageQuery) -> Result<Page<SignInEvent>, ApiError> {
        let account = self.account(Scope::Read)?;
        let (page, size) = page_of(&query)?;
        let records = self.gate.store.sign_ins(account, page).await.map_err(failed)?;
        let events = records.into_iter().map(shown_event).collect();
        Ok(Page::of(events, size, |event: &SignInEvent| event.id.to_string()))
    }
}

impl GateSession {
    pub(super) async fn account_record(&self, account: AccountId) -> Result<AccountRecord, ApiError> {
        let record = self.gate.store.account_record(account).await.map_err(failed)?;
        record.ok_or_else(|| not_found("account"))
    }

    async fn shown_account(&self, account: AccountId) -> Result<Account, ApiError> {
        let summary = self.gate.store.account_summary(account).await.map_err(failed)?;
        let AccountSummary {
            account,
            wallets,
            second_factor,
            last_sign_in_at,
        } = summary.ok_or_else(|| not_found("account"))?;
        Ok(Account {
            id: account.id,
            name: account.name,
            role: account.role,
            has_password: account.password.is_some(),
            email: account.email,
            wallets,
            second_factor,
            created_at: account.created_at.as_seconds(),
            last_sign_in_at: last_sign_in_at.map(Timestamp::as_seconds),
        })
    }

    /// Asks once more for the password of the account that is signed in.
    async fn check_password(&self, account: &AccountRecord, given: &str, param: &str) -> Result<(), ApiError> {
        let gate = &self.gate;
        let subject = account.email.clone().unwrap_or_else(|| account.id.to_string());
        gate.throttle
            .attempt(Attempted::Password, &subject, self.caller.address)?;
        if gate.passwords.verify(given, account.password.as_ref()).await? {
            gate.throttle
                .succeeded(Attempted::Password, &subject, self.caller.address);
            return Ok(());
        }
        let message = "this is not the password of the account";
        Err(ApiError::new(ErrorCode::InvalidCredentials, message).with_param(param))
    }
}

fn shown_event(record: SignInRecord) -> SignInEvent {
    SignInEvent {
        id: record.id,
        method: record.method,
        succeeded: record.succeeded,
        address: record.address,
        user_agent: record.user_agent,
        created_at: record.at.as_seconds(),
    }
}

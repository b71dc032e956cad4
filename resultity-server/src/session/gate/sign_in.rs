//! Signing up and in with e-mail and password, for anybody.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CodeSent, ConfirmReset, ConfirmSignUp, LoginKind, ResetPassword, SignIn, SignInApi, SignInMethod, SignUp, SignedIn,
};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, SignInId};

use super::callers::suspended;
use super::codes::{Sending, checked_email, wrong_code};
use super::{Attempted, GateDoor, Passwords, failed};
use crate::store::identity::{CodePurpose, SignInRecord};

/// The longest address or password that is looked at.
const MAX_GIVEN_BYTES: usize = 2048;

#[async_trait]
impl SignInApi for GateDoor {
    async fn sign_up(&self, request: SignUp) -> Result<CodeSent, ApiError> {
        let gate = &self.gate;
        gate.check_sign_up()?;
        let email = checked_email(&request.email)?;
        Passwords::check(&request.password, "password")?;
        gate.throttle.attempt(Attempted::SignUp, &email, self.address)?;
        gate.throttle.attempt(Attempted::Letter, &email, self.address)?;
        let password = gate.passwords.hash(&request.password, &*gate.entropy).await?;
        let sending = Sending {
            purpose: CodePurpose::SignUp,
            email,
            account: None,
            password: Some(password),
        };
        gate.send_code(sending).await
    }

    async fn confirm_sign_up(&self, request: ConfirmSignUp) -> Result<SignedIn, ApiError> {
        let gate = &self.gate;
        gate.check_sign_up()?;
        let given = gate.given(&request.ticket, &request.code)?;
        gate.throttle
            .attempt(Attempted::MailCode, &request.ticket, self.address)?;
        let account = AccountId::new(&*gate.clock, &*gate.entropy);
        if !gate.store.redeem_sign_up(given, account).await.map_err(failed)? {
            return Err(wrong_code());
        }
        tracing::info!(account.id = %account, "an account was made");
        self.open(account, SignInMethod::Mail, request.cookie).await
    }

    async fn sign_in(&self, request: SignIn) -> Result<SignedIn, ApiError> {
        let gate = &self.gate;
        let wrong = || {
            let message = "address and password do not fit together";
            Err(ApiError::new(ErrorCode::InvalidCredentials, message))
        };
        if request.email.len() > MAX_GIVEN_BYTES || request.password.len() > MAX_GIVEN_BYTES {
            return wrong();
        }
        let email = request.email.trim().to_ascii_lowercase();
        gate.throttle.attempt(Attempted::Password, &email, self.address)?;
        let account = gate.store.account_by_email(&email).await.map_err(failed)?;
        let hash = account.as_ref().and_then(|account| account.password.as_ref());
        let right = gate.passwords.verify(&request.password, hash).await?;
        let account = match account {
            Some(account) if right => account,
            Some(account) => {
                self.failed_sign_in(account.id, SignInMethod::Password);
                return wrong();
            }
            None => return wrong(),
        };
        if account.suspended_at.is_some() {
            self.failed_sign_in(account.id, SignInMethod::Password);
            return Err(suspended());
        }
        let factor = gate.check_second_factor(account.id, request.second_factor.as_ref(), self.address);
        if let Err(error) = factor.await {
            if error.code != ErrorCode::SecondFactorRequired {
                self.failed_sign_in(account.id, SignInMethod::Password);
            }
            return Err(error);
        }
        let signed_in = self.open(account.id, SignInMethod::Password, request.cookie).await?;
        gate.throttle.succeeded(Attempted::Password, &email, self.address);
        Ok(signed_in)
    }

    async fn reset_password(&self, request: ResetPassword) -> Result<CodeSent, ApiError> {
        let email = checked_email(&request.email)?;
        self.gate.throttle.attempt(Attempted::Letter, &email, self.address)?;
        let sending = Sending {
            purpose: CodePurpose::Reset,
            email,
            account: None,
            password: None,
        };
        self.gate.send_code(sending).await
    }

    async fn confirm_reset(&self, request: ConfirmReset) -> Result<(), ApiError> {
        let gate = &self.gate;
        Passwords::check(&request.password, "password")?;
        let given = gate.given(&request.ticket, &request.code)?;
        gate.throttle
            .attempt(Attempted::MailCode, &request.ticket, self.address)?;
        let password = gate.passwords.hash(&request.password, &*gate.entropy).await?;
        let account = gate.store.redeem_reset(given, password).await.map_err(failed)?;
        let account = account.ok_or_else(wrong_code)?;
        tracing::info!(account.id = %account, "a password was reset");
        let record = gate.store.account_record(account).await.map_err(failed)?;
        if let Some(email) = record.and_then(|record| record.email) {
            // Whoever has the mail may sign in, however many have tried before.
            gate.throttle.succeeded(Attempted::Password, &email, self.address);
            gate.tell(
                Some(&email),
                "your password was changed",
                "The password of your account was replaced with a code that was sent here.\n\
                 All sessions and access tokens have ended.\n",
            );
        }
        Ok(())
    }
}

impl GateDoor {
    async fn open(&self, account: AccountId, method: SignInMethod, cookie: bool) -> Result<SignedIn, ApiError> {
        let kind = LoginKind::by_cookie(cookie);
        self.gate
            .open_login(account, method, kind, self.address, &self.user_agent)
            .await
    }

    /// Keeps that somebody tried. Not waited for: how long the answer takes must not tell that there is an account.
    pub(super) fn failed_sign_in(&self, account: AccountId, method: SignInMethod) {
        let gate = &self.gate;
        metrics::counter!("resultity_sign_ins_total", "outcome" => "refused").increment(1);
        let record = SignInRecord {
            id: SignInId::new(&*gate.clock, &*gate.entropy),
            account,
            method,
            succeeded: false,
            address: self.address.to_string(),
            user_agent: self.user_agent.clone(),
            at: gate.clock.now(),
        };
        let store = std::sync::Arc::clone(&gate.store);
        gate.flows.first().background.spawn(async move {
            if let Err(error) = store.record_sign_in(record).await {
                tracing::warn!(%error, "an attempt to sign in could not be kept");
            }
        });
    }
}

//! The verbs of [`IdentityStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, LoginId, SignInId, TokenId};

use super::{SqliteStore, accounts, logins};
use crate::store::StoreError;
use crate::store::admin::AuditEntry;
use crate::store::identity::{
    AccountMade, AccountRecord, AccountSummary, AdministratorMade, EmailRemoved, GivenCode, IdentityStore, LoginRecord,
    NewAccount, NewCode, NewLogin, NewToken, PasswordHash, SecretHash, SignInRecord, TokenRecord,
};
use crate::store::webhooks::PageOf;

#[async_trait]
impl IdentityStore for SqliteStore {
    async fn create_account(&self, account: NewAccount) -> Result<AccountMade, StoreError> {
        self.writer
            .call(move |connection| accounts::create(connection, &account))
            .await
    }

    async fn make_administrator(
        &self,
        account: NewAccount,
        audit: AuditEntry,
    ) -> Result<AdministratorMade, StoreError> {
        self.writer
            .call(move |connection| accounts::make_administrator(connection, &account, audit.clone()))
            .await
    }

    async fn account_record(&self, id: AccountId) -> Result<Option<AccountRecord>, StoreError> {
        self.readers
            .call(move |connection| accounts::read(connection, id))
            .await
    }

    async fn account_by_email(&self, email: &str) -> Result<Option<AccountRecord>, StoreError> {
        let email = email.to_owned();
        self.readers
            .call(move |connection| accounts::by_email(connection, &email))
            .await
    }

    async fn account_summary(&self, id: AccountId) -> Result<Option<AccountSummary>, StoreError> {
        self.readers
            .call(move |connection| accounts::summary(connection, id))
            .await
    }

    async fn rename_account(&self, id: AccountId, name: String) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| accounts::rename(connection, id, &name))
            .await
    }

    async fn set_password(
        &self,
        id: AccountId,
        password: PasswordHash,
        but: Option<LoginId>,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| accounts::set_password(connection, id, &password, but))
            .await
    }

    async fn keep_code(&self, code: NewCode) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| accounts::keep_code(connection, &code))
            .await
    }

    async fn redeem_sign_up(&self, given: GivenCode, id: AccountId) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| accounts::redeem_sign_up(connection, &given, id))
            .await
    }

    async fn redeem_reset(&self, given: GivenCode, password: PasswordHash) -> Result<Option<AccountId>, StoreError> {
        self.writer
            .call(move |connection| accounts::redeem_reset(connection, &given, &password))
            .await
    }

    async fn redeem_email(&self, given: GivenCode, account: AccountId) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| accounts::redeem_email(connection, &given, account))
            .await
    }

    async fn remove_email(&self, account: AccountId) -> Result<EmailRemoved, StoreError> {
        self.writer
            .call(move |connection| accounts::remove_email(connection, account))
            .await
    }

    async fn open_login(&self, login: NewLogin, sign_in: SignInId, most: u32) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| logins::open(connection, &login, sign_in, most))
            .await
    }

    async fn login(&self, hash: SecretHash, now: Timestamp) -> Result<Option<LoginRecord>, StoreError> {
        self.readers
            .call(move |connection| logins::login(connection, hash, now))
            .await
    }

    async fn touch_login(&self, id: LoginId, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| logins::touch(connection, id, now, expires_at))
            .await
    }

    async fn logins(
        &self,
        account: AccountId,
        page: PageOf<LoginId>,
        now: Timestamp,
    ) -> Result<Vec<LoginRecord>, StoreError> {
        self.readers
            .call(move |connection| logins::logins(connection, account, &page, now))
            .await
    }

    async fn switch_login(&self, id: LoginId, environment: Environment) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| logins::switch(connection, id, environment))
            .await
    }

    async fn end_login(&self, account: AccountId, id: LoginId) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| logins::end(connection, account, id))
            .await
    }

    async fn end_logins(&self, account: AccountId, but: Option<LoginId>) -> Result<u64, StoreError> {
        self.writer
            .call(move |connection| logins::end_all(connection, account, but))
            .await
    }

    async fn create_token(&self, token: NewToken, most: u32) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| logins::create_token(connection, &token, most))
            .await
    }

    async fn token(&self, hash: SecretHash, now: Timestamp) -> Result<Option<TokenRecord>, StoreError> {
        self.readers
            .call(move |connection| logins::token(connection, hash, now))
            .await
    }

    async fn touch_token(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| logins::touch_token(connection, id, now))
            .await
    }

    async fn tokens(
        &self,
        account: AccountId,
        page: PageOf<TokenId>,
        now: Timestamp,
    ) -> Result<Vec<TokenRecord>, StoreError> {
        self.readers
            .call(move |connection| logins::tokens(connection, account, &page, now))
            .await
    }

    async fn delete_token(&self, account: AccountId, id: TokenId) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| logins::delete_token(connection, account, id))
            .await
    }

    async fn record_sign_in(&self, record: SignInRecord) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| logins::record_sign_in(connection, &record))
            .await
    }

    async fn sign_ins(&self, account: AccountId, page: PageOf<SignInId>) -> Result<Vec<SignInRecord>, StoreError> {
        self.readers
            .call(move |connection| logins::sign_ins(connection, account, &page))
            .await
    }
}

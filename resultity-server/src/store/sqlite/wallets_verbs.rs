//! The verbs of [`WalletStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;
use resultity_core::{Address, B256};

use super::{SqliteStore, second_factors, wallets};
use crate::store::wallets::{
    SecondFactorChange, SecondFactorProof, SecondFactorRecord, SignedOnce, WalletEntered, WalletLinked, WalletRecord,
    WalletStore, WalletUnlinked,
};
use crate::store::{NewNotification, StoreError};

#[async_trait]
impl WalletStore for SqliteStore {
    async fn wallet_account(&self, address: Address) -> Result<Option<AccountId>, StoreError> {
        self.readers
            .call(move |connection| wallets::account(connection, address))
            .await
    }

    async fn enter_by_wallet(
        &self,
        signed: SignedOnce,
        new_account: Option<AccountId>,
    ) -> Result<WalletEntered, StoreError> {
        self.writer
            .call(move |connection| wallets::enter(connection, &signed, new_account))
            .await
    }

    async fn wallets(&self, account: AccountId) -> Result<Vec<WalletRecord>, StoreError> {
        self.readers
            .call(move |connection| wallets::list(connection, account))
            .await
    }

    async fn link_wallet(
        &self,
        account: AccountId,
        signed: SignedOnce,
        most: u32,
        told: NewNotification,
    ) -> Result<WalletLinked, StoreError> {
        self.writer
            .call(move |connection| wallets::link(connection, account, &signed, most, &told))
            .await
    }

    async fn unlink_wallet(
        &self,
        account: AccountId,
        address: Address,
        told: NewNotification,
    ) -> Result<WalletUnlinked, StoreError> {
        self.writer
            .call(move |connection| wallets::unlink(connection, account, address, &told))
            .await
    }

    async fn second_factor(&self, account: AccountId) -> Result<Option<SecondFactorRecord>, StoreError> {
        self.readers
            .call(move |connection| second_factors::read(connection, account))
            .await
    }

    async fn begin_second_factor(
        &self,
        account: AccountId,
        secret: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| second_factors::begin(connection, account, &secret, now))
            .await
    }

    async fn confirm_second_factor(
        &self,
        account: AccountId,
        secret: Vec<u8>,
        step: u64,
        codes: Vec<B256>,
        told: NewNotification,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| second_factors::confirm(connection, account, &secret, step, &codes, &told))
            .await
    }

    async fn use_second_factor(
        &self,
        account: AccountId,
        proof: SecondFactorProof,
        change: SecondFactorChange,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| second_factors::use_up(connection, account, proof, &change))
            .await
    }

    async fn fail_second_factor(
        &self,
        account: AccountId,
        tell_at: u32,
        told: NewNotification,
    ) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| second_factors::fail(connection, account, tell_at, &told))
            .await
    }
}

//! The verbs of [`FundsStore`], each on the writer or a reader.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId, VoucherId};
use tokio::sync::watch;

use super::{SqliteStore, alerts, funds, vouchers};
use crate::store::funds::{
    Corrected, FaucetClaim, FaucetGave, FundsStore, LowCredits, NewCorrection, NewPayment, NewPayout, NewTransfer,
    NewVoucher, PaidOut, PaymentReceived, Redeemed, Redemption, Transferred, VoucherRecord,
};
use crate::store::webhooks::PageOf;
use crate::store::{AuditEntry, Grant, Granted, StoreError};

#[async_trait]
impl FundsStore for SqliteStore {
    async fn grant_audited(&self, grant: Grant, audit: AuditEntry) -> Result<Granted, StoreError> {
        self.writer
            .call(move |connection| funds::grant(connection, &grant, &audit))
            .await
    }

    async fn transfer(&self, transfer: NewTransfer) -> Result<Transferred, StoreError> {
        self.writer
            .call(move |connection| funds::transfer(connection, &transfer))
            .await
    }

    async fn claim_faucet(&self, claim: FaucetClaim) -> Result<FaucetGave, StoreError> {
        self.writer
            .call(move |connection| funds::claim_faucet(connection, &claim))
            .await
    }

    async fn create_voucher(&self, voucher: NewVoucher, audit: AuditEntry) -> Result<VoucherRecord, StoreError> {
        self.writer
            .call(move |connection| vouchers::create(connection, &voucher, &audit))
            .await
    }

    async fn vouchers(
        &self,
        environment: Environment,
        page: PageOf<VoucherId>,
    ) -> Result<Vec<VoucherRecord>, StoreError> {
        self.readers
            .call(move |connection| vouchers::list(connection, environment, &page))
            .await
    }

    async fn revoke_voucher(
        &self,
        id: VoucherId,
        environments: Vec<Environment>,
        audit: AuditEntry,
    ) -> Result<Option<VoucherRecord>, StoreError> {
        self.writer
            .call(move |connection| vouchers::revoke(connection, id, &environments, &audit))
            .await
    }

    async fn redeem_voucher(&self, redemption: Redemption) -> Result<Redeemed, StoreError> {
        self.writer
            .call(move |connection| vouchers::redeem(connection, &redemption))
            .await
    }

    async fn correct(&self, correction: NewCorrection, audit: AuditEntry) -> Result<Corrected, StoreError> {
        self.writer
            .call(move |connection| funds::correct(connection, &correction, &audit))
            .await
    }

    async fn receive_payment(&self, payment: NewPayment) -> Result<PaymentReceived, StoreError> {
        self.writer
            .call(move |connection| funds::receive_payment(connection, &payment))
            .await
    }

    async fn payout(&self, payout: NewPayout) -> Result<PaidOut, StoreError> {
        self.writer
            .call(move |connection| funds::payout(connection, &payout))
            .await
    }

    async fn set_credit_alert(
        &self,
        account: AccountId,
        namespace: NamespaceId,
        below: Option<Credits>,
    ) -> Result<bool, StoreError> {
        self.writer
            .call(move |connection| alerts::set(connection, account, namespace, below))
            .await
    }

    async fn take_low_credits(&self, most: u32, now: Timestamp) -> Result<Vec<LowCredits>, StoreError> {
        self.writer
            .call(move |connection| alerts::take_letters(connection, most, now))
            .await
    }

    fn low_credits_changes(&self) -> watch::Receiver<u64> {
        self.enqueued.subscribe()
    }
}

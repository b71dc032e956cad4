//! Vouchers.

use async_trait::async_trait;
use resultity_core::api::gate::{
    CreateVoucher, CreditQuery, CreditsReceived, InEnvironment, RedeemVoucher, Voucher, VoucherWithCode, VouchersApi,
};
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;
use resultity_core::id::VoucherId;

use super::GateClient;

#[async_trait]
impl VouchersApi for GateClient {
    async fn redeem_voucher(&self, request: RedeemVoucher) -> Result<CreditsReceived, ApiError> {
        let call = self.transport.post(&["vouchers", "redeem"], &request)?;
        // It counts once for an account.
        Ok(self.transport.json(call.repeatable()).await?.body)
    }

    async fn create_voucher(&self, request: CreateVoucher) -> Result<VoucherWithCode, ApiError> {
        let call = self.transport.post(&["admin", "vouchers"], &request)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn vouchers(&self, query: CreditQuery) -> Result<Page<Voucher>, ApiError> {
        let call = self.transport.get(&["admin", "vouchers"]).with_query(&query)?;
        Ok(self.transport.json(call).await?.body)
    }

    async fn revoke_voucher(&self, id: VoucherId, environment: InEnvironment) -> Result<Voucher, ApiError> {
        let call = self.transport.delete(&["admin", "vouchers", &id.to_string()]);
        Ok(self.transport.json(call.with_query(&environment)?).await?.body)
    }
}

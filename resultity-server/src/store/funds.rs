//! Credits beside jobs: transfers, faucet, vouchers, payments, corrections, reports, alerts.

use async_trait::async_trait;

/// Credits beside jobs: transfers, faucet, vouchers, payments, corrections, reports, alerts.
#[async_trait]
pub trait FundsStore: Send + Sync {}

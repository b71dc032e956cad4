//! Credits beside jobs: transfers, faucet, vouchers, payments, corrections, payouts, alerts.
//!
//! Every verb that moves credits does so at most once for whatever names it, and says what became of it the first time.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NamespaceId, NodeId, TransferId, VoucherId};
use resultity_core::ledger::Entry;

use crate::store::{AuditEntry, Grant, StoreError};

/// Credits to be moved between namespaces of one account.
#[derive(Debug, Clone)]
pub struct NewTransfer {
    /// Names it.
    pub id: TransferId,
    /// Whose namespaces.
    pub account: AccountId,
    /// Who gives.
    pub from: NamespaceId,
    /// Who gets.
    pub to: NamespaceId,
    /// How much; more than zero.
    pub amount: Credits,
    /// Makes a repeat harmless, within the account.
    pub idempotency_key: String,
    /// When.
    pub now: Timestamp,
}

/// A transfer that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRecord {
    /// Names it.
    pub id: TransferId,
    /// Where.
    pub environment: Environment,
    /// Who gave.
    pub from: NamespaceId,
    /// Who got.
    pub to: NamespaceId,
    /// How much.
    pub amount: Credits,
    /// When.
    pub created: Timestamp,
}

/// What became of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transferred {
    /// It is made, now or since an earlier call.
    Done(TransferRecord),
    /// The account has no such namespace to give.
    UnknownSource,
    /// The account has no such namespace to get, or it is the same one.
    UnknownTarget,
    /// The two are of different environments.
    OtherEnvironment,
    /// There is less than that.
    Insufficient {
        /// What there is.
        available: Credits,
    },
    /// Another transfer has this key.
    Conflict,
}

/// The day's credits of the testnet, asked for.
#[derive(Debug, Clone, Copy)]
pub struct FaucetClaim {
    /// Who asks.
    pub account: AccountId,
    /// Who is to get them.
    pub namespace: NamespaceId,
    /// How much; more than zero.
    pub amount: Credits,
    /// The day of UTC, counted from the Unix epoch.
    pub day: i64,
    /// When.
    pub now: Timestamp,
}

/// What became of the asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaucetGave {
    /// The credits are there; the balance after them.
    Balance(Credits),
    /// The account has no such namespace in testnet.
    UnknownNamespace,
    /// It had the day's credits already.
    AlreadyToday,
}

/// A voucher to be made.
#[derive(Debug, Clone)]
pub struct NewVoucher {
    /// Names it.
    pub id: VoucherId,
    /// SHA-256 of its code.
    pub hash: B256,
    /// Where it counts.
    pub environment: Environment,
    /// What each use is worth; more than zero.
    pub amount: Credits,
    /// How many accounts may redeem it; more than zero.
    pub max_uses: u32,
    /// What administrators call it.
    pub label: String,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// When.
    pub now: Timestamp,
}

/// A voucher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoucherRecord {
    /// Names it.
    pub id: VoucherId,
    /// Where it counts.
    pub environment: Environment,
    /// What each use is worth.
    pub amount: Credits,
    /// How many accounts may redeem it.
    pub max_uses: u32,
    /// How many have.
    pub uses: u32,
    /// What administrators call it.
    pub label: String,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// Since when it is of no use any more.
    pub revoked: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
}

/// A voucher to be redeemed.
#[derive(Debug, Clone, Copy)]
pub struct Redemption {
    /// SHA-256 of the code.
    pub hash: B256,
    /// Who redeems it.
    pub account: AccountId,
    /// Who is to get the credits.
    pub namespace: NamespaceId,
    /// When.
    pub now: Timestamp,
}

/// What became of a redemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redeemed {
    /// It is redeemed, now or since an earlier call.
    Done {
        /// What it was worth.
        amount: Credits,
        /// The balance now.
        balance: Credits,
    },
    /// No voucher has this code, or it was revoked, has expired or is used up.
    Invalid,
    /// The account has no such namespace in the voucher's environment.
    UnknownNamespace,
    /// The account has redeemed it for another namespace.
    RedeemedBefore,
}

/// A compensating entry to be written.
#[derive(Debug, Clone)]
pub struct NewCorrection {
    /// What is compensated.
    pub what: Corrects,
    /// The one environment that whoever corrects sees; none: all.
    pub only: Option<Environment>,
    /// Makes a repeat harmless.
    pub idempotency_key: String,
    /// Why.
    pub reason: String,
    /// When.
    pub now: Timestamp,
}

/// What a correction compensates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrects {
    /// A whole transaction, once.
    Transaction(i64),
    /// What a namespace has: more, or less if negative; not zero.
    Namespace(NamespaceId, Credits),
}

/// What became of a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Corrected {
    /// It is written, now or since an earlier call.
    Done {
        /// The number of its transaction.
        transaction: i64,
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// There is no such transaction.
    UnknownTransaction,
    /// There is no such namespace.
    UnknownNamespace,
    /// A hold, or a release: their job ends them.
    NotCompensable,
    /// Whoever would have to give has too little.
    Insufficient {
        /// Whose account.
        account: String,
        /// What there is.
        available: Credits,
    },
    /// Another correction has this key.
    Conflict,
}

/// Credits that somebody paid for.
#[derive(Debug, Clone)]
pub struct NewPayment {
    /// The provider's id: it counts once.
    pub id: String,
    /// Where.
    pub environment: Environment,
    /// Who gets the credits.
    pub namespace: NamespaceId,
    /// How many; more than zero.
    pub amount: Credits,
    /// When.
    pub now: Timestamp,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentReceived {
    /// It is credited, now or since an earlier call; the balance now.
    Balance(Credits),
    /// There is no such namespace in this environment.
    UnknownNamespace,
    /// Another payment has this id.
    Conflict,
}

/// What a node has earned, to be moved to a namespace of its owner.
#[derive(Debug, Clone)]
pub struct NewPayout {
    /// Names it, and makes a repeat harmless.
    pub id: TransferId,
    /// Whose node and namespace.
    pub account: AccountId,
    /// The node.
    pub node: NodeId,
    /// Where.
    pub environment: Environment,
    /// Who gets it.
    pub namespace: NamespaceId,
    /// How much, more than zero; none: all that there is.
    pub amount: Option<Credits>,
    /// When.
    pub now: Timestamp,
}

/// What became of a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaidOut {
    /// It is made, now or since an earlier call.
    Done {
        /// How much it was.
        amount: Credits,
        /// What the node has now.
        left: Credits,
        /// What the namespace may spend now.
        balance: Credits,
    },
    /// The account has no such node in this environment.
    UnknownNode,
    /// The account has no such namespace in this environment.
    UnknownNamespace,
    /// The node has less than that, or nothing.
    Insufficient {
        /// What it has.
        available: Credits,
    },
    /// Another payout has this id.
    Conflict,
}

/// A namespace that fell below its limit, and whom to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowCredits {
    /// The owner's address.
    pub email: String,
    /// Which namespace.
    pub namespace: NamespaceId,
    /// What people call it.
    pub name: String,
    /// Where it counts.
    pub environment: Environment,
    /// The limit.
    pub below: Credits,
    /// What it has now, held or not.
    pub total: Credits,
}

/// Credits beside jobs.
#[async_trait]
pub trait FundsStore: Send + Sync {
    /// Gives credits, once per idempotency key, and writes down who did. The amounts before and after are added to the line of
    /// the audit log, which is written the first time alone.
    async fn grant_audited(&self, grant: Grant, audit: AuditEntry) -> Result<super::Granted, StoreError>;

    /// Moves credits between namespaces of one account and environment.
    async fn transfer(&self, transfer: NewTransfer) -> Result<Transferred, StoreError>;

    /// Gives the day's credits of the testnet, once a day and account.
    async fn claim_faucet(&self, claim: FaucetClaim) -> Result<FaucetGave, StoreError>;

    /// Makes a voucher.
    async fn create_voucher(&self, voucher: NewVoucher, audit: AuditEntry) -> Result<VoucherRecord, StoreError>;

    /// Vouchers of an environment.
    async fn vouchers(
        &self,
        environment: Environment,
        page: super::webhooks::PageOf<VoucherId>,
    ) -> Result<Vec<VoucherRecord>, StoreError>;

    /// Revokes a voucher that counts in one of these environments; the first time counts.
    async fn revoke_voucher(
        &self,
        id: VoucherId,
        environments: Vec<Environment>,
        audit: AuditEntry,
    ) -> Result<Option<VoucherRecord>, StoreError>;

    /// Redeems a voucher, once for each account and as often as it may be.
    async fn redeem_voucher(&self, redemption: Redemption) -> Result<Redeemed, StoreError>;

    /// Writes a compensating entry. Nobody has less than nothing after it.
    async fn correct(&self, correction: NewCorrection, audit: AuditEntry) -> Result<Corrected, StoreError>;

    /// Credits a payment, once per id.
    async fn receive_payment(&self, payment: NewPayment) -> Result<PaymentReceived, StoreError>;

    /// Moves what a node has earned to a namespace of its owner.
    async fn payout(&self, payout: NewPayout) -> Result<PaidOut, StoreError>;

    /// Sets the limit below which the owner of a namespace is told, or ends it. False: the account has no such namespace.
    async fn set_credit_alert(
        &self,
        account: AccountId,
        namespace: NamespaceId,
        below: Option<Credits>,
    ) -> Result<bool, StoreError>;

    /// Takes the letters that are due about namespaces that fell below their limits: what is given is not given again.
    async fn take_low_credits(&self, most: u32, now: Timestamp) -> Result<Vec<LowCredits>, StoreError>;

    /// Changes when letters may be due.
    fn low_credits_changes(&self) -> tokio::sync::watch::Receiver<u64>;
}

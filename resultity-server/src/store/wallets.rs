//! Second credentials: wallets that sign in, and second factors.

use async_trait::async_trait;
use resultity_core::clock::Timestamp;
use resultity_core::id::AccountId;
use resultity_core::{Address, B256};

use super::{NewNotification, StoreError};

/// A wallet that an account may sign in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalletRecord {
    /// Its address.
    pub address: Address,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When somebody signed in with it last.
    pub last_used_at: Option<Timestamp>,
}

/// What a wallet signed; checked, but for whether it was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOnce {
    /// Who signed.
    pub address: Address,
    /// What makes it count once.
    pub nonce: String,
    /// When nobody would believe it any more.
    pub expires_at: Timestamp,
    /// When.
    pub now: Timestamp,
}

/// What becomes of a wallet that signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalletEntered {
    /// It is this account's.
    Account(AccountId),
    /// No account has it, and none is to be made.
    Unknown,
    /// What it signed was used before. Nothing was changed.
    Replayed,
}

/// What becomes of a wallet that is to be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalletLinked {
    /// It is the account's, now or since before.
    Linked(WalletRecord),
    /// Another account has it. Nothing was changed, but what was signed is used.
    Taken,
    /// The account has as many as it may have. Nothing was changed, but what was signed is used.
    TooMany,
    /// What it signed was used before. Nothing was changed.
    Replayed,
}

/// What becomes of a wallet that is to be unlinked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalletUnlinked {
    /// It is nobody's any more.
    Unlinked,
    /// The account does not have it.
    NotThere,
    /// Nobody could sign in any more without it. Nothing was changed.
    LastCredential,
}

/// A second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactorRecord {
    /// The encrypted secret.
    pub secret: Vec<u8>,
    /// Since when it is asked for; none: not yet.
    pub confirmed_at: Option<Timestamp>,
    /// How many recovery codes are left.
    pub recovery_codes: u32,
    /// How many wrong codes there were since the last right one.
    pub failures: u32,
    /// When the last of them was.
    pub failed_at: Option<Timestamp>,
}

/// What was given as a second factor; it fits, but for whether it was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactorProof {
    /// The time step of a code.
    Step(u64),
    /// The hash of a recovery code.
    RecoveryCode(B256),
}

/// What is done once a second factor was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondFactorChange {
    /// Nothing.
    None,
    /// It is removed, and so are its recovery codes.
    Remove(NewNotification),
    /// These are the recovery codes from now on, by their hashes.
    RecoveryCodes(Vec<B256>),
}

/// Second credentials: wallets that sign in, and second factors.
#[async_trait]
pub trait WalletStore: Send + Sync {
    /// Whose wallet this is.
    async fn wallet_account(&self, address: Address) -> Result<Option<AccountId>, StoreError>;

    /// Lets a wallet in: what it signed is used, and the wallet's account is named. If nobody has it, `new_account` is made
    /// with it, if there is one.
    async fn enter_by_wallet(
        &self,
        signed: SignedOnce,
        new_account: Option<AccountId>,
    ) -> Result<WalletEntered, StoreError>;

    /// The wallets of an account, the oldest first.
    async fn wallets(&self, account: AccountId) -> Result<Vec<WalletRecord>, StoreError>;

    /// Links a wallet to an account, which then has at most `most`; leaves word of it unless it was linked before.
    async fn link_wallet(
        &self,
        account: AccountId,
        signed: SignedOnce,
        most: u32,
        told: NewNotification,
    ) -> Result<WalletLinked, StoreError>;

    /// Unlinks a wallet unless it is the account's last credential; leaves word of it.
    async fn unlink_wallet(
        &self,
        account: AccountId,
        address: Address,
        told: NewNotification,
    ) -> Result<WalletUnlinked, StoreError>;

    /// The second factor of an account, confirmed or not.
    async fn second_factor(&self, account: AccountId) -> Result<Option<SecondFactorRecord>, StoreError>;

    /// Keeps a new secret, which is not asked for yet. False: one is confirmed already.
    async fn begin_second_factor(
        &self,
        account: AccountId,
        secret: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Confirms exactly this secret by a code of this time step, which is used by that, and sets the recovery codes; leaves
    /// word of it. False: it is another one by now, or is confirmed already.
    async fn confirm_second_factor(
        &self,
        account: AccountId,
        secret: Vec<u8>,
        step: u64,
        codes: Vec<B256>,
        told: NewNotification,
    ) -> Result<bool, StoreError>;

    /// Uses a code up and does what is to be done with it. False: it was used before, or is none. Nothing was changed.
    async fn use_second_factor(
        &self,
        account: AccountId,
        proof: SecondFactorProof,
        change: SecondFactorChange,
    ) -> Result<bool, StoreError>;

    /// Counts a wrong code; leaves word at the `tell_at`th in a row.
    async fn fail_second_factor(
        &self,
        account: AccountId,
        tell_at: u32,
        told: NewNotification,
    ) -> Result<(), StoreError>;
}

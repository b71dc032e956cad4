//! Wallets that sign in, and those of an account.

use async_trait::async_trait;
use resultity_core::api::gate::{
    AskWallet, LinkWallet, LoginKind, Scope, SignInMethod, SignedIn, Wallet, WalletChallenge, WalletSignIn,
    WalletSignInApi, WalletUnlinked, WalletsApi,
};
use resultity_core::api::page::{MAX_PAGE, Page};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;

use super::throttle::Attempted;
use super::{GateDoor, GateSession, failed, not_found};
use crate::store::wallets::{self as kept, WalletEntered, WalletLinked, WalletRecord};

mod nonce;
mod signed;

pub use signed::WalletOptions;
use signed::{Purpose, read_address};

/// The most wallets of an account.
const MOST: u32 = 20;

/// What was signed does not count. Why not is said only as far as the signer can do something about it.
fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidCredentials, message)
}

fn replayed() -> ApiError {
    refused("this message was used before: ask for a new one")
}

#[async_trait]
impl WalletSignInApi for GateDoor {
    async fn wallet_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError> {
        // By address alone: whoever asks in another's name must not keep them out.
        let asker = self.address.to_string();
        let throttle = &self.gate.throttle;
        throttle.attempt(Attempted::WalletChallenge, &asker, self.address)?;
        self.gate.challenge(&request, Purpose::SignIn)
    }

    async fn wallet_sign_in(&self, request: WalletSignIn) -> Result<SignedIn, ApiError> {
        let gate = &self.gate;
        let asker = format!("sign-in {}", self.address);
        gate.throttle
            .attempt(Attempted::WalletChallenge, &asker, self.address)?;
        let signed = gate.read_signed(&request.message, &request.signature, Purpose::SignIn)?;
        let wallet = signed.address;
        let known = gate.store.wallet_account(wallet).await.map_err(failed)?;
        let new_account = match known {
            // Before the message is used up: who has the second factor to look up may send the same once more.
            Some(account) => {
                let factor = gate.check_second_factor(account, request.second_factor.as_ref(), self.address);
                if let Err(error) = factor.await {
                    if error.code != ErrorCode::SecondFactorRequired {
                        self.failed_sign_in(account, SignInMethod::Wallet);
                    }
                    return Err(error);
                }
                None
            }
            None => {
                gate.check_sign_up()?;
                let subject = wallet.to_string();
                gate.throttle.attempt(Attempted::SignUp, &subject, self.address)?;
                Some(AccountId::new(&*gate.clock, &*gate.entropy))
            }
        };
        let entered = gate.store.enter_by_wallet(signed, new_account).await;
        let account = match entered.map_err(failed)? {
            WalletEntered::Account(account) if known.is_none_or(|known| known == account) => account,
            // It changed hands this very moment, and whose second factor was asked for is not who has it now.
            WalletEntered::Account(_) | WalletEntered::Unknown => {
                return Err(refused("the wallet was linked or unlinked just now: sign in again"));
            }
            WalletEntered::Replayed => return Err(replayed()),
        };
        if Some(account) == new_account {
            tracing::info!(account.id = %account, "an account was made with a wallet");
        }
        let kind = LoginKind::by_cookie(request.cookie);
        gate.open_login(account, SignInMethod::Wallet, kind, self.address, &self.user_agent)
            .await
    }
}

#[async_trait]
impl WalletsApi for GateSession {
    async fn wallets(&self) -> Result<Page<Wallet>, ApiError> {
        let account = self.account(Scope::Read)?;
        let records = self.gate.store.wallets(account).await.map_err(failed)?;
        let wallets = records.into_iter().map(shown).collect();
        Ok(Page::of(wallets, MAX_PAGE, |wallet: &Wallet| wallet.address.clone()))
    }

    async fn wallet_link_challenge(&self, request: AskWallet) -> Result<WalletChallenge, ApiError> {
        let account = self.signed_in()?;
        let address = self.caller.address;
        let throttle = &self.gate.throttle;
        throttle.attempt(Attempted::WalletChallenge, &account.to_string(), address)?;
        self.gate.challenge(&request, Purpose::Link(account))
    }

    async fn link_wallet(&self, request: LinkWallet) -> Result<Wallet, ApiError> {
        let account = self.signed_in()?;
        let subject = account.to_string();
        let gate = &self.gate;
        gate.throttle
            .attempt(Attempted::WalletChallenge, &subject, self.caller.address)?;
        let signed = gate.read_signed(&request.message, &request.signature, Purpose::Link(account))?;
        let told = gate.note(
            account,
            "account.wallet_linked",
            signed.address.to_checksum(None),
            "A wallet was linked: whoever has it can sign in. If it was not you, unlink it and end all sessions.",
        );
        let linked = gate.store.link_wallet(account, signed, MOST, told).await;
        match linked.map_err(failed)? {
            WalletLinked::Linked(record) => {
                tracing::info!(account.id = %account, "a wallet was linked");
                Ok(shown(record))
            }
            // Whoever holds the wallet may know that it has an account.
            WalletLinked::Taken => {
                let message = "another account has this wallet: sign in with it and unlink it there first";
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
            WalletLinked::TooMany => {
                let message = format!("there are {MOST} wallets already, which is the most: unlink one first");
                Err(ApiError::new(ErrorCode::Conflict, message))
            }
            WalletLinked::Replayed => Err(replayed()),
        }
    }

    async fn unlink_wallet(&self, address: &str) -> Result<WalletUnlinked, ApiError> {
        let account = self.signed_in()?;
        // What is no address is nobody's wallet.
        let wallet = read_address(address).map_err(|_| not_found("wallet"))?;
        let shown = wallet.to_checksum(None);
        let told = self.gate.note(
            account,
            "account.wallet_unlinked",
            shown.clone(),
            "A wallet was unlinked: nobody can sign in with it any more.",
        );
        let unlinked = self.gate.store.unlink_wallet(account, wallet, told).await;
        match unlinked.map_err(failed)? {
            kept::WalletUnlinked::Unlinked => {
                tracing::info!(account.id = %account, "a wallet was unlinked");
                Ok(WalletUnlinked {
                    address: shown,
                    deleted: true,
                })
            }
            kept::WalletUnlinked::NotThere => Err(not_found("wallet")),
            kept::WalletUnlinked::LastCredential => Err(ApiError::new(
                ErrorCode::Conflict,
                "nobody could sign in any more without this wallet: link another one, or set an e-mail address and password first",
            )),
        }
    }
}

fn shown(record: WalletRecord) -> Wallet {
    Wallet {
        address: record.address.to_checksum(None),
        created_at: record.created_at.as_seconds(),
        last_used_at: record.last_used_at.map(Timestamp::as_seconds),
    }
}

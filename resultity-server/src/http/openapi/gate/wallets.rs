//! `/gate/v1/wallet` and `/gate/v1/account/wallets`.

use resultity_core::api::gate::{
    AskWallet, LinkWallet, SignedIn, Wallet, WalletChallenge, WalletSignIn, WalletUnlinked,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const DOOR: &str = "Gate: signing in";
const ACCOUNT: &str = "Gate: account";
const WALLETS: &str = "/gate/v1/account/wallets";

pub(super) fn operations() -> Vec<Operation> {
    let account = |operation: Operation| operation.access(Access::SignedIn);
    vec![
        Operation::new(
            Post,
            "/gate/v1/wallet/challenge",
            DOOR,
            "walletChallenge",
            "What a wallet is to sign to sign in",
        )
        .about("A message of EIP-4361. The answer says nothing of whether the wallet has an account.")
        .access(Access::Anyone)
        .takes::<AskWallet>()
        .gives::<WalletChallenge>("The message.")
        .fails([ErrorCode::RateLimitExceeded]),
        Operation::new(
            Post,
            "/gate/v1/wallet/sign-in",
            DOOR,
            "walletSignIn",
            "Sign in with a wallet",
        )
        .about(
            "Domain, URI, chain id, nonce and times of the message are checked, and it counts once. The account is made at \
             the wallet's first time.",
        )
        .access(Access::Anyone)
        .takes::<WalletSignIn>()
        .gives::<SignedIn>("Signed in.")
        .fails([
            ErrorCode::InvalidCredentials,
            ErrorCode::PermissionDenied,
            ErrorCode::RateLimitExceeded,
            ErrorCode::Internal,
        ]),
        account(Operation::new(
            Get,
            WALLETS,
            ACCOUNT,
            "wallets",
            "The wallets that may sign in",
        ))
        .gives_page::<Wallet>("All of them, the oldest first."),
        account(Operation::new(
            Post,
            "/gate/v1/account/wallets/challenge",
            ACCOUNT,
            "walletLinkChallenge",
            "What a wallet is to sign to be linked",
        ))
        .takes::<AskWallet>()
        .gives::<WalletChallenge>("The message; it names the account."),
        account(Operation::new(Post, WALLETS, ACCOUNT, "linkWallet", "Link a wallet"))
            .takes::<LinkWallet>()
            .gives::<Wallet>("The wallet.")
            .fails([ErrorCode::InvalidCredentials, ErrorCode::Conflict, ErrorCode::Internal]),
        account(Operation::new(
            Delete,
            "/gate/v1/account/wallets/{address}",
            ACCOUNT,
            "unlinkWallet",
            "Unlink a wallet",
        ))
        .about("The last credential of an account stays.")
        .gives::<WalletUnlinked>("It is unlinked.")
        .of_one()
        .fails([ErrorCode::Conflict, ErrorCode::Internal]),
    ]
}

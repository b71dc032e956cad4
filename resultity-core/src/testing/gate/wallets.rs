//! The contract of [`WalletSignInApi`](crate::api::gate::WalletSignInApi) and [`WalletsApi`].

use super::GateSetting;
use crate::api::gate::{AskWallet, LinkWallet, SignedIn, WalletSignIn, WalletsApi};
use crate::error::{ApiError, ErrorCode};
use crate::signing::{Keypair, SiweMessage};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails. Leaves a wallet with the account.
pub async fn all<A: WalletsApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: wallets: {}", stringify!($scenario));
            $scenario(api, setting).await;
        )*};
    }
    run! {
        a_wallet_signs_in_to_one_account
        what_was_signed_counts_once_and_for_its_purpose
        a_wallet_is_linked_and_unlinked
        what_is_no_signed_message_is_refused
    }
}

fn wallet(setting: &GateSetting<'_>) -> (Keypair, String) {
    let key = Keypair::generate(setting.entropy);
    let address = key.address().to_checksum(None);
    (key, address)
}

/// A signed message to sign in with.
async fn to_sign_in(setting: &GateSetting<'_>, key: &Keypair, address: &str) -> WalletSignIn {
    let challenge = setting.door.wallet_challenge(AskWallet::new(address)).await;
    let message = challenge.expect("anybody may ask for a challenge").message;
    let signature = key.sign_text(&message).to_string();
    WalletSignIn::new(message, signature)
}

async fn sign_in(setting: &GateSetting<'_>, request: WalletSignIn) -> Result<SignedIn, ApiError> {
    setting.door.wallet_sign_in(request).await
}

/// A signed message to link a wallet with.
async fn to_link<A: WalletsApi + ?Sized>(api: &A, key: &Keypair, address: &str) -> LinkWallet {
    let challenge = api.wallet_link_challenge(AskWallet::new(address)).await;
    let message = challenge.expect("an account may ask for a challenge").message;
    let signature = key.sign_text(&message).to_string();
    LinkWallet::new(message, signature)
}

/// The first time makes the account, the next ones find it. Panics if not.
pub async fn a_wallet_signs_in_to_one_account<A: WalletsApi + ?Sized>(_api: &A, setting: &GateSetting<'_>) {
    let (key, address) = wallet(setting);
    let first = sign_in(setting, to_sign_in(setting, &key, &address).await).await;
    let first = first.expect("a wallet signs in");
    assert!(first.token.is_some());
    // However the address is written.
    let again = to_sign_in(setting, &key, &address.to_lowercase()).await;
    let again = sign_in(setting, again).await.expect("a wallet signs in again");
    assert_eq!(again.account, first.account);
    assert_ne!((again.login, again.token), (first.login, first.token));
    let (other_key, other) = wallet(setting);
    let other = sign_in(setting, to_sign_in(setting, &other_key, &other).await).await;
    assert_ne!(other.expect("another wallet signs in").account, first.account);
}

/// A message that was used, and one for something else, are refused. Panics if not.
pub async fn what_was_signed_counts_once_and_for_its_purpose<A: WalletsApi + ?Sized>(
    api: &A,
    setting: &GateSetting<'_>,
) {
    let (key, address) = wallet(setting);
    let request = to_sign_in(setting, &key, &address).await;
    sign_in(setting, request.clone()).await.expect("the first time counts");
    let error = sign_in(setting, request).await.expect_err("the second does not");
    assert_eq!(error.code, ErrorCode::InvalidCredentials, "{error}");

    let to_link = to_link(api, &key, &address).await;
    let error = sign_in(setting, WalletSignIn::new(to_link.message, to_link.signature)).await;
    let error = error.expect_err("what links does not sign in");
    assert_eq!(error.code, ErrorCode::InvalidCredentials, "{error}");
    let to_sign_in = to_sign_in(setting, &key, &address).await;
    let error = api
        .link_wallet(LinkWallet::new(to_sign_in.message, to_sign_in.signature))
        .await;
    let error = error.expect_err("what signs in does not link");
    assert_eq!(error.code.http_status(), Some(400), "{error}");
}

/// A wallet is in the list as long as it is linked, and belongs to one account. Panics if not.
pub async fn a_wallet_is_linked_and_unlinked<A: WalletsApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let before = api.wallets().await.expect("wallets can be listed").data.len();
    let ((stays, stays_address), (goes, goes_address)) = (wallet(setting), wallet(setting));
    for (key, address) in [(&stays, &stays_address), (&goes, &goes_address)] {
        let linked = api.link_wallet(to_link(api, key, address).await).await;
        assert_eq!(&linked.expect("a wallet is linked").address, address);
    }
    let listed = api.wallets().await.expect("wallets can be listed").data;
    assert_eq!(listed.len(), before + 2);
    let signed_in = sign_in(setting, to_sign_in(setting, &goes, &goes_address).await).await;
    let account = signed_in.expect("a linked wallet signs in").account;
    let unlinked = api.unlink_wallet(&goes_address).await.expect("a wallet is unlinked");
    assert!(unlinked.deleted);
    let error = api.unlink_wallet(&goes_address).await.expect_err("it is gone");
    assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    // From now on it is an account of its own, and nobody else's.
    let signed_in = sign_in(setting, to_sign_in(setting, &goes, &goes_address).await).await;
    assert_ne!(signed_in.expect("a wallet of nobody signs in").account, account);
    let error = api.link_wallet(to_link(api, &goes, &goes_address).await).await;
    let error = error.expect_err("another account has it");
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
}

/// Messages that were changed, are of others or are none are refused with what is wrong. Panics if not.
pub async fn what_is_no_signed_message_is_refused<A: WalletsApi + ?Sized>(_api: &A, setting: &GateSetting<'_>) {
    let ((key, address), (other, _)) = (wallet(setting), wallet(setting));
    let request = to_sign_in(setting, &key, &address).await;
    let message: SiweMessage = request.message.parse().expect("a challenge is a message of EIP-4361");
    let by_another = WalletSignIn::new(&*request.message, other.sign_text(&request.message).to_string());
    let mut of_another = message.clone();
    of_another.address = other.address();
    let mut elsewhere = message.clone();
    elsewhere.domain = "evil.example".into();
    elsewhere.uri = "https://evil.example".into();
    let mut on_no_chain = message.clone();
    on_no_chain.chain_id = 999_999_999;
    let mut with_own_nonce = message;
    with_own_nonce.nonce = "0123456789abcdef".into();
    let signed = |message: &SiweMessage, key: &Keypair| {
        let text = message.to_string();
        let signature = key.sign_text(&text).to_string();
        WalletSignIn::new(text, signature)
    };
    for (what, request, status) in [
        ("by another", by_another, 401),
        ("a nonce of another", signed(&of_another, &other), 401),
        ("a nonce of its own", signed(&with_own_nonce, &key), 401),
        ("another domain", signed(&elsewhere, &key), 400),
        ("another chain", signed(&on_no_chain, &key), 400),
        ("no message", WalletSignIn::new("hello", request.signature.clone()), 400),
        ("no signature", WalletSignIn::new(&*request.message, "0x00"), 400),
    ] {
        let error = sign_in(setting, request).await.expect_err(what);
        assert_eq!(error.code.http_status(), Some(status), "{what}: {error}");
    }
    // None of that used the message up.
    sign_in(setting, request).await.expect("the true one counts");
}

//! Wallets and authenticator apps.

use resultity_core::api::gate::{AskWallet, LinkWallet, WalletSignIn, WalletSignInApi, WalletsApi};
use resultity_core::clock::{Clock, SystemEntropy};
use resultity_core::signing::Keypair;

/// A wallet.
pub struct TestWallet {
    pub key: Keypair,
    pub address: String,
}

impl TestWallet {
    /// One that nobody has seen before.
    pub fn new() -> Self {
        let key = Keypair::generate(&SystemEntropy);
        let address = key.address().to_checksum(None);
        Self { key, address }
    }

    /// Signs this as it is.
    pub fn sign(&self, message: &str) -> WalletSignIn {
        WalletSignIn::new(message, self.key.sign_text(message).to_string())
    }

    /// Asks for a message and signs it.
    pub async fn to_sign_in(&self, door: &dyn WalletSignInApi) -> WalletSignIn {
        let challenge = door.wallet_challenge(AskWallet::new(&*self.address)).await.unwrap();
        self.sign(&challenge.message)
    }

    /// The same to be linked to an account.
    pub async fn to_link(&self, account: &dyn WalletsApi) -> LinkWallet {
        let asked = AskWallet::new(&*self.address);
        let message = account.wallet_link_challenge(asked).await.unwrap().message;
        let signature = self.key.sign_text(&message).to_string();
        LinkWallet::new(message, signature)
    }
}

/// What an authenticator app shows so many steps of 30 seconds after the time.
pub fn totp(secret: &str, clock: &dyn Clock, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(clock.now().as_seconds() as u64 + 30 * steps).to_string()
}

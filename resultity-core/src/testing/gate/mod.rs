//! The contract of the Gate API: for an account that nobody else uses meanwhile. One file a resource.

use std::fmt;

use crate::api::gate::{DoorApi, GateApi};
use crate::clock::{Clock, Entropy};

pub mod account;
pub mod administration;
pub mod configuration;
pub mod credits;
pub mod nodes;
pub mod second_factor;
pub mod tenancy;
pub mod wallets;

/// What the scenarios need to know of where they run.
#[derive(Clone, Copy)]
pub struct GateSetting<'a> {
    /// The same server, for whoever has not signed in.
    pub door: &'a dyn DoorApi,
    /// The server's time.
    pub clock: &'a dyn Clock,
    /// Where the keys of wallets come from: those that have no account yet.
    pub entropy: &'a dyn Entropy,
    /// What an authenticator app with this secret (base32) shows so many steps of 30 seconds after the present one.
    pub totp: &'a (dyn Fn(&str, u64) -> String + Sync),
}

impl fmt::Debug for GateSetting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateSetting").finish_non_exhaustive()
    }
}

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails. The account has no second factor.
pub async fn all(api: &dyn GateApi, setting: &GateSetting<'_>) {
    account::all(api, setting).await;
    wallets::all(api, setting).await;
    nodes::all(api, setting).await;
    tenancy::all(api, setting).await;
    second_factor::all(api, setting).await;
}

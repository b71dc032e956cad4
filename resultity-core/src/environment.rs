//! The two networks that never mix.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which network an object belongs to. Keys, balances, nodes, jobs and snapshots carry exactly one; nothing crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// For trying things: credits come from a faucet and are worth nothing.
    Testnet,
    /// The real one.
    Mainnet,
}

impl Environment {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Testnet, Self::Mainnet];

    /// `testnet` or `mainnet`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        }
    }

    /// What every API key of this environment starts with.
    pub const fn key_prefix(self) -> &'static str {
        match self {
            Self::Testnet => "rk_test_",
            Self::Mainnet => "rk_live_",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `testnet` or `mainnet`")]
pub struct UnknownEnvironment;

impl FromStr for Environment {
    type Err = UnknownEnvironment;
    fn from_str(text: &str) -> Result<Self, UnknownEnvironment> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or(UnknownEnvironment)
    }
}

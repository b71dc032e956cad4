#![doc = include_str!("../README.md")]

pub mod api;
pub mod canonical;
pub mod capability;
pub mod clock;
pub mod compute;
pub mod credits;
pub mod environment;
pub mod error;
pub mod id;
pub mod infernet;
pub mod job;
pub mod ledger;
pub mod limits;
pub mod model;
pub mod networks;
pub mod openai;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod project;
pub mod raw_json;
pub mod receipt;
pub mod score;
pub mod signing;
pub mod snapshot;
#[cfg(feature = "testing")]
pub mod testing;
pub mod version;
pub mod webhook;
pub mod wire;

pub use alloy_primitives::{Address, B256};
pub use project::{DEV_FILE, PROJECT};

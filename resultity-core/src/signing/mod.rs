//! Keys and signatures: secp256k1 over EIP-712 typed data.

mod key;
pub mod keystore;
mod replay;
mod typed_data;

pub use key::{InvalidKey, InvalidSignature, Keypair, PublicKey, Signature};
pub use replay::{MAX_CLOCK_SKEW_MS, Replay, ReplayWindow, check_skew};
pub use typed_data::{
    Domain, FailureData, HeartbeatData, HelloData, Outcome, ReceiptData, ResultData, SnapshotData, TypedData,
};

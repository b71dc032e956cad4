//! Keys and signatures: secp256k1 over EIP-712 typed data, and over the texts that wallets sign (EIP-191).

mod key;
mod key_chain;
pub mod keystore;
mod replay;
mod siwe;
mod typed_data;

pub use key::{InvalidKey, InvalidSignature, Keypair, PublicKey, Signature};
pub use key_chain::{BrokenChain, KeyChain, KeyRotation};
pub use replay::{MAX_CLOCK_SKEW_MS, Replay, ReplayWindow, check_skew};
pub use siwe::{InvalidSiwe, MAX_SIWE_BYTES, SiweMessage, SiweTime, SiweTimeError, eip191_hash};
pub use typed_data::{
    BindConsentData, ControlData, DeliveryData, Domain, FailureData, HeartbeatData, HelloData, KeyRotationData,
    LogBatchData, NodeReceiptData, Outcome, ReceiptData, ResultData, SnapshotData, StatusRequestData, TypedData,
};

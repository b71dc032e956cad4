//! What is signed on the node link, as EIP-712 typed data.
//!
//! The domain carries a salt made of the environment and the network's first address, so a signature is worth nothing in
//! another network or environment. Ids are signed in the text form that they have on the wire.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::signing::{InvalidSignature, Keypair, PublicKey, Signature};

mod structs {
    #![allow(
        missing_docs,
        reason = "the macro makes items that cannot carry docs; the fields are those of io-protocol"
    )]
    use super::sol;
    sol! {
        struct Hello {
            address nodeId;
            bytes32 nonce;
            string sessionId;
            uint64 issuedAt;
            bytes32 bodyHash;
        }
        struct Heartbeat {
            address nodeId;
            string sessionId;
            uint64 seq;
            uint64 issuedAt;
            bytes32 bodyHash;
        }
        struct Result {
            address nodeId;
            string jobId;
            uint32 attempt;
            string leaseToken;
            bytes32 requestHash;
            bytes32 transcriptHash;
            bytes32 outputHash;
            uint64 promptTokens;
            uint64 completionTokens;
            string finishReason;
            string outcome;
        }
        struct Failure {
            address nodeId;
            string jobId;
            uint32 attempt;
            string leaseToken;
            string code;
        }
        struct Snapshot {
            bytes32 digest;
            uint64 version;
            string environment;
            uint64 issuedAt;
        }
        struct Control {
            address nodeId;
            string sessionId;
            string action;
            bytes32 nonce;
            uint64 expiresAt;
        }
        struct BindConsent {
            address nodeId;
            string code;
            string environment;
            bytes32 nonce;
            uint64 expiresAt;
        }
        struct LogBatch {
            address nodeId;
            string sessionId;
            uint64 seq;
            bytes32 bodyHash;
        }
        struct Delivery {
            address nodeId;
            string environment;
            uint64 issuedAt;
            bytes32 bodyHash;
        }
        struct StatusRequest {
            address nodeId;
            string environment;
            uint64 issuedAt;
        }
        struct KeyRotation {
            string environment;
            uint64 sequence;
            address previous;
            address next;
            uint64 issuedAt;
        }
        struct Receipt {
            string jobId;
            string environment;
            string model;
            string modelVersion;
            bytes32 requestHash;
            bytes32 outputHash;
            uint64 promptTokens;
            uint64 completionTokens;
            string finishReason;
            int64 costMicros;
            uint64 finishedAt;
        }
        struct NodeReceipt {
            string jobId;
            string environment;
            string model;
            string modelVersion;
            bytes32 requestHash;
            bytes32 outputHash;
            uint64 promptTokens;
            uint64 completionTokens;
            string finishReason;
            int64 costMicros;
            uint64 finishedAt;
            bytes32 node;
        }
    }
}

pub use structs::{
    BindConsent as BindConsentData, Control as ControlData, Delivery as DeliveryData, Failure as FailureData,
    Heartbeat as HeartbeatData, Hello as HelloData, KeyRotation as KeyRotationData, LogBatch as LogBatchData,
    NodeReceipt as NodeReceiptData, Receipt as ReceiptData, Result as ResultData, Snapshot as SnapshotData,
    StatusRequest as StatusRequestData,
};

/// Where a signature counts: one network, one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    separator: B256,
}

impl Domain {
    /// The domain of the network whose first key had the address `genesis`.
    pub fn new(environment: Environment, genesis: Address) -> Self {
        let salt = keccak256(
            [
                b"resultity/1".as_slice(),
                environment.as_str().as_bytes(),
                genesis.as_slice(),
            ]
            .concat(),
        );
        let domain = Eip712Domain {
            name: Some("Resultity".into()),
            version: Some("1".into()),
            chain_id: None,
            verifying_contract: None,
            salt: Some(salt),
        };
        Self {
            separator: domain.separator(),
        }
    }
}

/// Something that can be signed in a [`Domain`].
pub trait TypedData {
    /// The EIP-712 hash that is signed.
    fn signing_hash(&self, domain: &Domain) -> B256;

    /// Signs it.
    fn sign(&self, domain: &Domain, key: &Keypair) -> Signature {
        key.sign(self.signing_hash(domain))
    }

    /// Checks that the holder of `signer` signed it; gives the public key.
    fn verify(&self, domain: &Domain, signature: &Signature, signer: Address) -> Result<PublicKey, InvalidSignature> {
        signature.verify(self.signing_hash(domain), signer)
    }
}

/// The hash of a struct is over its type hash and its fields. The type hash never changes: it is computed once.
fn signing_hash<T: SolStruct>(data: &T, type_hash: B256, domain: &Domain) -> B256 {
    let mut encoded = Vec::with_capacity(32 * 12);
    encoded.extend_from_slice(type_hash.as_slice());
    encoded.extend_from_slice(&data.eip712_encode_data());
    let mut message = [0; 66];
    message[..2].copy_from_slice(b"\x19\x01");
    message[2..34].copy_from_slice(domain.separator.as_slice());
    message[34..].copy_from_slice(keccak256(encoded).as_slice());
    keccak256(message)
}

macro_rules! typed_data {
    ($($data:ty),*) => {$(
        impl TypedData for $data {
            fn signing_hash(&self, domain: &Domain) -> B256 {
                static TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(<$data>::eip712_encode_type().as_bytes()));
                signing_hash(self, *TYPE_HASH, domain)
            }
        }
    )*};
}

typed_data!(
    HelloData,
    HeartbeatData,
    ResultData,
    FailureData,
    SnapshotData,
    KeyRotationData,
    ReceiptData,
    NodeReceiptData,
    ControlData,
    BindConsentData,
    StatusRequestData,
    LogBatchData,
    DeliveryData
);

/// Whether a result is all that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer.
    Complete,
    /// What was made until the job was cancelled.
    Partial,
}

impl Outcome {
    /// The name that is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    fn snapshot() -> SnapshotData {
        SnapshotData {
            digest: B256::repeat_byte(1),
            version: 2,
            environment: "testnet".into(),
            issuedAt: 3,
        }
    }

    #[test]
    fn a_signature_counts_in_one_domain_only() {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let here = Domain::new(Environment::Testnet, key.address());
        let signature = snapshot().sign(&here, &key);
        assert!(snapshot().verify(&here, &signature, key.address()).is_ok());
        for other in [
            Domain::new(Environment::Mainnet, key.address()),
            Domain::new(Environment::Testnet, Address::repeat_byte(9)),
        ] {
            assert!(snapshot().verify(&other, &signature, key.address()).is_err());
        }
        let changed = SnapshotData {
            version: 3,
            ..snapshot()
        };
        assert!(changed.verify(&here, &signature, key.address()).is_err());
    }

    #[test]
    fn the_hash_is_the_one_that_wallets_compute() {
        let domain = Domain::new(Environment::Testnet, Address::repeat_byte(1));
        let mut message = b"\x19\x01".to_vec();
        message.extend_from_slice(domain.separator.as_slice());
        message.extend_from_slice(snapshot().eip712_hash_struct().as_slice());
        assert_eq!(snapshot().signing_hash(&domain), keccak256(message));
    }

    /// Nodes in the field compute the same types: a change here breaks all of them.
    #[test]
    fn the_signed_types_stay_as_they_are() {
        let types = [
            HelloData::eip712_encode_type(),
            HeartbeatData::eip712_encode_type(),
            ResultData::eip712_encode_type(),
            FailureData::eip712_encode_type(),
            SnapshotData::eip712_encode_type(),
            KeyRotationData::eip712_encode_type(),
            ReceiptData::eip712_encode_type(),
            NodeReceiptData::eip712_encode_type(),
            ControlData::eip712_encode_type(),
            BindConsentData::eip712_encode_type(),
            StatusRequestData::eip712_encode_type(),
            LogBatchData::eip712_encode_type(),
            DeliveryData::eip712_encode_type(),
        ];
        insta::assert_snapshot!(types.join("\n"));
    }
}

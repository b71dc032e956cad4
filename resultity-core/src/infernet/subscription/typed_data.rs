//! What is signed, as EIP-712 typed data, and who signed it.

use std::borrow::Borrow;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue, sol};
use serde::Serialize;

use super::{
    DelegatedRequest, HashedSubscription, NamedSubscription, Subscription, SubscriptionError, SubscriptionSignature,
};
use crate::clock::Timestamp;
use crate::signing::{InvalidSignature, Keypair, Signature};

/// The newer form, as the contract has it.
mod hashed {
    #![allow(
        missing_docs,
        reason = "the macro makes items that cannot carry docs; the fields are those of the contract"
    )]
    super::sol! {
        struct Subscription {
            address owner;
            uint32 activeAt;
            uint32 period;
            uint32 frequency;
            uint16 redundancy;
            bytes32 containerId;
            bool lazy;
            address verifier;
            uint256 paymentAmount;
            address paymentToken;
            address wallet;
        }
        struct DelegateSubscription {
            uint32 nonce;
            uint32 expiry;
            Subscription sub;
        }
    }
}

/// The older form, as the contract had it.
mod named {
    #![allow(
        missing_docs,
        reason = "the macro makes items that cannot carry docs; the fields are those of the contract"
    )]
    super::sol! {
        struct Subscription {
            address owner;
            uint32 activeAt;
            uint32 period;
            uint32 frequency;
            uint16 redundancy;
            uint48 maxGasPrice;
            uint32 maxGasLimit;
            string containerId;
            bytes inputs;
        }
        struct DelegateSubscription {
            uint32 nonce;
            uint32 expiry;
            Subscription sub;
        }
    }
}

/// Where a signature counts: one coordinator contract on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoordinatorDomain {
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The coordinator's address.
    pub coordinator: Address,
}

impl CoordinatorDomain {
    fn eip712(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some("InfernetCoordinator".into()),
            version: Some("1".into()),
            chain_id: Some(U256::from(self.chain_id)),
            verifying_contract: Some(self.coordinator),
            salt: None,
        }
    }
}

/// `keccak256(abi.encode(string))` of container ids joined by commas: how the newer form names a pipeline.
pub fn containers_hash<S: Borrow<str>>(containers: &[S]) -> B256 {
    keccak256(containers.join(",").abi_encode())
}

impl From<&HashedSubscription> for hashed::Subscription {
    fn from(subscription: &HashedSubscription) -> Self {
        Self {
            owner: subscription.owner,
            activeAt: subscription.active_at,
            period: subscription.period,
            frequency: subscription.frequency,
            redundancy: subscription.redundancy,
            containerId: subscription.containers,
            lazy: subscription.lazy,
            verifier: subscription.verifier,
            paymentAmount: subscription.payment_amount,
            paymentToken: subscription.payment_token,
            wallet: subscription.wallet,
        }
    }
}

impl From<&NamedSubscription> for named::Subscription {
    fn from(subscription: &NamedSubscription) -> Self {
        Self {
            owner: subscription.owner,
            activeAt: subscription.active_at,
            period: subscription.period,
            frequency: subscription.frequency,
            redundancy: subscription.redundancy,
            maxGasPrice: subscription.max_gas_price,
            maxGasLimit: subscription.max_gas_limit,
            containerId: subscription.container_id.clone(),
            inputs: subscription.inputs.clone().into_bytes().into(),
        }
    }
}

impl Subscription {
    /// The EIP-712 hash that is signed. `nonce` numbers the owner's subscriptions; `expiry`, in seconds since the Unix epoch, is
    /// until when it may be created.
    pub fn digest(&self, nonce: u32, expiry: u32, domain: &CoordinatorDomain) -> B256 {
        let domain = domain.eip712();
        match self {
            Self::Hashed(subscription) => hashed::DelegateSubscription {
                nonce,
                expiry,
                sub: subscription.into(),
            }
            .eip712_signing_hash(&domain),
            Self::Named(subscription) => named::DelegateSubscription {
                nonce,
                expiry,
                sub: subscription.into(),
            }
            .eip712_signing_hash(&domain),
        }
    }
}

impl DelegatedRequest {
    /// Signs a subscription. `data`, a JSON object, is what its first container gets at the first interval; it is not part of what is
    /// signed.
    ///
    /// # Errors
    ///
    /// `data` can't be written as JSON.
    pub fn sign(
        subscription: Subscription,
        nonce: u32,
        expiry: u32,
        data: &impl Serialize,
        domain: &CoordinatorDomain,
        key: &Keypair,
    ) -> Result<Self, serde_json::Error> {
        let signature = key.sign(subscription.digest(nonce, expiry, domain));
        Ok(Self {
            signature: SubscriptionSignature::new(nonce, expiry, &signature),
            subscription,
            data: serde_json::value::to_raw_value(data)?,
        })
    }

    /// The EIP-712 hash that is signed.
    pub fn digest(&self, domain: &CoordinatorDomain) -> B256 {
        self.subscription
            .digest(self.signature.nonce, self.signature.expiry, domain)
    }

    /// Who signed it. That the owner lets them sign has still to be asked of the chain.
    ///
    /// # Errors
    ///
    /// [`SubscriptionError::OutOfRange`], `HighS` or `NoSigner`. A signature over something else, or for another domain, mostly
    /// is no error: it has another signer.
    pub fn signer(&self, domain: &CoordinatorDomain) -> Result<Address, SubscriptionError> {
        self.signature.recover(self.digest(domain))
    }
}

impl SubscriptionSignature {
    /// A signature over the digest of a subscription with this nonce and expiry.
    pub fn new(nonce: u32, expiry: u32, signature: &Signature) -> Self {
        let bytes = signature.as_bytes();
        Self {
            nonce,
            expiry,
            v: bytes[64],
            r: U256::from_be_slice(&bytes[..32]),
            s: U256::from_be_slice(&bytes[32..64]),
        }
    }

    /// Whether it is too late to create the subscription. In the last second it is not, as in the original node, though the contract
    /// then refuses it.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        i64::from(self.expiry) < now.as_seconds()
    }

    /// Who made this signature of a digest.
    ///
    /// # Errors
    ///
    /// [`SubscriptionError::OutOfRange`], `HighS` or `NoSigner`.
    pub fn recover(&self, digest: B256) -> Result<Address, SubscriptionError> {
        let v = match self.v {
            v @ (0 | 1) => 27 + v,
            v @ (27 | 28) => v,
            _ => return Err(SubscriptionError::OutOfRange),
        };
        let mut bytes = [v; 65];
        bytes[..32].copy_from_slice(&self.r.to_be_bytes::<32>());
        bytes[32..64].copy_from_slice(&self.s.to_be_bytes::<32>());
        match Signature::from_bytes(bytes).recover(digest) {
            Ok(key) => Ok(key.address()),
            Err(InvalidSignature::Malformed) => Err(SubscriptionError::OutOfRange),
            Err(InvalidSignature::HighS) => Err(SubscriptionError::HighS),
            Err(InvalidSignature::Mismatch) => Err(SubscriptionError::NoSigner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text in the contract: a change makes every signature another.
    #[test]
    fn the_signed_types_are_those_of_the_contract() {
        assert_eq!(
            hashed::DelegateSubscription::eip712_encode_type(),
            "DelegateSubscription(uint32 nonce,uint32 expiry,Subscription sub)\
             Subscription(address owner,uint32 activeAt,uint32 period,uint32 frequency,uint16 redundancy,\
             bytes32 containerId,bool lazy,address verifier,uint256 paymentAmount,address paymentToken,address wallet)"
        );
        assert_eq!(
            named::DelegateSubscription::eip712_encode_type(),
            "DelegateSubscription(uint32 nonce,uint32 expiry,Subscription sub)\
             Subscription(address owner,uint32 activeAt,uint32 period,uint32 frequency,uint16 redundancy,\
             uint48 maxGasPrice,uint32 maxGasLimit,string containerId,bytes inputs)"
        );
    }
}

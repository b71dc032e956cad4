//! What the network signs for a finished job: proof of what was asked, answered and paid.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::credits::Credits;
use crate::environment::Environment;
use crate::id::JobId;
use crate::signing::{Domain, InvalidSignature, KeyChain, Keypair, NodeReceiptData, ReceiptData, Signature, TypedData};

/// What became of a job, for whoever paid for it. It holds hashes, no text, and of the node no more than its pseudonym.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receipt {
    /// The job.
    pub job_id: JobId,
    /// The network it ran in.
    pub environment: Environment,
    /// The name that was asked for.
    pub model: String,
    /// What the name meant then.
    pub model_version: String,
    /// SHA-256 over the request as the node got it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub request_hash: B256,
    /// Over the final text of each choice: see [`output_hash`](crate::wire::output_hash).
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub output_hash: B256,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens made, over all choices.
    pub completion_tokens: u64,
    /// Why the first choice ended.
    pub finish_reason: String,
    /// What was paid.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub cost: Credits,
    /// When it was settled: milliseconds since the Unix epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub finished_at: Timestamp,
    /// The pseudonym of the node that answered: another one in each week (from Monday 00:00 UTC), and in each environment.
    /// Only the network can tell whose it is, or which of two weeks are one node's. Receipts of old have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub node: Option<B256>,
}

impl TypedData for Receipt {
    /// That of [`NodeReceiptData`]; without a pseudonym, of [`ReceiptData`].
    fn signing_hash(&self, domain: &Domain) -> B256 {
        let data = self.signed_data();
        let Some(node) = self.node else {
            return data.signing_hash(domain);
        };
        NodeReceiptData {
            jobId: data.jobId,
            environment: data.environment,
            model: data.model,
            modelVersion: data.modelVersion,
            requestHash: data.requestHash,
            outputHash: data.outputHash,
            promptTokens: data.promptTokens,
            completionTokens: data.completionTokens,
            finishReason: data.finishReason,
            costMicros: data.costMicros,
            finishedAt: data.finishedAt,
            node,
        }
        .signing_hash(domain)
    }
}

impl Receipt {
    /// What is signed, but for the pseudonym.
    fn signed_data(&self) -> ReceiptData {
        ReceiptData {
            jobId: self.job_id.to_string(),
            environment: self.environment.as_str().to_owned(),
            model: self.model.clone(),
            modelVersion: self.model_version.clone(),
            requestHash: self.request_hash,
            outputHash: self.output_hash,
            promptTokens: self.prompt_tokens,
            completionTokens: self.completion_tokens,
            finishReason: self.finish_reason.clone(),
            costMicros: self.cost.micros(),
            // No job finished before 1970.
            finishedAt: u64::try_from(self.finished_at.as_millis()).unwrap_or_default(),
        }
    }
}

/// A receipt with the network's signature. Anyone who knows the network's key can check it without asking anybody.
///
/// ```
/// use resultity_core::environment::Environment;
/// use resultity_core::receipt::SignedReceipt;
/// use resultity_core::signing::Domain;
/// use resultity_core::wire::output_hash;
/// # use resultity_core::{B256, receipt::Receipt, signing::Keypair};
/// # let key = Keypair::from_bytes(&[7; 32])?;
/// # let (genesis, network_key) = (key.address(), key.address());
/// # let receipt = Receipt {
/// #     job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse()?, environment: Environment::Testnet, model: "m".into(),
/// #     model_version: "1".into(), request_hash: B256::ZERO, output_hash: output_hash([(0, "Paris.")]),
/// #     prompt_tokens: 9, completion_tokens: 2, finish_reason: "stop".into(),
/// #     cost: resultity_core::credits::Credits::from_micros(13),
/// #     finished_at: resultity_core::clock::Timestamp::from_millis(1_700_000_000_000), node: None,
/// # };
/// # let signed = SignedReceipt::sign(receipt, &Domain::new(Environment::Testnet, genesis), &key);
/// # let file = serde_json::to_string(&signed)?;
/// // `file` is a receipt that was kept; `genesis` and `network_key` are the network's published addresses.
/// let signed: SignedReceipt = serde_json::from_str(&file)?;
/// signed.verify(&Domain::new(Environment::Testnet, genesis), network_key)?;
/// // It is genuine. Is it for the answer that was seen?
/// assert_eq!(signed.receipt.output_hash, output_hash([(0, "Paris.")]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedReceipt {
    /// What was signed.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// The address of the key that signed it. It says where to look, and proves nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub network_key: Address,
    /// Over [`NodeReceiptData`]; without a pseudonym, over [`ReceiptData`].
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub signature: Signature,
}

impl SignedReceipt {
    /// Signs a receipt with the network's key.
    pub fn sign(receipt: Receipt, domain: &Domain, key: &Keypair) -> Self {
        let signature = receipt.sign(domain, key);
        Self {
            receipt,
            network_key: key.address(),
            signature,
        }
    }

    /// Checks that it was signed by this network key, which the caller knows from elsewhere.
    pub fn verify(&self, domain: &Domain, network_key: Address) -> Result<(), InvalidSignature> {
        if self.network_key != network_key {
            return Err(InvalidSignature::Mismatch);
        }
        self.receipt.verify(domain, &self.signature, network_key).map(|_| ())
    }

    /// The same for a network that has changed its key: it was signed by the key that counted when the job was settled.
    /// The caller knows the chain's first key from elsewhere and has [verified](KeyChain::verify) the chain.
    pub fn verify_by_chain(&self, chain: &KeyChain) -> Result<(), InvalidSignature> {
        let counts = chain.environment == self.receipt.environment
            && chain.counts_at(self.network_key, self.receipt.finished_at);
        if !counts {
            return Err(InvalidSignature::Mismatch);
        }
        self.verify(&chain.domain(), self.network_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn signed() -> (SignedReceipt, Domain, Keypair) {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let domain = Domain::new(Environment::Testnet, key.address());
        let receipt = Receipt {
            job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            environment: Environment::Testnet,
            model: "demo".into(),
            model_version: "1".into(),
            request_hash: B256::repeat_byte(1),
            output_hash: B256::repeat_byte(2),
            prompt_tokens: 10,
            completion_tokens: 20,
            finish_reason: "stop".into(),
            cost: Credits::from_micros(30),
            finished_at: Timestamp::from_millis(1_700_000_000_000),
            node: Some(B256::repeat_byte(3)),
        };
        (SignedReceipt::sign(receipt, &domain, &key), domain, key)
    }

    #[test]
    fn it_reads_back_and_verifies() {
        let (signed, domain, key) = signed();
        let json = serde_json::to_string_pretty(&signed).unwrap();
        insta::assert_snapshot!(json);
        let read: SignedReceipt = serde_json::from_str(&json).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(&domain, key.address()), Ok(()));
    }

    #[test]
    fn a_receipt_of_before_there_were_pseudonyms_still_verifies() {
        let (_, domain, key) = signed();
        let old = r#"{"job_id": "01890a5d-ac96-774b-bcce-b302099a8057", "environment": "testnet", "model": "demo",
            "model_version": "1", "request_hash": "0x0101010101010101010101010101010101010101010101010101010101010101",
            "output_hash": "0x0202020202020202020202020202020202020202020202020202020202020202", "prompt_tokens": 10,
            "completion_tokens": 20, "finish_reason": "stop", "cost": 30, "finished_at": 1700000000000,
            "network_key": "0xc1362572be4839b5c4b74ea01a338d1cbd4b4b67",
            "signature": "0xc4c51b37c3cb886360d3c469412b30745f1ff9ef6a7610371298f1d7def684657f3b2742567a7e0bc9c9d3441f83580e457fda6481d12f32bbfd0d183bcce3871c"}"#;
        let mut old: SignedReceipt = serde_json::from_str(old).unwrap();
        assert_eq!((old.receipt.node, old.verify(&domain, key.address())), (None, Ok(())));
        // Nobody can give it a node.
        old.receipt.node = Some(B256::ZERO);
        assert_eq!(old.verify(&domain, key.address()), Err(InvalidSignature::Mismatch));
    }

    #[rstest]
    #[case("job_id", json!("01890a5d-ac96-774b-bcce-b302099a8058"))]
    #[case("environment", json!("mainnet"))]
    #[case("model", json!("other"))]
    #[case("model_version", json!("2"))]
    #[case("request_hash", json!(B256::ZERO))]
    #[case("output_hash", json!(B256::ZERO))]
    #[case("prompt_tokens", json!(11))]
    #[case("completion_tokens", json!(21))]
    #[case("finish_reason", json!("length"))]
    #[case("cost", json!(29))]
    #[case("finished_at", json!(1_700_000_000_001i64))]
    #[case("node", json!(B256::ZERO))]
    #[case("node", json!(null))]
    #[case("network_key", json!(Address::ZERO))]
    fn no_field_can_be_changed(#[case] field: &str, #[case] value: Value) {
        let (signed, domain, key) = signed();
        let mut json = serde_json::to_value(&signed).unwrap();
        json[field] = value;
        let changed: SignedReceipt = serde_json::from_value(json).unwrap();
        assert_ne!(changed, signed);
        assert_eq!(changed.verify(&domain, key.address()), Err(InvalidSignature::Mismatch));
    }

    #[test]
    fn a_receipt_counts_by_the_key_of_its_time() {
        let (signed, _, key) = signed();
        let next = Keypair::generate(&SeededEntropy::new(2));
        let mut chain = KeyChain::new(Environment::Testnet, key.address());
        assert_eq!(signed.verify_by_chain(&chain), Ok(()));
        let changed_at = signed.receipt.finished_at.after(std::time::Duration::from_secs(1));
        chain.rotations.push(chain.rotation(next.address(), changed_at, &key));
        assert_eq!(signed.verify_by_chain(&chain), Ok(()));
        // Receipts are signed when they are asked for, so the new key signs for old jobs too.
        let by_the_new_key = SignedReceipt::sign(signed.receipt.clone(), &chain.domain(), &next);
        assert_eq!(by_the_new_key.verify_by_chain(&chain), Ok(()));
        let mut later = signed.receipt.clone();
        later.finished_at = changed_at.after(std::time::Duration::from_hours(1));
        let by_the_old_key = SignedReceipt::sign(later.clone(), &chain.domain(), &key);
        assert_eq!(by_the_old_key.verify_by_chain(&chain), Err(InvalidSignature::Mismatch));
        assert_eq!(
            SignedReceipt::sign(later, &chain.domain(), &next).verify_by_chain(&chain),
            Ok(())
        );
        let elsewhere = KeyChain {
            environment: Environment::Mainnet,
            ..chain
        };
        assert_eq!(signed.verify_by_chain(&elsewhere), Err(InvalidSignature::Mismatch));
    }

    #[test]
    fn a_receipt_of_somebody_else_proves_nothing() {
        let (genuine, domain, key) = signed();
        let forger = Keypair::generate(&SeededEntropy::new(2));
        let forged = SignedReceipt::sign(genuine.receipt.clone(), &domain, &forger);
        assert_eq!(forged.verify(&domain, key.address()), Err(InvalidSignature::Mismatch));
        let disguised = SignedReceipt {
            network_key: key.address(),
            ..forged
        };
        assert_eq!(
            disguised.verify(&domain, key.address()),
            Err(InvalidSignature::Mismatch)
        );
    }
}

//! Checks against a small chain that takes everything.

use std::sync::Mutex;

use resultity_core::B256;
use resultity_core::clock::SeededEntropy;
use resultity_core::infernet::subscription::{HashedSubscription, NamedSubscription, U48, U256};
use resultity_core::signing::Keypair;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::infernet::config::settings::ContainerSettings;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const EXPIRY: u32 = 1001;
const OWNER: Address = Address::repeat_byte(2);

#[derive(Default)]
struct AnyChain(Mutex<Vec<Delegated>>);

#[async_trait]
impl Chain for AnyChain {
    fn domain(&self) -> CoordinatorDomain {
        CoordinatorDomain {
            chain_id: 31337,
            coordinator: Address::repeat_byte(1),
        }
    }

    fn address(&self) -> Address {
        Address::repeat_byte(9)
    }

    fn pending(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    async fn track(&self, subscription: Delegated) -> Result<(), NodeError> {
        self.0.lock().unwrap().push(subscription);
        Ok(())
    }
}

fn key() -> Keypair {
    Keypair::generate(&SeededEntropy::new(1))
}

/// `open` and `proof` are for everybody, `inner` is not external, `theirs` is for another owner.
fn settings() -> Settings {
    let container = |id| ContainerSettings::new(id, "http://127.0.0.1:1/".parse().unwrap());
    let mut proof = container("proof");
    proof.generates_proofs = true;
    let mut inner = container("inner");
    inner.external = false;
    let mut theirs = container("theirs");
    theirs.allowed_delegate_addresses = vec![Address::repeat_byte(3)];
    Settings::new("results.db", vec![container("open"), proof, inner, theirs])
}

fn newer(containers: &str) -> Subscription {
    let containers: Vec<_> = containers.split(',').collect();
    HashedSubscription::once(OWNER, &containers).into()
}

fn older(containers: &str) -> Subscription {
    Subscription::Named(NamedSubscription {
        owner: OWNER,
        active_at: 0,
        period: 0,
        frequency: 1,
        redundancy: 1,
        max_gas_price: U48::from(1),
        max_gas_limit: 1,
        container_id: containers.to_owned(),
        inputs: String::new(),
    })
}

fn proved(containers: &str) -> Subscription {
    let Subscription::Hashed(mut subscription) = newer(containers) else {
        unreachable!("it is of the newer form");
    };
    subscription.verifier = Address::repeat_byte(7);
    subscription.into()
}

fn signed(subscription: Subscription) -> DelegatedRequest {
    let domain = AnyChain::default().domain();
    DelegatedRequest::sign(subscription, 1, EXPIRY, &json!({"n": 1}), &domain, &key()).unwrap()
}

async fn check(request: DelegatedRequest, chain: Option<&dyn Chain>, now: Timestamp) -> Result<Delegated, NodeError> {
    let settings = settings();
    Delegations::new(&settings)
        .check(request, chain, now, &Guardian::new(&settings))
        .await
}

fn body(error: &NodeError) -> String {
    assert_eq!(error.kind(), NodeErrorKind::Refused);
    serde_json::to_string(&error.to_response()).unwrap()
}

#[rstest]
#[case(newer("open"), &["open"])]
#[case(newer("proof,inner,open"), &["proof", "inner", "open"])]
#[case(proved("open,proof"), &["open", "proof"])]
#[case(older("open"), &["open"])]
#[case(older("open,inner,open"), &["open", "inner", "open"])]
#[tokio::test]
async fn what_may_be_served_is_known_by_signer_and_containers(
    #[case] subscription: Subscription,
    #[case] containers: &[&str],
) {
    let chain = AnyChain::default();
    let delegated = check(signed(subscription), Some(&chain), NOW).await.unwrap();
    assert_eq!(delegated.signer, key().address());
    assert_eq!(delegated.containers, containers);
    chain.track(delegated).await.unwrap();
    assert_eq!(chain.pending(), 1);
}

#[rstest]
#[case(
    older("none"),
    r#"{"error":"Container not supported","params":{"container":"none"}}"#
)]
#[case(older(""), r#"{"error":"Container not supported","params":{"container":""}}"#)]
#[case(
    newer("inner"),
    r#"{"error":"First container must be external","params":{"first_container":"inner"}}"#
)]
#[case(
    proved("open"),
    r#"{"error":"Container does not generate proof","params":{"container":"open"}}"#
)]
#[case(
    newer("open,theirs"),
    r#"{"error":"Container not allowed for address","params":{"address":"0x0202020202020202020202020202020202020202","container":"theirs"}}"#
)]
#[case(
    older("open,theirs"),
    r#"{"error":"Container not allowed for address","params":{"address":"0x0202020202020202020202020202020202020202","container":"theirs"}}"#
)]
#[tokio::test]
async fn rules_refuse_in_the_words_of_the_original(#[case] subscription: Subscription, #[case] refusal: &str) {
    let error = check(signed(subscription), Some(&AnyChain::default()), NOW)
        .await
        .unwrap_err();
    assert_eq!(body(&error), refusal);
}

#[tokio::test]
async fn an_unknown_hash_is_refused() {
    let subscription = newer("open,none");
    let hash = resultity_core::infernet::subscription::containers_hash(&["open", "none"]);
    let error = check(signed(subscription), Some(&AnyChain::default()), NOW)
        .await
        .unwrap_err();
    assert_eq!(
        body(&error),
        format!(r#"{{"error":"Container-set not supported","params":{{"containers_hash":"{hash}"}}}}"#)
    );
}

/// Each of these breaks all the rules behind it too.
#[tokio::test]
async fn the_chain_comes_first_then_time_then_containers_then_the_signature() {
    let mut request = signed(older("none"));
    request.signature.v = 99;
    let late = Timestamp::from_millis(1_002_000);
    let error = check(request.clone(), None, late).await.unwrap_err();
    assert_eq!(body(&error), r#"{"error":"Chain not enabled","params":{}}"#);
    let chain = AnyChain::default();
    let error = check(request.clone(), Some(&chain), late).await.unwrap_err();
    assert_eq!(body(&error), r#"{"error":"Signature expired","params":{}}"#);
    let error = check(request.clone(), Some(&chain), NOW).await.unwrap_err();
    assert_eq!(error.message(), "Container not supported");
    request.subscription = older("open");
    let error = check(request, Some(&chain), NOW).await.unwrap_err();
    assert_eq!(
        body(&error),
        r#"{"error":"Signature invalid","params":{"reason":"the signature's v, r or s is out of range"}}"#
    );
}

#[tokio::test]
async fn what_was_changed_after_it_was_signed_has_another_signer() {
    let mut request = signed(newer("open"));
    if let Subscription::Hashed(subscription) = &mut request.subscription {
        subscription.payment_amount = U256::MAX;
    }
    let signer = check(request, Some(&AnyChain::default()), NOW)
        .await
        .map(|delegated| delegated.signer);
    assert_ne!(signer, Ok(key().address()));
}

#[tokio::test]
async fn nobody_fills_the_memory_with_containers() {
    let request = signed(older(&"open,".repeat(100_000)));
    let error = check(request, Some(&AnyChain::default()), NOW).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Invalid);
    let mut request = signed(newer("open"));
    if let Subscription::Hashed(subscription) = &mut request.subscription {
        subscription.containers = B256::ZERO;
    }
    assert!(check(request, Some(&AnyChain::default()), NOW).await.is_err());
}

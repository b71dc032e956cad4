//! Against vectors that were made by client 1.4.0 and the Python libraries that it signs with (`vectors.py`).

use proptest::prelude::*;
use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::clock::{SeededEntropy, Timestamp};
use crate::signing::{Keypair, Signature};

#[derive(Deserialize)]
struct Vector {
    form: String,
    key: String,
    signer: Address,
    chain_id: u64,
    coordinator: Address,
    containers: Vec<String>,
    digest: B256,
    body: String,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("vectors.json")).unwrap()
    }

    fn domain(&self) -> CoordinatorDomain {
        CoordinatorDomain {
            chain_id: self.chain_id,
            coordinator: self.coordinator,
        }
    }

    fn key(&self) -> Keypair {
        let bytes = hex::decode(&self.key[2..]).unwrap();
        Keypair::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap()
    }

    fn request(&self) -> DelegatedRequest {
        DelegatedRequest::from_json(&self.body).unwrap()
    }
}

fn key() -> Keypair {
    Keypair::generate(&SeededEntropy::new(1))
}

fn domain() -> CoordinatorDomain {
    CoordinatorDomain {
        chain_id: 31337,
        coordinator: Address::repeat_byte(1),
    }
}

#[test]
fn what_the_client_signs_is_recovered() {
    for vector in Vector::all() {
        let request = vector.request();
        assert_eq!(request.digest(&vector.domain()), vector.digest, "{}", vector.body);
        assert_eq!(request.signer(&vector.domain()), Ok(vector.signer), "{}", vector.body);
        match &request.subscription {
            Subscription::Hashed(subscription) => {
                assert_eq!(vector.form, "newer");
                assert_eq!(subscription.containers, containers_hash(&vector.containers));
            }
            Subscription::Named(subscription) => {
                assert_eq!(vector.form, "older");
                assert_eq!(subscription.container_id, vector.containers.join(","));
            }
        }
    }
}

/// Signatures are deterministic (RFC 6979), so that ours are the client's, digit for digit.
#[test]
fn what_is_signed_here_is_what_the_client_signs() {
    for vector in Vector::all() {
        let theirs = vector.request();
        let SubscriptionSignature { nonce, expiry, .. } = theirs.signature;
        let subscription = theirs.subscription.clone();
        let ours = DelegatedRequest::sign(subscription, nonce, expiry, &(), &vector.domain(), &vector.key()).unwrap();
        assert_eq!(ours.signature, theirs.signature);
    }
}

/// Python puts a space behind commas and colons; nothing else differs.
#[test]
fn it_is_written_as_the_client_writes_it() {
    for vector in Vector::all() {
        let written = serde_json::to_string(&vector.request()).unwrap();
        let data = written.find(r#""data""#).unwrap();
        let theirs = vector.body.replace(": ", ":").replace(", ", ",");
        let (theirs, _) = theirs.split_at(theirs.find(r#""data""#).unwrap());
        let ours = written[..data].replace(", ", ",");
        assert_eq!(unescaped(theirs), ours.replace(": ", ":"));
        assert!(written.contains("1180591620717411303424"));
    }
}

/// Python escapes what is not ASCII.
fn unescaped(json: &str) -> String {
    json.replace("\\u00fc", "ü").replace("\\u00e9", "é")
}

#[test]
fn it_counts_in_one_domain_only() {
    let request = DelegatedRequest::sign(
        HashedSubscription::once(Address::repeat_byte(2), &["a"]).into(),
        1,
        2,
        &(),
        &domain(),
        &key(),
    )
    .unwrap();
    assert_eq!(request.signer(&domain()), Ok(key().address()));
    for other in [
        CoordinatorDomain {
            chain_id: 1,
            ..domain()
        },
        CoordinatorDomain {
            coordinator: Address::repeat_byte(3),
            ..domain()
        },
    ] {
        assert_ne!(request.signer(&other), Ok(key().address()));
    }
}

#[test]
fn a_signature_has_one_form_but_for_v() {
    let digest = B256::repeat_byte(7);
    let good = SubscriptionSignature::new(1, 2, &key().sign(digest));
    assert_eq!(good.recover(digest), Ok(key().address()));
    let low = SubscriptionSignature {
        v: good.v - 27,
        ..good.clone()
    };
    assert_eq!(low.recover(digest), Ok(key().address()));
    let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        .parse()
        .unwrap();
    let high = SubscriptionSignature {
        v: 27 + 28 - good.v,
        s: order - good.s,
        ..good.clone()
    };
    assert_eq!(high.recover(digest), Err(SubscriptionError::HighS));
    for (r, s) in [
        (U256::ZERO, good.s),
        (good.r, U256::ZERO),
        (order, good.s),
        (good.r, order),
        (U256::MAX, good.s),
        (good.r, U256::MAX),
    ] {
        let wrong = SubscriptionSignature { r, s, ..good.clone() };
        assert_eq!(wrong.recover(digest), Err(SubscriptionError::OutOfRange));
    }
    for v in [2, 26, 29, 37, 255] {
        let wrong = SubscriptionSignature { v, ..good.clone() };
        assert_eq!(wrong.recover(digest), Err(SubscriptionError::OutOfRange));
    }
    // 5 is the x of no point.
    let nobody = SubscriptionSignature {
        r: U256::from(5),
        ..good
    };
    assert_eq!(nobody.recover(digest), Err(SubscriptionError::NoSigner));
}

#[rstest]
#[case(999, false)]
#[case(1000, false)]
#[case(1001, true)]
fn it_expires_after_its_last_second(#[case] now: i64, #[case] expired: bool) {
    let signature = SubscriptionSignature::new(1, 1000, &Signature::from_bytes([1; 65]));
    assert_eq!(signature.has_expired(Timestamp::from_millis(now * 1000 + 500)), expired);
}

fn newer() -> Value {
    serde_json::json!({
        "subscription": {
            "owner": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "active_at": 1, "period": 2, "frequency": 3,
            "redundancy": 4, "containers": "11".repeat(32), "lazy": true, "verifier": "0".repeat(40),
            "payment_amount": 5, "payment_token": format!("0x{}", "AB".repeat(20)), "wallet": "ab".repeat(20),
        },
        "signature": {"nonce": 6, "expiry": 7, "v": 27, "r": 8, "s": 9},
        "data": {},
    })
}

fn older() -> Value {
    let mut body = newer();
    body["subscription"] = serde_json::json!({
        "owner": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "active_at": 1, "period": 2, "frequency": 3,
        "redundancy": 4, "max_gas_price": 5, "max_gas_limit": 6, "container_id": "a,b",
    });
    body
}

/// The body with one value replaced by this JSON, digit for digit.
fn with(mut body: Value, path: &str, json: &str) -> String {
    *body.pointer_mut(path).unwrap() = "@".into();
    body.to_string().replace("\"@\"", json)
}

fn payment(json: &str) -> Result<U256, SubscriptionError> {
    let request = DelegatedRequest::from_json(&with(newer(), "/subscription/payment_amount", json))?;
    match request.subscription {
        Subscription::Hashed(subscription) => Ok(subscription.payment_amount),
        Subscription::Named(_) => panic!("the newer form was read as the older"),
    }
}

#[rstest]
#[case("0", U256::ZERO)]
#[case(
    "115792089237316195423570985008687907853269984665640564039457584007913129639935",
    U256::MAX
)]
#[case(
    r#""115792089237316195423570985008687907853269984665640564039457584007913129639935""#,
    U256::MAX
)]
#[case(r#""0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff""#, U256::MAX)]
#[case(r#""0xFf""#, U256::from(255))]
#[case(r#""0x0""#, U256::ZERO)]
#[case(r#""007""#, U256::from(7))]
#[case("9007199254740993", U256::from(9_007_199_254_740_993_u64))]
fn numbers_are_read_to_the_last_digit(#[case] json: &str, #[case] number: U256) {
    assert_eq!(payment(json), Ok(number));
}

#[rstest]
#[case("115792089237316195423570985008687907853269984665640564039457584007913129639936")]
#[case("-1")]
#[case("-0")]
#[case("1.0")]
#[case("1e3")]
#[case("true")]
#[case("[1]")]
#[case("{}")]
#[case(r#""""#)]
#[case(r#""0x""#)]
#[case(r#"" 1""#)]
#[case(r#""1_000""#)]
#[case(r#""+1""#)]
#[case(r#""0x1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff""#)]
#[case(r#""٣""#)]
fn other_numbers_are_refused(#[case] json: &str) {
    assert_eq!(
        payment(json).unwrap_err().to_string(),
        "subscription.payment_amount: expected a whole number from 0 to 2^256 - 1"
    );
}

#[test]
fn both_forms_are_read() {
    let request = DelegatedRequest::from_json(&newer().to_string()).unwrap();
    assert_eq!(
        request.subscription.owner().to_checksum(None),
        newer()["subscription"]["owner"]
    );
    assert!(!request.subscription.requires_proof());
    let request: DelegatedRequest = serde_json::from_str(&older().to_string()).unwrap();
    let Subscription::Named(subscription) = request.subscription else {
        panic!("the older form was read as the newer");
    };
    assert_eq!(
        (subscription.container_id.as_str(), subscription.inputs.as_str()),
        ("a,b", "")
    );
}

#[rstest]
#[case("/subscription/owner", "null", "subscription.owner: missing")]
#[case("/subscription/owner", "1", "subscription.owner: expected an address")]
#[case("/subscription/owner", r#""0x""#, "subscription.owner: expected an address")]
#[case(
    "/subscription/owner",
    r#""0x70997970c51812dc3A010C7d01b50e0d17dc79C8""#,
    "subscription.owner: expected an address"
)]
#[case(
    "/subscription/active_at",
    "4294967296",
    "subscription.active_at: expected a whole number from 0 to 4294967295"
)]
#[case(
    "/subscription/redundancy",
    "65536",
    "subscription.redundancy: expected a whole number from 0 to 65535"
)]
#[case("/subscription/containers", r#""0x11""#, "subscription.containers: expected a hash")]
#[case("/subscription/containers", "null", "subscription: expected either")]
#[case("/subscription/lazy", "1", "subscription.lazy: expected true or false")]
#[case("/subscription/lazy", "null", "subscription.lazy: missing")]
#[case(
    "/signature/nonce",
    "-1",
    "signature.nonce: expected a whole number from 0 to 4294967295"
)]
#[case("/signature/v", "256", "signature.v: expected a whole number from 0 to 255")]
#[case("/signature/r", "null", "signature.r: missing")]
#[case("/signature", "[1,2,27,4,5]", "signature: expected an object")]
#[case(
    "/signature",
    r#"{"v":1,"v":1}"#,
    "signature: expected an object that has every field once"
)]
#[case("/subscription", r#""x""#, "subscription: expected an object")]
#[case("/data", "[]", "data: expected an object")]
#[case("/data", "null", "data: missing")]
fn an_error_names_its_field(#[case] path: &str, #[case] json: &str, #[case] message: &str) {
    let error = DelegatedRequest::from_json(&with(newer(), path, json)).unwrap_err();
    assert!(error.to_string().starts_with(message), "{error}");
}

#[rstest]
#[case(
    "/subscription/max_gas_price",
    "281474976710656",
    "subscription.max_gas_price: expected a whole number"
)]
#[case(
    "/subscription/max_gas_limit",
    "4294967296",
    "subscription.max_gas_limit: expected a whole number"
)]
#[case("/subscription/container_id", "1", "subscription.container_id: expected a text")]
fn an_error_of_the_older_form_names_its_field(#[case] path: &str, #[case] json: &str, #[case] message: &str) {
    let error = DelegatedRequest::from_json(&with(older(), path, json)).unwrap_err();
    assert!(error.to_string().starts_with(message), "{error}");
}

#[test]
fn a_form_can_be_told() {
    let mut both = newer();
    both["subscription"]["container_id"] = "a".into();
    assert_eq!(
        DelegatedRequest::from_json(&both.to_string()).unwrap_err(),
        SubscriptionError::Form
    );
    for text in ["", "[]", "1", "{", "\"x\""] {
        assert!(matches!(
            DelegatedRequest::from_json(text),
            Err(SubscriptionError::Unreadable(_))
        ));
    }
}

proptest! {
    #[test]
    fn any_subscription_reads_back(
        bytes in any::<[u8; 20]>(),
        numbers in any::<(u32, u32, u32, u16)>(),
        hash in any::<[u8; 32]>(),
        amount in any::<[u8; 32]>(),
        price in 0u64..1 << 48,
        text in "\\PC{0,20}",
        newer in any::<bool>(),
    ) {
        let owner = Address::from(bytes);
        let (active_at, period, frequency, redundancy) = numbers;
        let subscription = if newer {
            Subscription::Hashed(HashedSubscription {
                owner, active_at, period, frequency, redundancy,
                containers: B256::from(hash),
                lazy: period > frequency,
                verifier: owner,
                payment_amount: U256::from_be_bytes(amount),
                payment_token: owner,
                wallet: owner,
            })
        } else {
            Subscription::Named(NamedSubscription {
                owner, active_at, period, frequency, redundancy,
                max_gas_price: U48::from(price),
                max_gas_limit: period,
                container_id: text.clone(),
                inputs: text,
            })
        };
        let request = DelegatedRequest::sign(
            subscription.clone(), period, frequency, &serde_json::json!({}), &domain(), &key(),
        ).unwrap();
        let read = DelegatedRequest::from_json(&serde_json::to_string(&request).unwrap()).unwrap();
        prop_assert_eq!(&read.subscription, &subscription);
        prop_assert_eq!(&read.signature, &request.signature);
        prop_assert_eq!(read.signer(&domain()), Ok(key().address()));
    }

    /// Junk has some other signer, or none; it never panics.
    #[test]
    fn any_signature_is_refused(v in any::<u8>(), r in any::<[u8; 32]>(), s in any::<[u8; 32]>()) {
        let signature = SubscriptionSignature {
            nonce: 1,
            expiry: 2,
            v,
            r: U256::from_be_bytes(r),
            s: U256::from_be_bytes(s),
        };
        prop_assert_ne!(signature.recover(B256::repeat_byte(1)), Ok(key().address()));
    }
}

//! Who is let in. Pure: what was asked, what came, what time it is.

use resultity_core::clock::Timestamp;
use resultity_core::signing::{Domain, HelloData, PublicKey, TypedData};
use resultity_core::wire::{Challenge, Hello, MAX_CLOCK_SKEW_MS, Reject, RejectCode, body_hash};

use crate::flow::fleet::is_older;

/// Checks a hello (and the text that it came as) against the challenge; gives the node's key.
pub fn check_hello(
    challenge: &Challenge,
    hello: &Hello,
    text: &str,
    domain: &Domain,
    now: Timestamp,
) -> Result<PublicKey, Reject> {
    if hello.environment != challenge.environment {
        return Err(reject(
            RejectCode::EnvironmentMismatch,
            format!(
                "this is {}, the node wants {}",
                challenge.environment, hello.environment
            ),
        ));
    }
    if is_older(&hello.agent_version, &challenge.min_agent_version) {
        return Err(reject(
            RejectCode::VersionTooOld,
            format!(
                "this network needs Agent {} or newer: update the node",
                challenge.min_agent_version
            ),
        ));
    }
    let skew = now.since(hello.issued_at).max(hello.issued_at.since(now));
    if skew.as_millis() > u128::from(MAX_CLOCK_SKEW_MS) {
        let message = format!("the node's clock is off by {} s: set it right", skew.as_secs());
        return Err(Reject {
            retry_after_ms: Some(60_000),
            ..reject(RejectCode::ClockSkew, message)
        });
    }
    is_signed(challenge, hello, text, domain)
}

/// Whether the hello is by the node that it names, and the answer to this challenge; gives the node's key.
pub(super) fn is_signed(
    challenge: &Challenge,
    hello: &Hello,
    text: &str,
    domain: &Domain,
) -> Result<PublicKey, Reject> {
    let bad_signature = || {
        reject(
            RejectCode::BadSignature,
            "the hello is not signed by the key of its node_id".into(),
        )
    };
    let signature = hello.signature.ok_or_else(bad_signature)?;
    let data = HelloData {
        nodeId: hello.node_id.address(),
        nonce: challenge.nonce,
        sessionId: challenge.session_id.to_string(),
        issuedAt: u64::try_from(hello.issued_at.as_millis()).unwrap_or_default(),
        bodyHash: body_hash(text).map_err(|_| bad_signature())?,
    };
    data.verify(domain, &signature, hello.node_id.address())
        .map_err(|_| bad_signature())
}

fn reject(code: RejectCode, message: String) -> Reject {
    Reject {
        code,
        message,
        retry_after_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::B256;
    use resultity_core::clock::{ManualClock, SeededEntropy};
    use resultity_core::environment::Environment;
    use resultity_core::id::SessionId;
    use resultity_core::signing::Keypair;
    use resultity_core::wire::NodeFrame;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn challenge() -> Challenge {
        let entropy = SeededEntropy::new(1);
        let network = Keypair::generate(&entropy);
        Challenge {
            session_id: SessionId::new(&ManualClock::new(NOW), &entropy),
            nonce: B256::repeat_byte(7),
            server_time: NOW,
            environment: Environment::Testnet,
            network_key: network.address(),
            genesis: network.address(),
            min_agent_version: "0.1.0".into(),
        }
    }

    /// What a node sends that signs for `signed` and shows `shown`.
    fn answer(signed: &Challenge, change: impl FnOnce(&mut Hello)) -> (Hello, String) {
        let key = Keypair::generate(&SeededEntropy::new(2));
        let mut hello = Hello {
            node_id: key.node_id(),
            agent_version: "0.1.0".into(),
            environment: Environment::Testnet,
            runtime: resultity_core::wire::RuntimeInfo::default(),
            models: Vec::new(),
            hardware: resultity_core::wire::Hardware::default(),
            region: None,
            max_concurrency: 1,
            paused: false,
            config_digest: None,
            resume: None,
            issued_at: NOW,
            signature: None,
        };
        change(&mut hello);
        let text = NodeFrame::from(hello.clone()).encode();
        let data = HelloData {
            nodeId: key.address(),
            nonce: signed.nonce,
            sessionId: signed.session_id.to_string(),
            issuedAt: hello.issued_at.as_millis() as u64,
            bodyHash: body_hash(&text).unwrap(),
        };
        hello.signature = Some(data.sign(&Domain::new(Environment::Testnet, signed.genesis), &key));
        let text = NodeFrame::from(hello.clone()).encode();
        (hello, text)
    }

    fn check(asked: &Challenge, hello: &Hello, text: &str) -> Result<PublicKey, RejectCode> {
        let domain = Domain::new(Environment::Testnet, asked.genesis);
        check_hello(asked, hello, text, &domain, NOW).map_err(|reject| reject.code)
    }

    #[test]
    fn an_honest_hello_is_let_in() {
        let (hello, text) = answer(&challenge(), |_| {});
        assert_eq!(
            check(&challenge(), &hello, &text).unwrap().address(),
            hello.node_id.address()
        );
    }

    #[test]
    fn others_are_not() {
        type Change = fn(&mut Hello);
        let cases: [(Change, RejectCode); 4] = [
            (
                |hello| hello.environment = Environment::Mainnet,
                RejectCode::EnvironmentMismatch,
            ),
            (|hello| hello.agent_version = "0.0.9".into(), RejectCode::VersionTooOld),
            (
                |hello| hello.issued_at = Timestamp::from_millis(NOW.as_millis() - 61_000),
                RejectCode::ClockSkew,
            ),
            (
                |hello| hello.node_id = Keypair::generate(&SeededEntropy::new(3)).node_id(),
                RejectCode::BadSignature,
            ),
        ];
        for (change, code) in cases {
            let (hello, text) = answer(&challenge(), change);
            assert_eq!(check(&challenge(), &hello, &text), Err(code));
        }
    }

    #[test]
    fn a_hello_to_another_challenge_or_changed_on_the_way_is_not_let_in() {
        let (hello, text) = answer(&challenge(), |_| {});
        let other = Challenge {
            nonce: B256::repeat_byte(8),
            ..challenge()
        };
        assert_eq!(check(&other, &hello, &text), Err(RejectCode::BadSignature));
        let changed = text.replace("\"max_concurrency\":1", "\"max_concurrency\":9");
        assert_eq!(check(&challenge(), &hello, &changed), Err(RejectCode::BadSignature));
    }

    #[test]
    fn versions_compare_by_number() {
        for (version, than, older) in [
            ("0.9.0", "0.10.0", true),
            ("1.0", "1.0.0", false),
            ("2.0.0-rc1", "1.9.9", false),
            ("x", "0.0.1", true),
        ] {
            assert_eq!(is_older(version, than), older, "{version} {than}");
        }
    }
}

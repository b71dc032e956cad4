//! Snapshots and the chain of the network's keys.

use resultity_core::B256;
use resultity_core::clock::SeededEntropy;
use resultity_core::environment::Environment::{self, Mainnet, Testnet};
use resultity_core::id::AuditId;
use resultity_core::signing::{KeyChain, KeyRotation, Keypair};

use super::Scenario;
use super::world::World;
use crate::store::webhooks::PageOf;
use crate::store::{Actor, AuditEntry, Kept, NewRotation, NewSnapshot};

pub(super) const SCENARIOS: [(&str, Scenario); 3] = [
    ("snapshots follow one on the other", |world| {
        Box::pin(snapshots_follow_one_on_the_other(world))
    }),
    ("the offer of the file is remembered", |world| {
        Box::pin(the_offer_of_the_file_is_remembered(world))
    }),
    ("a change of the network's key is one step", |world| {
        Box::pin(a_change_of_the_key_is_one_step(world))
    }),
];

fn audit(world: &World, reason: &str) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(&world.clock, &world.entropy),
        actor: Actor::Network,
        action: "config.publish".into(),
        subject: "config".into(),
        environment: None,
        before: None,
        after: None,
        reason: reason.into(),
        now: world.now(),
    }
}

fn new(world: &World, environment: Environment, version: u64) -> NewSnapshot {
    NewSnapshot {
        environment,
        version,
        signed: format!("signed {version}"),
        key_sequence: 0,
        offer_digest: None,
        audit: audit(world, &format!("reason {version}")),
    }
}

async fn snapshots_follow_one_on_the_other(world: &World) {
    let store = &world.store;
    assert_eq!(store.latest_snapshot(Testnet).await.expect("an answer"), None);
    let stale = |newest| Kept::Stale { newest };
    for (version, kept) in [
        (2, stale(0)),
        (1, Kept::Kept),
        (1, stale(1)),
        (3, stale(1)),
        (2, Kept::Kept),
        (3, Kept::Kept),
    ] {
        let answer = store.publish_snapshot(new(world, Testnet, version)).await;
        assert_eq!(answer.expect("an answer"), kept, "version {version}");
    }
    let latest = store
        .latest_snapshot(Testnet)
        .await
        .expect("an answer")
        .expect("a snapshot");
    assert_eq!((latest.version, latest.signed.as_str()), (3, "signed 3"));
    assert_eq!((latest.actor, latest.reason.as_str()), (Actor::Network, "reason 3"));
    assert_eq!(store.snapshot(Testnet, 3).await.expect("an answer"), Some(latest));
    assert_eq!(store.snapshot(Testnet, 4).await.expect("an answer"), None);
    assert_eq!(store.latest_snapshot(Mainnet).await.expect("an answer"), None);
    let first = store.publish_snapshot(new(world, Mainnet, 1)).await;
    assert_eq!(
        first.expect("an answer"),
        Kept::Kept,
        "the other environment counts its own versions"
    );
    for (after, ascending, versions) in [
        (None, false, vec![3, 2]),
        (Some(2), false, vec![1]),
        (None, true, vec![1, 2]),
        (Some(2), true, vec![3]),
    ] {
        let page = PageOf {
            after,
            ascending,
            limit: 2,
        };
        let found = store.snapshots(Testnet, page).await.expect("an answer");
        let found: Vec<_> = found.iter().map(|record| record.version).collect();
        assert_eq!(found, versions, "after {after:?}");
    }
}

async fn the_offer_of_the_file_is_remembered(world: &World) {
    let store = &world.store;
    assert_eq!(store.offer_digest(Testnet).await.expect("an answer"), None);
    for byte in [1, 2] {
        let digest = B256::repeat_byte(byte);
        store.keep_offer_digest(Testnet, digest).await.expect("an answer");
        assert_eq!(store.offer_digest(Testnet).await.expect("an answer"), Some(digest));
    }
    let with_offer = |version| NewSnapshot {
        offer_digest: Some(B256::repeat_byte(3)),
        ..new(world, Testnet, version)
    };
    store.publish_snapshot(with_offer(2)).await.expect("an answer");
    let unchanged = store.offer_digest(Testnet).await.expect("an answer");
    assert_eq!(unchanged, Some(B256::repeat_byte(2)), "nothing was published");
    store.publish_snapshot(with_offer(1)).await.expect("an answer");
    let changed = store.offer_digest(Testnet).await.expect("an answer");
    assert_eq!(changed, Some(B256::repeat_byte(3)));
    assert_eq!(store.offer_digest(Mainnet).await.expect("an answer"), None);
}

async fn a_change_of_the_key_is_one_step(world: &World) {
    let store = &world.store;
    let (first, second) = (key(1), key(2));
    // One and the same link each time: it names its time.
    let now = world.now();
    let link = |environment, sequence| -> KeyRotation {
        let mut link = KeyChain::new(environment, first.address()).rotation(second.address(), now, &first);
        link.sequence = sequence;
        link
    };
    let change = |sequence, version| NewRotation {
        rotations: vec![(Testnet, link(Testnet, sequence)), (Mainnet, link(Mainnet, sequence))],
        snapshots: vec![new(world, Testnet, version), new(world, Testnet, version + 1)],
        audit: audit(world, "a new key"),
    };
    let published = store.publish_snapshot(new(world, Testnet, 1)).await;
    assert_eq!(published.expect("an answer"), Kept::Kept);
    for (sequence, version, kept) in [
        (2, 2, Kept::OtherKey),
        (1, 1, Kept::Stale { newest: 1 }),
        (1, 3, Kept::Stale { newest: 1 }),
    ] {
        let answer = store.change_network_key(change(sequence, version)).await;
        assert_eq!(answer.expect("an answer"), kept, "{sequence} {version}");
        let mark = store.publication_mark(Testnet).await.expect("an answer");
        assert_eq!((mark.version, mark.key_sequence), (1, 0), "nothing was changed");
    }
    let answer = store.change_network_key(change(1, 2)).await.expect("an answer");
    assert_eq!(answer, Kept::Kept);
    let mark = store.publication_mark(Testnet).await.expect("an answer");
    assert_eq!((mark.version, mark.key_sequence), (3, 1));
    for environment in Environment::ALL {
        let chain = store.key_rotations(environment).await.expect("an answer");
        assert_eq!(chain, [link(environment, 1)]);
    }
    let again = store.change_network_key(change(1, 4)).await.expect("an answer");
    assert_eq!(again, Kept::OtherKey);
    let by_the_old_key = store.publish_snapshot(new(world, Testnet, 4)).await.expect("an answer");
    assert_eq!(by_the_old_key, Kept::OtherKey);
}

fn key(seed: u64) -> Keypair {
    Keypair::generate(&SeededEntropy::new(seed))
}

//! A new key for the network.

use std::sync::Arc;

use resultity_core::Address;
use resultity_core::environment::Environment;
use resultity_core::signing::Keypair;
use resultity_core::snapshot::{SignedSnapshot, Snapshot};
use serde_json::json;

use super::{By, NetworkKeys, PublishError, Published, Publisher, TRIES, summary};
use crate::store::{AuditEntry, Kept, NewRotation, NewSnapshot};

/// What became of a change of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// The network's first key.
    pub genesis: Address,
    /// The key before.
    pub previous: Address,
    /// The key that signs now.
    pub current: Address,
    /// Which change it was: 1 for the first.
    pub sequence: u64,
}

impl Publisher {
    /// Replaces the key `current` by a new one. In each environment the old key names the new one and announces it in a
    /// snapshot; the next snapshot, with the same content, is signed by the new key.
    ///
    /// The new key is in its file before the store names it, so no crash leaves the network without the key that counts.
    pub async fn rotate(&self, current: Address, by: By) -> Result<Rotated, PublishError> {
        let _lock = self.files.lock()?;
        self.refresh().await?;
        let keys = self.keys();
        let previous = keys.current().address();
        if previous != current {
            return Err(PublishError::OtherKey { current: previous });
        }
        let sequence = keys.sequence() + 1;
        let (files, entropy) = (self.files.clone(), Arc::clone(&self.entropy));
        // Keystores cost CPU on purpose.
        let made = tokio::task::spawn_blocking(move || files.make_for_change(sequence, &*entropy));
        let next = made.await.map_err(|_| PublishError::Stopping)??;
        let mut tries = 1;
        loop {
            let rotation = self.rotation(&keys, &next, &by).await?;
            match self.store.change_network_key(rotation).await? {
                Kept::Kept => break,
                // Somebody published just now: what is in force then goes on under the new key.
                Kept::Stale { .. } if tries < TRIES => tries += 1,
                Kept::Stale { newest } => return Err(PublishError::Stale { newest }),
                Kept::OtherKey => {
                    self.refresh().await?;
                    let current = self.keys().current().address();
                    return Err(PublishError::OtherKey { current });
                }
            }
        }
        self.refresh().await?;
        tracing::info!(network.key = %next.address(), sequence, "the network's key was changed");
        Ok(Rotated {
            genesis: keys.genesis(),
            previous,
            current: next.address(),
            sequence,
        })
    }

    async fn rotation(&self, keys: &NetworkKeys, next: &Keypair, by: &By) -> Result<NewRotation, PublishError> {
        let now = self.clock.now();
        let mut rotations = Vec::new();
        let mut snapshots = Vec::new();
        for environment in Environment::ALL {
            let chain = keys.chain(environment);
            let since = chain.rotations.last().map_or(now, |last| now.max(last.issued_at));
            rotations.push((environment, chain.rotation(next.address(), since, keys.current())));
            let Some(record) = self.store.latest_snapshot(environment).await? else {
                continue;
            };
            let newest = Published::read(record)?.snapshot;
            let issued_at = now.max(newest.issued_at);
            let mut announcing = Snapshot::of(newest.offer(), environment, newest.version + 1, issued_at);
            announcing.next_network_key = Some(next.address());
            let fresh = Snapshot::of(newest.offer(), environment, newest.version + 2, issued_at);
            for (snapshot, key) in [(announcing, keys.current()), (fresh, next)] {
                let signed = SignedSnapshot::publish(&snapshot, &keys.domain(environment), key)?;
                snapshots.push(NewSnapshot {
                    environment,
                    version: snapshot.version,
                    signed: serde_json::to_string(&signed)?,
                    key_sequence: keys.sequence(),
                    offer_digest: None,
                    audit: AuditEntry {
                        after: Some(summary(&snapshot, signed.digest, &[])),
                        ..self.audit("config.new_key", environment, by)
                    },
                });
            }
        }
        let audit = AuditEntry {
            subject: "network-key".into(),
            environment: None,
            before: Some(json!({ "network_key": keys.current().address() })),
            after: Some(json!({ "network_key": next.address(), "sequence": keys.sequence() + 1 })),
            ..self.audit("network_key.rotate", Environment::Testnet, by)
        };
        Ok(NewRotation {
            rotations,
            snapshots,
            audit,
        })
    }
}

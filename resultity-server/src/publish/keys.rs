//! The network's keys in memory, with the chain that proves that each followed from the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use resultity_core::Address;
use resultity_core::clock::Entropy;
use resultity_core::environment::Environment;
use resultity_core::signing::{Domain, KeyChain, Keypair};

use crate::network_key::KeyFiles;
use crate::publish::PublishError;
use crate::store::Store;

/// The network's keys. All environments have the same; each has a chain of its own, because signatures count in one alone.
#[derive(Debug)]
pub struct NetworkKeys {
    first: Keypair,
    current: Keypair,
    chains: BTreeMap<Environment, KeyChain>,
}

impl NetworkKeys {
    /// Those of a network that never changed its key.
    pub fn unchanged(key: Keypair) -> Self {
        let chains = Environment::ALL.map(|environment| (environment, KeyChain::new(environment, key.address())));
        Self {
            first: key.clone(),
            current: key,
            chains: chains.into(),
        }
    }

    /// What the store says, with the keys out of their files.
    pub(super) async fn load(
        store: &dyn Store,
        files: KeyFiles,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PublishError> {
        let mut rotations = BTreeMap::new();
        // What was signed by a key needs that key.
        let mut has_begun = false;
        for environment in Environment::ALL {
            let of_environment = store.key_rotations(environment).await?;
            has_begun |= !of_environment.is_empty() || store.latest_snapshot(environment).await?.is_some();
            rotations.insert(environment, of_environment);
        }
        // Keystores cost CPU on purpose.
        let unlocked = tokio::task::spawn_blocking(move || {
            let first = files.first(has_begun, &*entropy)?;
            let mut keys = Self::unchanged(first);
            for (environment, rotations) in rotations {
                let chain = KeyChain {
                    rotations,
                    ..KeyChain::new(environment, keys.genesis())
                };
                chain.verify()?;
                keys.chains.insert(environment, chain);
            }
            let (sequence, address) = (keys.sequence(), keys.chain(Environment::Testnet).current());
            if keys.chains.values().any(|chain| chain.current() != address) {
                return Err(PublishError::KeysDiffer);
            }
            if sequence > 0 {
                keys.current = files.of_change(sequence, address)?;
            }
            Ok(keys)
        });
        unlocked.await.map_err(|_| PublishError::Stopping)?
    }

    /// The key that signs.
    pub const fn current(&self) -> &Keypair {
        &self.current
    }

    /// The network's first key. What is kept sealed is sealed under keys that come from it.
    pub const fn first(&self) -> &Keypair {
        &self.first
    }

    /// The address of the first key, by which the network is known.
    pub fn genesis(&self) -> Address {
        self.first.address()
    }

    /// How often the key has changed.
    pub fn sequence(&self) -> u64 {
        self.chain(Environment::Testnet).rotations.len() as u64
    }

    /// The proof that the current key follows from the first.
    pub fn chain(&self, environment: Environment) -> &KeyChain {
        self.chains
            .get(&environment)
            .expect("there is a chain for every environment")
    }

    /// Where signatures count.
    pub fn domain(&self, environment: Environment) -> Domain {
        Domain::new(environment, self.genesis())
    }
}

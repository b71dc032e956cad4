//! What receipts call nodes: by a pseudonym that only the network can undo.

use resultity_core::B256;
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use resultity_core::signing::Keypair;

use crate::seal::Sealer;

/// What the secret is for.
const LABEL: &str = "pseudonyms of nodes";

/// Makes pseudonyms: HMAC-SHA256 over environment, epoch and node, under a secret that comes from the network's first key. Who
/// does not have it can neither undo one, nor see which of two epochs are of one node.
#[derive(Debug)]
pub struct Pseudonyms {
    sealer: Sealer,
    environment: Environment,
}

impl Pseudonyms {
    /// Those of an environment.
    pub fn new(network_key: &Keypair, environment: Environment) -> Self {
        Self {
            sealer: Sealer::new(network_key, LABEL),
            environment,
        }
    }

    /// What the receipts of an epoch call a node.
    pub fn of(&self, node: NodeId, epoch: u64) -> B256 {
        let (epoch, node) = (epoch.to_be_bytes(), node.address());
        let parts = [self.environment.as_str().as_bytes(), epoch.as_slice(), node.as_slice()];
        B256::from(self.sealer.authenticate(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use resultity_core::Address;
    use resultity_core::clock::SeededEntropy;
    use std::collections::HashSet;

    fn pseudonyms(seed: u64, environment: Environment) -> Pseudonyms {
        Pseudonyms::new(&Keypair::generate(&SeededEntropy::new(seed)), environment)
    }

    proptest! {
        #[test]
        fn no_two_are_alike_and_each_is_always_the_same(node in any::<[u8; 20]>(), other in any::<[u8; 20]>(), epoch in 0..9_999_u64) {
            prop_assume!(node != other);
            let (node, other) = (NodeId::from_address(Address::from(node)), NodeId::from_address(Address::from(other)));
            let here = pseudonyms(1, Environment::Testnet);
            let all: HashSet<B256> = [
                here.of(node, epoch),
                here.of(node, epoch + 1),
                here.of(other, epoch),
                pseudonyms(1, Environment::Mainnet).of(node, epoch),
                pseudonyms(2, Environment::Testnet).of(node, epoch),
            ]
            .into();
            prop_assert_eq!(all.len(), 5);
            prop_assert_eq!(here.of(node, epoch), pseudonyms(1, Environment::Testnet).of(node, epoch));
            let hidden = here.of(node, epoch);
            prop_assert!(!hidden.as_slice().windows(4).any(|part| node.address().as_slice().windows(4).any(|of| of == part)));
        }
    }
}

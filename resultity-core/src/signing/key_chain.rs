//! How the network's key changes: every key names its successor, so whoever trusts one of them can follow to the current.

use std::time::Duration;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::signing::{Domain, InvalidSignature, KeyRotationData, Keypair, Signature, TypedData};

/// The most changes that a chain is read with.
const MOST_ROTATIONS: usize = 1024;

/// How long after its successor was named a key still counts for what it signed: a server hears of it a moment later.
const GRACE: Duration = Duration::from_mins(10);

/// A key names the one that signs from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyRotation {
    /// Which change it is: 1 for the first.
    pub sequence: u64,
    /// The key that names its successor.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub previous: Address,
    /// The successor.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub next: Address,
    /// When: milliseconds since the Unix epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub issued_at: Timestamp,
    /// By the previous key, over [`KeyRotationData`].
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub signature: Signature,
}

/// All keys that a network ever had in one environment, from the first to the current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyChain {
    /// Where it counts.
    pub environment: Environment,
    /// The address of the first key, which every signature's domain holds.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub genesis: Address,
    /// The changes, in order.
    pub rotations: Vec<KeyRotation>,
}

/// Why a chain of keys proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// A link that does not join its neighbours: its number, its keys or its time.
    #[error("change {0} of the network's key does not follow from the one before")]
    Order(u64),
    /// A link that the key before it did not sign.
    #[error("change {sequence} of the network's key is not signed by the key before: {source}")]
    Signature {
        /// Which link.
        sequence: u64,
        /// What is wrong.
        source: InvalidSignature,
    },
    /// More links than anybody has.
    #[error("there are more than {MOST_ROTATIONS} changes of the network's key")]
    TooLong,
    /// Of another network, or of its other environment.
    #[error("the chain is that of another network, whose first key is {0}")]
    OtherNetwork(Address),
    /// The key that is trusted is none of them.
    #[error("the key {0} is none of the network's")]
    Elsewhere(Address),
}

impl KeyChain {
    /// A network that has its first key still.
    pub const fn new(environment: Environment, genesis: Address) -> Self {
        Self {
            environment,
            genesis,
            rotations: Vec::new(),
        }
    }

    /// The key that signs now. It proves nothing before [`verify`](Self::verify).
    pub fn current(&self) -> Address {
        self.rotations.last().map_or(self.genesis, |rotation| rotation.next)
    }

    /// Where its signatures count.
    pub fn domain(&self) -> Domain {
        Domain::new(self.environment, self.genesis)
    }

    /// The next link, signed by the current key; it is not added.
    pub fn rotation(&self, next: Address, issued_at: Timestamp, current: &Keypair) -> KeyRotation {
        let mut rotation = KeyRotation {
            sequence: self.rotations.len() as u64 + 1,
            previous: current.address(),
            next,
            issued_at,
            signature: Signature::from_bytes([0; 65]),
        };
        rotation.signature = self.signed_data(&rotation).sign(&self.domain(), current);
        rotation
    }

    /// Checks every link from the first key on.
    pub fn verify(&self) -> Result<(), BrokenChain> {
        if self.rotations.len() > MOST_ROTATIONS {
            return Err(BrokenChain::TooLong);
        }
        let domain = self.domain();
        let mut known = vec![self.genesis];
        let mut since = None;
        for (index, rotation) in self.rotations.iter().enumerate() {
            let sequence = index as u64 + 1;
            let follows = rotation.sequence == sequence
                && known.last() == Some(&rotation.previous)
                // Nobody goes back to a key that was given up.
                && !known.contains(&rotation.next)
                && since.is_none_or(|since| rotation.issued_at >= since);
            if !follows {
                return Err(BrokenChain::Order(sequence));
            }
            self.signed_data(rotation)
                .verify(&domain, &rotation.signature, rotation.previous)
                .map_err(|source| BrokenChain::Signature { sequence, source })?;
            known.push(rotation.next);
            since = Some(rotation.issued_at);
        }
        Ok(())
    }

    /// The current key, for whoever trusts `trusted`, be it the first key or a later one.
    pub fn follow(&self, trusted: Address) -> Result<Address, BrokenChain> {
        self.verify()?;
        if self.keys().any(|key| key == trusted) {
            Ok(self.current())
        } else {
            Err(BrokenChain::Elsewhere(trusted))
        }
    }

    /// All keys, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = Address> {
        std::iter::once(self.genesis).chain(self.rotations.iter().map(|rotation| rotation.next))
    }

    /// Whether what this key signed at that time counts: the current key's does, a former one's until it named its
    /// successor. The chain has to be [verified](Self::verify) before.
    pub fn counts_at(&self, key: Address, time: Timestamp) -> bool {
        let given_up = self.rotations.iter().find(|rotation| rotation.previous == key);
        match given_up {
            Some(rotation) => time <= rotation.issued_at.after(GRACE),
            None => key == self.current(),
        }
    }

    fn signed_data(&self, rotation: &KeyRotation) -> KeyRotationData {
        KeyRotationData {
            environment: self.environment.as_str().to_owned(),
            sequence: rotation.sequence,
            previous: rotation.previous,
            next: rotation.next,
            // A time before 1970 is signed as 1970.
            issuedAt: u64::try_from(rotation.issued_at.as_millis()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;
    use rstest::rstest;

    fn key(seed: u64) -> Keypair {
        Keypair::generate(&SeededEntropy::new(seed))
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    /// Keys 1 → 2 → 3.
    fn chain() -> KeyChain {
        let mut chain = KeyChain::new(Environment::Testnet, key(1).address());
        for (from, to) in [(1, 2), (2, 3)] {
            let rotation = chain.rotation(key(to).address(), at(to as i64), &key(from));
            chain.rotations.push(rotation);
        }
        chain
    }

    #[test]
    fn whoever_trusts_any_of_the_keys_finds_the_current_one() {
        let chain = chain();
        let read: KeyChain = serde_json::from_str(&serde_json::to_string(&chain).unwrap()).unwrap();
        assert_eq!(read, chain);
        for seed in 1..=3 {
            assert_eq!(read.follow(key(seed).address()), Ok(key(3).address()));
        }
        let stranger = key(4).address();
        assert_eq!(read.follow(stranger), Err(BrokenChain::Elsewhere(stranger)));
        assert_eq!(
            KeyChain::new(Environment::Testnet, stranger).follow(stranger),
            Ok(stranger)
        );
    }

    #[rstest]
    #[case::cut(|chain: &mut KeyChain| { chain.rotations.remove(0); })]
    #[case::swapped(|chain: &mut KeyChain| chain.rotations.swap(0, 1))]
    #[case::other_successor(|chain: &mut KeyChain| chain.rotations[1].next = key(9).address())]
    #[case::other_time(|chain: &mut KeyChain| chain.rotations[1].issued_at = at(5))]
    #[case::back_in_time(|chain: &mut KeyChain| {
        let rotation = chain.rotation(key(4).address(), at(-9), &key(3));
        chain.rotations.push(rotation);
    })]
    #[case::back_to_a_former_key(|chain: &mut KeyChain| {
        let rotation = chain.rotation(key(1).address(), at(9), &key(3));
        chain.rotations.push(rotation);
    })]
    #[case::signed_by_a_former_key(|chain: &mut KeyChain| {
        let mut rotation = chain.rotation(key(4).address(), at(9), &key(2));
        rotation.previous = key(3).address();
        chain.rotations.push(rotation);
    })]
    #[case::other_environment(|chain: &mut KeyChain| chain.environment = Environment::Mainnet)]
    #[case::other_genesis(|chain: &mut KeyChain| chain.genesis = key(9).address())]
    fn no_link_can_be_changed(#[case] change: fn(&mut KeyChain)) {
        let mut chain = chain();
        change(&mut chain);
        assert!(chain.follow(key(1).address()).is_err());
        assert!(chain.verify().is_err());
    }

    #[test]
    fn what_a_former_key_signs_later_does_not_count() {
        let chain = chain();
        let [first, second, third] = [1, 2, 3].map(|seed| key(seed).address());
        let long_after = at(0).after(Duration::from_hours(1));
        for (address, counts) in [(first, false), (second, false), (third, true)] {
            assert_eq!(chain.counts_at(address, long_after), counts);
            assert!(chain.counts_at(address, at(1)));
        }
        assert!(!chain.counts_at(key(9).address(), at(1)));
    }
}

//! Nonces that this server made, without keeping them: 6 bytes of time, 10 of chance, 16 that only it can compute. Each is
//! made for one address and one purpose; that it counts once is for the store.

use std::time::Duration;

use resultity_core::Address;
use resultity_core::clock::{Clock, Entropy, Timestamp};
use subtle::ConstantTimeEq;

use crate::seal::Sealer;

/// How long a nonce counts.
pub(super) const LASTS: Duration = Duration::from_mins(10);

const LABEL: &[u8] = b"nonce of a wallet's message";
const TIME: usize = 6;
const CHANCE: usize = 10;
const TAG: usize = 16;

/// What is authenticated: when, by chance, for whom, for what.
fn tag(sealer: &Sealer, head: &[u8], address: Address, purpose: &[u8]) -> [u8; TAG] {
    let mac = sealer.authenticate(&[LABEL, head, address.as_slice(), purpose]);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&mac[..TAG]);
    tag
}

/// A new one, and until when it counts.
pub(super) fn make(
    sealer: &Sealer,
    address: Address,
    purpose: &[u8],
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> (String, Timestamp) {
    let now = clock.now();
    let mut head = [0; TIME + CHANCE];
    head[..TIME].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
    entropy.fill(&mut head[TIME..]);
    let nonce = hex::encode([head.as_slice(), &tag(sealer, &head, address, purpose)].concat());
    (nonce, now.after(LASTS))
}

/// Until when this nonce counts, if it was made here, for this address and purpose, and its time is not over.
pub(super) fn check(
    sealer: &Sealer,
    nonce: &str,
    address: Address,
    purpose: &[u8],
    now: Timestamp,
) -> Option<Timestamp> {
    let mut bytes = [0; TIME + CHANCE + TAG];
    hex::decode_to_slice(nonce, &mut bytes).ok()?;
    // One form alone, or it would count twice.
    if nonce.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let (head, given) = bytes.split_at(TIME + CHANCE);
    if !bool::from(tag(sealer, head, address, purpose).ct_eq(given)) {
        return None;
    }
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&head[..TIME]);
    let expires = Timestamp::from_millis(i64::from_be_bytes(millis)).after(LASTS);
    (now < expires).then_some(expires)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy};
    use resultity_core::signing::Keypair;

    #[test]
    fn a_nonce_counts_for_its_address_purpose_and_time_alone() {
        let entropy = SeededEntropy::new(1);
        let clock = ManualClock::new(Timestamp::from_millis(1_800_000_000_123));
        let sealer = Sealer::new(&Keypair::generate(&entropy), "x");
        let (mine, yours) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let (nonce, expires) = make(&sealer, mine, b"in", &clock, &entropy);
        assert!(nonce.len() >= 8 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let now = clock.now();
        assert_eq!(check(&sealer, &nonce, mine, b"in", now), Some(expires));
        assert_eq!(check(&sealer, &nonce, yours, b"in", now), None);
        assert_eq!(check(&sealer, &nonce, mine, b"link", now), None);
        assert_eq!(check(&sealer, &nonce.to_uppercase(), mine, b"in", now), None);
        assert_eq!(check(&sealer, &nonce[..62], mine, b"in", now), None);
        let other = Sealer::new(&Keypair::generate(&entropy), "x");
        assert_eq!(check(&other, &nonce, mine, b"in", now), None);
        for index in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(check(&sealer, &changed, mine, b"in", now), None, "{index}");
        }
        assert_eq!(check(&sealer, &nonce, mine, b"in", expires), None);
        assert_ne!(make(&sealer, mine, b"in", &clock, &entropy).0, nonce);
    }
}

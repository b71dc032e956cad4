//! How many letters with codes an address gets a day: nobody is flooded by those who give addresses that are not theirs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;

/// The most letters to an address a day.
const MOST: u32 = 10;

/// A day, from the first letter.
const DAY: Duration = Duration::from_hours(24);

/// How many addresses are remembered; beyond that the one whose day began first is forgotten.
const ADDRESSES: usize = 50_000;

/// The letters to an address since the day began.
#[derive(Debug, Clone, Copy)]
struct Letters {
    since: Timestamp,
    sent: u32,
}

/// Counts letters, by hashes of their addresses. In memory: a restart lets everybody begin anew.
#[derive(Debug, Default)]
pub(crate) struct Postbox {
    letters: Mutex<HashMap<B256, Letters>>,
}

impl Postbox {
    /// Counts a letter to this address (in lower case) if it may still get one today.
    pub(super) fn takes(&self, email: &str, now: Timestamp) -> bool {
        let address = sha256(email);
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let is_today = |one: &Letters| now.since(one.since) < DAY;
        if let Some(one) = letters.get_mut(&address).filter(|one| is_today(one)) {
            let may = one.sent < MOST;
            one.sent += u32::from(may);
            return may;
        }
        if letters.len() >= ADDRESSES {
            letters.retain(|_, one| is_today(one));
        }
        if letters.len() >= ADDRESSES
            && let Some(oldest) = letters
                .iter()
                .min_by_key(|(_, one)| one.since)
                .map(|(address, _)| *address)
        {
            letters.remove(&oldest);
        }
        letters.insert(address, Letters { since: now, sent: 1 });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn an_address_gets_ten_letters_a_day_whatever_others_get() {
        let postbox = Postbox::default();
        let taken = |email: &str, now| (0..15).filter(|_| postbox.takes(email, now)).count();
        assert_eq!(taken("a@b.c", NOW), 10);
        assert_eq!(taken("b@b.c", NOW), 10);
        assert_eq!(
            taken(
                "a@b.c",
                NOW.after(Duration::from_hours(24).saturating_sub(Duration::from_millis(1)))
            ),
            0
        );
        assert_eq!(taken("a@b.c", NOW.after(DAY)), 10);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let postbox = Postbox::default();
        assert!(postbox.takes("first@b.c", NOW));
        let later = NOW.after(Duration::from_secs(1));
        for number in 0..ADDRESSES {
            assert!(postbox.takes(&format!("{number}@b.c"), later));
        }
        let letters = postbox.letters.lock().unwrap();
        assert_eq!(letters.len(), ADDRESSES);
        assert!(!letters.contains_key(&sha256("first@b.c")), "the oldest is forgotten");
    }
}

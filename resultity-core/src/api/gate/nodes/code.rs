//! The short code by which a node finds its account.

use alloy_primitives::B256;

use crate::canonical::sha256;
use crate::clock::Entropy;

/// What a code is made of: no letter or digit that looks like another.
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many of them.
const LENGTH: usize = 8;

/// A new code, as it is shown: `ABCD-2345`.
pub fn new_join_code(entropy: &dyn Entropy) -> String {
    let mut code = String::with_capacity(LENGTH + 1);
    while code.len() < LENGTH + 1 {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        // 240 is a multiple of 30: every letter is as likely as any other.
        for byte in random.into_iter().filter(|byte| *byte < 240) {
            if code.len() == LENGTH / 2 {
                code.push('-');
            }
            if code.len() < LENGTH + 1 {
                code.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    code
}

/// What is kept of a code, which people may write in small letters, with spaces or without the line; none if it can't be
/// one.
///
/// ```
/// use resultity_core::api::gate::join_code_hash;
/// assert_eq!(join_code_hash(" abcd 2345"), join_code_hash("ABCD-2345"));
/// assert_eq!(join_code_hash("ABCD-234"), None);
/// assert_eq!(join_code_hash("ABCD-2340"), None);
/// ```
pub fn join_code_hash(text: &str) -> Option<B256> {
    let mut code = String::with_capacity(LENGTH);
    for letter in text.chars().filter(|letter| !matches!(letter, '-' | ' ')) {
        let letter = letter.to_ascii_uppercase();
        if code.len() == LENGTH || !ALPHABET.iter().any(|known| char::from(*known) == letter) {
            return None;
        }
        code.push(letter);
    }
    (code.len() == LENGTH).then(|| sha256(format!("resultity join code {code}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    #[test]
    fn every_code_is_read_as_it_is_shown() {
        for seed in 0..50 {
            let code = new_join_code(&SeededEntropy::new(seed));
            assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'), "{code}");
            assert!(join_code_hash(&code).is_some(), "{code}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for bad in [
            "",
            "-",
            "ABCD-23456",
            "ABCD_2345",
            "ÄBCD-2345",
            "OBCD-2345",
            "1BCD-2345",
            "ABCD\n2345",
        ] {
            assert_eq!(join_code_hash(bad), None, "{bad:?}");
        }
    }
}

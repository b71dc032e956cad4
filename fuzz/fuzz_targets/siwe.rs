//! Messages that wallets sign (EIP-4361): what is read is printed as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_core::signing::SiweMessage;

fuzz_target!(|text: &str| {
    if let Ok(message) = text.parse::<SiweMessage>() {
        assert_eq!(message.to_string(), text);
    }
});

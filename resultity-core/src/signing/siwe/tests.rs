use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::clock::SeededEntropy;
use crate::signing::Keypair;

/// The example of the standard.
const EXAMPLE: &str = "example.com wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the ExampleOrg Terms of Service: https://example.com/tos

URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json";

fn example() -> SiweMessage {
    EXAMPLE.parse().unwrap()
}

#[test]
fn the_example_of_the_standard_is_read() {
    let message = example();
    assert_eq!(message.domain, "example.com");
    assert_eq!(
        message.statement.as_deref(),
        Some("I accept the ExampleOrg Terms of Service: https://example.com/tos")
    );
    assert_eq!((message.chain_id, message.nonce.as_str()), (1, "32891756"));
    assert_eq!(message.issued_at.at().as_millis(), 1_633_019_124_000);
    assert_eq!(message.resources.len(), 2);
    assert_eq!(message.to_string(), EXAMPLE);
}

#[rstest]
#[case::scheme("example.com wants", "https://example.com wants")]
#[case::port("example.com wants", "localhost:8080 wants")]
#[case::address_with_port("example.com wants", "[::1]:8080 wants")]
#[case::no_statement("\nI accept the ExampleOrg Terms of Service: https://example.com/tos\n", "\n")]
#[case::fraction("24Z", "24.123Z")]
#[case::offset("24Z", "24+02:00")]
#[case::all_times(
    "24Z",
    "24Z\nExpiration Time: 2021-09-30T16:30:24Z\nNot Before: 2021-09-30T16:25:24Z"
)]
#[case::request_id("24Z", "24Z\nRequest ID: some-id:1")]
#[case::empty_request_id("24Z", "24Z\nRequest ID: ")]
fn what_the_standard_allows_is_read_and_printed_as_it_was(#[case] part: &str, #[case] instead: &str) {
    let text = EXAMPLE.replace(part, instead);
    assert_ne!(text, EXAMPLE);
    let message: SiweMessage = text.parse().unwrap();
    assert_eq!(message.to_string(), text);
    assert_eq!(message.check(), Ok(()));
}

#[rstest]
#[case::user("example.com wants", "example.com@evil.org wants")]
#[case::path("example.com wants", "example.com/path wants")]
#[case::no_domain("example.com wants", " wants")]
#[case::bad_scheme("example.com wants", "1s://example.com wants")]
#[case::bad_port("example.com wants", "example.com:99999 wants")]
#[case::another_sentence("wants you to sign in", "wants you to log in")]
#[case::no_checksum(
    "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
    "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
)]
#[case::wrong_checksum("0xC02aaA39", "0xc02aaA39")]
#[case::short_address("756Cc2\n", "756Cc\n")]
#[case::no_empty_line("6Cc2\n\n", "6Cc2\n")]
#[case::two_statements("/tos\n", "/tos\nAnd more\n")]
#[case::statement_of_other_letters("I accept", "I äccept")]
#[case::statement_with_tab("I accept", "I\taccept")]
#[case::statement_with_quote("I accept", "I \"accept")]
#[case::carriage_return("/tos\n", "/tos\r\n")]
#[case::uri_without_scheme("URI: https://example.com/login", "URI: example.com/login")]
#[case::uri_with_space("example.com/login", "example.com/log in")]
#[case::uri_with_bad_percent("example.com/login", "example.com/%zz")]
#[case::version_2("Version: 1", "Version: 2")]
#[case::version_01("Version: 1", "Version: 01")]
#[case::no_version("Version: 1\n", "")]
#[case::chain_zeros("Chain ID: 1", "Chain ID: 01")]
#[case::chain_sign("Chain ID: 1", "Chain ID: +1")]
#[case::chain_too_big("Chain ID: 1", "Chain ID: 18446744073709551616")]
#[case::chain_name("Chain ID: 1", "Chain ID: mainnet")]
#[case::short_nonce("32891756", "3289175")]
#[case::nonce_with_sign("32891756", "3289-1756")]
#[case::time_with_space("2021-09-30T16", "2021-09-30 16")]
#[case::time_lower_case("2021-09-30T16:25:24Z", "2021-09-30t16:25:24z")]
#[case::time_without_offset("24Z", "24")]
#[case::time_that_never_was("2021-09-30", "2021-09-31")]
#[case::time_with_zone("24Z", "24Z[UTC]")]
#[case::empty_fraction("24Z", "24.Z")]
#[case::year_of_five_digits("2021-", "+002021-")]
#[case::twice("24Z", "24Z\nNot Before: 2021-09-30T16:25:24Z\nNot Before: 2021-09-30T16:25:24Z")]
#[case::wrong_order(
    "24Z",
    "24Z\nNot Before: 2021-09-30T16:25:24Z\nExpiration Time: 2021-09-30T16:25:24Z"
)]
#[case::unknown_field("24Z", "24Z\nScope: all")]
#[case::line_feed_at_the_end("claim.json", "claim.json\n")]
#[case::resource_that_is_none("- ipfs://", "- not a uri ipfs://")]
#[case::request_id_with_slash("24Z", "24Z\nRequest ID: a/b")]
fn what_the_standard_does_not_allow_is_refused(#[case] part: &str, #[case] instead: &str) {
    let text = EXAMPLE.replacen(part, instead, 1);
    assert_ne!(text, EXAMPLE);
    let read = text.parse::<SiweMessage>();
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn what_is_too_long_or_cut_is_refused() {
    let long = EXAMPLE.replace("my-web2-claim", &"x".repeat(MAX_SIWE_BYTES));
    assert!(long.parse::<SiweMessage>().is_err());
    for end in 0..EXAMPLE.find("24Z").unwrap() {
        assert!(EXAMPLE[..end].parse::<SiweMessage>().is_err(), "{end}");
    }
}

#[test]
fn a_field_that_would_be_read_as_another_one_is_found() {
    let sneaky = example().statement("Hello\n\nURI: https://evil.org");
    assert!(sneaky.check().is_err());
    let mut sneaky = example();
    sneaky.request_id = Some("a\nResources:\n- https://evil.org".into());
    assert!(sneaky.check().is_err());
}

#[rstest]
#[case(0, Ok(()))]
#[case(600_000, Err(SiweTimeError::Expired))]
#[case(599_999, Ok(()))]
#[case(700_000, Err(SiweTimeError::TooOld))]
#[case(-60_000, Ok(()))]
#[case(-60_001, Err(SiweTimeError::Future))]
fn a_message_counts_in_its_time(#[case] later: i64, #[case] expected: Result<(), SiweTimeError>) {
    let mut message = example();
    let issued = message.issued_at.at();
    message = message.expires(issued.after(Duration::from_mins(10)));
    let now = Timestamp::from_millis(issued.as_millis() + later);
    assert_eq!(message.check_time(now, Duration::from_secs(650)), expected);
}

#[test]
fn a_message_that_begins_later_does_not_count_yet() {
    let mut message = example();
    let issued = message.issued_at.at();
    message.not_before = Some(issued.after(Duration::from_secs(5)).into());
    let longest = Duration::from_mins(10);
    assert_eq!(message.check_time(issued, longest), Err(SiweTimeError::NotYet));
    assert_eq!(
        message.check_time(issued.after(Duration::from_secs(5)), longest),
        Ok(())
    );
}

#[test]
fn the_signature_is_the_one_that_wallets_make() {
    // Signed by the first account of the mnemonic "test test … junk", as ethers' `Wallet.signMessage("hello")` does.
    let bytes = hex::decode("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
    let key = Keypair::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
    assert_eq!(
        hex::encode(eip191_hash("hello")),
        "50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750"
    );
    let signature = key.sign_text("hello");
    assert_eq!(
        signature.recover(eip191_hash("hello")).unwrap().address(),
        key.address()
    );
}

#[test]
fn a_signature_counts_for_its_message_and_its_wallet_alone() {
    let (key, other) = (
        Keypair::generate(&SeededEntropy::new(1)),
        Keypair::generate(&SeededEntropy::new(2)),
    );
    let mut message = example();
    message.address = key.address();
    let signature = key.sign_text(&message.to_string());
    assert_eq!(message.verify(&signature), Ok(key.public_key()));
    assert_eq!(
        message.verify(&other.sign_text(&message.to_string())),
        Err(InvalidSignature::Mismatch)
    );
    message.chain_id = 2;
    assert_eq!(message.verify(&signature), Err(InvalidSignature::Mismatch));
}

proptest! {
    #[test]
    fn any_text_is_read_as_what_it_is_or_refused(text in "\\PC{0,300}") {
        if let Ok(message) = text.parse::<SiweMessage>() {
            prop_assert_eq!(message.to_string(), text);
        }
    }

    /// Whatever is changed in a good message, it is refused or printed as it was.
    #[test]
    fn a_changed_message_is_read_as_what_it_is_or_refused(at in 0..EXAMPLE.len(), cut in 0usize..20, new in "[ -~\n]{0,20}") {
        let end = (at + cut).min(EXAMPLE.len());
        let text = format!("{}{new}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        if let Ok(message) = text.parse::<SiweMessage>() {
            prop_assert_eq!(message.to_string(), text);
        }
    }
}

//! `resultity node delegate`: a subscription, signed here.

use std::path::{Path, PathBuf};

use clap::Args;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::clock::{Clock, SystemClock};
use resultity_client::core::infernet::subscription::{
    CoordinatorDomain, DelegatedRequest, Subscription, containers_hash,
};
use resultity_client::core::signing::Keypair;
use resultity_client::core::{Address, B256};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;

use super::ask::read_object;
use super::connection::Node;
use super::raw_json::pretty;
use crate::output::{Failure, Output};
use crate::table::json_line;

/// The variable that may hold the key, as the original client has it.
const KEY_VARIABLE: &str = "PRIVATE_KEY";

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node delegate --params sub.json --data '{\"text\": \"…\"}' \\
    --key-file key.txt --chain-id 31337 --expiry +3600 \\
    --coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3
  resultity node delegate ... --sign-only >> requests.jsonl

The parameters, in the newer form; `containers` are ids, or their hash:
  {\"owner\": \"0x…\", \"active_at\": 0, \"period\": 0, \"frequency\": 1,
   \"redundancy\": 1, \"containers\": [\"summarise\"], \"lazy\": false,
   \"verifier\": \"0x…\", \"payment_amount\": 0, \"payment_token\": \"0x…\",
   \"wallet\": \"0x…\"}
The older one has `container_id`, `max_gas_price`, `max_gas_limit`, `inputs`.

The private key is read from a file or from the variable PRIVATE_KEY: 64
hexadecimal digits. It is never taken as an argument, never sent, never shown.")]
pub(crate) struct DelegateArguments {
    /// The subscription's parameters, as JSON
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// What the first container gets, a JSON object: itself, a file that holds it, or `-` for standard input
    #[arg(short, long, value_name = "DATA", default_value = "{}")]
    data: String,
    /// Where the private key is [default: what PRIVATE_KEY holds]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The chain
    #[arg(long, value_name = "N")]
    chain_id: u64,
    /// The coordinator contract
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    coordinator: Address,
    /// Until when it may be created: seconds since the Unix epoch, or `+` and seconds from now
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expiry: Expiry,
    /// Its number among those of its owner
    #[arg(long, value_name = "N", default_value_t = 0)]
    nonce: u32,
    /// Print the signed request and send nothing
    #[arg(long)]
    sign_only: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    At(u32),
    After(u32),
}

impl Expiry {
    fn seconds(self) -> Result<u32, Failure> {
        match self {
            Self::At(seconds) => Ok(seconds),
            Self::After(seconds) => {
                let at = SystemClock.now().as_seconds().saturating_add(i64::from(seconds));
                u32::try_from(at).map_err(|_| Failure::usage("--expiry is further away than the contract can count"))
            }
        }
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    let (kind, digits): (fn(u32) -> Expiry, &str) = match text.strip_prefix('+') {
        Some(digits) => (Expiry::After, digits),
        None => (Expiry::At, text),
    };
    let is_number = digits.chars().all(|symbol| symbol.is_ascii_digit());
    let seconds = is_number.then(|| digits.parse().ok()).flatten();
    seconds
        .map(kind)
        .ok_or_else(|| "expected seconds since the Unix epoch, or + and seconds".to_owned())
}

/// Upper and lower case mixed are a checksum (EIP-55).
fn address(text: &str) -> Result<Address, String> {
    let address: Address = text
        .parse()
        .map_err(|_| "expected 0x and 40 hexadecimal digits".to_owned())?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_mixed =
        digits.contains(|c: char| c.is_ascii_lowercase()) && digits.contains(|c: char| c.is_ascii_uppercase());
    if is_mixed && address.to_checksum(None)[2..] != *digits {
        return Err("its checksum is wrong: check that it was copied whole".to_owned());
    }
    Ok(address)
}

pub(crate) async fn run(arguments: DelegateArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let subscription = read_params(&arguments.params)?;
    let key = key(arguments.key_file.as_deref())?;
    let data = read_object(&arguments.data).await?;
    let domain = CoordinatorDomain {
        chain_id: arguments.chain_id,
        coordinator: arguments.coordinator,
    };
    let expiry = arguments.expiry.seconds()?;
    let owner = subscription.owner();
    let request = DelegatedRequest::sign(subscription, arguments.nonce, expiry, &data, &domain, &key)
        .map_err(|error| Failure::new(format!("the request cannot be written: {error}")))?;
    if arguments.sign_only {
        let text = if arguments.json {
            pretty(&request)?
        } else {
            json_line(&request)?
        };
        return output.write_line(&text);
    }
    let begun = node.client.create_delegated(request).await;
    begun.map_err(|error| node.explain(&error))?;
    if arguments.json {
        return output.write_line("{}");
    }
    output.note(&format!(
        "The node follows subscription {} of {owner}, signed by {}. Its results go to the chain.",
        arguments.nonce,
        key.address()
    ));
    Ok(())
}

fn read_params(path: &Path) -> Result<Subscription, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?;
    params(&text).map_err(|error| {
        Failure::new(format!("{} is no subscription: {error}", path.display()))
            .hint("`resultity node delegate --help` shows what it looks like.")
    })
}

/// The fields of a subscription. Container ids, as the original client takes them, become their hash.
fn params(text: &str) -> Result<Subscription, serde_json::Error> {
    let mut fields: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
    if let Some(containers) = fields.get_mut("containers")
        && containers.get().starts_with('[')
    {
        let ids: Vec<String> = serde_json::from_str(containers.get())?;
        *containers = serde_json::value::to_raw_value(&containers_hash(&ids))?;
    }
    serde_json::from_str(&serde_json::to_string(&fields)?)
}

/// The key of the file, else of the variable. What is wrong with it is said without it.
fn key(path: Option<&Path>) -> Result<Keypair, Failure> {
    let (text, place) = match path {
        Some(path) => {
            let place = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::new(format!("{place} cannot be read: {error}")))?;
            (SecretString::from(text), place)
        }
        None => match std::env::var(KEY_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => (SecretString::from(text), KEY_VARIABLE.to_owned()),
            _ => {
                return Err(Failure::usage("no private key is given")
                    .hint(format!("Name its file with --key-file, or set {KEY_VARIABLE}.")));
            }
        },
    };
    let bytes: Option<B256> = text.expose_secret().trim().parse().ok();
    let key = bytes.and_then(|bytes| Keypair::from_bytes(&bytes.0).ok());
    key.ok_or_else(|| Failure::new(format!("{place} holds no private key: expected 64 hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1800000000", Some(Expiry::At(1_800_000_000)))]
    #[case("+60", Some(Expiry::After(60)))]
    #[case("", None)]
    #[case("+", None)]
    #[case("++1", None)]
    #[case("-1", None)]
    #[case("4294967296", None)]
    #[case("1h", None)]
    fn an_expiry_is_a_time_or_a_span(#[case] text: &str, #[case] expected: Option<Expiry>) {
        assert_eq!(expiry(text).ok(), expected);
    }

    #[test]
    fn an_address_that_was_mistyped_is_refused() {
        let right = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512";
        assert!(address(right).is_ok());
        assert!(address(&right.to_lowercase()).is_ok());
        assert!(address("0xE7f1725E7734CE288F8367e1Bb143E90bb3F0512").is_err());
        assert!(address("0x00").is_err());
    }

    #[test]
    fn container_ids_become_their_hash() {
        let text = |containers: &str| {
            format!(
                r#"{{"owner": "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512", "active_at": 0, "period": 3, "frequency": 2,
                "redundancy": 2, "containers": {containers}, "lazy": false,
                "verifier": "0x0000000000000000000000000000000000000000",
                "payment_amount": 123456789012345678901234567890,
                "payment_token": "0x0000000000000000000000000000000000000000",
                "wallet": "0x0000000000000000000000000000000000000000"}}"#
            )
        };
        let by_ids = params(&text(r#"["a", "b"]"#)).unwrap();
        let by_hash = params(&text(&format!("\"{}\"", containers_hash(&["a", "b"])))).unwrap();
        assert_eq!(by_ids, by_hash);
        let Subscription::Hashed(subscription) = by_ids else {
            panic!("the newer form")
        };
        assert_eq!(
            subscription.payment_amount.to_string(),
            "123456789012345678901234567890"
        );
        assert!(params("{}").is_err());
    }
}

//! What wallets are asked to sign, and whether what they signed counts here.

use resultity_core::Address;
use resultity_core::api::gate::{AskWallet, WalletChallenge};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NodeId};
use resultity_core::signing::{Signature, SiweMessage};
use url::{Host, Url};

use super::{nonce, refused};
use crate::session::gate::Gate;
use crate::store::wallets::SignedOnce;

/// Which messages of wallets count.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalletOptions {
    /// The hosts (and ports, where they are not the usual ones) of the pages that people sign in on. None: those of this
    /// machine alone, `localhost`, `127.0.0.1` and `[::1]`, with any port. Never what a request says of its host: a page
    /// elsewhere could say so, too.
    pub domains: Vec<String>,
    /// The chains that wallets may be on (EIP-155); never empty.
    pub chain_ids: Vec<u64>,
}

impl Default for WalletOptions {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            // Ethereum, Base, and the test networks of both.
            chain_ids: vec![1, 8453, 11_155_111, 84_532],
        }
    }
}

impl WalletOptions {
    fn domain(&self, asked: Option<&str>) -> Result<String, ApiError> {
        let Some(asked) = asked else {
            return Ok(self.domains.first().cloned().unwrap_or_else(|| "localhost".into()));
        };
        if self.takes_domain(asked) {
            return Ok(asked.to_owned());
        }
        let message =
            "nobody signs in to this network from there: use its own address, or let its operator add this one";
        Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("domain"))
    }

    fn takes_domain(&self, domain: &str) -> bool {
        if self.domains.is_empty() {
            authority(domain).is_some_and(|url| is_loopback(&url))
        } else {
            self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain))
        }
    }

    fn chain_id(&self, asked: Option<u64>) -> Result<u64, ApiError> {
        match asked {
            None => Ok(self.chain_ids.first().copied().unwrap_or(1)),
            Some(asked) if self.chain_ids.contains(&asked) => Ok(asked),
            Some(_) => {
                let message = format!("chain_id must be one of {:?}", self.chain_ids);
                Err(ApiError::new(ErrorCode::InvalidValue, message).with_param("chain_id"))
            }
        }
    }
}

/// A host with a port, as part of a URL; none if it is more or less than that.
fn authority(domain: &str) -> Option<Url> {
    let is_made_of = domain
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    is_made_of
        .then(|| Url::parse(&format!("http://{domain}")).ok())
        .flatten()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What a signature is for. One for one purpose is worth nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    SignIn,
    Link(AccountId),
}

impl Purpose {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::SignIn => b"sign-in".to_vec(),
            Self::Link(account) => [b"link ".as_slice(), account.as_uuid().as_bytes()].concat(),
        }
    }

    fn statement(self) -> String {
        match self {
            Self::SignIn => "Sign in to Resultity. This costs nothing and moves nothing.".into(),
            Self::Link(account) => format!(
                "Let this wallet sign in to the Resultity account {account}. Only sign this if the account is yours."
            ),
        }
    }
}

/// An address as people write it: `0x` and 40 digits; where capitals are mixed in, the checksum has to be right.
pub(super) fn read_address(text: &str) -> Result<Address, ApiError> {
    let wrong = |message: &str| ApiError::new(ErrorCode::InvalidValue, message).with_param("address");
    let expected = "expected the address of a wallet: 0x and 40 hexadecimal digits";
    let node: NodeId = text.parse().map_err(|_| wrong(expected))?;
    let digits = &text[2..];
    let has = |is_so: fn(&char) -> bool| digits.chars().any(|digit| is_so(&digit));
    if has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && node.address().to_checksum(None) != text {
        return Err(wrong("the checksum of this address is wrong (EIP-55): is it mistyped?"));
    }
    Ok(node.address())
}

impl Gate {
    /// A message to be signed.
    pub(super) fn challenge(&self, request: &AskWallet, purpose: Purpose) -> Result<WalletChallenge, ApiError> {
        let address = read_address(&request.address)?;
        let chain_id = self.options.wallets.chain_id(request.chain_id)?;
        let domain = self.options.wallets.domain(request.domain.as_deref())?;
        let purpose_bytes = purpose.bytes();
        let (nonce, expires) = nonce::make(&self.sealer, address, &purpose_bytes, &*self.clock, &*self.entropy);
        let scheme = if authority(&domain).is_some_and(|url| is_loopback(&url)) {
            "http"
        } else {
            "https"
        };
        let uri = format!("{scheme}://{domain}");
        let message = SiweMessage::new(domain, address, uri, chain_id, &nonce, self.clock.now())
            .statement(purpose.statement())
            .expires(expires);
        Ok(WalletChallenge {
            message: message.to_string(),
            nonce,
            expires_at: expires.as_seconds(),
        })
    }

    /// Who signed this, if it counts here and now for this purpose; that it counts once is for the store.
    pub(super) fn read_signed(&self, message: &str, signature: &str, purpose: Purpose) -> Result<SignedOnce, ApiError> {
        let invalid = |param: &str, error: String| ApiError::new(ErrorCode::InvalidValue, error).with_param(param);
        let message: SiweMessage = message
            .parse()
            .map_err(|error| invalid("message", format!("{error}")))?;
        let signature: Signature = signature
            .parse()
            .map_err(|error| invalid("signature", format!("{error}")))?;
        let options = &self.options.wallets;
        let named = |field: &str, message: String| invalid("message", format!("{field}: {message}"));
        options
            .domain(Some(&message.domain))
            .map_err(|error| named("domain", error.message))?;
        options
            .chain_id(Some(message.chain_id))
            .map_err(|error| named("chain id", error.message))?;
        if !is_of_domain(&message) {
            let expected = "expected an https URL of the domain that asks".to_owned();
            return Err(named("URI", expected));
        }
        if let Purpose::Link(_) = purpose
            && message.statement.as_deref() != Some(&purpose.statement())
        {
            return Err(named(
                "statement",
                "expected the one of the challenge, as it was".into(),
            ));
        }
        let now = self.clock.now();
        message
            .check_time(now, nonce::LASTS)
            .map_err(|error| refused(&error.to_string()))?;
        let expires_at = nonce::check(&self.sealer, &message.nonce, message.address, &purpose.bytes(), now);
        let expires_at = expires_at.ok_or_else(|| {
            refused("the message's nonce is not one that was made for this, or its time is over: ask for a new one")
        })?;
        message
            .verify(&signature)
            .map_err(|_| refused("the signature is not that of the wallet in the message"))?;
        Ok(SignedOnce {
            address: message.address,
            nonce: message.nonce,
            expires_at,
            now,
        })
    }
}

/// Whether scheme and URI lead to the domain that asks, by TLS unless it is this machine.
fn is_of_domain(message: &SiweMessage) -> bool {
    let (Some(asker), Ok(uri)) = (authority(&message.domain), Url::parse(&message.uri)) else {
        return false;
    };
    let schemes: &[&str] = if is_loopback(&asker) {
        &["http", "https"]
    } else {
        &["https"]
    };
    let is_known = |scheme: &str| schemes.contains(&scheme);
    // The same in the URI's scheme, so that the usual port is the same one.
    let domain = Url::parse(&format!("{}://{}", uri.scheme(), message.domain));
    is_known(uri.scheme())
        && message.scheme.as_deref().is_none_or(is_known)
        && uri.username().is_empty()
        && uri.password().is_none()
        && domain.is_ok_and(|domain| domain.host() == uri.host() && domain.port() == uri.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::Timestamp;
    use rstest::rstest;

    #[rstest]
    #[case("localhost", true)]
    #[case("localhost:8080", true)]
    #[case("127.0.0.1:1", true)]
    #[case("[::1]:8080", true)]
    #[case("example.org", false)]
    #[case("localhost.example.org", false)]
    #[case("127.0.0.1.example.org", false)]
    #[case("localhost@example.org", false)]
    #[case("example.org/localhost", false)]
    #[case("example.org#localhost", false)]
    #[case("10.0.0.1", false)]
    #[case("localhost:99999", false)]
    #[case("", false)]
    fn without_domains_only_this_machine_counts(#[case] domain: &str, #[case] expected: bool) {
        assert_eq!(WalletOptions::default().takes_domain(domain), expected);
    }

    #[rstest]
    #[case("account.example.org", true)]
    #[case("ACCOUNT.example.org", true)]
    #[case("other.example.org:8443", true)]
    #[case("other.example.org", false)]
    #[case("localhost", false)]
    #[case("evil.account.example.org", false)]
    fn with_domains_only_they_count(#[case] domain: &str, #[case] expected: bool) {
        let options = WalletOptions {
            domains: vec!["account.example.org".into(), "other.example.org:8443".into()],
            ..WalletOptions::default()
        };
        assert_eq!(options.takes_domain(domain), expected);
        assert_eq!(options.domain(None).unwrap(), "account.example.org");
    }

    #[rstest]
    #[case("example.org", "https://example.org", true)]
    #[case("example.org", "https://example.org/login?x=1", true)]
    #[case("example.org", "https://example.org:443/", true)]
    #[case("example.org:8443", "https://example.org:8443/", true)]
    #[case("localhost:80", "http://localhost", true)]
    #[case("localhost:8080", "http://localhost:8080/app", true)]
    #[case("example.org", "http://example.org", false)]
    #[case("example.org", "https://evil.org", false)]
    #[case("example.org", "https://example.org:8443", false)]
    #[case("example.org", "https://example.org@evil.org", false)]
    #[case("example.org", "https://user@example.org", false)]
    #[case("example.org", "ftp://example.org", false)]
    #[case("example.org", "did:key:example.org", false)]
    fn a_message_is_for_the_domain_that_asks(#[case] domain: &str, #[case] uri: &str, #[case] expected: bool) {
        let now = Timestamp::from_millis(1);
        let message = SiweMessage::new(domain, Address::ZERO, uri, 1, "12345678", now);
        assert_eq!(is_of_domain(&message), expected);
    }

    #[rstest]
    #[case("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", true)]
    #[case("0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", true)]
    #[case("0xC02AAA39B223FE8D0A0E5C4F27EAD9083C756CC2", true)]
    #[case("0xc02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", false)]
    #[case("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", false)]
    #[case("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc", false)]
    #[case("0xéé", false)]
    #[case("", false)]
    fn an_address_is_read_with_its_checksum(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(read_address(text).is_ok(), expected);
    }

    #[test]
    fn statements_are_what_the_standard_allows() {
        let account = AccountId::from_uuid(uuid::Uuid::nil());
        for purpose in [Purpose::SignIn, Purpose::Link(account)] {
            let message = SiweMessage::new(
                "localhost",
                Address::ZERO,
                "http://localhost",
                1,
                "12345678",
                Timestamp::from_millis(1),
            );
            assert_eq!(message.statement(purpose.statement()).check(), Ok(()));
        }
    }
}

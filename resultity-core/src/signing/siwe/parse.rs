//! The grammar of EIP-4361, line by line. Nothing is trimmed, skipped or guessed.

use alloy_primitives::Address;
use url::Url;

use super::{InvalidSiwe, MAX_SIWE_BYTES, SiweMessage, SiweTime};
use crate::clock::Timestamp;

/// What follows the domain in the first line.
pub(super) const PREAMBLE: &str = " wants you to sign in with your Ethereum account:";

type Parsed<T> = Result<T, InvalidSiwe>;

const fn wrong<T>(what: &'static str) -> Parsed<T> {
    Err(InvalidSiwe::new(what))
}

/// The lines that are left.
struct Lines<'a>(std::iter::Peekable<std::str::Split<'a, char>>);

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &'static str) -> Parsed<&'a str> {
        self.0.next().ok_or(InvalidSiwe::new(expected))
    }

    /// The rest of the next line, which has to begin so.
    fn field(&mut self, name: &'static str, expected: &'static str) -> Parsed<&'a str> {
        self.field_if_any(name).ok_or(InvalidSiwe::new(expected))
    }

    /// The same if it begins so.
    fn field_if_any(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(name)?;
        self.0.next();
        Some(value)
    }
}

pub(super) fn message(text: &str) -> Parsed<SiweMessage> {
    if text.len() > MAX_SIWE_BYTES {
        return wrong("it is longer than 4096 bytes");
    }
    if text.bytes().any(|byte| byte != b'\n' && !(b' '..=b'~').contains(&byte)) {
        return wrong("expected printable ASCII, and lines that end with a line feed");
    }
    let mut lines = Lines(text.split('\n').peekable());
    let (scheme, domain) = asker(lines.next("expected who asks")?)?;
    let address = address(lines.next("expected an address in the second line")?)?;
    if !lines.next("expected an empty line after the address")?.is_empty() {
        return wrong("expected an empty line after the address");
    }
    let statement = match lines.next("expected a statement or an empty line")? {
        "" => None,
        line => {
            if !line.bytes().all(|byte| is_of_uri(byte) || byte == b' ') {
                return wrong("expected a statement of letters, digits, spaces and the signs of URLs");
            }
            if !lines.next("expected an empty line after the statement")?.is_empty() {
                return wrong("expected an empty line after the statement");
            }
            Some(line.to_owned())
        }
    };
    let message = SiweMessage {
        scheme,
        domain,
        address,
        statement,
        uri: uri(lines.field("URI: ", "expected `URI: `")?)?,
        chain_id: {
            if lines.field("Version: ", "expected `Version: 1`")? != "1" {
                return wrong("expected `Version: 1`");
            }
            chain_id(lines.field("Chain ID: ", "expected `Chain ID: `")?)?
        },
        nonce: nonce(lines.field("Nonce: ", "expected `Nonce: `")?)?,
        issued_at: time(lines.field("Issued At: ", "expected `Issued At: `")?)?,
        expiration_time: lines.field_if_any("Expiration Time: ").map(time).transpose()?,
        not_before: lines.field_if_any("Not Before: ").map(time).transpose()?,
        request_id: lines.field_if_any("Request ID: ").map(request_id).transpose()?,
        resources: resources(&mut lines)?,
    };
    match lines.0.next() {
        None => Ok(message),
        Some(_) => wrong("expected the end after the last field: fields have an order, and none comes twice"),
    }
}

fn asker(line: &str) -> Parsed<(Option<String>, String)> {
    let Some(asker) = line.strip_suffix(PREAMBLE) else {
        return wrong("expected `<domain> wants you to sign in with your Ethereum account:`");
    };
    let (scheme, domain) = match asker.split_once("://") {
        Some((scheme, domain)) => (Some(scheme), domain),
        None => (None, asker),
    };
    if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
        return wrong("expected a scheme such as `https` in front of `://`");
    }
    if !is_authority(domain) {
        return wrong("expected a domain: a host and, if need be, a port");
    }
    Ok((scheme.map(ToOwned::to_owned), domain.to_owned()))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A host and a port that a URL may have, without a user.
fn is_authority(text: &str) -> bool {
    let is_made_of = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    is_made_of
        && !text.is_empty()
        && Url::parse(&format!("https://{text}")).is_ok_and(|url| url.host().is_some() && url.path() == "/")
}

fn address(line: &str) -> Parsed<Address> {
    Address::parse_checksummed(line, None)
        .map_err(|_| InvalidSiwe::new("expected an address with its checksum (EIP-55)"))
}

/// Letters, digits and the signs that RFC 3986 reserves or leaves unreserved.
fn is_of_uri(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte)
}

fn uri(text: &str) -> Parsed<String> {
    let is_made_of = is_percent_encoded(text) && text.bytes().all(|byte| byte == b'%' || is_of_uri(byte));
    let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme));
    if is_made_of && has_scheme && Url::parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        wrong("expected a URI with a scheme (RFC 3986)")
    }
}

/// Whether every percent sign stands before two hexadecimal digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn chain_id(text: &str) -> Parsed<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(number) if is_plain => Ok(number),
        _ => wrong("expected a chain id: a number without leading zeros"),
    }
}

fn nonce(text: &str) -> Parsed<String> {
    if text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        wrong("expected a nonce of at least 8 letters and digits")
    }
}

/// `pchar`s of RFC 3986, or nothing.
fn request_id(text: &str) -> Parsed<String> {
    let is_made_of = text
        .bytes()
        .all(|byte| byte == b'%' || (is_of_uri(byte) && !b"/?#[]".contains(&byte)));
    if is_made_of && is_percent_encoded(text) {
        Ok(text.to_owned())
    } else {
        wrong("expected a request id of letters, digits and the signs of a path's segment")
    }
}

fn resources(lines: &mut Lines<'_>) -> Parsed<Vec<String>> {
    let mut found = Vec::new();
    if lines.0.next_if_eq(&"Resources:").is_some() {
        while let Some(resource) = lines.field_if_any("- ") {
            found.push(uri(resource)?);
        }
        if found.is_empty() {
            return wrong("expected a resource under `Resources:`");
        }
    }
    Ok(found)
}

/// `2027-01-31T12:00:00Z`, with a fraction and another offset if need be; no other way to write it.
fn time(text: &str) -> Parsed<SiweTime> {
    let expected = "expected a time of RFC 3339, such as 2027-01-31T12:00:00Z";
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let is_shaped = |part: &[u8], shape: &[u8]| {
        part.len() == shape.len()
            && part.iter().zip(shape).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                _ => byte == wanted,
            })
    };
    let Some((head, mut rest)) = bytes.split_at_checked(shape.len()) else {
        return wrong(expected);
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return wrong(expected);
        }
        rest = &fraction[digits..];
    }
    let is_offset = rest == b"Z" || is_shaped(rest, b"+00:00") || is_shaped(rest, b"-00:00");
    if !is_shaped(head, shape) || !is_offset {
        return wrong(expected);
    }
    let at: jiff::Timestamp = text.parse().map_err(|_| InvalidSiwe::new(expected))?;
    Ok(SiweTime {
        text: text.to_owned(),
        at: Timestamp::from_millis(at.as_millisecond()),
    })
}

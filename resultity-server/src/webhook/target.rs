//! Where webhooks may go: not to what only this machine or its network can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest address.
const MAX_URL: usize = 2048;

/// Why events are not sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForbiddenTarget {
    /// Not an address at all.
    #[error("url must be an absolute address such as https://example.com/hook, of at most {MAX_URL} characters")]
    NotAUrl,
    /// Anything but HTTPS.
    #[error("url must begin with https://")]
    NotHttps,
    /// A name or password in it, which would be shown with it.
    #[error("url must not hold a user name or password")]
    Credentials,
    /// It is not public.
    #[error("url must lead to a public address: this network sends nothing to private ones")]
    Private,
}

/// Checks an address, as far as it can be without asking for what its name stands for.
pub(super) fn check_url(text: &str, allow_private: bool) -> Result<Url, ForbiddenTarget> {
    if text.len() > MAX_URL {
        return Err(ForbiddenTarget::NotAUrl);
    }
    let url = Url::parse(text).map_err(|_| ForbiddenTarget::NotAUrl)?;
    let host = url.host().ok_or(ForbiddenTarget::NotAUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err(ForbiddenTarget::NotHttps),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ForbiddenTarget::Credentials);
    }
    let is_public = match host {
        Host::Ipv4(address) => is_public(address.into()),
        Host::Ipv6(address) => is_public(address.into()),
        // The one name whose meaning is known beforehand (RFC 6761).
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
    };
    if is_public || allow_private {
        Ok(url)
    } else {
        Err(ForbiddenTarget::Private)
    }
}

/// Whether an address is one of the public internet (the IANA registries of special-purpose addresses), and not one at
/// which a cloud tells its machines their secrets.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    /// Azure's service for its machines, an address that looks public.
    const WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    let special = match address.octets() {
        // This network; shared by carriers (where clouds have metadata too); assignments of the IETF; 6to4 relays;
        // benchmarks; multicast and all that is reserved.
        [0 | 224.., ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        [100, second, ..] => (64..128).contains(&second),
        _ => false,
    };
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address == WIRE_SERVER)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let segments = address.segments();
    match segments {
        // NAT64 with the well-known prefix: what counts is who is behind it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let bits = (u32::from(high) << 16) | u32::from(low);
            is_public_v4(Ipv4Addr::from_bits(bits))
        }
        // Protocol assignments (Teredo among them), documentation, 6to4.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Only 2000::/3 is given out: what is left is local, multicast or reserved.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn what_is_not_public_is_known() {
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[rstest]
    #[case("https://example.com/hook", None)]
    #[case("https://example.com:8443/hook?x=1", None)]
    #[case("https://8.8.8.8/", None)]
    #[case("HTTPS://EXAMPLE.COM", None)]
    #[case("http://example.com/hook", Some(ForbiddenTarget::NotHttps))]
    #[case("ftp://example.com/", Some(ForbiddenTarget::NotHttps))]
    #[case("file:///etc/passwd", Some(ForbiddenTarget::NotAUrl))]
    #[case("", Some(ForbiddenTarget::NotAUrl))]
    #[case("example.com", Some(ForbiddenTarget::NotAUrl))]
    #[case("https://", Some(ForbiddenTarget::NotAUrl))]
    #[case("https://user:word@example.com/", Some(ForbiddenTarget::Credentials))]
    #[case("https://user@example.com/", Some(ForbiddenTarget::Credentials))]
    #[case("https://127.0.0.1/", Some(ForbiddenTarget::Private))]
    #[case("https://127.1/", Some(ForbiddenTarget::Private))]
    #[case("https://2130706433/", Some(ForbiddenTarget::Private))]
    #[case("https://0x7f.0.0.1/", Some(ForbiddenTarget::Private))]
    #[case("https://0177.0.0.1/", Some(ForbiddenTarget::Private))]
    #[case("https://[::1]/", Some(ForbiddenTarget::Private))]
    #[case("https://[::ffff:169.254.169.254]/", Some(ForbiddenTarget::Private))]
    #[case("https://localhost/", Some(ForbiddenTarget::Private))]
    #[case("https://LOCALHOST.:8443/", Some(ForbiddenTarget::Private))]
    #[case("https://a.localhost/", Some(ForbiddenTarget::Private))]
    fn an_address_is_checked(#[case] url: &str, #[case] problem: Option<ForbiddenTarget>) {
        assert_eq!(check_url(url, false).err(), problem, "{url}");
    }

    #[test]
    fn an_operator_may_allow_more() {
        for url in ["http://127.0.0.1:9/hook", "http://localhost/", "https://10.0.0.1/"] {
            assert!(check_url(url, true).is_ok(), "{url}");
        }
        assert_eq!(check_url("ftp://127.0.0.1/", true), Err(ForbiddenTarget::NotHttps));
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        assert_eq!(check_url(&long, true), Err(ForbiddenTarget::NotAUrl));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}|https?://[\\[\\]0-9a-fx.:@/]{0,40}") {
            if let Ok(url) = check_url(&text, false) {
                prop_assert_eq!(url.scheme(), "https");
                let address = url.host_str().unwrap().trim_matches(['[', ']']).parse::<IpAddr>();
                prop_assert!(address.map_or(true, is_public));
            }
        }

        /// However an address of version 4 is wrapped, it counts for what it is.
        #[test]
        fn a_wrapped_address_is_as_public_as_itself(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_public(address.to_ipv6_mapped().into()), is_public(address.into()));
            let nat64: Ipv6Addr = format!("64:ff9b::{address}").parse().unwrap();
            prop_assert_eq!(is_public(nat64.into()), is_public(address.into()));
        }
    }
}

//! Addresses and networks of the internet: who may ask, who counts as local, who is a proxy.

use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Addresses and networks of both versions. Written as a list of texts such as `10.0.0.0/8`.
///
/// ```
/// use resultity_core::networks::Networks;
/// let office = Networks::parse(["203.0.113.0/24", "2001:db8::7"])?;
/// assert!(office.contain("203.0.113.9".parse()?));
/// assert!(!office.contain("2001:db8::8".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address or network: expected one such as 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8")]
pub struct InvalidNetwork {
    /// Which of the texts, from 0.
    pub index: usize,
    /// What it says, as far as 64 characters.
    pub text: String,
}

impl Networks {
    /// Reads addresses and networks. Bits behind the prefix don't count; an IPv4 address in IPv6 clothes is the IPv4 address.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, InvalidNetwork> {
        let read = |(index, text): (usize, S)| {
            let text = text.as_ref().trim();
            let address = || text.parse::<IpAddr>().map(|address| address.to_canonical().into());
            let network = text.parse::<IpNet>().or_else(|_| address());
            network.map(|network| network.trunc()).map_err(|_| InvalidNetwork {
                index,
                text: text.chars().take(64).collect(),
            })
        };
        texts
            .into_iter()
            .enumerate()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Each as a text; an address without its length.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|network| {
            if network.prefix_len() == network.max_prefix_len() {
                network.addr().to_string()
            } else {
                network.to_string()
            }
        })
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.texts())
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::parse(texts).map_err(serde::de::Error::custom)
    }
}

/// What is counted as one address: who has one of IPv6 has all of its /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.0.0.1", "10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.2", false)]
    #[case("10.1.2.3/8", "10.9.9.9", true)]
    #[case("0.0.0.0/0", "1.2.3.4", true)]
    #[case("0.0.0.0/0", "::1", false)]
    #[case("::1", "::1", true)]
    #[case("fd00::/8", "fd12::1", true)]
    #[case("10.0.0.0/8", "::ffff:10.0.0.1", true)]
    #[case("::ffff:10.0.0.1", "10.0.0.1", true)]
    fn an_address_is_in_its_networks(#[case] network: &str, #[case] address: &str, #[case] inside: bool) {
        let networks = Networks::parse([network]).unwrap();
        assert_eq!(networks.contain(address.parse().unwrap()), inside);
    }

    #[rstest]
    #[case("")]
    #[case("10.0.0.0/33")]
    #[case("example.org")]
    #[case("10.0.0")]
    fn other_texts_are_refused(#[case] text: &str) {
        let invalid = InvalidNetwork {
            index: 1,
            text: text.to_owned(),
        };
        assert_eq!(Networks::parse(["::1", text]), Err(invalid));
    }

    #[test]
    fn they_are_written_as_texts() {
        let networks = Networks::parse(["10.1.2.3/8", " ::1 ", "10.0.0.1"]).unwrap();
        let json = serde_json::to_value(&networks).unwrap();
        assert_eq!(json, serde_json::json!(["10.0.0.0/8", "::1", "10.0.0.1"]));
        assert_eq!(serde_json::from_value::<Networks>(json).unwrap(), networks);
        serde_json::from_str::<Networks>(r#"["10.0.0"]"#).unwrap_err();
    }
}

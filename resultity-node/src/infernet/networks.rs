//! Addresses and networks: who may ask, who counts as local, who is a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses and networks of both versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address or network: expected one such as 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8")]
pub struct InvalidNetwork(String);

impl Networks {
    /// Reads addresses and networks. Bits behind the prefix don't count.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, InvalidNetwork> {
        let read = |text: S| {
            let text = text.as_ref().trim();
            let network = text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network
                .map(|network| network.trunc())
                .map_err(|_| InvalidNetwork(text.chars().take(64).collect()))
        };
        texts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
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
        assert_eq!(Networks::parse([text]), Err(InvalidNetwork(text.to_owned())));
    }
}

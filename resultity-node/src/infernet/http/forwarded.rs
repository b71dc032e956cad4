//! Who asks: the address at the other end of the connection, or the one that a proxy in between names.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, VIA};
use resultity_core::infernet::NodeError;

use resultity_core::networks::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whose jobs these are.
    pub(super) address: IpAddr,
    /// The other end of the connection.
    peer: IpAddr,
    /// Whether there is, or may be, somebody between the two.
    is_forwarded: bool,
    /// Whether a configured proxy is between the two, and does not say who asks.
    is_unnamed: bool,
}

impl Caller {
    /// Refuses those behind a proxy that names nobody: they would all be one caller, and see each other's jobs.
    pub(super) fn check_named(&self) -> Result<(), NodeError> {
        if self.is_unnamed {
            let message = "X-Forwarded-For: missing, the proxy has to say who asks";
            return Err(NodeError::invalid(message));
        }
        Ok(())
    }

    /// Whether the request comes from this machine or one of these networks.
    ///
    /// A proxy on this machine makes nobody local: what it passes on has to come from one of the networks. Nor does a proxy
    /// that isn't configured as one, as long as it leaves a trace in the headers.
    pub(super) fn is_local(&self, networks: &Networks) -> bool {
        let is_near = |address: IpAddr| address.is_loopback() || networks.contain(address);
        if self.is_forwarded {
            return self.peer != self.address && is_near(self.peer) && networks.contain(self.address);
        }
        is_near(self.peer)
    }
}

/// Finds out who asks. Only configured proxies are believed; of the hops that they name, the last one that is no proxy
/// counts, since everything before it is what that one claims.
pub(super) fn caller(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> Result<Caller, NodeError> {
    let peer = peer.to_canonical();
    let traces = [&X_FORWARDED_FOR, &X_REAL_IP, &FORWARDED, &VIA];
    let mut caller = Caller {
        address: peer,
        peer,
        is_forwarded: traces.into_iter().any(|name| headers.contains_key(name)),
        is_unnamed: false,
    };
    if !caller.is_forwarded || !proxies.contain(peer) {
        return Ok(caller);
    }
    let values: Vec<_> = headers.get_all(&X_FORWARDED_FOR).iter().collect();
    caller.is_unnamed = values.is_empty();
    let hops = values
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let address = std::str::from_utf8(hop).ok().and_then(read);
        let Some(address) = address else {
            return Err(NodeError::invalid("X-Forwarded-For: expected addresses"));
        };
        caller.address = address;
        if !proxies.contain(address) {
            break;
        }
    }
    Ok(caller)
}

/// An address, as proxies write it: some with a port, some in brackets.
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|hop| hop.strip_suffix(']'))
        .unwrap_or(hop);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    /// The caller of a request with these headers, separated by `|`.
    fn ask(peer: &str, forwarded: &str) -> Result<Caller, NodeError> {
        let proxies = Networks::parse(["127.0.0.1", "10.0.0.0/8", "fd00::/8"]).unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded.split('|').filter(|value| !value.is_empty()) {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(X_FORWARDED_FOR, value);
        }
        caller(peer.parse().unwrap(), &headers, &proxies)
    }

    #[rstest]
    #[case::nobody_between("9.9.9.9", "", "9.9.9.9")]
    #[case::a_claim_of_no_proxy("9.9.9.9", "1.1.1.1", "9.9.9.9")]
    #[case::garbage_of_no_proxy("9.9.9.9", "what?", "9.9.9.9")]
    #[case::ipv4_in_ipv6("::ffff:9.9.9.9", "", "9.9.9.9")]
    #[case::a_proxy("127.0.0.1", "1.1.1.1", "1.1.1.1")]
    #[case::a_proxy_in_ipv6("::ffff:127.0.0.1", "::ffff:1.1.1.1", "1.1.1.1")]
    #[case::a_proxy_asks_itself("127.0.0.1", "", "127.0.0.1")]
    #[case::the_last_hop_counts("127.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1")]
    #[case::what_is_claimed_before_is_not_read("127.0.0.1", "what?,,1.1.1.1", "1.1.1.1")]
    #[case::two_proxies("127.0.0.1", "6.6.6.6, 1.1.1.1, 10.2.3.4", "1.1.1.1")]
    #[case::several_headers("127.0.0.1", "6.6.6.6|1.1.1.1,10.2.3.4|fd12::1", "1.1.1.1")]
    #[case::proxies_alone("127.0.0.1", "10.0.0.9, 10.0.0.1", "10.0.0.9")]
    #[case::with_a_port("127.0.0.1", "1.1.1.1:4711", "1.1.1.1")]
    #[case::in_brackets("127.0.0.1", "[2001:db8::1]", "2001:db8::1")]
    #[case::in_brackets_with_a_port("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1")]
    fn the_last_address_that_is_no_proxy_asks(#[case] peer: &str, #[case] forwarded: &str, #[case] expected: &str) {
        let caller = ask(peer, forwarded).unwrap();
        assert_eq!(caller.address, expected.parse::<IpAddr>().unwrap());
    }

    #[rstest]
    #[case("unknown")]
    #[case("1.1.1.1,")]
    #[case("1.1.1.1, _hidden, 10.0.0.1")]
    #[case("fe80::1%eth0")]
    #[case(" ")]
    #[case("é")]
    fn a_proxy_that_names_no_address_is_not_guessed_at(#[case] forwarded: &str) {
        ask("127.0.0.1", forwarded).unwrap_err();
    }

    #[rstest]
    #[case("x-real-ip", "1.1.1.1")]
    #[case("forwarded", "for=1.1.1.1")]
    #[case("via", "1.1 proxy")]
    fn those_behind_a_proxy_that_names_nobody_are_not_one_caller(#[case] name: &str, #[case] value: &str) {
        let proxies = Networks::parse(["127.0.0.1"]).unwrap();
        let name: HeaderName = name.parse().unwrap();
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        let behind = caller("127.0.0.1".parse().unwrap(), &headers, &proxies).unwrap();
        behind.check_named().unwrap_err();
        let of_nobody = caller("9.9.9.9".parse().unwrap(), &headers, &proxies).unwrap();
        of_nobody.check_named().unwrap();
        assert_eq!(of_nobody.address, "9.9.9.9".parse::<IpAddr>().unwrap());
    }

    #[rstest]
    #[case("127.0.0.1", "", true)]
    #[case("::1", "", true)]
    #[case("::ffff:127.0.0.1", "", true)]
    #[case("172.17.0.2", "", true)]
    #[case("9.9.9.9", "", false)]
    #[case::from_afar_through_the_proxy("127.0.0.1", "9.9.9.9", false)]
    #[case::itself_through_the_proxy("127.0.0.1", "127.0.0.1", false)]
    #[case::a_claim_through_the_proxy("127.0.0.1", "127.0.0.1, 9.9.9.9", false)]
    #[case::a_network_through_the_proxy("127.0.0.1", "172.17.0.2", true)]
    #[case::a_proxy_from_afar("10.0.0.1", "172.17.0.2", false)]
    #[case::through_an_unknown_proxy("::1", "9.9.9.9", false)]
    #[case::through_an_unknown_proxy_with_a_claim("::1", "172.17.0.2", false)]
    fn only_neighbours_are_local(#[case] peer: &str, #[case] forwarded: &str, #[case] expected: bool) {
        let networks = Networks::parse(["172.17.0.0/16"]).unwrap();
        assert_eq!(ask(peer, forwarded).unwrap().is_local(&networks), expected);
    }
}

//! Where a request comes from: the address at the other end of the connection, or the one that a proxy in between names.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName, VIA};
use resultity_core::networks::Networks;

use crate::http::{App, Peer};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The address of whoever asks: that of the connection, or the one that a trusted proxy names. A proxy that names nobody
/// counts as whoever asks.
pub(super) fn of(app: &App, peer: Peer, headers: &HeaderMap) -> IpAddr {
    known(app, peer, headers).unwrap_or_else(|| peer.0.ip().to_canonical())
}

/// The same where nothing may be guessed: none, if a trusted proxy passed the request on and does not say for whom.
pub(super) fn known(app: &App, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
    asker(peer.0.ip(), headers, &app.trusted_proxies)
}

/// Only configured proxies are believed; of the hops that they name, the last one that is no proxy counts, since everything
/// before it is what that one claims.
fn asker(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    let traces = [&X_FORWARDED_FOR, &X_REAL_IP, &FORWARDED, &VIA];
    let is_forwarded = || traces.into_iter().any(|name| headers.contains_key(name));
    if !proxies.contain(peer) || !is_forwarded() {
        return Some(peer);
    }
    let values: Vec<_> = headers.get_all(&X_FORWARDED_FOR).iter().collect();
    let hops = values
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut last = None;
    for hop in hops {
        let address = std::str::from_utf8(hop).ok().and_then(read)?;
        last = Some(address);
        if !proxies.contain(address) {
            break;
        }
    }
    last
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
    use axum::http::HeaderValue;
    use rstest::rstest;

    fn ask(peer: &str, headers: &[(&'static str, &str)]) -> Option<IpAddr> {
        let proxies = Networks::parse(["10.0.0.0/8", "::1"]).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        asker(peer.parse().unwrap(), &map, &proxies)
    }

    #[rstest]
    #[case::nobody_in_between("203.0.113.1", &[], "203.0.113.1")]
    #[case::a_stranger_claims_another_address("203.0.113.1", &[("x-forwarded-for", "1.1.1.1")], "203.0.113.1")]
    #[case::a_proxy("10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1")]
    #[case::a_proxy_in_other_clothes("::ffff:10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1")]
    #[case::a_proxy_asks_itself("10.0.0.1", &[], "10.0.0.1")]
    #[case::what_the_asker_claims("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.1.1.1")], "1.1.1.1")]
    #[case::rubbish_of_the_asker("10.0.0.1", &[("x-forwarded-for", "rubbish, 1.1.1.1")], "1.1.1.1")]
    #[case::in_two_headers("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1")]
    #[case::two_proxies("::1", &[("x-forwarded-for", "1.1.1.1, 10.0.0.9")], "1.1.1.1")]
    #[case::with_ports("::1", &[("x-forwarded-for", "[2001:db8::1]:443")], "2001:db8::1")]
    #[case::in_brackets("::1", &[("x-forwarded-for", "[2001:db8::1]")], "2001:db8::1")]
    #[case::from_within("::1", &[("x-forwarded-for", "10.0.0.7")], "10.0.0.7")]
    fn the_last_address_that_is_no_proxy_asks(
        #[case] peer: &str,
        #[case] headers: &[(&'static str, &str)],
        #[case] expected: &str,
    ) {
        assert_eq!(ask(peer, headers), Some(expected.parse().unwrap()));
    }

    #[rstest]
    #[case::no_address(&[("x-forwarded-for", "unknown")])]
    #[case::empty(&[("x-forwarded-for", "")])]
    #[case::another_header(&[("x-real-ip", "1.1.1.1")])]
    #[case::rubbish_behind_a_proxy(&[("x-forwarded-for", "rubbish, 10.0.0.9")])]
    #[case::passed_on(&[("via", "1.1 proxy")])]
    fn a_proxy_that_names_no_address_is_not_guessed_at(#[case] headers: &[(&'static str, &str)]) {
        assert_eq!(ask("10.0.0.1", headers), None);
    }
}

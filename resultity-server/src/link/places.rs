//! How many may be in at once: connections, handshakes, links; in all, and from one network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::networks::{Networks, network_of};
use serde::Deserialize;
use tokio::time::Instant;

/// How often at most the log says that something was full.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// How many connections there may be. Of one address always means of its /64, where it is one of IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections in all. What comes beyond them is closed at once. A quarter of as many links may be of nodes that nobody
    /// has bound.
    pub total: NonZeroU32,
    /// Connections of one address, unless it is a trusted proxy; and links of nodes of one address, by the address that a
    /// trusted proxy names.
    pub per_address: NonZeroU32,
    /// Nodes that have connected and whose hello was not accepted yet, in all.
    pub handshakes: NonZeroU32,
    /// The same of one address.
    pub handshakes_per_address: NonZeroU32,
    /// How many nodes of one address may be refused a minute; twice as many at once. After that none of it is heard.
    pub failed_handshakes_per_minute: NonZeroU32,
    /// The addresses that are counted in all alone.
    pub exempt: Networks,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let count = |count: u32| NonZeroU32::MIN.saturating_add(count - 1);
        Self {
            total: count(16_384),
            per_address: count(512),
            handshakes: count(2048),
            handshakes_per_address: count(64),
            failed_handshakes_per_minute: count(60),
            exempt: Networks::parse(["127.0.0.0/8", "::1"]).expect("they are networks"),
        }
    }
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All places are taken.
    All,
    /// This network has as many as one may.
    Network,
}

impl Full {
    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "total",
            Self::Network => "address",
        }
    }
}

/// Places that are taken for a while. What finds none is counted, and now and then logged.
#[derive(Debug)]
pub struct Places {
    name: &'static str,
    most: NonZeroU32,
    most_of_one: NonZeroU32,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_network: HashMap<IpAddr, u32>,
    logged: Option<Instant>,
    refused: u64,
}

impl Places {
    /// All are free. The name is for the log and the counter.
    pub fn new(name: &'static str, most: NonZeroU32, most_of_one: NonZeroU32) -> Arc<Self> {
        Arc::new(Self {
            name,
            most,
            most_of_one,
            taken: Mutex::default(),
        })
    }

    /// One of them, until what is given is dropped. Without an address only the sum counts.
    pub fn take(self: &Arc<Self>, from: Option<IpAddr>) -> Result<Place, Full> {
        let network = from.map(network_of);
        let mut taken = self.lock();
        let of_network = network.and_then(|network| taken.by_network.get(&network).copied());
        let full = if taken.all >= self.most.get() {
            Full::All
        } else if of_network.unwrap_or_default() >= self.most_of_one.get() {
            Full::Network
        } else {
            taken.all += 1;
            if let Some(network) = network {
                *taken.by_network.entry(network).or_default() += 1;
            }
            return Ok(Place {
                places: Arc::clone(self),
                network,
            });
        };
        self.refused(&mut taken, full);
        Err(full)
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.lock().all
    }

    fn refused(&self, taken: &mut Taken, full: Full) {
        metrics::counter!("resultity_connections_refused_total", "at" => self.name, "full" => full.as_str())
            .increment(1);
        taken.refused += 1;
        let now = Instant::now();
        if taken
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_EVERY)
        {
            taken.logged = Some(now);
            let refused = std::mem::take(&mut taken.refused);
            tracing::warn!(
                at = self.name,
                full = full.as_str(),
                refused,
                "there are too many connections"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    network: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(network) = self.network
            && let Some(count) = taken.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: u32, of_one: u32) -> Arc<Places> {
        Places::new("test", most.try_into().unwrap(), of_one.try_into().unwrap())
    }

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_network_has_no_more_than_its_share_and_all_no_more_than_there_are() {
        let places = places(4, 2);
        let first = places.take(Some(from("2001:db8::1"))).unwrap();
        let _second = places.take(Some(from("2001:db8::2"))).unwrap();
        assert_eq!(
            places.take(Some(from("2001:db8::3"))).unwrap_err(),
            Full::Network,
            "one /64"
        );
        let third = places.take(Some(from("2001:db8:0:1::1"))).unwrap();
        let _fourth = places.take(Some(from("::ffff:192.0.2.1"))).unwrap();
        assert_eq!(places.take(Some(from("198.51.100.1"))).unwrap_err(), Full::All);
        drop(third);
        drop(first);
        let _again = places.take(Some(from("2001:db8::3"))).unwrap();
        assert_eq!(places.taken(), 3);
        assert_eq!(places.lock().by_network.len(), 2, "who has none is forgotten");
    }

    #[test]
    fn without_an_address_only_the_sum_counts() {
        let places = places(3, 1);
        let _taken: Vec<_> = (0..3).map(|_| places.take(None).unwrap()).collect();
        assert_eq!(places.take(None).unwrap_err(), Full::All);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_logged_once_a_minute() {
        let places = places(1, 1);
        let _taken = places.take(None).unwrap();
        let unlogged = || {
            places.take(None).unwrap_err();
            places.lock().refused
        };
        assert_eq!([unlogged(), unlogged(), unlogged()], [0, 1, 2]);
        tokio::time::advance(LOG_EVERY).await;
        assert_eq!([unlogged(), unlogged()], [0, 1]);
    }
}

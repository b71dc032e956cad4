//! Before a node has said who it is: how many may try at once, how often an address may fail, how much may be sent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::limits::{Meter, Rate, Refusal};
use resultity_core::networks::network_of;
use resultity_core::wire::MAX_HELLO_BYTES;
use tokio::time::Instant;

use crate::link::allowance::Allowance;
use crate::link::places::{ConnectionLimits, Full, Place, Places};

/// When to come back if there is no place.
const COME_BACK_AFTER: Duration = Duration::from_secs(5);

/// The time in which as many come as may fail at once: seconds.
const BURST: NonZeroU32 = NonZeroU32::new(120).expect("it is not 0");

/// How many addresses have to be known before those that failed long ago are looked for.
const SWEEP_FROM: usize = 4096;

/// How much a node that nobody has bound may send a minute: enough for its heartbeats.
const STRANGERS_BYTES: u64 = 512 * 1024;

/// For how long that is.
pub(super) const STRANGERS_PAUSE: Duration = Duration::from_mins(1);

/// Where nodes come in.
#[derive(Debug)]
pub struct Entrance {
    links: Arc<Places>,
    /// Those that nobody has bound: a quarter of all.
    strangers: Arc<Places>,
    handshakes: Arc<Places>,
    failures: Failures,
}

impl Entrance {
    /// Nobody is in yet.
    pub fn new(limits: &ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            links: Places::new("links", limits.total, limits.per_address),
            strangers: Places::new("unbound", quarter_of(limits.total), limits.per_address),
            handshakes: Places::new("handshakes", limits.handshakes, limits.handshakes_per_address),
            failures: Failures::new(limits.failed_handshakes_per_minute),
        })
    }

    /// A node from this address (none: it is not counted by its address) wants to begin; what it may send is bounded from
    /// now on. Refused: there is no place, or too many from there were turned away.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, allowance: Allowance) -> Result<Entering, ApiError> {
        if let Some(after) = address.and_then(|address| self.failures.wait(address)) {
            let message = "too many nodes from this address were refused: try again later";
            return Err(ApiError::new(ErrorCode::RateLimitExceeded, message).with_retry_after(after));
        }
        let full = |_| {
            let message = "there are too many nodes, or too many from this address: try again later";
            ApiError::new(ErrorCode::NoCapacity, message).with_retry_after(COME_BACK_AFTER)
        };
        let link = self.links.take(address).map_err(full)?;
        let handshake = self.handshakes.take(address).map_err(full)?;
        allowance.bound(MAX_HELLO_BYTES as u64);
        Ok(Entering {
            entrance: Arc::clone(self),
            address,
            allowance,
            link,
            handshake,
        })
    }

    /// How many are between their connection and the acceptance of their hello.
    pub fn in_handshake(&self) -> u32 {
        self.handshakes.taken()
    }
}

/// A node that has not said hello yet.
#[derive(Debug)]
pub struct Entering {
    entrance: Arc<Entrance>,
    address: Option<IpAddr>,
    allowance: Allowance,
    link: Place,
    handshake: Place,
}

impl Entering {
    /// Its hello was accepted. If somebody has bound it, it may send what it likes; else little, and it is refused if too
    /// many are there that nobody has bound.
    pub(super) fn let_in(self, is_bound: bool) -> Result<Linked, Full> {
        let mut linked = self.known();
        if !is_bound {
            linked.unbound()?;
        }
        Ok(linked)
    }

    /// It is known who it is, and it may send what it likes. What is given is its place, for as long as it lasts.
    pub(super) fn known(self) -> Linked {
        self.allowance.lift();
        drop(self.handshake);
        Linked {
            entrance: self.entrance,
            address: self.address,
            allowance: self.allowance,
            _link: self.link,
            stranger: None,
        }
    }

    /// It was turned away for what it did.
    pub(super) fn failed(&self) {
        if let Some(address) = self.address {
            self.entrance.failures.count(address);
        }
    }
}

/// A node that was let in: its place.
#[derive(Debug)]
pub(super) struct Linked {
    entrance: Arc<Entrance>,
    address: Option<IpAddr>,
    allowance: Allowance,
    _link: Place,
    /// Its place among those that nobody has bound.
    stranger: Option<Place>,
}

impl Linked {
    /// Whether it is treated as one that nobody has bound.
    pub(super) const fn is_stranger(&self) -> bool {
        self.stranger.is_some()
    }

    /// Somebody has bound it: it may send what it likes.
    pub(super) fn bound(&mut self) {
        if self.stranger.take().is_some() {
            self.allowance.lift();
        }
    }

    /// Nobody has bound it: from now on it may send little. Refused: there are too many such.
    pub(super) fn unbound(&mut self) -> Result<(), Full> {
        self.stranger = Some(self.entrance.strangers.take(self.address)?);
        self.allow_more();
        Ok(())
    }

    /// Another minute has begun.
    pub(super) fn allow_more(&self) {
        if self.is_stranger() {
            self.allowance.bound(STRANGERS_BYTES);
        }
    }

    /// It ends for what it did. Of one that nobody has bound that counts as if it had been turned away.
    pub(super) fn failed(&self) {
        if let Some(address) = self.address.filter(|_| self.is_stranger()) {
            self.entrance.failures.count(address);
        }
    }

    /// Whether it has sent all that it may.
    pub(super) fn is_used_up(&self) -> bool {
        self.allowance.is_used_up()
    }
}

fn quarter_of(all: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new(all.get() / 4).unwrap_or(NonZeroU32::MIN)
}

/// How often handshakes failed, by network.
#[derive(Debug)]
struct Failures {
    begun: Instant,
    rate: Rate,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    used: HashMap<IpAddr, Meter>,
    sweep_at: usize,
}

impl Failures {
    fn new(per_minute: NonZeroU32) -> Self {
        Self {
            begun: Instant::now(),
            rate: Rate::per_minute(per_minute, BURST),
            known: Mutex::default(),
        }
    }

    /// How long nothing from there is heard, if it failed too often.
    fn wait(&self, address: IpAddr) -> Option<Duration> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = known.used.get(&network_of(address))?;
        match meter.check(self.begun.elapsed(), self.rate, 1) {
            Ok(()) | Err(Refusal::Never) => None,
            Err(Refusal::Wait(after)) => Some(after),
        }
    }

    fn count(&self, address: IpAddr) {
        metrics::counter!("resultity_handshakes_failed_total").increment(1);
        let now = self.begun.elapsed();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = known.used.entry(network_of(address)).or_default();
        meter.take(now, self.rate, 1);
        if known.used.len() >= known.sweep_at.max(SWEEP_FROM) {
            known.used.retain(|_, meter| !meter.is_unused(now));
            known.sweep_at = known.used.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrance(change: impl FnOnce(&mut ConnectionLimits)) -> Arc<Entrance> {
        let mut limits = ConnectionLimits::default();
        change(&mut limits);
        Entrance::new(&limits)
    }

    fn refused(entered: Result<Entering, ApiError>) -> (ErrorCode, Option<Duration>) {
        let error = entered.expect_err("it should have been refused");
        (error.code, error.retry_after)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let entrance = entrance(|limits| limits.failed_handshakes_per_minute = NonZeroU32::MIN);
        let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(|text| Some(text.parse().unwrap()));
        let enter = |address| entrance.enter(address, Allowance::default());
        for address in [bad, bad, None, None, None] {
            enter(address).unwrap().failed();
        }
        let (code, after) = refused(enter(bad));
        assert_eq!(code, ErrorCode::RateLimitExceeded);
        assert!(enter(good).is_ok() && enter(None).is_ok());
        tokio::time::advance(after.unwrap()).await;
        assert!(enter(bad).is_ok());
        assert_eq!(entrance.in_handshake(), 0);
    }

    #[test]
    fn an_accepted_node_leaves_the_handshake_and_stays_counted() {
        let entrance = entrance(|limits| {
            limits.per_address = NonZeroU32::MIN;
            limits.handshakes = NonZeroU32::MIN;
        });
        let address = Some("192.0.2.1".parse().unwrap());
        let other = Some("192.0.2.2".parse().unwrap());
        let allowance = Allowance::default();
        let entering = entrance.enter(address, allowance.clone()).unwrap();
        allowance.used(MAX_HELLO_BYTES);
        assert!(allowance.is_used_up());
        let full = (ErrorCode::NoCapacity, Some(COME_BACK_AFTER));
        assert_eq!(refused(entrance.enter(other, Allowance::default())), full);
        let place = entering.let_in(true).unwrap();
        assert!(!allowance.is_used_up() && entrance.in_handshake() == 0);
        assert_eq!(refused(entrance.enter(address, Allowance::default())), full);
        assert!(entrance.enter(other, Allowance::default()).is_ok());
        drop(place);
        assert!(entrance.enter(address, Allowance::default()).is_ok());
    }

    #[test]
    fn nodes_that_nobody_has_bound_have_a_quarter_of_the_places_and_may_send_little() {
        let entrance = entrance(|limits| limits.total = NonZeroU32::new(9).unwrap());
        let allowance = Allowance::default();
        let enter = |allowance: &Allowance| entrance.enter(None, allowance.clone()).unwrap();
        let mut first = enter(&allowance).let_in(false).unwrap();
        let mut second = enter(&Allowance::default()).let_in(false).unwrap();
        assert_eq!(enter(&Allowance::default()).let_in(false).unwrap_err(), Full::All);
        let mut known = enter(&Allowance::default()).let_in(true).unwrap();
        assert_eq!(known.unbound().unwrap_err(), Full::All);
        allowance.used(STRANGERS_BYTES as usize);
        assert!(first.is_used_up() && !second.is_used_up());
        first.allow_more();
        assert!(!first.is_used_up());
        // Bound, it is as any other, and leaves its place.
        first.bound();
        allowance.used(STRANGERS_BYTES as usize);
        assert!(!first.is_used_up() && !first.is_stranger());
        assert!(known.unbound().is_ok() && known.is_stranger());
        second.bound();
        assert_eq!(entrance.strangers.taken(), 1);
    }
}

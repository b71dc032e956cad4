//! How often one address may call one route.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resultity_core::limits::{Meter, Rate, Refusal};
use tokio::time::Instant;

use super::routes::Route;
use crate::infernet::config::settings::RateLimit;

/// How many meters there have to be before those that are unused are looked for.
const SWEEP_FROM: usize = 1024;

/// How long to wait after a sweep: where all meters are in use, each newcomer would begin another.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// How many meters there are at most: some megabytes. Whoever comes when all are in use shares one.
const MAX_METERS: usize = 65_536;

/// Who is counted: IPv4 by address, IPv6 by the /64 that a provider gives to one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Known(IpAddr),
    AnyoneElse,
}

impl From<IpAddr> for Who {
    fn from(address: IpAddr) -> Self {
        Self::Known(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            IpAddr::V4(address) => IpAddr::V4(address),
        })
    }
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Requests at once, when none were made for a while.
    pub(super) limit: u64,
    /// Requests that could be made now.
    pub(super) remaining: u64,
    /// When all of them are there again.
    pub(super) reset: Duration,
}

/// The limits of all callers.
pub(super) struct Limits {
    rate: Rate,
    begun: Instant,
    meters: Mutex<Meters>,
}

struct Meters {
    used: HashMap<(Route, Who), Meter>,
    /// How many there have to be before the next sweep, and how late it has to be.
    sweep_at: usize,
    sweep_from: Duration,
}

impl Limits {
    pub(super) fn new(limit: RateLimit) -> Self {
        let requests = NonZeroU32::new(limit.requests).unwrap_or(NonZeroU32::MIN);
        Self {
            rate: Rate::per_period(requests, limit.period),
            begun: Instant::now(),
            meters: Mutex::new(Meters {
                used: HashMap::new(),
                sweep_at: SWEEP_FROM,
                sweep_from: Duration::ZERO,
            }),
        }
    }

    /// Counts a request, and says what is left; or, if it is one too many, how long to wait.
    pub(super) fn count(&self, route: Route, caller: IpAddr) -> (Left, Option<Duration>) {
        let now = self.begun.elapsed();
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.meter(route, caller.into(), now);
        let wait = match meter.check(now, self.rate, 1) {
            Ok(()) => {
                meter.take(now, self.rate, 1);
                None
            }
            Err(Refusal::Wait(wait)) => Some(wait),
            Err(Refusal::Never) => Some(Duration::MAX),
        };
        let left = Left {
            limit: self.rate.burst(),
            remaining: meter.remaining(now, self.rate),
            reset: meter.reset(now),
        };
        (left, wait)
    }
}

impl Meters {
    fn meter(&mut self, route: Route, who: Who, now: Duration) -> &mut Meter {
        let mut key = (route, who);
        if self.used.len() >= self.sweep_at && !self.used.contains_key(&key) {
            if now >= self.sweep_from {
                self.used.retain(|_, meter| !meter.is_unused(now));
                self.sweep_at = (self.used.len() * 2).clamp(SWEEP_FROM, MAX_METERS);
                self.sweep_from = now + SWEEP_PAUSE;
            }
            if self.used.len() >= MAX_METERS {
                key.1 = Who::AnyoneElse;
            }
        }
        self.used.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_mins(1);

    fn limits(requests: u32) -> Limits {
        Limits::new(RateLimit {
            requests,
            period: PERIOD,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_request_of_a_period_is_let_through_and_the_next_is_not() {
        let limits = limits(60);
        let caller = "1.2.3.4".parse().unwrap();
        for made in 1..=60 {
            let (left, wait) = limits.count(Route::Health, caller);
            let expected = Left {
                limit: 60,
                remaining: 60 - made,
                reset: Duration::from_secs(made),
            };
            assert_eq!((left, wait), (expected, None));
        }
        let (left, wait) = limits.count(Route::Health, caller);
        assert_eq!((left.remaining, wait), (0, Some(Duration::from_secs(1))));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limits.count(Route::Health, caller).1, None);
        assert!(limits.count(Route::Health, caller).1.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn routes_and_callers_are_counted_apart_but_a_network_of_one_customer_is_not() {
        let limits = limits(1);
        let is_let = |route, caller: &str| limits.count(route, caller.parse().unwrap()).1.is_none();
        assert!(is_let(Route::Health, "1.2.3.4"));
        assert!(!is_let(Route::Health, "::ffff:1.2.3.4"));
        assert!(is_let(Route::Info, "1.2.3.4"));
        assert!(is_let(Route::Health, "1.2.3.5"));
        assert!(is_let(Route::Health, "2001:db8::1"));
        assert!(!is_let(Route::Health, "2001:db8::2:0:0:1"));
        assert!(is_let(Route::Health, "2001:db8:0:1::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_take_bounded_memory() {
        let limits = limits(1);
        let callers = |from: u32| (from..from + 2 * MAX_METERS as u32).map(|bits| IpAddr::from(bits.to_be_bytes()));
        let let_through = callers(0).filter(|caller| limits.count(Route::Health, *caller).1.is_none());
        // All others share one meter.
        assert_eq!(let_through.count(), MAX_METERS + 1);
        assert_eq!(limits.meters.lock().unwrap().used.len(), MAX_METERS + 1);
        tokio::time::advance(PERIOD).await;
        assert!(limits.count(Route::Health, "9.9.9.9".parse().unwrap()).1.is_none());
        assert!(limits.meters.lock().unwrap().used.len() < SWEEP_FROM);
    }
}

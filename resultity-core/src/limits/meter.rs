//! A steady rate with a burst: the generic cell rate algorithm (ITU-T I.371), as a number that says until when
//! everything is used.
//!
//! Written here rather than taken from a library because a request has to pass several limits and must take nothing
//! from any if one refuses it: that needs asking without taking, which the libraries at hand don't offer.

use std::num::NonZeroU32;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

/// How fast, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    units: NonZeroU32,
    /// The time in which that many come: nanoseconds, at least one.
    period: u128,
    /// The burst as the time in which it comes again: nanoseconds. At least enough for one unit.
    capacity: u128,
}

impl Rate {
    /// This many a minute, and at once what comes in `burst_seconds`; never less than one.
    pub fn per_minute(units: NonZeroU32, burst_seconds: NonZeroU32) -> Self {
        Self::new(units, MINUTE, Duration::from_secs(burst_seconds.get().into()))
    }

    /// This many in each period (at least a nanosecond), or all of them at once.
    pub fn per_period(units: NonZeroU32, period: Duration) -> Self {
        Self::new(units, period, period)
    }

    fn new(units: NonZeroU32, period: Duration, burst: Duration) -> Self {
        let period = period.as_nanos().max(1);
        // Rounded up, so that one unit is never more than what fits.
        let one = period.div_ceil(u128::from(units.get()));
        Self {
            units,
            period,
            capacity: burst.as_nanos().max(one),
        }
    }

    /// How many a minute, or in each period.
    pub fn units(self) -> u32 {
        self.units.get()
    }

    /// How many at once, when none were used for a while.
    pub fn burst(self) -> u64 {
        self.amount(self.capacity)
    }

    fn amount(self, nanos: u128) -> u64 {
        (nanos * u128::from(self.units.get()) / self.period) as u64
    }

    /// Rounded down, so that a whole burst always fits.
    fn cost(self, amount: u64) -> u128 {
        u128::from(amount) * self.period / u128::from(self.units.get())
    }
}

/// Why not. The larger, the longer it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// There is room after this time, unless others take it.
    Wait(Duration),
    /// It is more than a burst.
    Never,
}

/// What was used of a rate: the moment when all of it is there again, in nanoseconds. The rate itself is not kept, so
/// that a change of it counts at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    full_at: u128,
}

impl Meter {
    fn used(self, now: Duration) -> u128 {
        self.full_at.saturating_sub(now.as_nanos())
    }

    /// Whether this much can be taken now. It is not taken.
    pub fn check(self, now: Duration, rate: Rate, amount: u64) -> Result<(), Refusal> {
        let cost = rate.cost(amount);
        if cost > rate.capacity {
            return Err(Refusal::Never);
        }
        match (self.used(now) + cost).saturating_sub(rate.capacity) {
            0 => Ok(()),
            over => Err(Refusal::Wait(Duration::from_nanos(
                u64::try_from(over).unwrap_or(u64::MAX),
            ))),
        }
    }

    /// Takes this much.
    pub fn take(&mut self, now: Duration, rate: Rate, amount: u64) {
        self.full_at = self.full_at.max(now.as_nanos()) + rate.cost(amount);
    }

    /// How much could be taken now.
    pub fn remaining(self, now: Duration, rate: Rate) -> u64 {
        rate.amount(rate.capacity.saturating_sub(self.used(now)))
    }

    /// When all of it is there again.
    pub fn reset(self, now: Duration) -> Duration {
        Duration::from_nanos(u64::try_from(self.used(now)).unwrap_or(u64::MAX))
    }

    /// Whether all of it is there.
    pub fn is_unused(self, now: Duration) -> bool {
        self.used(now) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(per_minute: u32, burst_seconds: u32) -> Rate {
        Rate::per_minute(
            NonZeroU32::new(per_minute).unwrap(),
            NonZeroU32::new(burst_seconds).unwrap(),
        )
    }

    #[test]
    fn a_burst_goes_through_at_once_and_then_the_steady_rate() {
        let (rate, mut meter) = (rate(60, 5), Meter::default());
        let at = Duration::from_secs;
        assert_eq!(rate.burst(), 5);
        for left in (0..5).rev() {
            assert_eq!(meter.check(at(0), rate, 1), Ok(()));
            meter.take(at(0), rate, 1);
            assert_eq!(meter.remaining(at(0), rate), left);
        }
        assert_eq!(meter.check(at(0), rate, 1), Err(Refusal::Wait(at(1))));
        assert_eq!(meter.check(at(0), rate, 3), Err(Refusal::Wait(at(3))));
        assert_eq!(meter.check(at(0), rate, 6), Err(Refusal::Never));
        assert_eq!(meter.reset(at(0)), at(5));
        assert_eq!(meter.check(at(1), rate, 1), Ok(()));
        assert_eq!(meter.check(at(1), rate, 2), Err(Refusal::Wait(at(1))));
        assert!(!meter.is_unused(at(4)));
        assert!(meter.is_unused(at(5)));
        assert_eq!(meter.remaining(at(100), rate), 5);
    }

    #[test]
    fn a_period_is_its_own_burst() {
        let rate = Rate::per_period(NonZeroU32::new(3).unwrap(), Duration::from_secs(10));
        assert_eq!((rate.burst(), rate.units()), (3, 3));
        let mut meter = Meter::default();
        for _ in 0..3 {
            assert_eq!(meter.check(Duration::ZERO, rate, 1), Ok(()));
            meter.take(Duration::ZERO, rate, 1);
        }
        let wait = Duration::from_nanos(3_333_333_333);
        assert_eq!(
            meter.check(Duration::ZERO, rate, 1),
            Err(Refusal::Wait(wait.saturating_sub(Duration::from_nanos(1))))
        );
        assert_eq!(meter.check(wait, rate, 1), Ok(()));
        assert_eq!(Rate::per_period(NonZeroU32::MIN, Duration::ZERO).burst(), 1);
    }

    #[test]
    fn the_slowest_rate_lets_one_through() {
        let rate = rate(1, 1);
        assert_eq!(rate.burst(), 1);
        assert_eq!(Meter::default().check(Duration::ZERO, rate, 1), Ok(()));
    }

    proptest! {
        #[test]
        fn a_whole_burst_fits_and_no_more(per_minute in 1_u32.., burst_seconds in 1_u32..100_000, one_by_one in 1_u64..50) {
            let rate = rate(per_minute, burst_seconds);
            let (now, mut meter) = (Duration::from_secs(1), Meter::default());
            let burst = rate.burst();
            prop_assert!(burst >= 1);
            let first = one_by_one.min(burst - 1);
            for _ in 0..first {
                prop_assert_eq!(meter.check(now, rate, 1), Ok(()));
                meter.take(now, rate, 1);
            }
            prop_assert_eq!(meter.check(now, rate, burst - first), Ok(()));
            meter.take(now, rate, burst - first);
            // Costs are rounded down to a nanosecond each.
            prop_assert!(meter.remaining(now, rate) <= 1 + first / 10);
            prop_assert!(meter.is_unused(now + Duration::from_secs(u64::from(burst_seconds).max(60))));
        }

        #[test]
        fn after_the_wait_it_fits(per_minute in 1_u32..1_000_000, burst_seconds in 1_u32..600, amounts in prop::collection::vec(0_u64..10_000, 1..50)) {
            let rate = rate(per_minute, burst_seconds);
            let (mut now, mut meter) = (Duration::ZERO, Meter::default());
            let (mut taken, start) = (0_u128, now);
            for amount in amounts {
                match meter.check(now, rate, amount) {
                    Ok(()) => {}
                    Err(Refusal::Never) => {
                        prop_assert!(amount > rate.burst());
                        continue;
                    }
                    Err(Refusal::Wait(wait)) => now += wait,
                }
                prop_assert_eq!(meter.check(now, rate, amount), Ok(()));
                meter.take(now, rate, amount);
                taken += u128::from(amount);
                // Never more than the burst and what came since, but for the rounding.
                let allowed = u128::from(rate.burst()) + 51 + now.saturating_sub(start).as_nanos() * u128::from(per_minute) / MINUTE.as_nanos();
                prop_assert!(taken <= allowed, "{taken} > {allowed}");
            }
        }
    }
}

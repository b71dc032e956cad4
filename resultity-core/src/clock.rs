//! Time and randomness as inputs: leases, expiry and nonces are tested without sleeping or luck.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A point in time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point this many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as OpenAI's `created` has them.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This point moved into the future, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time now, and how much of its millisecond is over in parts of 4096 (0–4095): what is asked for later in one thread
    /// is never smaller. A clock that knows no finer time than [`now`](Self::now) says 0.
    fn fine(&self) -> (Timestamp, u16) {
        (self.now(), 0)
    }
}

/// Gives random bytes fit for keys and tokens.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn fine(&self) -> (Timestamp, u16) {
        let nanos = jiff::Timestamp::now().as_nanosecond();
        let part = nanos.rem_euclid(1_000_000) * 4096 / 1_000_000;
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        (Timestamp(millis), u16::try_from(part).unwrap_or_default())
    }
}

/// The operating system's source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives randomness, or nothing here is safe");
    }
}

/// A clock that moves when it is told to. Each look at its [`fine`](Clock::fine) time takes one part of the millisecond, up to the last.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicI64,
    looks: AtomicU16,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self {
            millis: AtomicI64::new(start.0),
            looks: AtomicU16::new(0),
        }
    }

    /// Moves it forward.
    pub fn advance(&self, duration: Duration) {
        self.millis.fetch_add(
            i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
            Ordering::SeqCst,
        );
        if !duration.is_zero() {
            self.looks.store(0, Ordering::SeqCst);
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.millis.load(Ordering::SeqCst))
    }

    fn fine(&self) -> (Timestamp, u16) {
        let next = |looks: u16| Some((looks + 1).min(4095));
        let looks = self.looks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        (self.now(), looks.unwrap_or(4095))
    }
}

/// The same bytes for the same seed: for tests and simulators, never for keys.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: AtomicU64,
    rest: Mutex<Vec<u8>>,
}

impl SeededEntropy {
    /// A source that starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            counter: AtomicU64::new(0),
            rest: Mutex::new(Vec::new()),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let mut rest = self.rest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for byte in buffer {
            if rest.is_empty() {
                let block = self.counter.fetch_add(1, Ordering::Relaxed);
                let digest = Sha256::new()
                    .chain_update(self.seed.to_be_bytes())
                    .chain_update(block.to_be_bytes());
                rest.extend_from_slice(&digest.finalize());
            }
            *byte = rest.pop().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_entropy_repeats_and_differs_by_seed() {
        let bytes = |seed| {
            let mut buffer = [0; 40];
            SeededEntropy::new(seed).fill(&mut buffer);
            buffer
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn a_timestamp_is_shown_in_utc() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_millis(5).since(Timestamp::from_millis(9)),
            Duration::ZERO
        );
    }
}

//! How often something that could be guessed may be tried: by subject (an account, a code's owner) and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::canonical::sha256;
use resultity_core::clock::{Clock, Timestamp};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;
use resultity_core::limits::{Meter, Rate, Refusal};
use resultity_core::networks::network_of;

/// How many meters there have to be before those that are full are looked for.
const SWEEP_FROM: usize = 4096;

/// How much of a minute's calls may come at once: seconds.
const CALL_BURST: NonZeroU32 = NonZeroU32::new(30).expect("it is not 0");

/// How much more often a subject may be tried from all networks together than from one.
const EVERYWHERE: u32 = 6;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempted {
    /// A password.
    Password,
    /// A code of a second factor, or a recovery code.
    SecondFactor,
    /// A code that was sent by mail.
    MailCode,
    /// A letter that is to be sent.
    Letter,
    /// The code of a node that is to be bound.
    JoinCode,
    /// A voucher.
    Voucher,
    /// A new account.
    SignUp,
    /// A question before signing in with a wallet.
    WalletChallenge,
}

impl Attempted {
    /// How many a minute, and how many at once: for one subject, and for one address.
    const fn rates(self) -> ((u32, u32), (u32, u32)) {
        match self {
            Self::Password => ((5, 10), (30, 60)),
            Self::SecondFactor | Self::MailCode => ((3, 6), (20, 40)),
            Self::Letter => ((1, 3), (10, 20)),
            Self::JoinCode | Self::Voucher => ((6, 12), (20, 40)),
            Self::SignUp => ((5, 10), (10, 20)),
            Self::WalletChallenge => ((30, 60), (60, 120)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    Caller(AccountId),
    /// A subject as it is tried from one network: a stranger elsewhere does not keep its owner out.
    Subject(Attempted, B256, IpAddr),
    /// A subject, from wherever it is tried.
    Everywhere(Attempted, B256),
    Address(Attempted, IpAddr),
}

#[derive(Debug)]
struct State {
    seen: Timestamp,
    elapsed: Duration,
    used: HashMap<Whose, Meter>,
    sweep_at: usize,
}

/// How often what could be guessed was tried.
#[derive(Debug)]
pub struct Throttle {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// So many a minute, and at once as many as `burst`.
fn rate((per_minute, burst): (u32, u32)) -> Rate {
    let seconds = (burst * 60 / per_minute.max(1)).max(1);
    let nonzero = |number: u32| std::num::NonZeroU32::MIN.saturating_add(number.saturating_sub(1));
    Rate::per_minute(nonzero(per_minute), nonzero(seconds))
}

impl Throttle {
    /// Nothing was tried yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            seen: clock.now(),
            elapsed: Duration::ZERO,
            used: HashMap::new(),
            sweep_at: SWEEP_FROM,
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    /// Counts an attempt of this subject from this address, or says when the next one may be made. To be asked before
    /// anything is looked at, so that a refusal tells nothing.
    pub fn attempt(&self, what: Attempted, subject: &str, address: IpAddr) -> Result<(), ApiError> {
        let (of_subject, of_address) = what.rates();
        let (subject, network) = (sha256(subject), network_of(address));
        let (per_minute, burst) = of_subject;
        let everywhere = (per_minute * EVERYWHERE, burst * EVERYWHERE);
        let tiers = [
            (Whose::Subject(what, subject, network), rate(of_subject)),
            (Whose::Everywhere(what, subject), rate(everywhere)),
            (Whose::Address(what, network), rate(of_address)),
        ];
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.advance(self.clock.now());
        for (whose, rate) in &tiers {
            let meter = state.used.get(whose).copied().unwrap_or_default();
            if let Err(refusal) = meter.check(now, *rate, 1) {
                return Err(refused(refusal, "too many attempts: try again later"));
            }
        }
        for (whose, rate) in tiers {
            state.used.entry(whose).or_default().take(now, rate, 1);
        }
        state.sweep(now);
        Ok(())
    }

    /// Counts a call of this account, or says when the next one may be made.
    pub fn call(&self, account: AccountId, per_minute: NonZeroU32) -> Result<(), ApiError> {
        let rate = Rate::per_minute(per_minute, CALL_BURST);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.advance(self.clock.now());
        let meter = state.used.entry(Whose::Caller(account)).or_default();
        if let Err(refusal) = meter.check(now, rate, 1) {
            return Err(refused(refusal, "too many requests: try again later"));
        }
        meter.take(now, rate, 1);
        state.sweep(now);
        Ok(())
    }

    /// It was right: the subject starts anew there. What its address tried stays counted.
    pub fn succeeded(&self, what: Attempted, subject: &str, address: IpAddr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .used
            .remove(&Whose::Subject(what, sha256(subject), network_of(address)));
    }
}

impl State {
    /// How much time has passed; a clock that was set back stands still.
    fn advance(&mut self, now: Timestamp) -> Duration {
        self.elapsed += now.since(self.seen);
        self.seen = now;
        self.elapsed
    }

    fn sweep(&mut self, now: Duration) {
        if self.used.len() < self.sweep_at {
            return;
        }
        self.used.retain(|_, meter| !meter.is_unused(now));
        self.sweep_at = (self.used.len() * 2).max(SWEEP_FROM);
    }
}

fn refused(refusal: Refusal, message: &str) -> ApiError {
    let error = ApiError::new(ErrorCode::RateLimitExceeded, message);
    match refusal {
        Refusal::Wait(after) => error.with_retry_after(after),
        Refusal::Never => error,
    }
}

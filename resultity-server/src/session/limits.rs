//! Rate limits: how many requests and tokens a key, a namespace and the whole network may ask for.
//!
//! Every limit is a steady rate with a burst ([`Meter`]). A request is let through by all limits or by none, so that a
//! refusal takes nothing from anybody. Tokens are counted by the most that a request can need, as its price ceiling is.
//! All of it is in memory: after a restart everybody may ask for everything again.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::{Clock, Timestamp};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{KeyId, NamespaceId};
use resultity_core::job::Endpoint;
use resultity_core::limits::{Meter, Rate, RateLimits, Refusal};

use crate::store::KeyLimits;

mod parameters;

pub use parameters::{LimitParameters, Rates};

/// How many meters there have to be before those that are full are looked for.
const SWEEP_FROM: usize = 1024;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    /// A key, over all endpoints without limits of their own.
    Key(KeyId),
    /// A key at an endpoint with limits of its own.
    KeyAt(KeyId, Endpoint),
    /// A key, where nothing is computed.
    Reads(KeyId),
    /// A namespace, over all its keys and endpoints.
    Namespace(NamespaceId),
    /// Everybody.
    Network,
}

impl Owner {
    fn phrase(self) -> String {
        match self {
            Self::Key(_) | Self::Reads(_) => "this API key".into(),
            Self::KeyAt(_, endpoint) => format!("this API key at {endpoint}"),
            Self::Namespace(_) => "this namespace".into(),
            Self::Network => "the whole network".into(),
        }
    }
}

/// One limit that a request has to pass.
#[derive(Debug, Clone, Copy)]
struct Tier {
    owner: Owner,
    requests: Rate,
    tokens: Rate,
}

impl Tier {
    fn new(owner: Owner, rates: Rates) -> Self {
        Self {
            owner,
            requests: Rate::per_minute(rates.requests_per_minute, rates.burst_seconds),
            tokens: Rate::per_minute(rates.tokens_per_minute, rates.burst_seconds),
        }
    }
}

/// What was used by one owner.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    requests: Meter,
    tokens: Meter,
}

#[derive(Debug)]
struct State {
    /// The clock's time when it was last looked at.
    seen: Timestamp,
    /// How much time has passed. A clock that was set back stands still here, rather than locking everybody out.
    elapsed: Duration,
    used: HashMap<Owner, Used>,
    sweep_at: usize,
}

/// The rate limits of a server.
#[derive(Debug)]
pub struct Limits {
    parameters: LimitParameters,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl Limits {
    /// Limits of which nothing is used yet.
    pub fn new(parameters: LimitParameters, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            seen: clock.now(),
            elapsed: Duration::ZERO,
            used: HashMap::new(),
            sweep_at: SWEEP_FROM,
        };
        Self {
            parameters,
            clock,
            state: Mutex::new(state),
        }
    }

    /// Lets a request that may need this many tokens (prompt and answer together) through, or says what is in its way:
    /// `rate_limit_exceeded`, with the time to wait in whole seconds; without one if the request is larger than what
    /// is ever let through at once. What is left of the tightest limits comes back in both cases.
    pub fn admit(
        &self,
        key: KeyId,
        namespace: NamespaceId,
        overrides: &KeyLimits,
        endpoint: Endpoint,
        tokens: u64,
    ) -> Result<RateLimits, ApiError> {
        let tiers = [
            self.key_tier(key, overrides, endpoint),
            Tier::new(Owner::Namespace(namespace), self.namespace_rates(overrides)),
            Tier::new(Owner::Network, self.parameters.network),
        ];
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.advance(self.clock.now());
        let refused = tiers
            .iter()
            .filter_map(|tier| state.refusal(tier, now, tokens))
            .max_by_key(|(_, _, refusal)| *refusal);
        if let Some((tier, what, refusal)) = refused {
            let left = state.left(&[*tier], now);
            drop(state);
            return Err(refuse(tier, what, refusal, tokens).with_rate_limits(left));
        }
        for tier in &tiers {
            let used = state.used.entry(tier.owner).or_default();
            used.requests.take(now, tier.requests, 1);
            used.tokens.take(now, tier.tokens, tokens);
        }
        state.sweep(now);
        Ok(state.left(&tiers, now))
    }

    /// Lets a request through that makes no job: a list, a look-up, a cancellation.
    pub fn touch(&self, key: KeyId) -> Result<(), ApiError> {
        let owner = Owner::Reads(key);
        let rate = Rate::per_minute(self.parameters.reads_per_minute, NonZeroU32::MIN.saturating_add(59));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.advance(self.clock.now());
        let used = state.used.entry(owner).or_default();
        let outcome = used.requests.check(now, rate, 1);
        if outcome.is_ok() {
            used.requests.take(now, rate, 1);
        }
        state.sweep(now);
        drop(state);
        let tier = Tier {
            owner,
            requests: rate,
            tokens: rate,
        };
        outcome.map_err(|refusal| refuse(&tier, What::Requests, refusal, 0))
    }

    /// What the plan of its account says of a namespace replaces the general numbers.
    fn namespace_rates(&self, overrides: &KeyLimits) -> Rates {
        let (mut rates, plan) = (self.parameters.namespace, overrides.namespace);
        rates.requests_per_minute = plan.requests_per_minute.unwrap_or(rates.requests_per_minute);
        rates.tokens_per_minute = plan.tokens_per_minute.unwrap_or(rates.tokens_per_minute);
        rates
    }

    /// A key's own numbers replace the general ones; at an endpoint with limits of its own they can only lower them, and so
    /// everywhere if the key's owner chose them.
    fn key_tier(&self, key: KeyId, overrides: &KeyLimits, endpoint: Endpoint) -> Tier {
        let own = self.parameters.endpoints.get(&endpoint);
        let mut rates = *own.unwrap_or(&self.parameters.key);
        for (rate, wanted) in [
            (&mut rates.requests_per_minute, overrides.requests_per_minute),
            (&mut rates.tokens_per_minute, overrides.tokens_per_minute),
        ] {
            *rate = match wanted {
                Some(wanted) if own.is_some() || overrides.is_capped => wanted.min(*rate),
                Some(wanted) => wanted,
                None => *rate,
            };
        }
        let owner = match own {
            Some(_) => Owner::KeyAt(key, endpoint),
            None => Owner::Key(key),
        };
        Tier::new(owner, rates)
    }
}

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Requests,
    Tokens,
}

impl State {
    /// How much time has passed since the start.
    fn advance(&mut self, now: Timestamp) -> Duration {
        self.elapsed += now.since(self.seen);
        self.seen = now;
        self.elapsed
    }

    fn used(&self, owner: Owner) -> Used {
        self.used.get(&owner).copied().unwrap_or_default()
    }

    /// What stands in the way at one limit.
    fn refusal<'t>(&self, tier: &'t Tier, now: Duration, tokens: u64) -> Option<(&'t Tier, What, Refusal)> {
        let used = self.used(tier.owner);
        let requests = used.requests.check(now, tier.requests, 1).err();
        let tokens = used.tokens.check(now, tier.tokens, tokens).err();
        let requests = requests.map(|refusal| (tier, What::Requests, refusal));
        let tokens = tokens.map(|refusal| (tier, What::Tokens, refusal));
        requests
            .into_iter()
            .chain(tokens)
            .max_by_key(|(_, _, refusal)| *refusal)
    }

    /// What is left where least is left.
    fn left(&self, tiers: &[Tier], now: Duration) -> RateLimits {
        let mut left = RateLimits {
            remaining_requests: u64::MAX,
            remaining_tokens: u64::MAX,
            ..RateLimits::default()
        };
        for tier in tiers {
            let used = self.used(tier.owner);
            let (requests, tokens) = (
                used.requests.remaining(now, tier.requests),
                used.tokens.remaining(now, tier.tokens),
            );
            if requests < left.remaining_requests {
                left.limit_requests = tier.requests.burst();
                left.remaining_requests = requests;
                left.reset_requests = used.requests.reset(now);
            }
            if tokens < left.remaining_tokens {
                left.limit_tokens = tier.tokens.burst();
                left.remaining_tokens = tokens;
                left.reset_tokens = used.tokens.reset(now);
            }
        }
        left
    }

    /// Forgets those who have used nothing for so long that everything is there for them again, which changes nothing.
    /// What is remembered is bounded by how many keys are in use within the time of a burst.
    fn sweep(&mut self, now: Duration) {
        if self.used.len() < self.sweep_at {
            return;
        }
        self.used
            .retain(|_, used| !(used.requests.is_unused(now) && used.tokens.is_unused(now)));
        self.sweep_at = SWEEP_FROM.max(2 * self.used.len());
    }
}

fn refuse(tier: &Tier, what: What, refusal: Refusal, tokens: u64) -> ApiError {
    let whose = tier.owner.phrase();
    let (name, rate) = match what {
        What::Requests => ("requests", tier.requests),
        What::Tokens => ("tokens", tier.tokens),
    };
    let allowed = format!("the limit of {whose} is {} {name} a minute", rate.units());
    let error = |message| ApiError::new(ErrorCode::RateLimitExceeded, message);
    match refusal {
        Refusal::Wait(wait) => {
            let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1) as u64;
            let asked = if what == What::Tokens {
                format!(" and this request may need {tokens}")
            } else {
                String::new()
            };
            error(format!(
                "too many {name} for now: {allowed}{asked}; try again in {seconds} s"
            ))
            .with_retry_after(Duration::from_secs(seconds))
        }
        Refusal::Never => error(format!(
            "this request may need {tokens} tokens, but {allowed} and no more than {} at once: shorten the prompt or \
             lower the limit of the answer",
            rate.burst()
        )),
    }
}

#[cfg(test)]
mod tests;

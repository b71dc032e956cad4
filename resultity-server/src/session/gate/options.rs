//! What an operator decides about accounts.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

const DAY: Duration = Duration::from_hours(24);

/// How long somebody stays signed in, and how often an account may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccountOptions {
    /// After how many days without use a session ends.
    pub session_idle_days: NonZeroU32,
    /// After how many days a session ends in any case.
    pub session_days: NonZeroU32,
    /// How many calls of the Gate API an account may make a minute.
    pub calls_per_minute: NonZeroU32,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            session_idle_days: const { NonZeroU32::new(14).expect("it is not 0") },
            session_days: const { NonZeroU32::new(90).expect("it is not 0") },
            calls_per_minute: const { NonZeroU32::new(600).expect("it is not 0") },
        }
    }
}

impl AccountOptions {
    /// How long a session lasts without use.
    pub(super) fn idle(&self) -> Duration {
        DAY * self.session_idle_days.get()
    }

    /// How long a session lasts.
    pub(super) fn longest(&self) -> Duration {
        DAY * self.session_days.get()
    }
}

//! Which environments a caller's objects may be of.

use resultity_core::environment::Environment;
use resultity_core::error::ApiError;

use super::{Authority, GateSession, not_found};

impl GateSession {
    /// The one environment that the caller's token sees; none: all.
    pub(super) fn only_environment(&self) -> Option<Environment> {
        match &self.caller.authority {
            Authority::Token { environment, .. } => *environment,
            Authority::Login(_) | Authority::Operator => None,
        }
    }

    /// The environment that something must be of to be found: the one that is asked for, or the only one that the caller
    /// sees. None: any.
    pub(super) fn within(&self, asked: Option<Environment>, what: &str) -> Result<Option<Environment>, ApiError> {
        match asked {
            Some(asked) if !self.sees(asked) => Err(not_found(what)),
            Some(asked) => Ok(Some(asked)),
            None => Ok(self.only_environment()),
        }
    }
}

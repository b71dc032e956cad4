//! Contribution points by week: they accumulate in the open epoch, and are fixed when it is closed.

use std::time::Duration;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;

use crate::store::StoreError;

/// Monday, 5 January 1970, 00:00 UTC: seconds since the Unix epoch.
const FIRST: i64 = 4 * 24 * 60 * 60;

/// How long an epoch lasts.
pub const EPOCH: Duration = Duration::from_hours(7 * 24);

/// The number of the epoch that a time is in.
pub fn epoch_of(time: Timestamp) -> u64 {
    let weeks = (time.as_seconds() - FIRST).div_euclid(EPOCH.as_secs() as i64);
    u64::try_from(weeks).unwrap_or_default()
}

/// When an epoch begins.
pub fn begins_at(epoch: u64) -> Timestamp {
    Timestamp::from_millis(FIRST * 1000).after(EPOCH.saturating_mul(u32::try_from(epoch).unwrap_or(u32::MAX)))
}

/// An epoch in which points were earned, or that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub number: u64,
    /// The points of all nodes.
    pub points: u64,
    /// How many nodes earned some.
    pub nodes: u64,
    /// What fixes it, once it is closed.
    pub root: Option<B256>,
}

/// Contribution points by week.
#[async_trait]
pub trait EpochStore: Send + Sync {
    /// The newest epochs of an environment in which points were earned, newest first.
    async fn epochs(&self, environment: Environment, most: u32) -> Result<Vec<EpochRecord>, StoreError>;

    /// The newest snapshots of an environment, newest first: the JSON of each signed one.
    async fn last_snapshots(&self, environment: Environment, most: u32) -> Result<Vec<String>, StoreError>;

    /// The nodes that earned points in an epoch, or in the one after it, to which those of its last moments may count.
    async fn nodes_of_epoch(&self, environment: Environment, epoch: u64) -> Result<Vec<NodeId>, StoreError>;

    /// Closes the epochs before this one that are open still; how many. Points that are earned later count for a later
    /// one, even if the clock goes back.
    async fn close_epochs(&self, environment: Environment, before: u64, now: Timestamp) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_week_from_monday() {
        let at = |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(epoch_of(at("1970-01-05T00:00:00Z")), 0);
        assert_eq!(epoch_of(at("1970-01-11T23:59:59Z")), 0);
        assert_eq!(epoch_of(at("1970-01-12T00:00:00Z")), 1);
        let now = at("2026-11-22T12:00:00Z");
        assert_eq!(begins_at(epoch_of(now)), at("2026-11-16T00:00:00Z"));
        assert_eq!(epoch_of(Timestamp::from_millis(-1)), 0);
    }
}

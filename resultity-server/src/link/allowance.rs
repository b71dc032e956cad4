//! How much a connection may still send: little, until it is known who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// No bound.
const UNBOUNDED: u64 = u64::MAX;

/// How many bytes a connection may still send. Whoever reads from it asks; without a bound to begin with.
#[derive(Debug, Clone)]
pub struct Allowance(Arc<AtomicU64>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(UNBOUNDED)))
    }
}

impl Allowance {
    /// From now on this many bytes.
    pub fn bound(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// As many as it likes.
    pub fn lift(&self) {
        self.0.store(UNBOUNDED, Ordering::Relaxed);
    }

    /// Whether nothing of it is left.
    pub fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// So much was read.
    pub fn used(&self, bytes: usize) {
        let left = self.0.load(Ordering::Relaxed);
        if left != UNBOUNDED {
            let rest = left.saturating_sub(bytes as u64);
            // Lifted meanwhile, it stays so.
            let _ = self
                .0
                .compare_exchange(left, rest, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_used_up_until_it_is_lifted() {
        let allowance = Allowance::default();
        allowance.used(usize::MAX);
        assert!(!allowance.is_used_up());
        allowance.bound(10);
        allowance.used(9);
        assert!(!allowance.is_used_up());
        allowance.used(9);
        assert!(allowance.is_used_up());
        allowance.lift();
        allowance.used(100);
        assert!(!allowance.is_used_up());
    }
}

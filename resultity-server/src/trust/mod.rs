//! `trust`: how the network finds out which nodes are honest. Pure: no I/O, no clock, no luck but what is passed in.
//!
//! ```text
//! a finished job ─▶ sampling (is it checked?) ─▶ compare (what a trusted node says) ─▶ evidence ─▶ reputation ─▶ excluded?
//! ```
//!
//! Every test of an answer gives an **e-value**: a number that is 1 or less on average for an honest node, whatever the
//! request, and large for a dishonest one. Such numbers may be averaged over the tests of one check and multiplied over
//! checks, and what comes of it bounds how often an honest node is wronged ([`reputation`]). Exact texts are never compared
//! across machines.

pub mod compare;
pub mod evidence;
pub mod latency;
pub mod reputation;
pub mod sampling;

pub use evidence::{Aspect, Evidence, Finding, MilliNats};
pub use reputation::{Reputation, Rules, Verdict};

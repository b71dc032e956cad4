//! The Infernet node's REST API with real containers: a Python process that keeps to the ecosystem's conventions. In this
//! process, over HTTP, and as the command `resultity-node infernet`.
//!
//! It needs `python3`; the official client's part also needs pip and a package index. Where they are missing the tests say so
//! and pass, unless `RESULTITY_REQUIRE_SDKS` is set.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(all(feature = "infernet", feature = "cli"))]

mod bad_http;
mod bad_input;
mod callers;
mod contract;
mod faults;
mod harness;
mod limits;
mod official_client;
mod packages;
mod restart;

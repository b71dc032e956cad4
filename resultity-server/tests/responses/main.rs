//! `/v1/responses` over HTTP, with a node whose every step the test decides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "../harness/mod.rs"]
mod harness;

mod api;
mod background;
mod kept;

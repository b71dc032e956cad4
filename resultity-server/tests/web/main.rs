//! The web applications over HTTP, as a browser without scripts uses them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "../harness/mod.rs"]
mod harness;

mod account;
mod browser;
mod public;

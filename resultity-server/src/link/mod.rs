//! The server's end of a node's link: upgrade, handshake, one actor a node.

mod actor;
mod configured;
mod entry;
mod handshake;
mod models;
mod socket;
mod standing;

pub use entry::{LinkPolicy, serve};
pub use handshake::check_hello;

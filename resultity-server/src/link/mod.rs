//! The server's end of a node's link: upgrade, handshake, one actor a node.

mod actor;
mod entry;
mod handshake;
mod socket;

pub use entry::{LinkPolicy, serve};
pub use handshake::check_hello;

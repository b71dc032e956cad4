//! The server's end of a node's link: upgrade, handshake, one actor a node.

mod actor;
mod handshake;

pub use actor::{LinkPolicy, serve};
pub use handshake::check_hello;

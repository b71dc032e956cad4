//! The server's end of a node's link: entrance, upgrade, handshake, one actor a node.

mod actor;
mod allowance;
mod configured;
mod entrance;
mod entry;
mod fallback;
mod handshake;
mod logs;
mod models;
mod places;
mod said;
mod socket;
mod standing;

pub use allowance::Allowance;
pub use entrance::{Entering, Entrance};
pub use entry::{LinkPolicy, serve};
pub use fallback::{Delivering, Fallback, MAX_DELIVERY_BYTES};
pub use handshake::check_hello;
pub use places::{ConnectionLimits, Full, Place, Places};

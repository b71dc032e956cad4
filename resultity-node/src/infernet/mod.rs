//! The Infernet node's REST API: containers of this machine, asked directly, in pipelines, with results that are kept.
//!
//! ```text
//! http ─▶ session ─▶ guardian ─▶ store ─▶ pipeline ─▶ containers
//!         (one caller)  (rules)   (durable)  (hops)     (slots, HTTP)
//! ```
//!
//! [`runtime`] is the other way in: jobs of the network, for containers that serve it.

pub mod chain;
pub mod config;
pub mod containers;
mod docker;
pub mod ended;
pub mod guardian;
pub mod http;
pub mod log_file;
mod memory;
pub mod node;
pub mod pipeline;
mod room;
pub mod run;
pub mod runtime;
pub mod session;
pub mod store;

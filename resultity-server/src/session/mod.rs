//! What a caller may do: the API traits of core, bound to one caller. Every rule is here or below; the HTTP handlers only
//! translate.

mod batch;
mod batches;
mod chat;
mod cloud;
mod completions;
mod compute;
mod embeddings;
mod file_writer;
mod files;
mod gate;
mod jobs;
mod keys;
mod limits;
mod parsers;
mod pieces;
mod render;
mod responses;
mod run;
mod status;
mod subclouds;
mod usage;
mod webhooks;

pub use batch::Batches;
pub use cloud::CloudSession;
pub(crate) use file_writer::too_large;
pub use files::Upload;
pub use gate::write_alerts;
pub use gate::{
    AccountOptions, Attempted, Authority, Caller, Gate, GateDoor, GateOptions, GateParts, GateSession, Passwords,
    Throttle, WalletOptions, checked_email, csrf_token,
};
pub use keys::{Keys, hash_key, key_hint, new_key};
pub use limits::{LimitParameters, Limits, Rates};
#[cfg(any(test, feature = "testing"))]
pub use parsers::{accepts_batch_line, accepts_request};
pub use status::{Moment, Part, Picture, StatusBoard};

//! What a caller may do: the API traits of core, bound to one caller. Every rule is here or below; the HTTP handlers only
//! translate.

mod chat;
mod cloud;
mod completions;
mod embeddings;
mod gate;
mod jobs;
mod keys;
mod limits;
mod render;
mod responses;
mod run;
mod usage;
mod webhooks;

pub use cloud::CloudSession;
pub use gate::AdminSession;
pub use keys::{Keys, hash_key, new_key};
pub use limits::{LimitParameters, Limits, Rates};

//! Contract scenarios: what every implementation of an API trait has to do, whether it runs in-process or over HTTP.
//!
//! They panic where an implementation breaks the contract, as a test does, and need no particular async runtime. They
//! set no time limits: wrap them in the timeout of your runtime.

pub mod cloud;
pub mod completions;
pub mod embeddings;
pub mod responses;

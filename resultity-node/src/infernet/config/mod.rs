//! What the node is told: the original node's `config.json`, and what is ours beside it.

pub mod settings;
